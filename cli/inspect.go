package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo"
)

func (p *program) inspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Usage: "show what a model is: layers, widths, growable axes, parameters, cost", ArgsUsage: "MODEL",
		Description: `Everything is found out from the graph alone. An axis that cannot grow says why. MODEL may be a growth operator's file
as well: then its matrices are listed, with condition numbers and how far from exact they are (JSON: ligoonnx/operator@1).`,
		UsageText: `  ligoonnx inspect model.onnx
  ligoonnx inspect operator.safetensors --all
  ligoonnx inspect model.onnx --json | jq '.axes[] | select(.growable) | .name'`,
		Flags:  general(toggle(outputFlags, "json", "print JSON (ligoonnx/inspect@1)"), toggle(outputFlags, "all", "list every axis, also those that cannot grow, and every matrix")),
		Action: p.inspect,
	}
}

func (p *program) inspect(c *cli.Context) error {
	if p.printConfig(c) {
		return nil
	}
	args, err := operands(c, "MODEL")
	if err != nil {
		return err
	}
	if isOperator(args[0]) {
		return p.inspectOperator(c, args[0])
	}
	m, a, err := p.analyse(c, args[0])
	if err != nil {
		return err
	}
	defer m.Model.Close()
	s := a.Summary()
	if c.Bool("json") {
		return p.json(s)
	}
	p.printf("%s: %s\n%s\n\n", m.Path, headline(s), sizesLine(s))
	p.axes(s, c.Bool("all"))
	rows := [][]string{}
	for _, v := range s.Inputs {
		rows = append(rows, []string{"input", v.Name, v.DType, "[" + strings.Join(v.Shape, " ") + "]"})
	}
	for _, v := range s.Outputs {
		rows = append(rows, []string{"output", v.Name, v.DType, "[" + strings.Join(v.Shape, " ") + "]"})
	}
	p.printf("\n")
	p.table(rows)
	for _, st := range s.Stages {
		if st.Why != "" {
			p.printf("\nlayers cannot be added without changing the function: %s\n", st.Why)
		}
	}
	for i, n := range s.Notes {
		if i == 0 {
			p.printf("\n")
		}
		p.printf("note: %s\n", n)
	}
	return nil
}

func headline(s ligo.Summary) string {
	parts := []string{count(s.Params) + " parameters", count(s.FLOPs) + " FLOP per token", fmt.Sprintf("opset %d", s.Opset)}
	return strings.Join(parts, ", ")
}

// sizesLine is the model's sizes by role.
func sizesLine(s ligo.Summary) string {
	var parts []string
	if len(s.Stages) > 1 {
		each := make([]string, len(s.Stages))
		for i, st := range s.Stages {
			each[i] = strconv.FormatInt(st.Layers, 10)
		}
		parts = append(parts, fmt.Sprintf("layers %d (stages of %s)", s.Layers, strings.Join(each, " and ")))
	} else {
		parts = append(parts, fmt.Sprintf("layers %d", s.Layers))
	}
	add := func(name string, n *int64) {
		if n != nil {
			parts = append(parts, fmt.Sprintf("%s %d", name, *n))
		}
	}
	add("hidden", s.Hidden)
	add("heads", s.Heads)
	if s.KVHeads != nil && s.Heads != nil && *s.KVHeads != *s.Heads {
		add("kv heads", s.KVHeads)
	}
	add("head size", s.HeadDim)
	add("ffn", s.FFN)
	if s.Norm != nil {
		norm := *s.Norm + "-norm"
		if s.NormKind != nil {
			norm += " (" + *s.NormKind + ")"
		}
		parts = append(parts, norm)
	}
	return strings.Join(parts, ", ")
}

const shownTensors = 2

func (p *program) axes(s ligo.Summary, all bool) {
	rows := [][]string{{"AXIS", "SIZE", "ROLE", "GROWS", "TENSORS"}}
	hidden := 0
	for _, a := range s.Axes {
		if !a.Growable && !all {
			hidden++
			continue
		}
		grows := "yes"
		if !a.Growable {
			grows = "no"
			if len(a.Why) > 0 {
				grows += ": " + a.Why[0]
			}
		}
		rows = append(rows, []string{a.Name, strconv.FormatInt(a.Size, 10), dash(a.Kind), grows, some(a.Tensors)})
	}
	p.table(rows)
	if hidden > 0 {
		p.printf("and %d axes that cannot grow (--all lists them)\n", hidden)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// some is the first few names of a list.
func some(names []string) string {
	if len(names) <= shownTensors {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, … %d in all", strings.Join(names[:shownTensors], ", "), len(names))
}
