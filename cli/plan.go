package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/verify"
)

// planSchema names the form of plan's JSON.
const planSchema = "ligoonnx/plan@1"

type planJSON struct {
	Schema string `json:"schema"`
	*ligo.Plan
}

func (p *program) planCommand() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "show what expand would do, with memory, parameters, FLOPs; write nothing", ArgsUsage: "IN",
		Description: `Sizes that are not given follow those that are: the feed-forward width keeps its ratio to hidden, the head size stays.
Impossible targets exit with code 2 and name the nearest possible sizes.`,
		UsageText: `  ligoonnx plan small.onnx
  ligoonnx plan small.onnx --params 110M
  ligoonnx plan small.onnx --hidden 768 --heads 12 --layers 12 --json`,
		Flags:  general(append(append(target(), growth("")...), startFlag(), toggle(outputFlags, "json", "print JSON (ligoonnx/plan@1)"))...),
		Action: p.plan,
	}
}

func (p *program) plan(c *cli.Context) error {
	if p.printConfig(c) {
		return nil
	}
	args, err := operands(c, "IN")
	if err != nil {
		return err
	}
	t, o, err := parseGrowth(c)
	if err != nil {
		return err
	}
	if err := parseStart(c, &o); err != nil {
		return err
	}
	m, a, err := p.analyse(c, args[0])
	if err != nil {
		return err
	}
	defer m.Model.Close()
	plan, err := p.makePlan(c, m, a, t, o)
	if c.Bool("json") && plan != nil {
		err = errors.Join(err, p.json(planJSON{planSchema, plan}))
		return err
	}
	if err != nil {
		return everyProblem(m.Path, err)
	}
	p.printSizes(plan)
	p.printPromise(plan, nil)
	p.printf("\noutput %s, peak memory about %s\n", size(plan.OutputBytes), size(plan.PeakMemory))
	return p.checkMemory(c, plan)
}

// makePlan plans what the flags ask for.
func (p *program) makePlan(c *cli.Context, m verify.Model, a *ligo.Analysis, t ligo.Target, o ligo.Options) (*ligo.Plan, error) {
	if err := knownAxes(t, a); err != nil {
		return nil, inFile(m.Path, err)
	}
	if like := c.String("like"); like != "" {
		other, b, err := p.analyse(c, like)
		if err != nil {
			return nil, err
		}
		defer other.Model.Close()
		t.Like = b
	}
	p.term.step("planning", 0, 0, "")
	plan, err := ligo.NewPlan(c.Context, a, t, o)
	return plan, inFile(m.Path, err)
}

// everyProblem makes every problem of a target an error, and so a line, of its own.
func everyProblem(path string, err error) error {
	var impossible *ligo.TargetError
	if !errors.As(err, &impossible) {
		return err
	}
	var all []error
	for _, problem := range impossible.Problems {
		all = append(all, inFile(path, &ligo.TargetError{Problems: []ligo.Problem{problem}}))
	}
	return errors.Join(all...)
}

// knownAxes finds mistyped axis names, for which the plan has no suggestion.
func knownAxes(t ligo.Target, a *ligo.Analysis) error {
	var known []string
	for _, x := range a.Summary().Axes {
		known = append(known, x.Name)
	}
	for name := range t.Axes {
		if !slices.Contains(known, name) {
			return usagef("--axis: the model has no axis %q%s; ligoonnx inspect lists them", name, suggest(name, known))
		}
	}
	return nil
}

// checkMemory refuses a plan that needs more memory than allowed.
func (p *program) checkMemory(c *cli.Context, plan *ligo.Plan) error {
	most, err := parseBytes("max-memory", c.String("max-memory"))
	if err != nil || most == 0 || plan.PeakMemory <= most {
		return err
	}
	return &limitError{fmt.Sprintf("growing needs about %s of memory, --max-memory allows %s", size(plan.PeakMemory), size(most))}
}

// printSizes prints sizes and parameters.
func (p *program) printSizes(plan *ligo.Plan) {
	rows := [][]string{{"", "FROM", "TO", ""}}
	add := func(name string, from, to int64) {
		if from == 0 && to == 0 {
			return
		}
		rows = append(rows, []string{name, strconv.FormatInt(from, 10), strconv.FormatInt(to, 10), factor(from, to)})
	}
	f, t := plan.From, plan.To
	add("layers", f.Layers, t.Layers)
	if len(f.Stages) > 1 {
		for i := range f.Stages {
			add(fmt.Sprintf("layers.%d", i), f.Stages[i], t.Stages[i])
		}
	}
	add("hidden", f.Hidden, t.Hidden)
	add("heads", f.Heads, t.Heads)
	if f.KVHeads != f.Heads || t.KVHeads != t.Heads {
		add("kv heads", f.KVHeads, t.KVHeads)
	}
	add("head size", f.HeadDim, t.HeadDim)
	add("ffn", f.FFN, t.FFN)
	rows = append(rows,
		[]string{"parameters", count(plan.ParamsFrom), count(plan.ParamsTo), factor(plan.ParamsFrom, plan.ParamsTo)},
		[]string{"FLOP per token", count(plan.FLOPsFrom), count(plan.FLOPsTo), factor(plan.FLOPsFrom, plan.FLOPsTo)})
	p.table(rows)
	if p.term.verbose {
		p.printf("\n")
		rows = [][]string{{"AXIS", "FROM", "TO", "RULE"}}
		for _, a := range plan.Axes {
			rows = append(rows, []string{a.Name, strconv.FormatInt(a.From, 10), strconv.FormatInt(a.To, 10), a.Rule})
		}
		p.table(rows)
	}
}

// printPromise prints what a growth promises, by the plan's operator or by one that was learned.
func (p *program) printPromise(plan *ligo.Plan, op *ligo.Operator) {
	method, promise, reasons := string(plan.Method), plan.Promise, plan.Reasons
	if op != nil {
		if op.Learned != nil {
			method += ", learned"
		}
		promise, reasons = plan.Promised(op)
	}
	p.printf("\nmethod %s, promise: %s\n", method, promiseText(promise))
	for _, i := range plan.Interface {
		if i.From == nil {
			p.printf("  new: %s [%s]\n", i.Name, strings.Join(i.To, " "))
		} else {
			p.printf("  changes: %s [%s] -> [%s]\n", i.Name, strings.Join(i.From, " "), strings.Join(i.To, " "))
		}
	}
	p.reasons("reason", reasons)
	p.reasons("note", plan.Notes)
}

func promiseText(promise ligo.Promise) string {
	switch promise {
	case ligo.Exact:
		return "exact: the outputs stay the same up to rounding"
	case ligo.Approximate:
		return "approximate: the outputs stay close"
	}
	return "none: the method changes the function"
}

// reasons prints one line for each different reason; the same one at many nodes is one line.
func (p *program) reasons(what string, all []ligo.Reason) {
	seen := map[string]int{}
	for _, r := range all {
		seen[r.Code+r.Text]++
	}
	for _, r := range all {
		n := seen[r.Code+r.Text]
		if n == 0 {
			continue
		}
		delete(seen, r.Code+r.Text)
		at := r.Node
		if at == "" {
			at = r.Tensor
		}
		switch {
		case n > 1:
			at = fmt.Sprintf(" (at %d places, the first is %s)", n, at)
		case at != "":
			at = fmt.Sprintf(" (at %s)", at)
		}
		p.printf("  %s %s: %s%s\n", what, r.Code, r.Text, at)
	}
}

func factor(from, to int64) string {
	if from <= 0 || from == to {
		return ""
	}
	return fmt.Sprintf("x %.3g", float64(to)/float64(from))
}

// interrupted gives the context's error priority over what followed from it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
