package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// story is one growth of the demonstration.
type story struct {
	name   string
	what   string
	model  *onnxio.Model
	target ligo.Target
}

func stories() []story {
	gpt := fixtures.Config{Layers: 3, Hidden: 96, Heads: 3, Vocab: 256, Positions: 128, Seed: 1}
	bert := fixtures.Config{Layers: 2, Hidden: 64, Heads: 4, Vocab: 256, Positions: 128, Seed: 2}
	return []story{
		{"gpt2", "GPT-2-like, twice as wide and deep", fixtures.GPT2(gpt), ligo.Target{}},
		{"gpt2-odd", "GPT-2-like, odd sizes", fixtures.GPT2(gpt), ligo.Target{Hidden: 160, Heads: 5, Layers: 5}},
		{"bert", "BERT-like, twice as wide and deep", fixtures.BERT(bert), ligo.Target{}},
		{"bert-odd", "BERT-like, 1.5x as wide", fixtures.BERT(bert), ligo.Target{Width: 1.5}},
	}
}

func (p *program) demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "make small models, grow them, verify them: the whole story in a few seconds",
		Description: `Every row is a growth by expand with its certificate by verify. The models have random weights; what counts is that the grown
model computes the same function, to rounding, or says why not.`,
		UsageText: `  ligoonnx demo
  ligoonnx demo --dir models    keeps the files`,
		Flags: []cli.Flag{
			text(outputFlags, "dir", "FOLDER|keep the models there; a temporary folder unless given"),
			toggle(outputFlags, "force", "replace models that exist there", "f"),
			toggle(otherFlags, "quiet", "print only the result and errors", "q"),
			toggle(otherFlags, "verbose", "print every step", "v"),
		},
		Action: p.demo,
	}
}

func (p *program) demo(c *cli.Context) error {
	if _, err := operands(c); err != nil {
		return err
	}
	dir := c.String("dir")
	force := c.Bool("force")
	if dir == "" {
		temporary, err := os.MkdirTemp("", "ligoonnx-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		dir, force = temporary, true
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	start := time.Now()
	rows := [][]string{{"MODEL", "LAYERS", "HIDDEN", "HEADS", "PARAMETERS", "PROMISED", "MAX|Δ|", "TOLERANCE", "MAX|OUT|", "VERDICT"}}
	var why []string
	inner := p.term
	for i, s := range stories() {
		p.term.step("growing", i, len(stories()), s.what)
		p.term.quiet = !inner.verbose // one line of progress is enough, unless every step is asked for
		row, reasons, err := p.tell(c, s, dir, force)
		p.term.quiet = inner.quiet
		if err != nil {
			return err
		}
		rows = append(rows, row)
		for _, r := range reasons {
			why = append(why, fmt.Sprintf("%s: %s", s.what, r))
		}
	}
	p.table(rows)
	for _, w := range why {
		p.printf("\nnot exact: %s", w)
	}
	p.printf("\n%d models grown and verified in %s\n", len(rows)-1, time.Since(start).Round(10*time.Millisecond))
	if c.String("dir") != "" {
		p.printf("the files are in %s; try: ligoonnx inspect %s\n", dir, filepath.Join(dir, "gpt2.onnx"))
	} else {
		p.printf("now with your own: ligoonnx expand small.onnx large.onnx\n")
	}
	return nil
}

// tell makes one model, grows it and verifies it.
func (p *program) tell(c *cli.Context, s story, dir string, force bool) (row, reasons []string, err error) {
	ctx := c.Context
	in, out := filepath.Join(dir, s.name+".onnx"), filepath.Join(dir, s.name+"-grown.onnx")
	if err := onnxio.Write(ctx, s.model, in, onnxio.WriteOptions{Force: force}); err != nil {
		return nil, nil, err
	}
	small, a, err := p.analyse(c, in)
	if err != nil {
		return nil, nil, err
	}
	defer small.Model.Close()
	plan, err := ligo.NewPlan(ctx, a, s.target, ligo.Options{Seed: 1})
	if err != nil {
		return nil, nil, inFile(in, err)
	}
	report, err := p.grow(ctx, job{small: small, plan: plan, out: out, force: force, verify: true, seed: 1})
	if err != nil {
		if report != nil {
			p.failures(report)
		}
		return nil, nil, err
	}
	arrow := func(a, b int64) string { return strconv.FormatInt(a, 10) + " -> " + strconv.FormatInt(b, 10) }
	return []string{s.what, arrow(plan.From.Layers, plan.To.Layers), arrow(plan.From.Hidden, plan.To.Hidden), arrow(plan.From.Heads, plan.To.Heads),
		count(plan.ParamsFrom) + " -> " + count(plan.ParamsTo), report.Promised, short(report.MaxAbsDiff), short(report.Tolerance),
		short(report.Outputs[0].MaxAbs), report.Verdict}, reasonLines(report), nil
}
