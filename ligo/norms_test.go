package ligo_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// offsetGains makes every RMS norm multiply by 1 + gain, as Gemma's do.
func offsetGains(m *onnxio.Model) *onnxio.Model {
	one := onnxio.FromFloat64s("one", nil, []float64{1})
	m.Graph.Initializers = append(m.Graph.Initializers, one)
	var nodes []*onnxio.Node
	gains := map[string]bool{}
	for _, t := range m.Graph.Initializers {
		gains[t.Name] = len(t.Dims) == 1 && t.Dims[0] == 32
	}
	for _, n := range m.Graph.Nodes {
		for i, in := range n.Inputs {
			if n.OpType == "Mul" && gains[in] {
				sum := fmt.Sprintf("%s_plus_one_%d", in, len(nodes))
				nodes = append(nodes, &onnxio.Node{OpType: "Add", Inputs: []string{in, "one"}, Outputs: []string{sum}})
				n.Inputs[i] = sum
			}
		}
		nodes = append(nodes, n)
	}
	m.Graph.Nodes = nodes
	return m
}

func TestOffsetGains(t *testing.T) {
	for _, target := range []ligo.Target{{Width: 1.5}, {}, {Layers: 3, HeadDim: 24}, {Width: 2.5}} {
		m := offsetGains(fixtures.Llama(fixtures.Config{DType: onnxio.Double}))
		a := analyse(t, m)
		p, g := grow(t, a, target, ligo.Options{})
		d := difference(t, a.Graph, g, inputs(m))
		t.Logf("%s -> %s: %s, off %.3g", p.From, p.To, p.Promise, d)
		if p.Promise != ligo.Exact || d > exact {
			t.Errorf("%s, off %g: %v", p.Promise, d, p.Reasons)
		}
	}
}

// batchNorm is a two-layer network with a batch norm on its inner width.
func batchNorm() *onnxio.Model {
	r := rand.New(rand.NewPCG(1, 2))
	tensor := func(name string, positive bool, dims ...int64) *onnxio.Tensor {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		v := make([]float64, n)
		for i := range v {
			v[i] = r.NormFloat64()
			if positive {
				v[i] = 0.5 + r.Float64()
			}
		}
		return onnxio.FromFloat64s(name, dims, v)
	}
	node := func(op string, out string, in ...string) *onnxio.Node {
		return &onnxio.Node{OpType: op, Inputs: in, Outputs: []string{out}}
	}
	batch := onnxio.Dim{Param: "batch"}
	return &onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: 17}}, Graph: &onnxio.Graph{
		Name:    "batch_norm",
		Inputs:  []*onnxio.ValueInfo{{Name: "x", Type: onnxio.TensorType(onnxio.Double, batch, onnxio.Dim{Value: 8})}},
		Outputs: []*onnxio.ValueInfo{{Name: "y", Type: onnxio.TensorType(onnxio.Double, batch, onnxio.Dim{Value: 4})}},
		Initializers: []*onnxio.Tensor{tensor("w1", false, 8, 6), tensor("b1", false, 6), tensor("gain", false, 6), tensor("bias", false, 6),
			tensor("mean", false, 6), tensor("var", true, 6), tensor("w2", false, 6, 4)},
		Nodes: []*onnxio.Node{node("MatMul", "h", "x", "w1"), node("Add", "hb", "h", "b1"),
			node("BatchNormalization", "n", "hb", "gain", "bias", "mean", "var"), node("Relu", "r", "n"), node("MatMul", "y", "r", "w2")},
	}}
}

func TestBatchNorm(t *testing.T) {
	m := batchNorm()
	a := analyse(t, m)
	var name string
	for _, x := range a.Summary().Axes {
		if x.Growable && x.Size == 6 {
			name = x.Name
		}
	}
	in := map[string]*onnxio.Tensor{"x": onnxio.FromFloat64s("x", []int64{2, 8}, []float64{1, 2, -3, 4, 5, -6, 7, 8, 0, 1, 1, -1, 2, 3, -5, 8})}
	for _, n := range []int64{7, 12, 20} {
		for _, method := range []ligo.Method{ligo.LiGO, ligo.Net2Net, ligo.LEMON} {
			p, g := grow(t, a, ligo.Target{Axes: map[string]int64{name: n}}, ligo.Options{Method: method})
			if d := difference(t, a.Graph, g, in); p.Promise != ligo.Exact || d > exact {
				t.Errorf("6 to %d by %s: %s, off %g: %v", n, method, p.Promise, d, p.Reasons)
			}
		}
	}
}
