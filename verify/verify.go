package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// Model is one of the two models.
type Model struct {
	Path  string // for the report
	Model *onnxio.Model
	Graph *graph.Graph
}

// Load links the graph of a model that was read.
func Load(path string, m *onnxio.Model) (Model, error) {
	g, err := graph.FromModel(m)
	if err != nil {
		return Model{}, err
	}
	return Model{path, m, g}, nil
}

// Growth is what is known of how the large model was made from the small one.
type Growth struct {
	Promise string // what is neither Approximate nor None is taken for Exact
	Reasons []Reason
	// InputMaps and OutputMaps tell how values whose axes grew (caches, hidden states) correspond: one matrix for each axis, nil for
	// an axis that is as it was.
	InputMaps, OutputMaps map[string][]linmap.Matrix
	// Deeper says that layers were added, which may bring inputs and outputs of their own.
	Deeper bool
	// Planned is the growth repeated: the graph that the large file must have, with initializers of the same shapes. May be nil.
	Planned *graph.Graph
}

func (g *Growth) maps(output bool) map[string][]linmap.Matrix {
	switch {
	case g == nil:
		return nil
	case output:
		return g.OutputMaps
	}
	return g.InputMaps
}

// Options choose how to compare.
type Options struct {
	// Sets are inputs to compare on. Inputs made from the signature and Seed are added when Synthetic is set, or when there are none.
	Sets      []dataset.Set
	Synthetic bool
	Seed      uint64
	// Short makes fewer and smaller inputs.
	Short bool
	// Atol and Rtol replace the derived tolerance by Atol + Rtol·max|out| when one of them is not zero.
	Atol, Rtol float64
	// MaxDeviation, when positive, fails a growth that promises less than "exact" and deviates by more than this share of max|out|.
	MaxDeviation float64
	// Growth is what is known of the growth; nil: nothing, the models must agree.
	Growth *Growth
	// Shadow compares in float64 as well.
	Shadow bool
	// SecondReader decodes the large model with another library too.
	SecondReader bool
	MaxMemory    int64
	// Progress, when not nil, is told what is being done: step done of total begins.
	Progress func(done, total int, what string)
}

// comparison is one run of Compare.
type comparison struct {
	o            Options
	small, large Model
	report       *Report
	outputs      []*output
}

// Compare verifies the large model against the small one. An error says that no verdict could be reached: the small model does not
// run, a given input does not fit, the context was cancelled. Whatever is wrong with the large model is a verdict.
func Compare(ctx context.Context, small, large Model, o Options) (*Report, error) {
	basis, err := basisOf(small.Graph, large.Graph, o)
	if err != nil {
		return nil, err
	}
	c := &comparison{o: o, small: small, large: large, report: &Report{
		Schema: Schema, Promised: Exact, Basis: basis,
		Outputs: []Output{}, Reasons: []Reason{}, Failures: []Failure{}, Notes: []string{}, Sets: []SetInfo{}, Readers: []Reader{},
		Small: summary(small), Large: summary(large),
	}}
	if g := o.Growth; g != nil {
		switch g.Promise {
		case Approximate, None:
			c.report.Promised = g.Promise
		}
		c.report.Reasons = append(c.report.Reasons, g.Reasons...)
	}
	c.structure()
	c.planned()
	if err := c.secondReader(ctx); err != nil {
		return nil, err
	}
	if err := c.measure(ctx); err != nil {
		return nil, err
	}
	c.conclude()
	return c.report, nil
}

func basisOf(small, large *graph.Graph, o Options) (Basis, error) {
	// Functions must be inlined and constants be constants for counting; the graphs themselves stay as they are in the file.
	s, l := small.Clone(), large.Clone()
	if err := errors.Join(s.Normalize(), l.Normalize()); err != nil {
		return Basis{}, err
	}
	b := derive(s, l)
	if o.Atol != 0 || o.Rtol != 0 {
		b.Given, b.Atol, b.Rtol = true, Number(o.Atol), Number(o.Rtol)
		b.Text = fmt.Sprintf("given: %g + %g·max|out|", o.Atol, o.Rtol)
	}
	return b, nil
}

func summary(m Model) ModelSummary {
	s := ModelSummary{Path: m.Path, SHA256: m.Model.SHA256}
	count := func(t *onnxio.Tensor) {
		if n := t.NumElements(); n > 1 && t.DType.Growable() {
			s.Params += n
		}
	}
	for _, v := range m.Graph.Consts {
		count(v.Const)
	}
	for _, n := range m.Graph.Nodes {
		if n.Op == "Constant" && len(n.Attrs) == 1 && n.Attrs[0].T != nil {
			count(n.Attrs[0].T)
		}
	}
	return s
}

func (c *comparison) note(format string, args ...any) {
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
}

// conclude decides the verdict from what was found.
func (c *comparison) conclude() {
	r := c.report
	worst := -1.0
	for _, out := range c.outputs {
		o := out.result(c)
		r.Outputs = append(r.Outputs, o)
		if n := float64(o.MaxAbs); n > 0 {
			r.Deviation = max(r.Deviation, o.MaxAbsDiff/o.MaxAbs)
		}
		if ratio := out.ratio(); ratio > worst {
			worst, r.MaxAbsDiff, r.Tolerance = ratio, o.MaxAbsDiff, o.Tolerance
		}
	}
	if d := float64(r.Deviation); r.Promised != Exact && c.o.MaxDeviation > 0 && d > c.o.MaxDeviation {
		r.fail(FailDeviation, "", fmt.Sprintf("the outputs deviate by %.3g of their largest element, allowed is %.3g", d, c.o.MaxDeviation))
	}
	r.Verdict = Pass
	if len(r.Failures) > 0 {
		r.Verdict = Fail
	}
}
