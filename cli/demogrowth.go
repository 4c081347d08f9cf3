package cli

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/verify"
)

// growthCase is one growth of the demonstration.
type growthCase struct {
	name   string
	what   string
	model  *onnxio.Model
	target ligo.Target
}

func growthCases() []growthCase {
	gpt := fixtures.Config{Layers: 3, Hidden: 96, Heads: 3, Vocab: 256, Positions: 128, Seed: 1}
	bert := fixtures.Config{Layers: 2, Hidden: 64, Heads: 4, Vocab: 256, Positions: 128, Seed: 2}
	return []growthCase{
		{"gpt2", "GPT-2-like, twice as wide and deep", fixtures.GPT2(gpt), ligo.Target{}},
		{"gpt2-odd", "GPT-2-like, odd sizes", fixtures.GPT2(gpt), ligo.Target{Hidden: 160, Heads: 5, Layers: 5}},
		{"bert", "BERT-like, twice as wide and deep", fixtures.BERT(bert), ligo.Target{}},
		{"bert-odd", "BERT-like, 1.5x as wide", fixtures.BERT(bert), ligo.Target{Width: 1.5}},
	}
}

// growthJSON is one growth with its certificate.
type growthJSON struct {
	Model          string        `json:"model"`
	From           ligo.Sizes    `json:"from"`
	To             ligo.Sizes    `json:"to"`
	ParametersFrom int64         `json:"parameters_from"`
	ParametersTo   int64         `json:"parameters_to"`
	Promised       string        `json:"promised"`
	MaxAbsDiff     verify.Number `json:"max_abs_diff"`
	Tolerance      verify.Number `json:"tolerance"`
	MaxAbs         verify.Number `json:"max_abs"`
	Verdict        string        `json:"verdict"`
	Reasons        []string      `json:"reasons,omitempty"`
}

// growths makes models, grows and verifies them.
func (d *demonstration) growths() error {
	cases := growthCases()
	inner := d.term.quiet
	for i, g := range cases {
		d.term.step("growing", i, len(cases), g.what)
		d.term.quiet = !d.term.verbose // one line of progress is enough, unless every step is asked for
		row, err := d.growth(g)
		d.term.quiet = inner
		if err != nil {
			return err
		}
		d.result.Growths = append(d.result.Growths, row)
	}
	return nil
}

func (d *demonstration) growth(g growthCase) (row growthJSON, err error) {
	ctx := d.c.Context
	in, out := filepath.Join(d.dir, g.name+".onnx"), filepath.Join(d.dir, g.name+"-grown.onnx")
	if err := onnxio.Write(ctx, g.model, in, onnxio.WriteOptions{Force: d.force}); err != nil {
		return row, err
	}
	small, a, err := d.analyse(d.c, in)
	if err != nil {
		return row, err
	}
	defer small.Model.Close()
	plan, err := ligo.NewPlan(ctx, a, g.target, ligo.Options{Seed: 1})
	if err != nil {
		return row, inFile(in, err)
	}
	report, err := d.grow(ctx, job{small: small, plan: plan, out: out, force: d.force, verify: true, seed: 1})
	if err != nil {
		if report != nil {
			d.failures(report)
		}
		return row, err
	}
	return growthJSON{Model: g.what, From: plan.From, To: plan.To, ParametersFrom: plan.ParamsFrom, ParametersTo: plan.ParamsTo, Promised: report.Promised,
		MaxAbsDiff: report.MaxAbsDiff, Tolerance: report.Tolerance, MaxAbs: report.Outputs[0].MaxAbs, Verdict: report.Verdict, Reasons: reasonLines(report)}, nil
}

// growthTable has the growths as rows.
func (r *demoJSON) growthTable() [][]string {
	arrow := func(a, b int64) string { return strconv.FormatInt(a, 10) + " -> " + strconv.FormatInt(b, 10) }
	rows := [][]string{{"MODEL", "LAYERS", "HIDDEN", "HEADS", "PARAMETERS", "PROMISED", "MAX|Δ|", "TOLERANCE", "MAX|OUT|", "VERDICT"}}
	for _, g := range r.Growths {
		rows = append(rows, []string{g.Model, arrow(g.From.Layers, g.To.Layers), arrow(g.From.Hidden, g.To.Hidden), arrow(g.From.Heads, g.To.Heads),
			count(g.ParametersFrom) + " -> " + count(g.ParametersTo), g.Promised, short(g.MaxAbsDiff), short(g.Tolerance), short(g.MaxAbs), g.Verdict})
	}
	return rows
}

// notExact are the reasons of growths that are not exact.
func (r *demoJSON) notExact() []string {
	var out []string
	for _, g := range r.Growths {
		for _, reason := range g.Reasons {
			out = append(out, fmt.Sprintf("%s: %s", g.Model, reason))
		}
	}
	return out
}

func (d *demonstration) printGrowths(took time.Duration) {
	d.table(d.result.growthTable())
	for _, why := range d.result.notExact() {
		d.printf("\nnot exact: %s", why)
	}
	d.printf("\n%d models grown and verified in %s\n", len(d.result.Growths), took.Round(10*time.Millisecond))
}
