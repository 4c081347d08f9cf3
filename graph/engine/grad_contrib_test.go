package engine

import (
	"context"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// ours is a node of ONNX Runtime's own domain.
func ours(op, in, out string, attrs ...*onnxio.Attribute) *onnxio.Node {
	n := node(op, in, out, attrs...)
	n.Domain = microsoft
	return n
}

// Attention keeps its operands as they are where nobody asks for keys and values in the form of a cache.
func TestAttentionWithAndWithoutPresent(t *testing.T) {
	heads := graph.IntAttr("num_heads", 4)
	mask := map[string]*onnxio.Tensor{"m": onnxio.FromInt64s("m", []int64{2, 6}, []int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0})}
	list := func(c ...*onnxio.Tensor) []*onnxio.Tensor { return c }
	flat := list(random("q", 1, 2, 6, 32), random("k", 2, 2, 6, 32), random("v", 3, 2, 6, 32), random("b", 4, 96))
	for _, c := range []struct {
		name    string
		consts  []*onnxio.Tensor
		node    func(out string) *onnxio.Node
		present string
	}{
		{"one projection", list(random("x", 1, 2, 6, 32), random("w", 2, 32, 96), random("b", 3, 96)),
			func(out string) *onnxio.Node { return ours("Attention", "x,w,b,m", out, heads) }, "present"},
		{"one projection, causal", list(random("x", 1, 2, 6, 32), random("w", 2, 32, 96), random("b", 3, 96)),
			func(out string) *onnxio.Node {
				return ours("Attention", "x,w,b", out, heads, graph.IntAttr("unidirectional", 1))
			}, "present"},
		{"packed", list(random("x", 1, 2, 6, 4, 3, 8), random("b", 3, 96)),
			func(out string) *onnxio.Node { return ours("MultiHeadAttention", "x,,,b,m", out, heads) }, "pk,pv"},
		{"apart", flat, func(out string) *onnxio.Node { return ours("MultiHeadAttention", "q,k,v,b,m", out, heads) }, "pk,pv"},
		{"grouped", list(random("x", 1, 2, 6, 64), random("cos", 2, 6, 4), random("sin", 3, 6, 4), onnxio.FromInt64s("n", []int64{2}, []int64{5, 5}), onnxio.FromInt64s("t", []int64{1}, []int64{6})),
			func(out string) *onnxio.Node {
				return ours("GroupQueryAttention", "x,,,,,n,t,cos,sin", out, heads, graph.IntAttr("kv_num_heads", 2), graph.IntAttr("do_rotary", 1))
			}, "pk,pv"},
		{"standard", flat[:3], func(out string) *onnxio.Node {
			return node("Attention", "q,k,v", out, graph.IntAttr("q_num_heads", 4), graph.IntAttr("kv_num_heads", 4), graph.IntAttr("is_causal", 1))
		}, "pk,pv"},
	} {
		var results [2]*onnxio.Tensor
		for i, out := range []string{"y", "y," + c.present} {
			k := gradientCase{name: c.name, opset: 23, consts: c.consts, inputs: mask, nodes: []*onnxio.Node{c.node(out)}}
			g, _ := k.lossGraph(t)
			r, err := mustNew(t, g, Options{Outputs: []string{"y"}}).Run(context.Background(), mask)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			results[i] = r["y"]
		}
		if err := compare(results[0], results[1], tolerance{1e-5, 1e-6}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
