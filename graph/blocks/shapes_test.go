package blocks

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// net writes small transformers in forms that no exporter of the zoo uses. Layers are "block.N".
type net struct {
	g     *graph.Graph
	rnd   *rand.Rand
	scope string
}

const (
	width  = 12
	inner  = 20
	tokens = 7
)

func newNet() *net {
	return &net{g: graph.New("net", map[string]int64{"": 17, "com.microsoft": 1}), rnd: rand.New(rand.NewPCG(1, 2))}
}

func (n *net) at(format string, args ...any) *net {
	c := *n
	c.scope = fmt.Sprintf(format, args...)
	return &c
}

func (n *net) weight(name string, dims ...int64) *graph.Value {
	size := int64(1)
	for _, d := range dims {
		size *= d
	}
	data := make([]float32, size)
	for i := range data {
		data[i] = float32(n.rnd.NormFloat64()) * 0.3
	}
	name = strings.TrimPrefix(n.scope+"."+name, ".")
	return n.g.NewConst(name, onnxio.FromFloat32s(name, dims, data))
}

func (n *net) gain(name string) *graph.Value {
	v := n.weight(name, width)
	data, err := v.Const.Float32s()
	if err != nil {
		panic(err)
	}
	data = slices.Clone(data)
	for i := range data {
		data[i]++
	}
	v.Const = onnxio.FromFloat32s(v.Name, v.Const.Dims, data)
	return v
}

func (n *net) op(op string, in ...*graph.Value) *graph.Value { return n.with(op, in) }

func (n *net) with(op string, in []*graph.Value, attrs ...*onnxio.Attribute) *graph.Value {
	name := fmt.Sprintf("/%s/%s", strings.ReplaceAll(n.scope, ".", "_"), op)
	out := n.g.NewValue(name+"_output", nil)
	n.g.NewNode(op, "", name, in, []*graph.Value{out}, attrs...)
	return out
}

func (n *net) input(name string, elem onnxio.DType, dims ...any) *graph.Value {
	t := &onnxio.Type{Kind: "tensor", Elem: elem, HasShape: true}
	for _, d := range dims {
		switch d := d.(type) {
		case string:
			t.Dims = append(t.Dims, onnxio.Dim{Param: d, Value: -1})
		case int:
			t.Dims = append(t.Dims, onnxio.Dim{Value: int64(d)})
		}
	}
	return n.g.NewInput(name, t)
}

func (n *net) output(v *graph.Value, name string) {
	if !n.g.Rename(v, name) {
		panic(name)
	}
	v.Type = &onnxio.Type{Kind: "tensor", Elem: onnxio.Float}
	n.g.AddOutput(v)
}

func (n *net) embed(ids *graph.Value) *graph.Value {
	return n.op("Gather", n.weight("wte", tokens, width), ids)
}

func (n *net) linear(name string, x *graph.Value, in, out int64) *graph.Value {
	return n.op("Add", n.op("MatMul", x, n.weight(name+".weight", in, out)), n.weight(name+".bias", out))
}

func (n *net) norm(name string, x *graph.Value) *graph.Value {
	return n.with("LayerNormalization", []*graph.Value{x, n.gain(name + ".weight"), n.weight(name+".bias", width)},
		graph.IntAttr("axis", -1), graph.FloatAttr("epsilon", 1e-12))
}

// attention attends from x to y.
func (n *net) attention(name string, x, y *graph.Value) *graph.Value {
	q, k, v := n.linear(name+".q", x, width, 8), n.linear(name+".k", y, width, 8), n.linear(name+".v", y, width, 8)
	scores := n.op("MatMul", q, n.with("Transpose", []*graph.Value{k}, graph.IntsAttr("perm", 0, 2, 1)))
	return n.linear(name+".o", n.op("MatMul", n.with("Softmax", []*graph.Value{scores}, graph.IntAttr("axis", -1)), v), 8, width)
}

func (n *net) mlp(x *graph.Value) *graph.Value {
	return n.linear("fc2", n.op("Tanh", n.linear("fc1", x, width, inner)), inner, width)
}

// skipNorm is a fused norm of x + skip + bias, which gives that sum as well where it is asked for.
func (n *net) skipNorm(name string, x, skip *graph.Value, sum bool) (normed, total *graph.Value) {
	name = strings.TrimPrefix(n.scope+"."+name, ".")
	out := []*graph.Value{n.g.NewValue(name+"_output", nil)}
	if sum {
		total = n.g.NewValue(name+"_sum", nil)
		out = append(out, nil, nil, total)
	}
	in := []*graph.Value{x, skip, n.gain(name + ".weight"), n.weight(name+".bias", width), n.weight(name+".skip_bias", width)}
	n.g.NewNode("SkipLayerNormalization", "com.microsoft", name, in, out, graph.FloatAttr("epsilon", 1e-12))
	return out[0], total
}

func (n *net) preBlock(x *graph.Value) *graph.Value {
	y := n.norm("ln_1", x)
	x = n.op("Add", x, n.attention("attn", y, y))
	return n.op("Add", n.mlp(n.norm("ln_2", x)), x)
}

// layers repeats a block.
func (n *net) layers(count int, x *graph.Value, block func(*net, *graph.Value) *graph.Value) *graph.Value {
	for i := range count {
		x = block(n.at("block.%d", i), x)
	}
	return x
}

func TestShapesOfLayers(t *testing.T) {
	for _, c := range []struct {
		name   string
		build  func(n *net, x *graph.Value)
		layers []int
		why    string
	}{
		{"pre-norm", func(n *net, x *graph.Value) {
			n.output(n.norm("ln_f", n.layers(3, x, (*net).preBlock)), "y")
		}, []int{3}, ""},
		{"parallel residual", func(n *net, x *graph.Value) {
			n.output(n.norm("ln_f", n.layers(3, x, func(n *net, x *graph.Value) *graph.Value {
				y := n.norm("ln", x)
				return n.op("Add", n.op("Add", n.attention("attn", y, y), n.mlp(y)), x)
			})), "y")
		}, []int{3}, ""},
		{"sandwich norms", func(n *net, x *graph.Value) {
			n.output(n.norm("ln_f", n.layers(3, x, func(n *net, x *graph.Value) *graph.Value {
				y := n.norm("ln_1", x)
				x = n.op("Add", x, n.norm("ln_2", n.attention("attn", y, y)))
				return n.op("Add", x, n.norm("ln_4", n.mlp(n.norm("ln_3", x))))
			})), "y")
		}, []int{3}, ""},
		{"gated branches", func(n *net, x *graph.Value) {
			n.output(n.norm("ln_f", n.layers(3, x, func(n *net, x *graph.Value) *graph.Value {
				y := n.norm("ln", x)
				return n.op("Add", x, n.op("Mul", n.op("Sigmoid", n.linear("gate", y, width, width)), n.mlp(y)))
			})), "y")
		}, []int{3}, ""},
		{"no final norm, states are outputs", func(n *net, x *graph.Value) {
			for i := range 3 {
				x = n.at("block.%d", i).preBlock(x)
				if i < 2 {
					n.output(x, fmt.Sprintf("hidden_states.%d", i+1))
				}
			}
			n.output(x, "last_hidden_state")
		}, []int{3}, ""},
		{"post-norm ends the model", func(n *net, x *graph.Value) {
			x = n.layers(3, n.norm("ln_emb", x), func(n *net, x *graph.Value) *graph.Value {
				x = n.norm("ln_1", n.op("Add", x, n.attention("attn", x, x)))
				return n.norm("ln_2", n.op("Add", n.mlp(x), x))
			})
			n.output(x, "last_hidden_state")
			n.output(n.op("Tanh", n.linear("pooler", x, width, width)), "pooler_output")
		}, []int{3}, ""},
		{"goes on after its norm", func(n *net, x *graph.Value) {
			n.output(n.norm("ln_f", n.layers(3, x, func(n *net, x *graph.Value) *graph.Value {
				y := n.norm("pre_norm", x)
				x = n.norm("norm_1", n.op("Add", x, n.attention("attn", y, y)))
				return n.op("Add", x, n.mlp(x))
			})), "y")
		}, []int{3}, ""},
		{"alternating layers", func(n *net, x *graph.Value) {
			for i := range 6 {
				b := n.at("block.%d", i)
				if y := b.norm("ln", x); i%2 == 0 {
					x = b.op("Add", x, b.attention("attn", y, y))
				} else {
					x = b.op("Add", x, b.mlp(y))
				}
			}
			n.output(n.norm("ln_f", x), "y")
		}, []int{3}, ""},
		{"views on the stream", func(n *net, x *graph.Value) {
			n.output(n.norm("ln_f", n.layers(3, x, func(n *net, x *graph.Value) *graph.Value {
				y := n.norm("ln_1", x)
				x = n.op("Add", x, n.attention("attn", y, y))
				shape := n.op("Shape", x)
				flat := n.op("Reshape", x, n.g.NewConst(n.scope+".flat", onnxio.FromInt64s("", []int64{2}, []int64{-1, width})))
				return n.op("Reshape", n.op("Add", flat, n.mlp(n.norm("ln_2", flat))), shape)
			})), "y")
		}, []int{3}, ""},
		{"scaled stream", func(n *net, x *graph.Value) {
			n.output(n.norm("ln_f", n.layers(3, x, func(n *net, x *graph.Value) *graph.Value {
				half := n.g.NewConst(n.scope+".alpha", onnxio.FromFloat32s("", nil, []float32{0.5}))
				return n.op("Add", n.op("Mul", x, half), n.mlp(n.norm("ln", x)))
			})), "y")
		}, []int{3}, "the residual stream is more than sums and norms"},
		{"nothing to silence", func(n *net, x *graph.Value) {
			n.output(n.norm("ln_f", n.layers(3, x, func(n *net, x *graph.Value) *graph.Value {
				return n.op("Add", x, n.op("Sigmoid", n.mlp(n.norm("ln", x))))
			})), "y")
		}, []int{3}, "which no weights make zero"},
		{"fused skip-norms, pre-norm", func(n *net, x *graph.Value) {
			y := n.norm("block.0.ln_1", x)
			for i := range 3 {
				b := n.at("block.%d", i)
				y, x = b.skipNorm("ln_2", b.attention("attn", y, y), x, true)
				next := "ln_f"
				if i < 2 {
					next = fmt.Sprintf("block.%d.ln_1", i+1)
				}
				y, x = n.skipNorm(next, b.mlp(y), x, i < 2)
			}
			n.output(y, "y")
		}, []int{3}, ""},
		{"fused skip-norms, post-norm", func(n *net, x *graph.Value) {
			n.output(n.layers(3, n.norm("ln_emb", x), func(n *net, x *graph.Value) *graph.Value {
				x, _ = n.skipNorm("ln_1", n.attention("attn", x, x), x, false)
				x, _ = n.skipNorm("ln_2", n.mlp(x), x, false)
				return x
			}), "y")
		}, []int{3}, ""},
		{"one layer", func(n *net, x *graph.Value) {
			n.output(n.norm("ln_f", n.layers(1, x, (*net).preBlock)), "y")
		}, nil, ""},
		{"position table in every layer", func(n *net, x *graph.Value) {
			pos := n.op("Mul", n.weight("pos", 1, 5, width), n.weight("scale", 1, 1, width)) // a value, not one constant a layer
			n.output(n.norm("ln_f", n.layers(3, x, func(n *net, x *graph.Value) *graph.Value {
				y := n.norm("ln", x)
				return n.op("Add", x, n.attention("attn", n.op("Add", y, pos), y))
			})), "y")
		}, []int{3}, ""},
		{"encoder and decoder", func(n *net, x *graph.Value) {
			for i := range 2 {
				x = n.at("encoder.%d", i).preBlock(x)
			}
			enc := n.norm("ln_e", x)
			y := n.embed(n.input("decoder_ids", onnxio.Int64, "batch", "target"))
			for i := range 3 {
				b := n.at("decoder.%d", i)
				z := b.norm("ln_1", y)
				y = b.op("Add", y, b.attention("self", z, z))
				y = b.op("Add", y, b.attention("cross", b.norm("ln_2", y), enc))
				y = b.op("Add", y, b.mlp(b.norm("ln_3", y)))
			}
			n.output(n.norm("ln_d", y), "y")
		}, []int{2, 3}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			c.build(n, n.embed(n.input("ids", onnxio.Int64, "batch", 5)))
			r := infer(t, n.g)
			for _, conflict := range r.Conflicts {
				t.Errorf("%v: %s", conflict.Node, conflict.Reason)
			}
			s := found(t, r)
			if got := layersOf(s); !slices.Equal(got, c.layers) {
				t.Fatalf("layers %v, want %v", got, c.layers)
			}
			for _, st := range s.Stages {
				if c.why == "" && st.Why != "" || !strings.Contains(st.Why, c.why) {
					t.Errorf("why %q, want %q", st.Why, c.why)
				}
			}
			if c.why != "" || len(c.layers) == 0 {
				return
			}
			in := map[string]*onnxio.Tensor{}
			for _, v := range n.g.Inputs {
				ids := make([]int64, 10)
				for i := range ids {
					ids[i] = n.rnd.Int64N(tokens)
				}
				in[v.Name] = onnxio.FromInt64s(v.Name, []int64{2, 5}, ids)
			}
			checkGrowths(t, r, in)
		})
	}
}

// TestNewStates checks that a new layer gives its state where the others do, and that the model's own output stays the last.
func TestNewStates(t *testing.T) {
	n := newNet()
	x := n.embed(n.input("ids", onnxio.Int64, "batch", 5))
	for i := range 3 {
		x = n.at("block.%d", i).preBlock(x)
		if i < 2 {
			n.output(x, fmt.Sprintf("hidden_states.%d", i+1))
		}
	}
	n.output(x, "last_hidden_state")
	r := infer(t, n.g)
	d, err := Deepen(r.Graph, found(t, r), [][]Layer{{{0, false}, {0, true}, {1, false}, {2, false}, {2, true}}})
	if err != nil {
		t.Fatal(err)
	}
	var outs []string
	for _, v := range d.Graph.Outputs {
		outs = append(outs, v.Name)
	}
	// Layers count from 0, states from 1: the new layer 3 gives state 4.
	if got, want := fmt.Sprint(outs), "[hidden_states.1 hidden_states.2 hidden_states.4 last_hidden_state]"; got != want {
		t.Errorf("outputs %s, want %s", got, want)
	}
}
