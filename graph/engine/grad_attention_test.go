package engine

import (
	"math"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// causalBias is [1, 1, queries, keys], -Inf after the diagonal.
func causalBias(queries, keys int) *onnxio.Tensor {
	v := make([]float32, queries*keys)
	for i := range v {
		if i%keys > i/keys {
			v[i] = float32(math.Inf(-1))
		}
	}
	return onnxio.FromFloat32s("mask", []int64{1, 1, int64(queries), int64(keys)}, v)
}

func TestGradientsOfAttention(t *testing.T) {
	qkv := func(b, h, kv, t, u, d, e int64) []*onnxio.Tensor {
		return []*onnxio.Tensor{random("q", 1, b, h, t, d), random("k", 2, b, kv, u, d), random("v", 3, b, kv, u, e)}
	}
	with := func(c []*onnxio.Tensor, more ...*onnxio.Tensor) []*onnxio.Tensor { return append(c, more...) }
	ints := graph.IntAttr
	inf := float32(math.Inf(-1))
	mask := func(low float32) *onnxio.Tensor {
		return onnxio.FromFloat32s("mask", []int64{3, 3}, []float32{0, inf, 0, inf, inf, inf, low, low, low})
	}
	heads := []*onnxio.Attribute{ints("q_num_heads", 4), ints("kv_num_heads", 2)}
	flat := []*onnxio.Tensor{random("q", 1, 2, 70, 64), random("k", 2, 2, 70, 32), random("v", 3, 2, 70, 24)}
	for _, k := range []gradientCase{
		{name: "several blocks", consts: qkv(1, 2, 2, 70, 300, 16, 12), nodes: []*onnxio.Node{node("Attention", "q,k,v", "y")}},
		{name: "causal", consts: qkv(2, 2, 2, 130, 130, 8, 8), nodes: []*onnxio.Node{node("Attention", "q,k,v", "y", ints("is_causal", 1))}},
		{name: "causal long", consts: qkv(1, 1, 1, 300, 600, 4, 4), nodes: []*onnxio.Node{node("Attention", "q,k,v", "y", ints("is_causal", 1), graph.FloatAttr("scale", 0.7))}},
		{name: "grouped", consts: qkv(2, 6, 2, 65, 20, 8, 8), nodes: []*onnxio.Node{node("Attention", "q,k,v", "y")}},
		{name: "many heads", consts: qkv(3, 6, 3, 65, 20, 8, 8), nodes: []*onnxio.Node{node("Attention", "q,k,v", "y")}},
		{name: "rank 3", consts: flat, nodes: []*onnxio.Node{node("Attention", "q,k,v", "y", heads...)}},
		{name: "one query and key", consts: qkv(2, 2, 1, 1, 1, 16, 16), nodes: []*onnxio.Node{node("Attention", "q,k,v", "y")}},
		{name: "soft cap", consts: with(qkv(1, 2, 1, 9, 12, 256, 256), random("b", 4, 1, 1, 9, 12)),
			nodes: []*onnxio.Node{node("Attention", "q,k,v,b", "y", graph.FloatAttr("softcap", 1.5))}},
		{name: "bias", consts: with(qkv(2, 2, 2, 70, 66, 4, 4), random("b", 4, 2, 2, 70, 66)), nodes: []*onnxio.Node{node("Attention", "q,k,v,b", "y")}},
		{name: "bias of a position", consts: with(qkv(2, 2, 2, 70, 66, 4, 4), random("b", 4, 1, 2, 70, 66)), nodes: []*onnxio.Node{node("Attention", "q,k,v,b", "y")}},
		{name: "bias of a key", consts: with(qkv(2, 2, 2, 70, 300, 4, 4), random("b", 4, 2, 1, 1, 300)), nodes: []*onnxio.Node{node("Attention", "q,k,v,b", "y")}},
		{name: "bias of a query", consts: with(qkv(2, 2, 2, 70, 66, 4, 4), random("b", 4, 70, 1)), nodes: []*onnxio.Node{node("Attention", "q,k,v,b", "y")}},
		{name: "masked rows", consts: with(qkv(1, 2, 2, 3, 3, 16, 16), mask(0)), frozen: []string{"mask"},
			nodes: []*onnxio.Node{node("Attention", "q,k,v,mask", "y")}},
		{name: "mask instead of the flag", consts: with(qkv(1, 2, 2, 70, 70, 8, 8), causalBias(70, 70)), frozen: []string{"mask"},
			nodes: []*onnxio.Node{node("Attention", "q,k,v,mask", "y")}},
		{name: "window", consts: qkv(1, 2, 1, 300, 300, 4, 4), nodes: []*onnxio.Node{
			node("Attention", "q,k,v", "y", ints("left_window_size", 20), ints("right_window_size", 5))}},
		{name: "valid lengths", consts: with(qkv(2, 2, 2, 70, 80, 8, 8), onnxio.FromInt64s("n", []int64{2}, []int64{80, 3})), nodes: []*onnxio.Node{
			node("Attention", "q,k,v,,,,n", "y")}},
		{name: "valid lengths, causal", consts: with(qkv(2, 2, 2, 70, 80, 8, 8), onnxio.FromInt64s("n", []int64{2}, []int64{80, 75})), nodes: []*onnxio.Node{
			node("Attention", "q,k,v,,,,n", "y", ints("is_causal", 1))}},
		{name: "frozen keys", consts: qkv(1, 2, 2, 20, 30, 8, 8), frozen: []string{"k"}, nodes: []*onnxio.Node{node("Attention", "q,k,v", "y")}},
		{name: "frozen values", consts: qkv(1, 2, 2, 20, 30, 8, 8), frozen: []string{"v", "q"}, nodes: []*onnxio.Node{node("Attention", "q,k,v", "y")}},
	} {
		k.opset = 23
		t.Run(k.name, func(t *testing.T) {
			checkGradients(t, k)
			checkSingle(t, k)
		})
	}
	// The scores are lost in the mask: all weights are the same, and differences are 0, which the gradient is not.
	checkSingle(t, gradientCase{name: "lost scores", opset: 23, consts: with(qkv(1, 2, 2, 3, 3, 16, 16), mask(-3e38)), frozen: []string{"mask"},
		nodes: []*onnxio.Node{node("Attention", "q,k,v,mask", "y")}})
}

// The scores of a long sequence would take 64 MB; what is held of them is a few numbers a query.
func TestAttentionMemoryIsLinear(t *testing.T) {
	const length = 4096
	k := gradientCase{opset: 23, consts: []*onnxio.Tensor{random("q", 1, 1, 1, length, 8), random("k", 2, 1, 1, length, 8), random("v", 3, 1, 1, length, 8)},
		nodes: []*onnxio.Node{node("Attention", "q,k,v", "y", graph.IntAttr("is_causal", 1))}}
	g, params := k.lossGraph(t)
	tr, err := NewTrainer(g, "loss", params, Options{MaxMemory: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Gradients(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
