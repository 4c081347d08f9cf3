package ligo_test

import (
	"context"
	"math"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func analyse(t testing.TB, m *onnxio.Model) *ligo.Analysis {
	t.Helper()
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ligo.Analyse(context.Background(), g)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func grow(t testing.TB, a *ligo.Analysis, target ligo.Target, o ligo.Options) (*ligo.Plan, *ligo.Grown) {
	t.Helper()
	ctx := context.Background()
	p, err := ligo.NewPlan(ctx, a, target, o)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	op, err := p.Operator(ctx)
	if err != nil {
		t.Fatalf("operator: %v", err)
	}
	g, err := ligo.Apply(ctx, p, op)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return p, g
}

// run computes the outputs of a graph in float64.
func run(t testing.TB, g *graph.Graph, inputs map[string]*onnxio.Tensor) map[string]*onnxio.Tensor {
	t.Helper()
	e, err := engine.New(g, engine.Options{Float64: true})
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Run(context.Background(), inputs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mapped(t testing.TB, x *onnxio.Tensor, maps []linmap.Matrix) *onnxio.Tensor {
	t.Helper()
	if maps == nil {
		return x
	}
	y, err := linmap.Grow(x, maps)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// difference is how far the outputs of the grown model are from the small one's, relative to the largest.
func difference(t testing.TB, small *graph.Graph, grown *ligo.Grown, inputs map[string]*onnxio.Tensor) float64 {
	t.Helper()
	large := map[string]*onnxio.Tensor{}
	for _, v := range grown.Graph.Inputs {
		if x := inputs[v.Name]; x != nil {
			large[v.Name] = mapped(t, x, grown.InputMaps[v.Name])
		}
	}
	// Caches of new layers take any values; the new layers' outputs are zero.
	for _, v := range grown.Graph.Inputs {
		if large[v.Name] != nil {
			continue
		}
		for _, w := range grown.Graph.Inputs {
			if x := large[w.Name]; x != nil && w.Type.Elem == v.Type.Elem && len(w.Type.Dims) == len(v.Type.Dims) && x.DType.Growable() {
				large[v.Name] = x
			}
		}
	}
	want, got := run(t, small, inputs), run(t, grown.Graph, large)
	worst := 0.0
	for name, w := range want {
		w = mapped(t, w, grown.OutputMaps[name])
		x, err := w.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		if got[name] == nil {
			t.Fatalf("output %s is missing", name)
		}
		y, err := got[name].Float64s()
		if err != nil {
			t.Fatal(err)
		}
		if len(x) != len(y) {
			t.Fatalf("output %s has %d elements %v, want %d %v", name, len(y), got[name].Dims, len(x), w.Dims)
		}
		largest, off := 1e-300, 0.0
		for i := range x {
			largest = max(largest, math.Abs(x[i]))
			d := math.Abs(x[i] - y[i])
			if math.IsNaN(d) {
				d = math.Inf(1)
			}
			off = max(off, d)
		}
		worst = max(worst, off/largest)
	}
	return worst
}

func inputs(m *onnxio.Model) map[string]*onnxio.Tensor {
	return fixtures.Inputs(m, 1, map[string]int{"batch": 2, "sequence": 5, "past": 3, "past_sequence": 3})
}

// family is a model by code in float64, where exact means 1e-12.
type family struct {
	name  string
	model func(fixtures.Config) *onnxio.Model
}

var families = []family{
	{"gpt2", fixtures.GPT2}, {"bert", fixtures.BERT}, {"llama", fixtures.Llama}, {"vit", fixtures.ViT}, {"cait", fixtures.CaiT},
}

const exact = 1e-12

// TestTargets grows every family to every kind of target. Where the plan promises exactness the outputs must be equal to rounding.
func TestTargets(t *testing.T) {
	targets := []struct {
		name string
		t    ligo.Target
	}{
		{"default", ligo.Target{}},
		{"width1.5", ligo.Target{Width: 1.5}},
		{"hd", ligo.Target{Hidden: 48, HeadDim: 24, Layers: 3}},
		{"hidden48", ligo.Target{Hidden: 48}},
		{"hidden64", ligo.Target{Hidden: 64}},
		{"heads", ligo.Target{Heads: 3}},
		{"headdim", ligo.Target{HeadDim: 24}},
		{"ffn", ligo.Target{FFN: 200}},
		{"layers3", ligo.Target{Layers: 3}},
		{"layers5", ligo.Target{Layers: 5}},
		{"width3", ligo.Target{Width: 3}},
	}
	for _, f := range families {
		m := f.model(fixtures.Config{DType: onnxio.Double})
		a := analyse(t, m)
		in := inputs(m)
		for _, target := range targets {
			t.Run(f.name+"/"+target.name, func(t *testing.T) {
				p, g := grow(t, a, target.t, ligo.Options{Seed: 1})
				d := difference(t, a.Graph, g, in)
				t.Logf("%s: %s -> %s: %s, off %.3g", f.name, p.From, p.To, p.Promise, d)
				for _, r := range p.Reasons {
					t.Logf("  %s: %s (%s %s)", r.Code, r.Text, r.Node, r.Tensor)
				}
				for _, r := range p.Notes {
					t.Logf("  note %s: %s", r.Code, r.Text)
				}
				if p.Promise == ligo.Exact && d > exact {
					t.Errorf("promised exact, off %g", d)
				}
			})
		}
	}
}
