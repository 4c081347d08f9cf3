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

func TestGradientsOfContribOperators(t *testing.T) {
	list := func(c ...*onnxio.Tensor) []*onnxio.Tensor { return c }
	one := func(n *onnxio.Node) []*onnxio.Node { return []*onnxio.Node{n} }
	heads, causal := graph.IntAttr("num_heads", 4), graph.IntAttr("unidirectional", 1)
	mask := map[string]*onnxio.Tensor{"m": onnxio.FromInt64s("m", []int64{2, 6}, []int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0})}
	ids := map[string]*onnxio.Tensor{"ids": onnxio.FromInt64s("ids", []int64{2, 3}, []int64{4, 0, 4, 1, 1, 3}), "seg": onnxio.FromInt64s("seg", []int64{2, 3}, []int64{0, 1, 1, 0, 0, 1})}
	flat := list(random("q", 1, 2, 6, 32), random("k", 2, 2, 6, 32), random("v", 3, 2, 6, 32), random("b", 4, 96))
	grouped := list(onnxio.FromInt64s("n", []int64{2}, []int64{5, 5}), onnxio.FromInt64s("t", []int64{1}, []int64{6}),
		random("x", 1, 2, 6, 64), random("cos", 2, 6, 4), random("sin", 3, 6, 4))
	kv, rotary := graph.IntAttr("kv_num_heads", 2), graph.IntAttr("do_rotary", 1)
	for _, k := range []gradientCase{
		{name: "Attention", consts: list(random("x", 1, 2, 6, 256), between("w", 2, -0.1, 0.1, 256, 96), random("b", 3, 96)), inputs: mask, nodes: one(ours("Attention", "x,w,b,m", "y", heads))},
		{name: "Attention with a bias", consts: list(random("x", 1, 2, 6, 32), between("w", 2, -0.3, 0.3, 32, 96), random("b", 3, 96), random("s", 4, 1, 4, 6, 6)),
			nodes: one(ours("Attention", "x,w,b,,,s", "y", heads, causal))},
		{name: "Attention with unequal sizes", consts: list(random("x", 1, 2, 6, 32), between("w", 2, -0.3, 0.3, 32, 80), random("b", 3, 80)),
			nodes: one(ours("Attention", "x,w,b", "y", heads, causal, graph.IntsAttr("qkv_hidden_sizes", 32, 32, 16)))},
		{name: "Attention with a cache", consts: list(random("x", 1, 2, 6, 32), between("w", 2, -0.3, 0.3, 32, 96), random("past", 3, 2, 2, 4, 3, 8)), outputs: []string{"y", "present"},
			nodes: one(ours("Attention", "x,w,,,past", "y,present", heads, causal))},
		{name: "MultiHeadAttention", consts: flat, inputs: mask, nodes: one(ours("MultiHeadAttention", "q,k,v,b,m", "y", heads))},
		{name: "MultiHeadAttention, packed", consts: list(random("x", 1, 2, 6, 4, 3, 8), random("b", 2, 96), random("s", 4, 2, 4, 6, 6)),
			nodes: one(ours("MultiHeadAttention", "x,,,b,,s", "y", heads))},
		{name: "MultiHeadAttention, packed keys", consts: list(random("x", 1, 2, 6, 32), random("kv", 2, 2, 5, 4, 2, 8)), nodes: one(ours("MultiHeadAttention", "x,kv", "y", heads))},
		{name: "MultiHeadAttention with a cache", consts: append(flat[:3:3], random("pk", 5, 2, 4, 3, 8), random("pv", 6, 2, 4, 3, 8)), outputs: []string{"y", "ck", "cv"},
			nodes: one(ours("MultiHeadAttention", "q,k,v,,,,pk,pv", "y,ck,cv", heads))},
		{name: "GroupQueryAttention", consts: grouped, nodes: one(ours("GroupQueryAttention", "x,,,,,n,t,cos,sin", "y", heads, kv, rotary))},
		{name: "GroupQueryAttention with a cache", consts: append(grouped[:0:0], onnxio.FromInt64s("n", []int64{2}, []int64{8, 8}), onnxio.FromInt64s("t", []int64{1}, []int64{9}),
			random("x", 1, 2, 6, 64), random("cos", 2, 9, 4), random("sin", 3, 9, 4), random("pk", 5, 2, 2, 3, 8), random("pv", 6, 2, 2, 3, 8)), outputs: []string{"y", "ck", "cv"},
			nodes: one(ours("GroupQueryAttention", "x,,,pk,pv,n,t,cos,sin", "y,ck,cv", heads, kv, rotary))},
		{name: "EmbedLayerNormalization", consts: list(random("w", 1, 5, 256), random("p", 2, 4, 256), random("s", 3, 2, 256), random("g", 4, 256), random("b", 5, 256)), inputs: ids,
			outputs: []string{"y", "sum"}, nodes: one(ours("EmbedLayerNormalization", "ids,seg,w,p,s,g,b", "y,,sum"))},
		{name: "BiasGelu", consts: list(random("x", 1, 3, 256), random("b", 2, 256)), nodes: one(ours("BiasGelu", "x,b", "y"))},
		{name: "FastGelu", consts: list(random("x", 1, 3, 256), random("b", 2, 256)), nodes: one(ours("FastGelu", "x,b", "y"))},
		{name: "Gelu", consts: list(random("x", 1, 3, 256)), nodes: one(ours("Gelu", "x", "y"))},
		{name: "QuickGelu", consts: list(random("x", 1, 3, 256)), nodes: one(ours("QuickGelu", "x", "y"))},
		{name: "FusedMatMul", consts: list(random("x", 1, 2, 3, 256), random("w", 2, 5, 256)),
			nodes: one(ours("FusedMatMul", "x,w", "y", graph.IntAttr("transB", 1), graph.FloatAttr("alpha", 0.3)))},
		{name: "RotaryEmbedding", consts: list(random("x", 1, 2, 3, 512), random("cos", 2, 6, 128), random("sin", 3, 6, 128)),
			inputs: map[string]*onnxio.Tensor{"p": onnxio.FromInt64s("p", []int64{2, 3}, []int64{0, 1, 2, 1, 2, 5})},
			nodes:  one(ours("RotaryEmbedding", "x,p,cos,sin", "y", graph.IntAttr("num_heads", 2)))},
		{name: "MeanVarianceNormalization", consts: list(random("x", 1, 2, 3, 16, 16)), nodes: one(node("MeanVarianceNormalization", "x", "y"))},
		{name: "LpNormalization", consts: list(random("x", 1, 3, 256)), nodes: one(node("LpNormalization", "x", "y"))},
		{name: "LpNormalization, p 1", consts: list(random("x", 1, 256, 3)), nodes: one(node("LpNormalization", "x", "y", graph.IntAttr("p", 1), graph.IntAttr("axis", 0)))},
	} {
		t.Run(k.name, func(t *testing.T) {
			checkGradients(t, k)
			checkSingle(t, k)
		})
	}
}
