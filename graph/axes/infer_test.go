package axes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// TestMalformed refuses nodes without the operands that their operator needs, naming the node.
func TestMalformed(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"in x [b, 4]; y = MatMul(x) name=mm; out y", "mm (MatMul): operand 1 is missing"},
		{"in x [b, 4]; y = Where(x, x); out y", "operand 2 is missing"},
		{"in x [b, 4]; y = Pow(x); out y", "operand 1 is missing"},
		{"in x [b, 4]; y = Div(_, x); out y", "operand 0 is missing"},
		{"in x [b, 4]; y = Gather(x, _); out y", "operand 1 is missing"},
		{"in x [b, 4]; y = BatchNormalization(x, x, x, x); out y", "operand 4 is missing"},
		{"in x [b, 4]; y = ms.SkipLayerNormalization(x, x); out y", "operand 2 is missing"},
		{"in x [b, 4]; m = ReduceMean(); y = Add(x, m); out y", "operand 0 is missing"},
		{"in x [b, 4]; w g [4]; _, m = LayerNormalization(x, g); out m", "without an output"},
	} {
		_, err := Infer(context.Background(), linked(t, parse(c.src)), Options{})
		var invalid *graph.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an InvalidError with %q", c.src, err, c.want)
		}
	}
}

// TestHostile bounds what files made for the purpose cost: sizes without data, expressions that double with every node, chains.
func TestHostile(t *testing.T) {
	const huge = "9223372036854775807"
	// step writes node number i from value v_i to v_i+1
	step := func(n int, node string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.NewReplacer("OUT", fmt.Sprintf("v%d", i+1), "IN", fmt.Sprintf("v%d", i)).Replace(node) + "\n")
		}
		return b.String() + fmt.Sprintf("out v%d", n)
	}
	for _, c := range []struct{ name, src string }{
		{"concat doubles an axis", "in v0 [b, 4]\n" + step(60, "OUT = Concat(IN, IN) axis=1")},
		{"concat doubles a run-time axis", "in v0 [b, 4]\n" + step(60, "OUT = Concat(IN, IN) axis=0")},
		{"a scalar is added to itself", "int v0 1\n" + step(70, "OUT = Add(IN, IN)")},
		{"a dimension is multiplied by itself", "in x [b]; v0 = Size(x)\n" + step(70, "OUT = Mul(IN, IN)")},
		{"a weight is added to itself", "w v0 [4, 4]\n" + step(70, "OUT = Add(IN, IN)")},
		{"a long chain of concatenations", "in v0 [b, 1]; in c [b, 1]\n" + step(6000, "OUT = Concat(IN, c) axis=1")},
		{"a long chain", "in v0 [b, 8]\n" + step(20000, "OUT = Relu(IN)")},
		{"a long chain of products", "in v0 [b, 1]; ints r 1 2\n" + step(60, "OUT = Tile(IN, r)")},
		{"huge sizes", "ints s " + huge + " " + huge + "; v0 = ConstantOfShape(s)\n" + step(3, "OUT = Relu(IN)")},
		{"huge expansion", "w v0 [1]; ints s 4294967296 4294967296; e = Expand(v0, s); f = Flatten(e); y = Reshape(e, s); z = Shape(y); out f z"},
		{"huge range", "int a 0; int l " + huge + "; int d 1; y = Range(a, l, d); out y"},
		{"huge tile", "in x [b, 4]; ints r " + huge + " " + huge + "; y = Tile(x, r); z = Size(y); out z"},
		{"huge pads", "in x [b, 4]; ints p " + huge + " 1 " + huge + " 1; y = Pad(x, p); out y"},
		{"huge stride", "in x [b, 4]; d = Shape(x); ints lo 1; ints hi " + huge + "; ints a 0; ints st " + huge + "; y = Slice(d, lo, hi, a, st); out y"},
		{"smallest step", "in x [b, 4]; d = Shape(x); ints lo -1; ints hi -9223372036854775808; ints a 0; ints st -9223372036854775808; y = Slice(d, lo, hi, a, st); out y"},
		{"sizes of a split that wrap around", "in x [b, 4]; d = Shape(x); ints s 4611686018427387904 4611686018427387904 4611686018427387904 4611686018427387904 2; p, q, r, e, f = Split(d, s); out p q r e f"},
		{"zero sizes", "in x [b, 0, 4]; ints s 0 2 0; y = Reshape(x, s) allowzero=1; z = Transpose(x); q = MatMul(z, x); p, r = Split(x) axis=1; out y q p r"},
		{"rotary tables without columns", "in x [b, s, 8]; in p int64 [b, s]; w c [9, 0]; w n [9, 0]; y = ms.RotaryEmbedding(x, p, c, n); out y"},
		{"huge head counts", "in x [b, s, 8]; w k [8, 24]; y = ms.Attention(x, k) num_heads=" + huge + "; z = ms.GroupQueryAttention(x) num_heads=4611686018427387904 kv_num_heads=4611686018427387904; out y z"},
		{"negative head counts", "in x [b, s, 8]; y = ms.MultiHeadAttention(x) num_heads=-8; z = ms.GroupQueryAttention(x) num_heads=-2 kv_num_heads=-1; out y z"},
		{"scalars where matrices belong", "in x []; in k []; w g []; y = MatMul(x, k); z = ms.SkipLayerNormalization(x, k, g); q = ms.Attention(x, k, g) num_heads=1; r = Concat(x, k) axis=0; e = Softmax(x); out y z q r e"},
		{"scalar biases", "in x [b, s, 8]; w k [8, 24]; w c []; y = ms.Attention(x, k, c) num_heads=2; z = ms.MultiHeadAttention(x, x, x, c) num_heads=2; out y z"},
		{"huge convolution", "in x [b, 3, 9]; w k [3, 3, 3]; y = Conv(x, k) dilations=[" + huge + "]; z = Conv(x, k) pads=[" + huge + "," + huge + "]; out y z"},
		{"attributes of another kind", "in x [b, 4]; w k [4, 4]; y = Softmax(x) axis=[1]; z = Transpose(x) perm=1; q = Gemm(x, k) transB=1.5; r = Flatten(x) axis='x'; out y z q r"},
		{"an operator that is only named like one", "in x [b, s, 4]; w g [4]; n = LayerNormalization(x, g); y = my.Add(n); z = my.Cast(); q = Add(n, z); out y q"},
		{"depth of one", "in i int64 [b]; int d -5; ints v 0 1; y = OneHot(i, d, v); out y"},
		{"modulo zero", "int a 5; int z 0; y = Mod(a, z); q = Div(a, z); out y q"},
		{"operands that do not fit", "ints a 1 2 3; ints k 1 2; y = Add(a, k); z = Where(a, a, k); out y z"},
		{"an outer sum", "ints a 1 2 3; ints ax 1; ints k 1 2; c = Unsqueeze(k, ax); y = Add(a, c); z = ConstantOfShape(y); out y z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := linked(t, parse(c.src))
			start := time.Now()
			r, err := Infer(context.Background(), g, Options{})
			if err == nil {
				_, _ = r.Solve(Sizes{})
			} else if strings.Contains(err.Error(), "internal error") {
				t.Errorf("%v", err)
			} else {
				t.Log(err)
			}
			if d := time.Since(start); d > 4*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// TestCancelled stops when the context ends.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Infer(ctx, linked(t, parse(gateModel)), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestRescue turns a panic into an error that names the node, and keeps the errors that walks stop with.
func TestRescue(t *testing.T) {
	run := func(ctx context.Context, p any) (err error) {
		b := &budget{ctx: ctx, at: &graph.Node{Op: "Add", Name: "sum"}, left: 1}
		defer b.rescue(&err)
		if p == nil {
			b.spend(2)
		}
		panic(p)
	}
	if err := run(context.Background(), "oops"); err == nil || err.Error() != "internal error while analysing sum (Add): oops" {
		t.Errorf("got %v", err)
	}
	var invalid *graph.InvalidError
	if err := run(context.Background(), nil); !errors.As(err, &invalid) || invalid.Where != "sum (Add)" {
		t.Errorf("got %v", err)
	}
}

// TestForms infers the same layer from every form that a file may have: Constant nodes, unsorted nodes, initializers that are
// inputs as well, aliases, model-local functions, and branches that are always taken.
func TestForms(t *testing.T) {
	const layer = "in x [b, s, 32]; w g [32]; n = LayerNormalization(x, g); w k [32, 64]; h = MatMul(n, k); a = Relu(h); w l [64, 32]; o = MatMul(a, l); y = Add(x, o); w g2 [32]; z = LayerNormalization(y, g2); out z"
	reverse := func(m *onnxio.Model) {
		for i, j := 0, len(m.Graph.Nodes)-1; i < j; i, j = i+1, j-1 {
			m.Graph.Nodes[i], m.Graph.Nodes[j] = m.Graph.Nodes[j], m.Graph.Nodes[i]
		}
	}
	for _, c := range []struct {
		name string
		src  string
		edit func(m *onnxio.Model)
	}{
		{"plain", layer, func(*onnxio.Model) {}},
		{"unsorted", layer, reverse},
		{"inputs with defaults", layer, func(m *onnxio.Model) {
			m.IRVersion = 3
			for _, x := range m.Graph.Initializers {
				dims := make([]onnxio.Dim, len(x.Dims))
				for i, n := range x.Dims {
					dims[i].Value = n
				}
				m.Graph.Inputs = append(m.Graph.Inputs, &onnxio.ValueInfo{Name: x.Name, Type: onnxio.TensorType(x.DType, dims...)})
			}
		}},
		{"constant nodes", layer, func(m *onnxio.Model) {
			for _, x := range m.Graph.Initializers {
				m.Graph.Nodes = append(m.Graph.Nodes, &onnxio.Node{OpType: "Constant", Outputs: []string{x.Name}, Attrs: []*onnxio.Attribute{graph.TensorAttr("value", x)}})
			}
			m.Graph.Initializers = nil
		}},
		{"shared gain", strings.NewReplacer("w g2 [32]; ", "g2 = Identity(g); ").Replace(layer), func(*onnxio.Model) {}},
		{"dead code", layer + "; w unused [7, 7]; d = MatMul(x, unused)", func(*onnxio.Model) {}},
		{"function", layer, func(m *onnxio.Model) {
			f := &onnxio.Function{Name: "FFN", Domain: "local", Inputs: []string{"n", "k", "l"}, Outputs: []string{"o"}, Nodes: m.Graph.Nodes[1:4]}
			call := &onnxio.Node{OpType: "FFN", Domain: "local", Inputs: []string{"n", "k", "l"}, Outputs: []string{"o"}}
			m.Graph.Nodes = append([]*onnxio.Node{m.Graph.Nodes[0], call}, m.Graph.Nodes[4:]...)
			m.Functions = []*onnxio.Function{f}
			m.Opsets = append(m.Opsets, onnxio.Opset{Domain: "local", Version: 1})
		}},
		{"static branches", layer + "; int yes 1", func(m *onnxio.Model) {
			// the feed-forward layer and, inside it, the activation are in branches taken when 1 = rank of x > 2
			inner := &onnxio.Graph{Name: "inner", Nodes: []*onnxio.Node{parseNode("r = Relu(h)")}, Outputs: []*onnxio.ValueInfo{{Name: "r"}}}
			off := &onnxio.Graph{Name: "off", Nodes: []*onnxio.Node{parseNode("r2 = my.Nothing(h)")}, Outputs: []*onnxio.ValueInfo{{Name: "r2"}}}
			ffn := &onnxio.Graph{Name: "ffn", Outputs: []*onnxio.ValueInfo{{Name: "o2"}}, Nodes: []*onnxio.Node{
				parseNode("h = MatMul(n, k)"),
				{OpType: "If", Inputs: []string{"yes"}, Outputs: []string{"a"}, Attrs: []*onnxio.Attribute{
					{Name: "then_branch", Kind: onnxio.AttrGraph, G: inner}, {Name: "else_branch", Kind: onnxio.AttrGraph, G: off}}},
				parseNode("o2 = MatMul(a, l)")}}
			none := &onnxio.Graph{Name: "none", Nodes: []*onnxio.Node{parseNode("o3 = my.Nothing(n)")}, Outputs: []*onnxio.ValueInfo{{Name: "o3"}}}
			cond := []*onnxio.Node{parseNode("rank = Shape(sh)"), parseNode("sh = Shape(x)"), parseNode("big = Greater(rank, yes)")}
			branch := &onnxio.Node{OpType: "If", Inputs: []string{"big"}, Outputs: []string{"o"}, Attrs: []*onnxio.Attribute{
				{Name: "then_branch", Kind: onnxio.AttrGraph, G: ffn}, {Name: "else_branch", Kind: onnxio.AttrGraph, G: none}}}
			m.Graph.Nodes = append(append([]*onnxio.Node{m.Graph.Nodes[0], branch}, cond...), m.Graph.Nodes[4:]...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := parse(c.src)
			c.edit(m)
			r, err := Infer(context.Background(), linked(t, m), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Graph.Validate(); err != nil {
				t.Error(err)
			}
			var got []string
			for _, a := range r.Atoms {
				if a.Growable() {
					got = append(got, fmt.Sprintf("%s=%d", a.Name, a.Size))
				}
			}
			if s := strings.Join(got, " "); s != "hidden=32 ffn.0=64" || len(r.Conflicts)+len(r.refused) > 0 {
				t.Errorf("widths %s, conflicts %v, refused %v", s, r.Conflicts, r.refused)
			}
			if len(r.Weights) != 4 {
				t.Errorf("%d weights, want 4", len(r.Weights))
			}
		})
	}
}

// TestDynamicIf freezes what enters an If whose condition is data.
func TestDynamicIf(t *testing.T) {
	m := parse("in x [b, s, 32]; in c [1]; w g [32]; n = LayerNormalization(x, g); w k [32, 64]; h = MatMul(n, k); w l [64, 32]; o = MatMul(h, l); z = Add(x, o); out z y")
	body := &onnxio.Graph{Name: "then", Nodes: []*onnxio.Node{parseNode("r = Relu(h)")}, Outputs: []*onnxio.ValueInfo{{Name: "r"}}}
	other := &onnxio.Graph{Name: "else", Nodes: []*onnxio.Node{parseNode("r2 = Tanh(h)")}, Outputs: []*onnxio.ValueInfo{{Name: "r2"}}}
	m.Graph.Nodes = append(m.Graph.Nodes, &onnxio.Node{OpType: "If", Name: "choice", Inputs: []string{"c"}, Outputs: []string{"y"}, Attrs: []*onnxio.Attribute{
		{Name: "then_branch", Kind: onnxio.AttrGraph, G: body}, {Name: "else_branch", Kind: onnxio.AttrGraph, G: other}}})
	r, err := Infer(context.Background(), linked(t, m), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range r.Atoms {
		if a.Size == 64 && (a.Growable() || !strings.Contains(strings.Join(a.Why, " "), "choice (If): its condition depends on the data")) {
			t.Errorf("%s is growable or does not tell why: %q", a.Name, a.Why)
		}
		if a.Name == "hidden" && !a.Growable() {
			t.Errorf("hidden is frozen: %q", a.Why)
		}
	}
}

// TestDeterminism infers models several times over: names, numbers and expressions never differ.
func TestDeterminism(t *testing.T) {
	for name, m := range map[string]*onnxio.Model{
		"bert": fixtures.BERT(fixtures.Config{Unfolded: true}), "gpt2": fixtures.GPT2(fixtures.Config{Cache: true}),
		"llama": fixtures.Llama(fixtures.Config{Hidden: 64, Heads: 4, KVHeads: 2, RotaryComputed: true}), "cait": fixtures.CaiT(fixtures.Config{}),
		"vit": fixtures.ViT(fixtures.Config{Distilled: true}), "gate": parse(gateModel),
	} {
		first := ""
		for range 4 {
			r, err := Infer(context.Background(), linked(t, m), Options{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if d := dump(r); first == "" {
				first = d
			} else if d != first {
				t.Errorf("%s: two inferences differ", name)
			}
		}
	}
}

// BenchmarkInfer analyses BERT of 24 layers, some 1,500 nodes.
func BenchmarkInfer(b *testing.B) {
	for _, layers := range []int{6, 24, 96} {
		b.Run(fmt.Sprintf("layers=%d", layers), func(b *testing.B) {
			g := linked(b, fixtures.BERT(fixtures.Config{Layers: layers, Unfolded: true}))
			b.ReportMetric(float64(len(g.Nodes)), "nodes")
			for b.Loop() {
				if _, err := Infer(context.Background(), g, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
