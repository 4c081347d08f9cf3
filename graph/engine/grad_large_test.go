package engine

import (
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// TestLargeGradients looks at gradients large enough to be computed by several goroutines: float32 against float64, and the bits with one
// and with several threads.
func TestLargeGradients(t *testing.T) {
	ids := make([]int64, 700)
	for i := range ids {
		ids[i] = int64(i * i % 2000)
	}
	embed := onnxio.FromInt64s("i", []int64{2, 350}, ids)
	a := random("a", 1, 20, 40, 260)
	for _, k := range []gradientCase{
		{name: "embedding", consts: two(random("a", 1, 2000, 300), embed), nodes: one(node("Gather", "a,i", "y"))},
		{name: "tied embedding", consts: two(random("a", 1, 2000, 64), embed),
			nodes: []*onnxio.Node{node("Gather", "a,i", "h"), node("Transpose", "a", "t"), node("MatMul", "h,t", "y")}},
		{name: "lookup in the middle", consts: two(a, onnxio.FromInt64s("i", []int64{50}, ids[:50])), nodes: []*onnxio.Node{
			node("Concat", "a,a", "b", graph.IntAttr("axis", 1)), node("Transpose", "b", "t", graph.IntsAttr("perm", 0, 2, 1)),
			node("Concat", "t,t,t,t,t,t,t,t", "w", graph.IntAttr("axis", 1)), node("Gather", "w,i", "y", graph.IntAttr("axis", 1))}},
		{name: "linear layer", consts: append(two(random("a", 1, 2, 300, 256), random("b", 2, 256, 128)), random("c", 3, 128)),
			nodes: []*onnxio.Node{node("MatMul", "a,b", "m"), node("Add", "m,c", "y")}},
		{name: "stack of products", consts: two(random("a", 1, 6, 100, 64), random("b", 2, 6, 64, 100)), nodes: one(node("MatMul", "a,b", "y"))},
		{name: "shared factor", consts: two(random("a", 1, 100, 64), random("b", 2, 6, 64, 100)), nodes: one(node("MatMul", "a,b", "y"))},
		{name: "activation", consts: []*onnxio.Tensor{a}, opset: 20, nodes: []*onnxio.Node{node("Gelu", "a", "g"), node("Tanh", "g", "y")}},
		{name: "broadcast", consts: append(two(a, random("b", 2, 40, 1)), random("c", 3, 260)), nodes: []*onnxio.Node{node("Mul", "a,b", "m"), node("Max", "m,c", "y")}},
		{name: "largest of rows", opset: 13, consts: []*onnxio.Tensor{a}, nodes: one(node("ReduceMax", "a", "y", graph.IntsAttr("axes", 1)))},
		{name: "norm of columns", opset: 13, consts: []*onnxio.Tensor{a}, nodes: one(node("ReduceL2", "a", "y", graph.IntsAttr("axes", 0)))},
		{name: "mean of ends", opset: 13, consts: []*onnxio.Tensor{a}, nodes: one(node("ReduceMean", "a", "y", graph.IntsAttr("axes", 0, 2)))},
		{name: "heads", opset: 18, outputs: []string{"p", "q", "r"}, consts: []*onnxio.Tensor{random("a", 1, 20, 40, 270)},
			nodes: one(node("Split", "a", "p,q,r", graph.IntAttr("axis", 2), graph.IntAttr("num_outputs", 3)))},
		{name: "slice", consts: []*onnxio.Tensor{a, ints64("s", 3), ints64("e", 250), ints64("x", 2), ints64("k", 2)}, nodes: one(node("Slice", "a,s,e,x,k", "y"))},
		{name: "patches", consts: append(two(random("a", 1, 2, 3, 96, 96), random("b", 2, 32, 3, 16, 16)), random("c", 3, 32)),
			nodes: one(node("Conv", "a,b,c", "y", graph.IntsAttr("strides", 8, 8)))},
		{name: "pools", consts: []*onnxio.Tensor{random("a", 1, 4, 8, 40, 40)}, nodes: []*onnxio.Node{
			node("MaxPool", "a", "m", graph.IntsAttr("kernel_shape", 3, 3)), node("AveragePool", "m", "y", graph.IntsAttr("kernel_shape", 2, 3))}},
	} {
		t.Run(k.name, func(t *testing.T) { checkSingle(t, k) })
	}
}
