package ligo_test

import (
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// expose makes inner values outputs.
func expose(m *onnxio.Model, names ...string) *onnxio.Model {
	for _, n := range names {
		m.Graph.Outputs = append(m.Graph.Outputs, &onnxio.ValueInfo{Name: n, Type: onnxio.TensorType(onnxio.Double,
			onnxio.Dim{Param: "batch"}, onnxio.Dim{Param: "sequence"}, onnxio.Dim{Value: 32})})
	}
	return m
}

// outputOf is the first output of the last node of an operator.
func outputOf(m *onnxio.Model, op string) string {
	name := ""
	for _, n := range m.Graph.Nodes {
		if n.OpType == op {
			name = n.Outputs[0]
		}
	}
	return name
}

// TestHiddenStateOutputs: outputs that carry a growing width are the small model's through the output maps.
func TestHiddenStateOutputs(t *testing.T) {
	for _, width := range []float64{1.5, 2, 2.5} {
		gpt2 := fixtures.GPT2(fixtures.Config{DType: onnxio.Double})
		expose(gpt2, outputOf(gpt2, "LayerNormalization")) // in front of the tied head
		llama := fixtures.Llama(fixtures.Config{DType: onnxio.Double})
		expose(llama, "/emb/Gather_output_0") // the stream
		bert := fixtures.BERT(fixtures.Config{DType: onnxio.Double})
		expose(bert, firstNorm(bert))
		for name, m := range map[string]*onnxio.Model{"gpt2": gpt2, "llama": llama, "bert": bert} {
			t.Run(name, func(t *testing.T) {
				a := analyse(t, m)
				p, g := grow(t, a, ligo.Target{Width: width, Depth: 2}, ligo.Options{})
				d := difference(t, a.Graph, g, inputs(m))
				t.Logf("x%g: %s, off %.3g, %v", width, p.Promise, d, p.Interface)
				if p.Promise == ligo.Exact && d > exact || d > 0.05 {
					t.Errorf("off %g", d)
				}
				if len(p.Interface) != 1 || len(g.OutputMaps) != 1 {
					t.Errorf("interface %v, maps of %d outputs", p.Interface, len(g.OutputMaps))
				}
			})
		}
	}
}

func firstNorm(m *onnxio.Model) string {
	for _, n := range m.Graph.Nodes {
		if n.OpType == "LayerNormalization" {
			return n.Outputs[0]
		}
	}
	return ""
}

// TestFloatTypes: half precision models grow, rounded once.
func TestFloatTypes(t *testing.T) {
	for dt, bound := range map[onnxio.DType]float64{onnxio.Float16: 5e-3, onnxio.BFloat16: 5e-2, onnxio.Float: single} {
		t.Run(dt.String(), func(t *testing.T) {
			m := fixtures.GPT2(fixtures.Config{DType: dt})
			a := analyse(t, m)
			p, g := grow(t, a, ligo.Target{Width: 1.5, Depth: 2}, ligo.Options{})
			if d := difference(t, a.Graph, g, inputs(m)); p.Promise != ligo.Exact || d > bound {
				t.Errorf("%s, off %g", p.Promise, d)
			}
		})
	}
}

// TestInitializersAsInputs: files of IR version 3 list every initializer among the inputs.
func TestInitializersAsInputs(t *testing.T) {
	m := fixtures.GPT2(fixtures.Config{DType: onnxio.Double, Unfolded: true})
	in := inputs(m)
	m.IRVersion = 3
	for _, x := range m.Graph.Initializers {
		dims := make([]onnxio.Dim, len(x.Dims))
		for i, d := range x.Dims {
			dims[i] = onnxio.Dim{Value: d}
		}
		m.Graph.Inputs = append(m.Graph.Inputs, &onnxio.ValueInfo{Name: x.Name, Type: onnxio.TensorType(x.DType, dims...)})
	}
	a := analyse(t, m)
	p, g := grow(t, a, ligo.Target{Width: 1.5, Depth: 2}, ligo.Options{})
	d := difference(t, a.Graph, g, in)
	t.Logf("%s -> %s: %s, off %.3g; %v", p.From, p.To, p.Promise, d, p.Notes)
	if p.Promise != ligo.Exact || d > exact {
		t.Errorf("%s, off %g", p.Promise, d)
	}
	out, err := g.Graph.ToModel()
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Graph.Inputs) != len(out.Graph.Initializers)+1 {
		t.Errorf("%d inputs for %d initializers", len(out.Graph.Inputs), len(out.Graph.Initializers))
	}
}
