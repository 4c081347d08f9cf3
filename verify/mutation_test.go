package verify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/verify"
)

// change replaces the numbers of the first initializer whose name contains part.
func change(t *testing.T, m *onnxio.Model, part string, f func(v []float64, dims []int64)) {
	t.Helper()
	for i, x := range m.Graph.Initializers {
		if !strings.Contains(x.Name, part) {
			continue
		}
		v, err := x.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		f(v, x.Dims)
		y, err := onnxio.FromFloats(x.Name, x.DType, x.Dims, v)
		if err != nil {
			t.Fatal(err)
		}
		m.Graph.Initializers = slices.Clone(m.Graph.Initializers)
		m.Graph.Initializers[i] = y
		return
	}
	var names []string
	for _, x := range m.Graph.Initializers {
		names = append(names, x.Name)
	}
	t.Fatalf("no initializer %q among %v", part, names)
}

// Each mutation is a mistake that a growth tool could make, or that has been made.
func TestMutationsFail(t *testing.T) {
	gpt2 := fixtures.GPT2(fixtures.Config{})
	small := reread(t, gpt2)
	for _, c := range []struct {
		name   string
		target ligo.Target
		code   string // one of the failures
		mutate func(t *testing.T, m *onnxio.Model)
	}{
		{"one weight off by 1e-3 of itself", ligo.Target{}, verify.FailShadow, func(t *testing.T, m *onnxio.Model) {
			change(t, m, "h.0.c_fc.weight", func(v []float64, _ []int64) { v[largest(v)] *= 1 + 1e-3 })
		}},
		{"two heads swapped in Q but not in K", ligo.Target{Heads: 4}, verify.FailDifference, func(t *testing.T, m *onnxio.Model) {
			change(t, m, "h.0.c_attn.weight", func(v []float64, dims []int64) {
				for r := range int(dims[0]) {
					row := v[r*int(dims[1]):]
					for i := range 16 {
						row[i], row[16+i] = row[16+i], row[i]
					}
				}
			})
		}},
		{"epsilon of a norm not scaled", ligo.Target{Width: 1.5}, verify.FailShadow, func(t *testing.T, m *onnxio.Model) {
			for _, n := range m.Graph.Nodes {
				if a := n.Attr("epsilon"); a != nil {
					*a = onnxio.Attribute{Name: "epsilon", Kind: onnxio.AttrFloat, F: 1e-5}
				}
			}
		}},
		{"output projection of a new layer not zero", ligo.Target{Layers: 3}, verify.FailDifference, func(t *testing.T, m *onnxio.Model) {
			zero := ""
			for _, x := range m.Graph.Initializers {
				if v, err := x.Float64s(); err == nil && len(x.Dims) == 2 && !slices.ContainsFunc(v, func(f float64) bool { return f != 0 }) {
					zero = x.Name
				}
			}
			change(t, m, zero, func(v []float64, _ []int64) { v[0] = 0.1 })
		}},
		{"splits that do not sum to one", ligo.Target{FFN: 256}, verify.FailShadow, func(t *testing.T, m *onnxio.Model) {
			change(t, m, "h.1.mlp_proj.weight", func(v []float64, dims []int64) {
				for i := range dims[1] {
					v[i] *= 1.01
				}
			})
		}},
		{"NaN in a weight", ligo.Target{}, verify.FailNonFinite, func(t *testing.T, m *onnxio.Model) {
			change(t, m, "ln_f.weight", func(v []float64, _ []int64) { z := 0.0; v[0] = z / z })
		}},
		{"final norm off", ligo.Target{}, verify.FailDifference, func(t *testing.T, m *onnxio.Model) {
			change(t, m, "ln_f.bias", func(v []float64, _ []int64) { v[3] += 0.01 })
		}},
		{"an output renamed", ligo.Target{}, verify.FailSignature, func(_ *testing.T, m *onnxio.Model) {
			o := *m.Graph.Outputs[0]
			for _, n := range m.Graph.Nodes {
				for i, name := range n.Outputs {
					if name == o.Name {
						n.Outputs = slices.Clone(n.Outputs)
						n.Outputs[i] = "scores"
					}
				}
			}
			o.Name = "scores"
			m.Graph.Outputs = []*onnxio.ValueInfo{&o}
		}},
		{"a symbolic size fixed", ligo.Target{}, verify.FailSignature, func(_ *testing.T, m *onnxio.Model) {
			in := *m.Graph.Inputs[0]
			in.Type = onnxio.TensorType(onnxio.Int64, onnxio.Dim{Value: 2}, onnxio.Dim{Param: "sequence"})
			m.Graph.Inputs = []*onnxio.ValueInfo{&in}
		}},
		{"another IR version", ligo.Target{}, verify.FailVersion, func(_ *testing.T, m *onnxio.Model) { m.IRVersion++ }},
		{"another operator set", ligo.Target{}, verify.FailVersion, func(_ *testing.T, m *onnxio.Model) { m.Opsets = []onnxio.Opset{{Version: 18}} }},
		{"a reshape that is stale", ligo.Target{Heads: 4}, verify.FailRun, func(t *testing.T, m *onnxio.Model) {
			for _, n := range m.Graph.Nodes {
				a := n.Attr("value")
				if n.OpType != "Constant" || a == nil || a.T == nil || a.T.DType != onnxio.Int64 || a.T.NumElements() != 1 {
					continue
				}
				v, err := a.T.Int64s()
				if err != nil {
					t.Fatal(err)
				}
				if v[0] == 4 {
					*a = onnxio.Attribute{Name: "value", Kind: onnxio.AttrTensor, T: onnxio.FromInt64s(a.T.Name, a.T.Dims, []int64{3})}
					return
				}
			}
			t.Fatal("no constant 4 in the graph")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			large := grow(t, small, c.target, ligo.Options{Seed: 5})
			if r := certify(t, small, large, verify.Options{}); !r.Passed() {
				t.Fatalf("the growth itself fails: %v", r.Failures)
			}
			c.mutate(t, large.Model)
			r := certify(t, small, load(t, large.Model), verify.Options{Seed: 2})
			if r.Passed() {
				t.Fatalf("passed: %s", summary(r))
			}
			if !slices.ContainsFunc(r.Failures, func(f verify.Failure) bool { return f.Code == c.code && f.Text != "" }) {
				t.Errorf("no failure %q: %v", c.code, r.Failures)
			}
		})
	}
}

// One weight that is off by a hundredth of itself is found wherever it is, in every family. Biases of keys, and biases before a
// softmax over keys, are the exception: a softmax does not change when all its arguments move together.
func TestEveryWeightCounts(t *testing.T) {
	for name, m := range map[string]*onnxio.Model{"gpt2": fixtures.GPT2(fixtures.Config{}), "bert": fixtures.BERT(fixtures.Config{}),
		"vit": fixtures.ViT(fixtures.Config{}), "llama": fixtures.Llama(fixtures.Config{}), "cait": fixtures.CaiT(fixtures.Config{})} {
		t.Run(name, func(t *testing.T) {
			small := reread(t, m)
			large := grow(t, small, ligo.Target{Width: 2}, ligo.Options{Seed: 5})
			tensors := slices.Clone(large.Model.Graph.Initializers)
			for i, x := range tensors {
				shift := strings.HasSuffix(x.Name, ".bias") && (strings.Contains(x.Name, "key") || strings.Contains(x.Name, ".k.") ||
					strings.Contains(x.Name, "proj_l") || strings.Contains(x.Name, "c_attn"))
				if i%3 != 0 || !x.DType.Growable() || x.NumElements() < 2 || shift {
					continue
				}
				change(t, large.Model, x.Name, func(v []float64, _ []int64) { v[largest(v)] *= 1.01 })
				if r := certify(t, small, load(t, large.Model), verify.Options{Seed: 2}); r.Passed() {
					t.Errorf("%s: %s", x.Name, summary(r))
				}
				large.Model.Graph.Initializers = slices.Clone(tensors)
			}
		})
	}
}

func largest(v []float64) int {
	best := 0
	for i := range v {
		if v[i]*v[i] > v[best]*v[best] {
			best = i
		}
	}
	return best
}

func summary(r *verify.Report) string {
	text := ""
	for _, o := range r.Outputs {
		text += fmt.Sprintf("%s: %g of %g", o.Name, o.MaxAbsDiff, o.Tolerance)
		if o.Shadow != nil {
			text += fmt.Sprintf(", in float64 %g of %g", o.Shadow.MaxAbsDiff, o.Shadow.Tolerance)
		}
	}
	return text
}
