package ligo_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// learnables are models and targets that meet every kind of slot: fused and separate projections, tied heads, grouped heads, gated
// layers, patch convolutions, class tokens, talking heads, post-norm places.
func learnables() map[string]struct {
	model  *onnxio.Model
	target ligo.Target
} {
	type pair = struct {
		model  *onnxio.Model
		target ligo.Target
	}
	double := fixtures.Config{Layers: 2, DType: onnxio.Double, Seed: 5}
	return map[string]pair{
		"gpt2":       {fixtures.GPT2(double), ligo.Target{Width: 2, Depth: 1.5}},
		"gpt2 odd":   {fixtures.GPT2(fixtures.Config{Layers: 2, Hidden: 32, Heads: 2, DType: onnxio.Double}), ligo.Target{Hidden: 48, Layers: 3}},
		"bert":       {fixtures.BERT(double), ligo.Target{Width: 2, Depth: 2}},
		"bert odd":   {fixtures.BERT(fixtures.Config{Layers: 2, Hidden: 32, Heads: 2, DType: onnxio.Double}), ligo.Target{Hidden: 48, Layers: 3}},
		"llama":      {fixtures.Llama(fixtures.Config{Layers: 2, Hidden: 32, Heads: 4, KVHeads: 2, DType: onnxio.Double}), ligo.Target{Hidden: 48, Layers: 3}},
		"vit":        {fixtures.ViT(double), ligo.Target{Width: 2, Depth: 2}},
		"cait":       {fixtures.CaiT(double), ligo.Target{Width: 2, Depth: 2}},
		"depth only": {fixtures.GPT2(double), ligo.Target{Depth: 2}},
		"width only": {fixtures.GPT2(double), ligo.Target{Width: 2}},
	}
}

func learnable(t testing.TB, m *onnxio.Model, target ligo.Target, method ligo.Method, o ligo.LearnOptions) (*ligo.Plan, *ligo.Operator, *ligo.Learnable) {
	t.Helper()
	ctx := context.Background()
	p, err := ligo.NewPlan(ctx, analyse(t, m), target, ligo.Options{Method: method, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	op, err := p.Operator(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.Learnable(ctx, op, o)
	if err != nil {
		t.Fatal(err)
	}
	return p, op, l
}

// starts are the parametrisations, each from the start that it is meant for.
var starts = []struct {
	method ligo.Method
	o      ligo.LearnOptions
}{
	{ligo.LiGO, ligo.LearnOptions{Free: ligo.FreeDense, Tie: ligo.TieNone}},
	{ligo.LiGO, ligo.LearnOptions{Free: ligo.FreeSupport, Tie: ligo.TieNone}},
	{ligo.LiGO, ligo.LearnOptions{Free: ligo.FreeDepth, Tie: ligo.TieNone}},
	{ligo.LiGO, ligo.LearnOptions{Free: ligo.FreeDense, Tie: ligo.TieNone, Additive: true}},
	{ligo.Stack, ligo.LearnOptions{Free: ligo.FreeDense, Tie: ligo.TieNone}},
	{ligo.Paper, ligo.LearnOptions{Free: ligo.FreeDense, Tie: ligo.TiePaper}},
	{ligo.Paper, ligo.LearnOptions{Free: ligo.FreeDense, Tie: ligo.TieNone}},
}

// worst is the largest difference of outputs, relative to the largest output.
func worst(t testing.TB, got, want map[string]*onnxio.Tensor) float64 {
	t.Helper()
	most := 0.0
	for name, w := range want {
		x, err := w.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		y, err := got[name].Float64s()
		if err != nil {
			t.Fatal(err)
		}
		size, diff := 0.0, 0.0
		for i := range x {
			size, diff = max(size, math.Abs(x[i])), max(diff, math.Abs(x[i]-y[i]))
		}
		most = max(most, diff/size)
	}
	return most
}

// The learning graph computes what the operator makes, at the start and with any other values: a learned operator applied to the
// small weights is the model that was learned through.
func TestLearnableIsTheGrownModel(t *testing.T) {
	ctx := context.Background()
	for name, c := range learnables() {
		if testing.Short() && name != "gpt2 odd" {
			continue // each family has its own slots; one shows races
		}
		for _, s := range starts {
			o := s.o
			t.Run(fmt.Sprintf("%s/%s/%s/tie=%s/additive=%v", name, s.method, o.Free, o.Tie, o.Additive), func(t *testing.T) {
				p, op, l := learnable(t, c.model, c.target, s.method, o)
				in := inputs(c.model)
				grown, err := ligo.Apply(ctx, p, op)
				if err != nil {
					t.Fatal(err)
				}
				if d := worst(t, run(t, l.Graph, in), run(t, grown.Graph, in)); d > 1e-12 {
					t.Errorf("at the start the outputs differ by %g", d)
				}
				if len(l.Params) == 0 {
					t.Skip("nothing is free")
				}
				r := rand.New(rand.NewPCG(1, 1))
				values := map[string][]float64{}
				for _, n := range l.Params {
					v := l.Graph.Value(n)
					x, err := v.Const.Float64s()
					if err != nil {
						t.Fatal(err)
					}
					for i := range x {
						x[i] += 0.01 * r.NormFloat64()
					}
					values[n] = x
					if v.Const, err = onnxio.FromFloats(n, v.Const.DType, v.Const.Dims, x); err != nil {
						t.Fatal(err)
					}
				}
				learned, err := l.Operator(func(n string) []float64 { return values[n] })
				if err != nil {
					t.Fatal(err)
				}
				if grown, err = ligo.Apply(ctx, p, learned); err != nil {
					t.Fatal(err)
				}
				if d := worst(t, run(t, l.Graph, in), run(t, grown.Graph, in)); d > 1e-12 {
					t.Errorf("with other values the outputs differ by %g", d)
				}
			})
		}
	}
}

// The gradients by the operator's matrices and blends are the central differences of the loss.
func TestLearnableGradients(t *testing.T) {
	ctx := context.Background()
	for name, c := range learnables() {
		if testing.Short() && name != "gpt2 odd" {
			continue // each family has its own slots; one shows races
		}
		for i, s := range starts {
			if i > 0 && name != "gpt2 odd" && name != "cait" {
				continue // one start for every family, every start for two
			}
			t.Run(fmt.Sprintf("%s/%s/%s/tie=%s", name, s.method, s.o.Free, s.o.Tie), func(t *testing.T) {
				if testing.Short() && name != "gpt2 odd" {
					t.Skip("SKIPPED: -short")
				}
				_, _, l := learnable(t, c.model, c.target, s.method, s.o)
				if len(l.Params) == 0 {
					t.Skip("nothing is free")
				}
				// loss: the outputs' mean square
				g := l.Graph
				out := g.Outputs[0]
				square, loss := g.NewValue("square", nil), g.NewValue("loss", nil)
				g.NewNode("Mul", "", "square", []*graph.Value{out, out}, []*graph.Value{square})
				g.NewNode("ReduceMean", "", "mean", []*graph.Value{square}, []*graph.Value{loss}, graph.IntAttr("keepdims", 0))
				tr, err := engine.NewTrainer(g, "loss", l.Params, engine.Options{Float64: true})
				if err != nil {
					t.Fatal(err)
				}
				in := inputs(c.model)
				if _, err := tr.Gradients(ctx, in); err != nil {
					t.Fatal(err)
				}
				grads := map[string][]float64{}
				for _, p := range tr.Params() {
					grads[p.Name] = append([]float64(nil), p.Grad.F64...)
				}
				value := func() float64 {
					o, err := tr.Forward(ctx, in)
					if err != nil {
						t.Fatal(err)
					}
					x, err := o["loss"].Float64s()
					if err != nil {
						t.Fatal(err)
					}
					return x[0]
				}
				r := rand.New(rand.NewPCG(2, 2))
				for _, p := range tr.Params() {
					x, dx := p.Value.F64, grads[p.Name]
					if len(dx) == 0 {
						t.Errorf("the loss does not depend on %s", p.Name)
						continue
					}
					largest := 0.0
					for _, d := range dx {
						largest = max(largest, math.Abs(d))
					}
					for range 2 {
						j := r.IntN(len(x))
						old, h := x[j], 1e-5
						x[j] = old + h
						up := value()
						x[j] = old - h
						down := value()
						x[j] = old
						want := (up - down) / (2 * h)
						noise := 1e-15 * (math.Abs(up) + math.Abs(down)) / h
						if d := math.Abs(dx[j] - want); d > 1e-6*max(largest, math.Abs(want))+noise {
							t.Errorf("gradient by %s[%d] is %.12g, central difference %.12g", p.Name, j, dx[j], want)
						}
					}
				}
			})
		}
	}
}
