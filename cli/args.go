package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// The flag package that the command library builds on stops at the first argument that is no flag, but `expand in.onnx out.onnx
// --layers 4` is how people write. arrange puts flags first, and finds mistyped ones while it is at it, for which the library has
// no suggestion.

// arrange sorts a command's arguments into flags and operands.
func arrange(cmd *cli.Command, args []string) ([]string, error) {
	var flags, operands []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			operands = append(operands, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			operands = append(operands, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		f := findFlag(cmd.Flags, name)
		if f == nil {
			return nil, usagef("%s: there is no flag --%s%s; see ligoonnx %s --help", cmd.Name, name, suggest("--"+name, flagNames(cmd.Flags)), cmd.Name)
		}
		flags = append(flags, arg)
		if _, isBool := f.(*cli.BoolFlag); isBool || hasValue {
			continue
		}
		if i++; i == len(args) {
			return nil, usagef("%s: --%s needs a value", cmd.Name, name)
		}
		flags = append(flags, args[i])
	}
	return slices.Concat(flags, []string{"--"}, operands), nil
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// flagNames lists the long names, with their dashes.
func flagNames(flags []cli.Flag) []string {
	var names []string
	for _, f := range flags {
		for _, n := range f.Names() {
			if len(n) > 1 {
				names = append(names, "--"+n)
			}
		}
	}
	return names
}

// operands checks the number of operands of a command; what names them, in order.
func operands(c *cli.Context, what ...string) ([]string, error) {
	got := c.Args().Slice()
	switch {
	case len(got) < len(what):
		return nil, usagef("%s: %s is missing; usage: ligoonnx %s %s", c.Command.Name, what[len(got)], c.Command.Name, c.Command.ArgsUsage)
	case len(got) > len(what):
		return nil, usagef("%s: %q is one argument too many; usage: ligoonnx %s %s", c.Command.Name, got[len(what)], c.Command.Name, c.Command.ArgsUsage)
	}
	return got, nil
}
