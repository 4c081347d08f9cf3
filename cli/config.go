package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"gopkg.in/yaml.v3"
)

// A configuration file holds flags under their names. Lists stand for repeated flags, and a map for a list of NAME=VALUE.

// maxConfig is far more than a file of flags can need; YAML that expands itself is bounded by the parser.
const maxConfig = 1 << 20

func applyConfig(c *cli.Context) error {
	path := c.String("config")
	if path == "" {
		return nil
	}
	values, order, err := readConfig(path)
	if err != nil {
		return err
	}
	known := configKeys(c.Command.Flags)
	for _, key := range order {
		if !slices.Contains(known, key) {
			if c.Command.Name == "plan" && slices.Contains(configKeys(c.App.Command("expand").Flags), key) {
				continue // one file for both
			}
			return usagef("%s: there is no key %q%s", path, key, suggest(key, known))
		}
		if c.IsSet(key) {
			continue // flags win
		}
		many := false
		switch findFlag(c.Command.Flags, key).(type) {
		case *cli.StringSliceFlag:
			many = true
		}
		if !many && len(values[key]) != 1 {
			return usagef("%s: %s takes one value", path, key)
		}
		for _, v := range values[key] {
			if err := c.Set(key, v); err != nil {
				return usagef("%s: %s: %q does not fit: %v", path, key, v, err)
			}
		}
	}
	return nil
}

func readConfig(path string) (map[string][]string, []string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > maxConfig {
		return nil, nil, usagef("%s: larger than %d bytes, this is no file of flags", path, maxConfig)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, nil, usagef("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if doc.Kind == 0 {
		return nil, nil, nil // empty
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, nil, usagef("%s: line %d: expected lines of the form `flag: value`", path, top.Line)
	}
	values := map[string][]string{}
	var order []string
	for i := 0; i < len(top.Content); i += 2 {
		key := top.Content[i].Value
		if _, twice := values[key]; twice {
			return nil, nil, usagef("%s: line %d: %s is given twice", path, top.Content[i].Line, key)
		}
		v, err := configValue(top.Content[i+1])
		if err != nil {
			return nil, nil, usagef("%s: line %d: %s: %v", path, top.Content[i].Line, key, err)
		}
		values[key] = v
		order = append(order, key)
	}
	return values, order, nil
}

func configValue(n *yaml.Node) ([]string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return []string{n.Value}, nil
	case yaml.SequenceNode:
		out := []string{}
		for _, e := range n.Content {
			if e.Kind != yaml.ScalarNode {
				return nil, errors.New("a list may hold only plain values")
			}
			out = append(out, e.Value)
		}
		return out, nil
	case yaml.MappingNode:
		out := []string{}
		for i := 0; i < len(n.Content); i += 2 {
			if n.Content[i+1].Kind != yaml.ScalarNode {
				return nil, errors.New("its values must be plain")
			}
			out = append(out, n.Content[i].Value+"="+n.Content[i+1].Value)
		}
		return out, nil
	}
	return nil, errors.New("references are not supported")
}

// configKeys are the flags that make sense in a file.
func configKeys(flags []cli.Flag) []string {
	var keys []string
	for _, f := range flags {
		if n := f.Names()[0]; n != "config" && n != "print-config" {
			keys = append(keys, n)
		}
	}
	return keys
}

// printConfig writes the flags that are set, from wherever, as a configuration file; false when it was not asked for.
func (p *program) printConfig(c *cli.Context) bool {
	if !c.Bool("print-config") {
		return false
	}
	p.printf("# ligoonnx %s --config THIS-FILE\n", c.Command.Name)
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if !c.IsSet(name) || name == "config" || name == "print-config" {
			continue
		}
		switch f.(type) {
		case *cli.BoolFlag:
			p.printf("%s: %t\n", name, c.Bool(name))
		case *cli.StringSliceFlag:
			p.printf("%s:\n", name)
			for _, v := range c.StringSlice(name) {
				p.printf("  - %s\n", scalar(v))
			}
		default:
			p.printf("%s: %s\n", name, scalar(fmt.Sprint(c.Value(name))))
		}
	}
	return true
}

// scalar quotes a value where plain YAML would read something else.
func scalar(s string) string {
	out, err := yaml.Marshal(s)
	if _, number := strconv.ParseFloat(s, 64); number == nil {
		return s // a flag takes its text either way, and people expect no quotes there
	}
	if err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSpace(string(out))
}
