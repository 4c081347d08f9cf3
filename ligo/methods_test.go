package ligo_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// TestMethods doubles every family by every method: those that are exact are so to rounding, the others say that they are not.
func TestMethods(t *testing.T) {
	for _, f := range families {
		m := f.model(fixtures.Config{DType: onnxio.Double})
		a := analyse(t, m)
		in := inputs(m)
		for _, method := range ligo.Methods() {
			t.Run(f.name+"/"+string(method.Name), func(t *testing.T) {
				p, g := grow(t, a, ligo.Target{}, ligo.Options{Method: method.Name, Seed: 5})
				d := difference(t, a.Graph, g, in)
				t.Logf("%s: off %.3g", p.Promise, d)
				want := ligo.None
				if method.Exact {
					want = ligo.Exact
				}
				if p.Promise != want {
					t.Errorf("promise %s, want %s: %v", p.Promise, want, p.Reasons)
				}
				if p.Promise == ligo.Exact && d > exact {
					t.Errorf("promised exact, off %g", d)
				}
				if p.Promise == ligo.None && d < 1e-6 {
					t.Errorf("promised nothing, off by %g only", d)
				}
			})
		}
	}
}

// TestMethodsInPart: what a method promises depends on what grows.
func TestMethodsInPart(t *testing.T) {
	for _, c := range []struct {
		method ligo.Method
		target ligo.Target
		want   ligo.Promise
	}{
		{ligo.Direct, ligo.Target{FFN: 200, Heads: 3}, ligo.Exact},
		{ligo.Direct, ligo.Target{Layers: 4}, ligo.Exact},
		{ligo.Direct, ligo.Target{Hidden: 48}, ligo.None},
		{ligo.Net2Net, ligo.Target{Width: 1.5}, ligo.Approximate},
		{ligo.Net2Net, ligo.Target{FFN: 200, Heads: 3, Layers: 3}, ligo.Exact},
		{ligo.Stack, ligo.Target{Width: 1.5}, ligo.Exact},
		{ligo.Interpolate, ligo.Target{Layers: 3}, ligo.None},
		{ligo.LEMON, ligo.Target{Width: 2.5, Layers: 3}, ligo.Exact},
		{ligo.LEMON, ligo.Target{Layers: 7}, ligo.Exact},
		{ligo.HyperClone, ligo.Target{Width: 3, HeadDim: 48}, ligo.Exact},
		{ligo.Staged, ligo.Target{FFN: 256}, ligo.Exact},
	} {
		t.Run(fmt.Sprintf("%s %+v", c.method, c.target), func(t *testing.T) {
			m := fixtures.GPT2(fixtures.Config{DType: onnxio.Double})
			a := analyse(t, m)
			p, g := grow(t, a, c.target, ligo.Options{Method: c.method})
			d := difference(t, a.Graph, g, inputs(m))
			t.Logf("%s, off %.3g", p.Promise, d)
			if p.Promise != c.want {
				t.Errorf("promise %s, want %s: %v", p.Promise, c.want, p.Reasons)
			}
			if p.Promise == ligo.Exact && d > exact {
				t.Errorf("promised exact, off %g", d)
			}
		})
	}
}

// TestNewUnitsLearn: no unit that growth adds is cut off on both sides, what it reads and what reads it.
func TestNewUnitsLearn(t *testing.T) {
	m := fixtures.BERT(fixtures.Config{DType: onnxio.Double})
	a := analyse(t, m)
	_, g := grow(t, a, ligo.Target{HeadDim: 24}, ligo.Options{})
	x, err := g.Graph.Value("onnx::MatMul_501").Const.Float64s() // queries of the first layer, hidden x heads·head size
	if err != nil {
		t.Fatal(err)
	}
	for j := range 48 {
		sum := 0.0
		for i := range 32 {
			sum += math.Abs(x[i*48+j])
		}
		if sum == 0 {
			t.Errorf("element %d of the queries is zero, as it is in the keys", j)
		}
	}
}

// TestVariants grows what is unusual about models.
func TestVariants(t *testing.T) {
	double := onnxio.Double
	variants := []struct {
		name   string
		model  *onnxio.Model
		target ligo.Target
		want   ligo.Promise
	}{
		{"gpt2 untied", fixtures.GPT2(fixtures.Config{DType: double, Head: fixtures.HeadUntied}), ligo.Target{Width: 1.5, Depth: 1.5}, ligo.Exact},
		{"gpt2 unfolded", fixtures.GPT2(fixtures.Config{DType: double, Unfolded: true}), ligo.Target{Width: 2.5, Depth: 1.5}, ligo.Exact},
		{"gpt2 cache", fixtures.GPT2(fixtures.Config{DType: double, Cache: true}), ligo.Target{}, ligo.Exact},
		{"gpt2 cache head size", fixtures.GPT2(fixtures.Config{DType: double, Cache: true}), ligo.Target{HeadDim: 24, Layers: 3}, ligo.Exact},
		{"gpt2 default weights", fixtures.GPT2(fixtures.Config{DType: double, DefaultInit: true}), ligo.Target{Width: 1.5, Depth: 2}, ligo.Exact},
		{"gpt2 opset 13", fixtures.GPT2(fixtures.Config{DType: double, Opset: 13}), ligo.Target{Width: 1.5, Depth: 2}, ligo.Exact},
		{"gpt1", fixtures.GPT2(fixtures.Config{DType: double, PostNorm: true}), ligo.Target{Width: 2}, ligo.Exact},
		{"gpt1 deeper", fixtures.GPT2(fixtures.Config{DType: double, PostNorm: true}), ligo.Target{Depth: 2}, ligo.Approximate},
		{"gpt1 indivisible", fixtures.GPT2(fixtures.Config{DType: double, PostNorm: true}), ligo.Target{Width: 1.5}, ligo.Approximate},
		{"gpt1 constant gain", fixtures.GPT2(fixtures.Config{DType: double, PostNorm: true, ConstantGain: true, Head: fixtures.HeadUntied}), ligo.Target{Width: 1.5}, ligo.Exact},
		{"bert default weights", fixtures.BERT(fixtures.Config{DType: double, DefaultInit: true}), ligo.Target{}, ligo.Exact},
		{"electra", fixtures.BERT(fixtures.Config{DType: double, Embedding: 16}), ligo.Target{}, ligo.Exact},
		{"llama grouped", fixtures.Llama(fixtures.Config{DType: double, Heads: 4, KVHeads: 2, HeadDim: 8}), ligo.Target{Width: 1.5, Depth: 1.5}, ligo.Exact},
		{"llama one kv head", fixtures.Llama(fixtures.Config{DType: double, Heads: 2, KVHeads: 1}), ligo.Target{}, ligo.Exact},
		{"llama more queries", fixtures.Llama(fixtures.Config{DType: double, Heads: 4, KVHeads: 2, HeadDim: 8}), ligo.Target{Heads: 6, KVHeads: 2}, ligo.Exact},
		{"llama more groups", fixtures.Llama(fixtures.Config{DType: double, Heads: 4, KVHeads: 2, HeadDim: 8}), ligo.Target{KVHeads: 3}, ligo.Exact},
		{"llama tied", fixtures.Llama(fixtures.Config{DType: double, Head: fixtures.HeadTied}), ligo.Target{Width: 1.5}, ligo.Exact},
		{"llama tied twice", fixtures.Llama(fixtures.Config{DType: double, Head: fixtures.HeadTied}), ligo.Target{Width: 2.5}, ligo.Exact},
		{"llama cache", fixtures.Llama(fixtures.Config{DType: double, Heads: 4, KVHeads: 2, HeadDim: 8, Cache: true}), ligo.Target{Width: 2, Depth: 2, HeadDim: 12}, ligo.Exact},
		{"llama computed angles", fixtures.Llama(fixtures.Config{DType: double, RotaryComputed: true}), ligo.Target{HeadDim: 24, Width: 2}, ligo.Exact},
		{"qwen3", fixtures.Llama(fixtures.Config{DType: double, QKNorm: true}), ligo.Target{Width: 1.5, Depth: 2}, ligo.Exact},
		{"qwen3 head size", fixtures.Llama(fixtures.Config{DType: double, QKNorm: true}), ligo.Target{HeadDim: 24}, ligo.Exact},
		{"one head", fixtures.GPT2(fixtures.Config{DType: double, Heads: 1, HeadDim: 16, Hidden: 16}), ligo.Target{}, ligo.Exact},
		{"deit", fixtures.ViT(fixtures.Config{DType: double, Distilled: true}), ligo.Target{Width: 1.5, Depth: 1.5}, ligo.Exact},
		{"two widths", fixtures.TwoWidths(fixtures.Config{DType: double, Hidden: 32}, fixtures.Config{DType: double, Hidden: 48, Heads: 3}), ligo.Target{}, ligo.Exact},
		{"two widths indivisible", fixtures.TwoWidths(fixtures.Config{DType: double, Hidden: 32}, fixtures.Config{DType: double, Hidden: 64, Heads: 4}), ligo.Target{Width: 1.5}, ligo.Exact},
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			a := analyse(t, v.model)
			p, g := grow(t, a, v.target, ligo.Options{Seed: 2})
			d := difference(t, a.Graph, g, inputs(v.model))
			t.Logf("%s -> %s: %s, off %.3g; %v", p.From, p.To, p.Promise, d, p.Notes)
			if p.Promise != v.want {
				t.Errorf("promise %s, want %s: %v", p.Promise, v.want, p.Reasons)
			}
			if p.Promise == ligo.Exact && d > exact {
				t.Errorf("promised exact, off %g", d)
			}
			if d > 0.1 {
				t.Errorf("off %g", d)
			}
		})
	}
}

// TestTiesStay: what was one initializer is one afterwards, and what was equal stays equal, whatever the width.
func TestTiesStay(t *testing.T) {
	for _, unfolded := range []bool{false, true} {
		for _, width := range []float64{1.5, 2, 2.5} {
			m := fixtures.GPT2(fixtures.Config{DType: onnxio.Double, Unfolded: unfolded})
			p, g := grow(t, analyse(t, m), ligo.Target{Width: width, Depth: 2}, ligo.Options{})
			if len(p.Notes) > 0 {
				t.Errorf("width %g: %v", width, p.Notes)
			}
			out, err := g.Graph.ToModel()
			if err != nil {
				t.Fatal(err)
			}
			var tables [][]float64
			for _, x := range out.Graph.Initializers {
				if slices.Contains(x.Dims, 67) && len(x.Dims) == 2 {
					v, err := x.Float64s()
					if err != nil {
						t.Fatal(err)
					}
					slices.Sort(v)
					tables = append(tables, v)
				}
			}
			want := 2
			if unfolded {
				want = 1
			}
			if len(tables) != want {
				t.Errorf("width %g, unfolded %v: %d matrices over the vocabulary, want %d", width, unfolded, len(tables), want)
			}
			if len(tables) == 2 && !slices.Equal(tables[0], tables[1]) {
				t.Errorf("width %g: embedding and output differ", width)
			}
		}
	}
}

// TestImpossibleTargets are refused before any work, with the nearest sizes that are possible.
func TestImpossibleTargets(t *testing.T) {
	gpt2 := analyse(t, fixtures.GPT2(fixtures.Config{}))
	llama := analyse(t, fixtures.Llama(fixtures.Config{Heads: 4, KVHeads: 2, HeadDim: 8}))
	for _, c := range []struct {
		name   string
		a      *ligo.Analysis
		target ligo.Target
		method ligo.Method
		code   string
		near   []int64
	}{
		{"shrink", gpt2, ligo.Target{Hidden: 16}, "", ligo.CodeShrink, []int64{32}},
		{"fewer layers", gpt2, ligo.Target{Layers: 1}, "", ligo.CodeShrink, []int64{2}},
		{"unknown axis", gpt2, ligo.Target{Axes: map[string]int64{"hiden": 64}}, "", ligo.CodeNoSuchAxis, nil},
		{"uneven groups", llama, ligo.Target{Heads: 5, KVHeads: 2}, "", ligo.CodeSizeEquation, []int64{4, 6}},
		{"own kv heads", gpt2, ligo.Target{Heads: 4, KVHeads: 2}, "", ligo.CodeSizeEquation, []int64{4}},
		{"no multiple", gpt2, ligo.Target{Width: 1.5}, ligo.HyperClone, ligo.CodeNotMultiple, []int64{32, 64}},
		{"no doubling", gpt2, ligo.Target{Width: 3}, ligo.Staged, ligo.CodeNotMultiple, []int64{64}},
		{"too wide", gpt2, ligo.Target{Hidden: 1 << 40}, "", ligo.CodeTooLarge, nil},
		{"too many elements", llama, ligo.Target{Heads: 1 << 29, HeadDim: 1 << 20}, "", ligo.CodeTooLarge, nil},
		{"too deep", gpt2, ligo.Target{Layers: 1 << 40}, "", ligo.CodeTooLarge, []int64{4096}},
		{"too deep by factor", gpt2, ligo.Target{Depth: 1e5}, "", ligo.CodeTooLarge, []int64{4096}},
		{"negative", gpt2, ligo.Target{Hidden: -1}, "", ligo.CodeSizeEquation, nil},
		{"vocabulary", gpt2, ligo.Target{Axes: map[string]int64{"fixed67.0": 100}}, "", ligo.CodeFrozen, []int64{67}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ligo.NewPlan(context.Background(), c.a, c.target, ligo.Options{Method: c.method})
			var target *ligo.TargetError
			if !errors.As(err, &target) {
				t.Fatalf("err = %v, want a TargetError", err)
			}
			p := target.Problems[0]
			t.Log(err)
			if p.Code != c.code || !slices.Equal(p.Nearest, c.near) {
				t.Errorf("problem %+v, want code %s, nearest %v", p, c.code, c.near)
			}
		})
	}
}

// TestReplay: a plan made from the record in the grown model is the plan that made it.
func TestReplay(t *testing.T) {
	m := fixtures.BERT(fixtures.Config{DType: onnxio.Double})
	a := analyse(t, m)
	_, g := grow(t, a, ligo.Target{Hidden: 48, FFN: 200, Layers: 5}, ligo.Options{Method: ligo.LEMON, Seed: 9})
	rec, ok, err := ligo.FromMetadata(g.Graph.Model.Metadata)
	if err != nil || !ok {
		t.Fatalf("no record: %v", err)
	}
	p, err := ligo.Replay(context.Background(), a, rec)
	if err != nil {
		t.Fatal(err)
	}
	op, err := p.Operator(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	again, err := ligo.Apply(context.Background(), p, op)
	if err != nil {
		t.Fatal(err)
	}
	if p.Promise != rec.Promise || len(p.Reasons) != len(rec.Reasons) {
		t.Errorf("promise %s %v, recorded %s %v", p.Promise, p.Reasons, rec.Promise, rec.Reasons)
	}
	x, y := again.Graph.Consts, g.Graph.Consts
	if len(x) != len(y) {
		t.Fatalf("%d constants, then %d", len(y), len(x))
	}
	for i := range x {
		if same, err := x[i].Const.Equal(y[i].Const); err != nil || !same {
			t.Fatalf("%s differs (%v)", x[i].Name, err)
		}
	}
	if _, ok, err := ligo.FromMetadata(m.Metadata); ok || err != nil {
		t.Errorf("a model that was not grown has a record (%v)", err)
	}
}

// TestSeeds: the same seed gives the same model, another one another.
func TestSeeds(t *testing.T) {
	a := analyse(t, fixtures.GPT2(fixtures.Config{}))
	bytes := func(seed uint64) []byte {
		_, g := grow(t, a, ligo.Target{Width: 1.5, Depth: 2}, ligo.Options{Seed: seed})
		var all []byte
		for _, v := range g.Graph.Consts {
			b, err := v.Const.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
		return all
	}
	if !slices.Equal(bytes(1), bytes(1)) {
		t.Error("one seed gives two models")
	}
	if slices.Equal(bytes(1), bytes(2)) {
		t.Error("two seeds give one model")
	}
}

// TestParams: a number of parameters is met within a few percent, by a model of like proportions.
func TestParams(t *testing.T) {
	a := analyse(t, fixtures.GPT2(fixtures.Config{}))
	now := a.Summary().Params
	for _, factor := range []int64{2, 5, 30} {
		p, err := ligo.NewPlan(context.Background(), a, ligo.Target{Params: now * factor}, ligo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d asked, %d: %s", now*factor, p.ParamsTo, p.To)
		if off := math.Abs(float64(p.ParamsTo)/float64(now*factor) - 1); off > 0.12 {
			t.Errorf("%d parameters asked, %d planned", now*factor, p.ParamsTo)
		}
	}
}

// TestSummary: what inspect shows.
func TestSummary(t *testing.T) {
	s := analyse(t, fixtures.Llama(fixtures.Config{Heads: 4, KVHeads: 2, HeadDim: 8, Layers: 3})).Summary()
	got := []int64{s.Layers, *s.Hidden, *s.Heads, *s.KVHeads, *s.HeadDim, *s.FFN}
	if want := []int64{3, 32, 4, 2, 8, 96}; !slices.Equal(got, want) {
		t.Errorf("layers, hidden, heads, kv heads, head size, ffn = %v, want %v", got, want)
	}
	if *s.Norm != "pre" || *s.NormKind != "RMS norm" {
		t.Errorf("norm %s, %s", *s.Norm, *s.NormKind)
	}
	if len(s.Inputs) == 0 || len(s.Outputs) == 0 || s.Params == 0 || s.FLOPs == 0 {
		t.Errorf("summary is incomplete: %+v", s)
	}
	for _, x := range s.Axes {
		if x.Growable && len(x.Tensors) == 0 || strings.TrimSpace(x.Name) == "" {
			t.Errorf("axis %+v", x)
		}
	}
}
