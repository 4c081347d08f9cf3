package engine

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// array is a tensor in testdata/neural.json.
type array struct {
	Dims []int64
	Data []float64
}

func (a array) tensor(name string) *onnxio.Tensor { return onnxio.FromFloat64s(name, a.Dims, a.Data) }

// neuralCase is an operator with PyTorch's result and gradients.
type neuralCase struct {
	Name, Op, In, Out string
	Opset             int64
	Attrs             map[string]any
	Operands, Grads   map[string]array
	Labels            *array
	Y, DY             array
}

func (k neuralCase) node(t *testing.T) *onnxio.Node {
	n := node(k.Op, k.In, k.Out)
	for name, v := range k.Attrs {
		switch v := v.(type) {
		case string:
			n.Attrs = append(n.Attrs, graph.StringAttr(name, v))
		case float64:
			if v == math.Trunc(v) {
				n.Attrs = append(n.Attrs, graph.IntAttr(name, int64(v)))
			} else {
				n.Attrs = append(n.Attrs, graph.FloatAttr(name, float32(v)))
			}
		default:
			t.Fatalf("%s: attribute %s is %v", k.Name, name, v)
		}
	}
	return n
}

// TestAgainstPyTorch compares results and gradients of norms, attention and losses with PyTorch's, which testdata/neural.py wrote.
func TestAgainstPyTorch(t *testing.T) {
	raw, err := os.ReadFile("testdata/neural.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []neuralCase
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, k := range cases {
		t.Run(k.Name, func(t *testing.T) {
			f := &onnxio.Graph{Name: "test", Outputs: []*onnxio.ValueInfo{{Name: "loss"}}, Nodes: []*onnxio.Node{k.node(t)}}
			var params []string
			for name, a := range k.Operands {
				f.Initializers = append(f.Initializers, a.tensor(name))
				params = append(params, name)
			}
			if k.Op == "BatchNormalization" {
				// The running statistics have no part in training.
				k.Operands["mean0"], k.Operands["var0"] = array{[]int64{6}, make([]float64, 6)}, array{[]int64{6}, make([]float64, 6)}
				f.Initializers = append(f.Initializers, k.Operands["mean0"].tensor("mean0"), k.Operands["var0"].tensor("var0"))
				f.Nodes[0].Inputs = append(f.Nodes[0].Inputs, "mean0", "var0")
			}
			if k.Labels != nil {
				l := make([]int64, len(k.Labels.Data))
				for i, v := range k.Labels.Data {
					l[i] = int64(v)
				}
				f.Initializers = append(f.Initializers, onnxio.FromInt64s("labels", k.Labels.Dims, l))
			}
			f.Initializers = append(f.Initializers, k.DY.tensor("dy"))
			f.Nodes = append(f.Nodes, node("Mul", "y,dy", "p"), node("ReduceSum", "p", "loss", graph.IntAttr("keepdims", 0)))
			g, err := graph.FromModel(&onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: k.Opset}}, Graph: f})
			if err != nil {
				t.Fatal(err)
			}
			tr, err := NewTrainer(g, "loss", params, Options{Outputs: []string{"y"}})
			if err != nil {
				t.Fatal(err)
			}
			out, err := tr.Gradients(context.Background(), nil)
			if err != nil {
				t.Fatal(err)
			}
			y, err := out["y"].Float64s()
			if err != nil {
				t.Fatal(err)
			}
			near(t, "y", y, k.Y.Data)
			for _, p := range tr.Params() {
				near(t, "gradient by "+p.Name, p.Grad.F64, k.Grads[p.Name].Data)
			}
		})
	}
}

func near(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d elements, want %d", what, len(got), len(want))
		return
	}
	top := 0.0
	for _, v := range want {
		top = max(top, math.Abs(v))
	}
	for i, v := range got {
		if !(math.Abs(v-want[i]) <= 1e-9*top) {
			t.Errorf("%s: element %d is %.15g, PyTorch has %.15g", what, i, v, want[i])
			return
		}
	}
}
