package graph_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// branch makes a sub-graph of the nodes that gives out.
func branch(out string, nodes ...*onnxio.Node) *onnxio.Graph {
	return &onnxio.Graph{Name: "branch", Nodes: nodes, Outputs: []*onnxio.ValueInfo{{Name: out}}}
}

func ifNode(cond, out string, then, other *onnxio.Graph) *onnxio.Node {
	n := node("If", []string{cond}, []string{out})
	n.Attrs = []*onnxio.Attribute{{Name: "then_branch", Kind: onnxio.AttrGraph, G: then}, {Name: "else_branch", Kind: onnxio.AttrGraph, G: other}}
	return n
}

func link(t *testing.T, m *onnxio.Model) *graph.Graph {
	t.Helper()
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// written normalises m, writes it, and checks that what was written links again and every name in it means something.
func written(t *testing.T, m *onnxio.Model) *onnxio.Model {
	t.Helper()
	g := link(t, m)
	if err := g.Normalize(); err != nil {
		t.Fatal(err)
	}
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	out, err := g.ToModel()
	if err != nil {
		t.Fatal(err)
	}
	back, err := onnxio.Decode(encode(t, out), onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := link(t, back).Validate(); err != nil {
		t.Fatal(err)
	}
	return out
}

func find(m *onnxio.Model, op string) *onnxio.Node {
	for _, n := range m.Graph.Nodes {
		if n.OpType == op {
			return n
		}
	}
	return nil
}

// TestCapturesFollowInlining inlines a function whose sub-graphs read its formal inputs and inner values: the sub-graphs must read
// the actual ones afterwards, also where a name of their own is taken at the call.
func TestCapturesFollowInlining(t *testing.T) {
	f := &onnxio.Function{Name: "F", Domain: "local", Inputs: []string{"a", "c", "left_out"}, Outputs: []string{"r"}, Nodes: []*onnxio.Node{
		node("Neg", []string{"a"}, []string{"t"}),
		ifNode("c", "r",
			branch("p", node("Add", []string{"a", "t"}, []string{"x"}), node("Clip", []string{"x", "left_out"}, []string{"p"})),
			branch("q", node("Identity", []string{"t"}, []string{"q"}))),
	}}
	m := model([]*onnxio.Node{
		{OpType: "F", Domain: "local", Inputs: []string{"x", "cond"}, Outputs: []string{"t"}},
		{OpType: "F", Domain: "local", Inputs: []string{"t", "cond"}, Outputs: []string{"y"}},
	}, nil, []string{"x", "cond"}, []string{"y"})
	m.Functions = []*onnxio.Function{f}
	m.Opsets = append(m.Opsets, onnxio.Opset{Domain: "local", Version: 1})
	out := written(t, m)
	var negs, ifs []*onnxio.Node
	for _, n := range out.Graph.Nodes {
		switch n.OpType {
		case "Neg":
			negs = append(negs, n)
		case "If":
			ifs = append(ifs, n)
		}
	}
	if len(negs) != 2 || len(ifs) != 2 {
		t.Fatalf("%d and %d nodes", len(negs), len(ifs))
	}
	inner := map[string]bool{}
	for i, n := range ifs {
		then := n.Attrs[0].G
		if got := then.Nodes[0].Inputs; got[0] != negs[i].Inputs[0] || got[1] != negs[i].Outputs[0] {
			t.Errorf("call %d: the branch reads %q, the body computes %q from %q", i, got, negs[i].Outputs, negs[i].Inputs)
		}
		if got := then.Nodes[1].Inputs; got[0] != then.Nodes[0].Outputs[0] || got[1] != "" {
			t.Errorf("call %d: Clip reads %q", i, got)
		}
		if then.Outputs[0].Name != then.Nodes[1].Outputs[0] {
			t.Errorf("call %d: the branch gives %s", i, then.Outputs[0].Name)
		}
		for _, b := range then.Nodes {
			name := b.Outputs[0]
			for _, o := range out.Graph.Nodes {
				if slices.Contains(o.Outputs, name) {
					t.Errorf("call %d: %s is a name outside too", i, name)
				}
			}
			if name == "x" || inner[name] {
				t.Errorf("call %d: %s is not unique", i, name)
			}
			inner[name] = true
		}
	}
	if len(out.Functions) != 0 {
		t.Error("a function that nothing calls is written")
	}
}

// TestFreshNames never takes a name that lives in a sub-graph.
func TestFreshNames(t *testing.T) {
	m := model([]*onnxio.Node{ifNode("c", "y", branch("w_2", node("Neg", []string{"x"}, []string{"w_2"})), branch("p", node("Abs", []string{"x"}, []string{"p"})))},
		[]*onnxio.Tensor{vec("w", 1)}, []string{"x", "c"}, []string{"y"})
	g := link(t, m)
	if name := g.FreshName("w"); name != "w_3" {
		t.Errorf("got %s", name)
	}
	if g.Rename(g.Value("w"), "p") {
		t.Error("renamed to a name inside a sub-graph")
	}
	if c := g.Clone(); c.FreshName("w") != "w_3" {
		t.Error("a clone forgets the names in sub-graphs")
	}
}

// TestCaptureOrder links a node that captures many values in one order always: the order of the written nodes follows from it.
func TestCaptureOrder(t *testing.T) {
	build := func() *onnxio.Model {
		var nodes, inside []*onnxio.Node
		sum := "v00"
		for i := range 20 {
			name := "v" + string(rune('0'+i/10)) + string(rune('0'+i%10))
			nodes = append(nodes, node("Neg", []string{"x"}, []string{name}))
			inside = append(inside, node("Add", []string{sum, name}, []string{"s" + name}))
			sum = "s" + name
		}
		choice := ifNode("c", "y", branch(sum, inside...), branch("e", node("Abs", []string{"v07"}, []string{"e"})))
		return model(append([]*onnxio.Node{choice}, nodes...), nil, []string{"x", "c"}, []string{"y"})
	}
	var first []byte
	for range 10 {
		b := encode(t, written(t, build()))
		if first == nil {
			first = b
		} else if !bytes.Equal(first, b) {
			t.Fatal("two runs write different files")
		}
	}
}

// TestInlineBranch replaces an If by its branch: names of the branch stay where they are free, nested sub-graphs follow.
func TestInlineBranch(t *testing.T) {
	nested := ifNode("c", "z", branch("p", node("Add", []string{"inner", "x"}, []string{"p"})), branch("q", node("Identity", []string{"inner"}, []string{"q"})))
	then := branch("z", node("Neg", []string{"x"}, []string{"inner"}), nested)
	then.Initializers = []*onnxio.Tensor{vec("bias", 1)}
	then.Nodes = append(then.Nodes, node("Add", []string{"z", "bias"}, []string{"z2"}))
	then.Outputs[0].Name = "z2"
	m := model([]*onnxio.Node{ifNode("c", "y", then, branch("inner", node("Abs", []string{"x"}, []string{"inner"}))), node("Abs", []string{"y"}, []string{"last"}), node("Neg", []string{"x"}, []string{"bias"}), node("Add", []string{"last", "bias"}, []string{"out"})},
		nil, []string{"x", "c"}, []string{"out", "y"})
	g := link(t, m)
	choice := g.Value("y").Producer
	if err := g.InlineBranch(choice, choice.Attr("then_branch").G); err != nil {
		t.Fatal(err)
	}
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	if g.Value("inner") == nil || g.Value("bias_2") == nil || g.Value("bias_2").Const == nil {
		t.Error("names of the branch are lost")
	}
	if y := g.Value("y"); !g.IsOutput(y) || y.Producer.Op != "Identity" {
		t.Errorf("the output y comes from %v", y.Producer)
	}
	out, err := g.ToModel()
	if err != nil {
		t.Fatal(err)
	}
	if n := find(out, "If"); n.Attrs[0].G.Nodes[0].Inputs[0] != "inner" {
		t.Errorf("the nested branch reads %q", n.Attrs[0].G.Nodes[0].Inputs)
	}
	sparse := branch("inner", node("Abs", []string{"x"}, []string{"inner"}))
	sparse.Sparse = []string{"s"}
	g = link(t, m)
	if err := g.InlineBranch(g.Value("y").Producer, sparse); err == nil || !strings.Contains(err.Error(), "sparse") {
		t.Errorf("sparse: %v", err)
	}
}

// TestFunctionReturnsInput inlines functions that return an input as it is, or one value twice.
func TestFunctionReturnsInput(t *testing.T) {
	f := &onnxio.Function{Name: "F", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"a", "r", "r"}, Nodes: []*onnxio.Node{node("Neg", []string{"a"}, []string{"r"})}}
	m := model([]*onnxio.Node{{OpType: "F", Domain: "local", Inputs: []string{"x"}, Outputs: []string{"p", "q", "s"}}}, nil, []string{"x"}, []string{"p", "q", "s"})
	m.Functions = []*onnxio.Function{f}
	out := written(t, m)
	var ops []string
	for _, n := range out.Graph.Nodes {
		ops = append(ops, n.OpType)
	}
	slices.Sort(ops)
	if strings.Join(ops, " ") != "Identity Identity Neg" {
		t.Errorf("nodes %v", ops)
	}
}

// TestKeptFunctions keeps functions that sub-graphs still call, and what those call.
func TestKeptFunctions(t *testing.T) {
	low := &onnxio.Function{Name: "Low", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"r"}, Nodes: []*onnxio.Node{node("Neg", []string{"a"}, []string{"r"})}}
	high := &onnxio.Function{Name: "High", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"r"}, Nodes: []*onnxio.Node{{OpType: "Low", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"r"}}}}
	dead := &onnxio.Function{Name: "Dead", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"r"}, Nodes: low.Nodes}
	call := &onnxio.Node{OpType: "High", Domain: "local", Inputs: []string{"x"}, Outputs: []string{"p"}}
	m := model([]*onnxio.Node{ifNode("c", "y", branch("p", call), branch("q", node("Abs", []string{"x"}, []string{"q"})))}, nil, []string{"x", "c"}, []string{"y"})
	m.Functions = []*onnxio.Function{low, dead, high}
	out := written(t, m)
	if len(out.Functions) != 2 || out.Functions[0].Name != "Low" || out.Functions[1].Name != "High" {
		t.Errorf("functions %v", out.Functions)
	}
}

// withInputs lists every initializer as a graph input too, as files before IR version 4 must.
func withInputs(m *onnxio.Model, ir int64) *onnxio.Model {
	m.IRVersion = ir
	for _, t := range m.Graph.Initializers {
		m.Graph.Inputs = append(m.Graph.Inputs, &onnxio.ValueInfo{Name: t.Name, Type: onnxio.TensorType(t.DType, onnxio.Dim{Value: t.Dims[0]})})
	}
	return m
}

// TestDefaults lets each use of an initializer that is an input as well change on its own; unchanged uses stay one initializer.
func TestDefaults(t *testing.T) {
	nodes := func() []*onnxio.Node {
		return []*onnxio.Node{node("Add", []string{"x", "w"}, []string{"p"}), node("Mul", []string{"p", "w"}, []string{"y"})}
	}
	names := func(m *onnxio.Model) string {
		var out []string
		for _, in := range m.Graph.Inputs {
			out = append(out, in.Name)
		}
		return strings.Join(out, " ")
	}
	for _, ir := range []int64{3, 8} {
		m := withInputs(model(nodes(), []*onnxio.Tensor{vec("w", 1, 2)}, []string{"x"}, []string{"y"}), ir)
		if out := written(t, m); names(out) != "x w" || len(out.Graph.Initializers) != 1 {
			t.Errorf("IR %d: inputs %s, %d initializers", ir, names(out), len(out.Graph.Initializers))
		}
		g := link(t, m)
		if err := g.Normalize(); err != nil {
			t.Fatal(err)
		}
		if len(g.Consts) != 2 || len(g.Consts[0].Uses) != 1 || len(g.Consts[1].Uses) != 1 || !g.Consts[0].Overridable || g.Consts[1].Overridable {
			t.Fatalf("IR %d: constants %+v", ir, g.Consts)
		}
		g.Consts[0].Const, g.Consts[1].Const = vec("w", 1, 2, 3), vec("w", 4, 5, 6)
		out, err := g.ToModel()
		if err != nil {
			t.Fatal(err)
		}
		want := map[int64]string{3: "x w w_2", 8: "x w"}[ir]
		if names(out) != want || len(out.Graph.Initializers) != 2 {
			t.Errorf("IR %d: inputs %s, want %s; %d initializers", ir, names(out), want, len(out.Graph.Initializers))
		}
		for _, in := range out.Graph.Inputs[1:] {
			if in.Type.Dims[0].Value != 3 {
				t.Errorf("IR %d: %s is declared with %v", ir, in.Name, in.Type.Dims)
			}
		}
	}
}

// TestOutputs keeps graph outputs that are graph inputs, initializers and Constant nodes, under their names.
func TestOutputs(t *testing.T) {
	m := model([]*onnxio.Node{node("Add", []string{"x", "w"}, []string{"y"}), node("Add", []string{"y", "w"}, []string{"z"}),
		{OpType: "Constant", Outputs: []string{"c"}, Attrs: []*onnxio.Attribute{graph.TensorAttr("value", vec("", 7, 8))}},
		node("Mul", []string{"z", "c"}, []string{"q"})},
		[]*onnxio.Tensor{vec("w", 1, 2)}, []string{"x"}, []string{"x", "w", "c", "q"})
	out := written(t, m)
	var names []string
	for _, o := range out.Graph.Outputs {
		names = append(names, o.Name)
	}
	if strings.Join(names, " ") != "x w c q" || len(out.Graph.Initializers) != 1 || find(out, "Constant") == nil {
		t.Errorf("outputs %v, %d initializers", names, len(out.Graph.Initializers))
	}
	g := link(t, m)
	if err := g.Normalize(); err != nil {
		t.Fatal(err)
	}
	for _, c := range g.Consts {
		if c.Name == "w" && (len(c.Uses) != 0 || !g.IsOutput(c)) {
			t.Error("the output's own constant is used by nodes: they could not grow apart")
		}
	}
}

// TestKept keeps metadata, doc strings and the value infos of what is left, and drops those of what is gone.
func TestKept(t *testing.T) {
	m := model([]*onnxio.Node{node("Neg", []string{"x"}, []string{"p"}), node("Abs", []string{"p"}, []string{"y"}), node("Abs", []string{"x"}, []string{"dead"}),
		{OpType: "Constant", Outputs: []string{"k"}, Attrs: []*onnxio.Attribute{graph.TensorAttr("value", vec("", 7))}}, node("Add", []string{"dead", "k"}, []string{"dead2"})},
		nil, []string{"x"}, []string{"y"})
	m.Doc, m.Producer, m.Graph.Doc = "doc", "me", "graph doc"
	for _, n := range []string{"p", "dead", "dead2", "k"} {
		m.Graph.ValueInfos = append(m.Graph.ValueInfos, &onnxio.ValueInfo{Name: n, Doc: "about " + n, Type: onnxio.TensorType(onnxio.Float, onnxio.Dim{Param: "n"})})
	}
	out := written(t, m)
	if out.Doc != "doc" || out.Producer != "me" || out.Graph.Doc != "graph doc" {
		t.Errorf("%q %q %q", out.Doc, out.Producer, out.Graph.Doc)
	}
	if vi := out.Graph.ValueInfos; len(vi) != 1 || vi[0].Name != "p" || vi[0].Doc != "about p" || vi[0].Type.Dims[0].Param != "n" {
		t.Errorf("value infos %+v", out.Graph.ValueInfos)
	}
	if len(out.Graph.Nodes) != 2 {
		t.Errorf("%d nodes", len(out.Graph.Nodes))
	}
}

// TestManyUses separates a constant that very many nodes share, and removes them again, without going through all uses for each.
func TestManyUses(t *testing.T) {
	const n = 60_000
	var nodes []*onnxio.Node
	for i := range n {
		nodes = append(nodes, &onnxio.Node{OpType: "Add", Inputs: []string{"x", "w"}, Outputs: []string{"v" + itoa(i)}})
	}
	g := link(t, model(nodes, []*onnxio.Tensor{vec("w", 1)}, []string{"x"}, []string{"v0", "v1"}))
	if err := g.Normalize(); err != nil {
		t.Fatal(err)
	}
	if len(g.Nodes) != 2 || len(g.Value("x").Uses) != 2 || len(g.Consts) != 2 {
		t.Errorf("%d nodes, %d uses, %d constants", len(g.Nodes), len(g.Value("x").Uses), len(g.Consts))
	}
}
