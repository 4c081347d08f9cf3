package graph_test

import (
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func node(op string, in, out []string) *onnxio.Node {
	return &onnxio.Node{OpType: op, Name: op + "_" + strings.Join(out, "_"), Inputs: in, Outputs: out}
}

func model(nodes []*onnxio.Node, inits []*onnxio.Tensor, in, out []string) *onnxio.Model {
	f := &onnxio.Graph{Name: "g", Nodes: nodes, Initializers: inits}
	for _, n := range in {
		f.Inputs = append(f.Inputs, &onnxio.ValueInfo{Name: n, Type: onnxio.TensorType(onnxio.Float, onnxio.Dim{Value: 2})})
	}
	for _, n := range out {
		f.Outputs = append(f.Outputs, &onnxio.ValueInfo{Name: n, Type: onnxio.TensorType(onnxio.Float, onnxio.Dim{Value: 2})})
	}
	return &onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: 17}}, Graph: f}
}

func vec(name string, v ...float32) *onnxio.Tensor {
	return onnxio.FromFloat32s(name, []int64{int64(len(v))}, v)
}

// TestInvalid gives every broken form one line that names the place.
func TestInvalid(t *testing.T) {
	ab := []string{"a", "b"}
	for _, c := range []struct {
		name string
		m    *onnxio.Model
		want string
	}{
		{"no graph", &onnxio.Model{}, "no graph"},
		{"cycle", model([]*onnxio.Node{node("Add", []string{"x", "q"}, []string{"p"}), node("Neg", []string{"p"}, []string{"q"})}, nil, []string{"x"}, []string{"q"}), "cycle: Neg_q (Neg) <- Add_p (Add)"},
		{"self-cycle", model([]*onnxio.Node{node("Add", []string{"x", "p"}, []string{"p"})}, nil, []string{"x"}, []string{"p"}), "cycle"},
		{"two outputs of a name", model([]*onnxio.Node{node("Neg", []string{"x"}, []string{"y"}), node("Abs", []string{"x"}, []string{"y"})}, nil, []string{"x"}, []string{"y"}), `output "y"`},
		{"two initializers", model([]*onnxio.Node{node("Add", ab, []string{"y"})}, []*onnxio.Tensor{vec("b", 1, 2), vec("b", 3, 4)}, []string{"a"}, []string{"y"}), "b: two initializers"},
		{"two inputs", model([]*onnxio.Node{node("Add", ab, []string{"y"})}, nil, []string{"a", "b", "b"}, []string{"y"}), "b: two graph inputs"},
		{"two outputs", model([]*onnxio.Node{node("Add", ab, []string{"y"})}, nil, ab, []string{"y", "y"}), "y: two graph outputs"},
		{"missing input", model([]*onnxio.Node{node("Add", ab, []string{"y"})}, nil, []string{"a"}, []string{"y"}), `input "b" is given by no node`},
		{"missing output", model([]*onnxio.Node{node("Neg", []string{"a"}, []string{"y"})}, nil, []string{"a"}, []string{"z"}), "z: graph output that no node"},
		{"initializer without name", model(nil, []*onnxio.Tensor{vec("", 1)}, nil, nil), "no name"},
		{"no operator", model([]*onnxio.Node{{Name: "n"}}, nil, nil, nil), "no operator type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := graph.FromModel(c.m)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("message %q, want one line with %q", err, c.want)
			}
		})
	}
}

// TestSort checks that unsorted files link, that a sorted one keeps its order, and that a very long chain does not exhaust the stack.
func TestSort(t *testing.T) {
	g, err := graph.FromModel(model([]*onnxio.Node{node("Neg", []string{"p"}, []string{"q"}), node("Abs", []string{"x"}, []string{"p"})}, nil, []string{"x"}, []string{"q"}))
	if err != nil {
		t.Fatal(err)
	}
	if g.Nodes[0].Op != "Abs" || g.Validate() != nil {
		t.Errorf("not sorted: %v", g.Nodes)
	}
	var chain []*onnxio.Node
	const n = 200_000
	name := func(i int) string { return "v" + string(rune('a'+i%26)) + strings.Repeat("x", i%7) + itoa(i) }
	for i := n - 1; i >= 0; i-- { // the last node first
		chain = append(chain, &onnxio.Node{OpType: "Neg", Inputs: []string{name(i)}, Outputs: []string{name(i + 1)}})
	}
	g, err = graph.FromModel(model(chain, nil, []string{name(0)}, []string{name(n)}))
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Nodes) != n || g.Nodes[0].In[0].Name != name(0) {
		t.Error("a long chain is not sorted")
	}
}

func itoa(i int) string {
	if i == 0 {
		return "0"
	}
	var b []byte
	for ; i > 0; i /= 10 {
		b = append([]byte{byte('0' + i%10)}, b...)
	}
	return string(b)
}

// TestAliases checks that what an exporter merged with Identity is separated under the parameters' own names, and that only the
// copies which change stay apart.
func TestAliases(t *testing.T) {
	m := model([]*onnxio.Node{
		node("Identity", []string{"w"}, []string{"layer1.bias"}),
		node("Add", []string{"x", "w"}, []string{"p"}),
		node("Add", []string{"p", "layer1.bias"}, []string{"q"}),
		node("Add", []string{"q", "w"}, []string{"y"}),
	}, []*onnxio.Tensor{vec("w", 1, 2)}, []string{"x"}, []string{"y"})
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Normalize(); err != nil {
		t.Fatal(err)
	}
	if len(g.Nodes) != 3 || len(g.Consts) != 3 {
		t.Fatalf("%d nodes and %d constants, want 3 and 3", len(g.Nodes), len(g.Consts))
	}
	out, err := g.ToModel()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(out.Graph.Initializers); n != 2 {
		t.Errorf("%d initializers, want w and layer1.bias", n)
	}
	last := g.Nodes[2].In[1]
	last.Const = vec("w", 5, 6)
	out, err = g.ToModel()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(out.Graph.Initializers); n != 3 || out.Graph.Nodes[0].Inputs[1] != "w" || out.Graph.Nodes[2].Inputs[1] == "w" {
		t.Errorf("%d initializers, last operand %s", n, out.Graph.Nodes[2].Inputs[1])
	}
}

// TestInlineFunction inlines nested model-local functions with attribute references, defaults and optional operands.
func TestInlineFunction(t *testing.T) {
	leaky := &onnxio.Function{Name: "Half", Domain: "local", Inputs: []string{"a", "b"}, Outputs: []string{"r"}, Attrs: []string{"alpha"},
		Nodes: []*onnxio.Node{
			{OpType: "LeakyRelu", Inputs: []string{"a"}, Outputs: []string{"t"}, Attrs: []*onnxio.Attribute{{Name: "alpha", Kind: onnxio.AttrFloat, Ref: "alpha"}}},
			{OpType: "Clip", Inputs: []string{"t", "b"}, Outputs: []string{"r"}},
		}}
	outer := &onnxio.Function{Name: "Twice", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"r"},
		Nodes: []*onnxio.Node{
			{OpType: "Half", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"t"}, Attrs: []*onnxio.Attribute{{Name: "alpha", Kind: onnxio.AttrFloat, F: 0.25}}},
			{OpType: "Half", Domain: "local", Inputs: []string{"t"}, Outputs: []string{"r"}, Attrs: []*onnxio.Attribute{{Name: "alpha", Kind: onnxio.AttrFloat, F: 0.5}}},
		}}
	m := model([]*onnxio.Node{{OpType: "Twice", Domain: "local", Inputs: []string{"x"}, Outputs: []string{"y"}}}, nil, []string{"x"}, []string{"y"})
	m.Functions = []*onnxio.Function{leaky, outer}
	m.Opsets = append(m.Opsets, onnxio.Opset{Domain: "local", Version: 1})
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Normalize(); err != nil {
		t.Fatal(err)
	}
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	var ops []string
	for _, n := range g.Nodes {
		ops = append(ops, n.Op)
	}
	if strings.Join(ops, " ") != "LeakyRelu Clip LeakyRelu Clip" || g.Nodes[0].Float("alpha", 0) != 0.25 || g.Nodes[2].Float("alpha", 0) != 0.5 {
		t.Errorf("inlined to %v", ops)
	}
	if g.Nodes[1].In[1] != nil {
		t.Error("an operand that the call leaves out is not left out in the body")
	}
	if g.Outputs[0].Name != "y" || g.Outputs[0].Producer != g.Nodes[3] {
		t.Error("the output lost its name")
	}
}

// TestEndlessFunctions refuses functions that call each other.
func TestEndlessFunctions(t *testing.T) {
	f := &onnxio.Function{Name: "F", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"r"},
		Nodes: []*onnxio.Node{{OpType: "F", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"t"}}, {OpType: "F", Domain: "local", Inputs: []string{"t"}, Outputs: []string{"r"}}}}
	m := model([]*onnxio.Node{{OpType: "F", Domain: "local", Inputs: []string{"x"}, Outputs: []string{"y"}}}, nil, []string{"x"}, []string{"y"})
	m.Functions = []*onnxio.Function{f}
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Normalize(); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}
