package engine

import (
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestGradientsOfGather(t *testing.T) {
	table := []*onnxio.Tensor{random("a", 1, 40, 256)}
	ids := map[string]*onnxio.Tensor{"i": onnxio.FromInt64s("i", []int64{2, 3}, []int64{3, 0, 39, -1, 3, 3})}
	at := func(dims []int64, v ...int64) *onnxio.Tensor { return onnxio.FromInt64s("i", dims, v) }
	cube := random("a", 1, 2, 3, 256)
	cases := []gradientCase{
		{name: "embedding", consts: table, inputs: ids, nodes: one(node("Gather", "a,i", "y"))},
		{name: "embedding of known positions", consts: append(table[:1:1], ids["i"]), nodes: one(node("Gather", "a,i", "y"))},
		{name: "tied head", consts: table, inputs: ids, nodes: []*onnxio.Node{node("Gather", "a,i", "h"), node("Transpose", "a", "t"), node("MatMul", "h,t", "y")}},
		{name: "two lookups", consts: table, inputs: ids, outputs: []string{"p", "q"}, nodes: []*onnxio.Node{node("Gather", "a,i", "p"), node("Gather", "a,i", "q")}},
		{name: "middle axis", consts: two(cube, at([]int64{2, 2}, 2, 0, 2, -2)), nodes: one(node("Gather", "a,i", "y", graph.IntAttr("axis", 1)))},
		{name: "last axis", consts: two(cube, at([]int64{3}, 255, 7, 7)), nodes: one(node("Gather", "a,i", "y", graph.IntAttr("axis", -1)))},
		{name: "one position", consts: two(cube, at(nil, -1)), nodes: one(node("Gather", "a,i", "y", graph.IntAttr("axis", 1)))},
		{name: "one position of an axis of one", consts: two(random("a", 1, 1, 256), at(nil, 0)), nodes: one(node("Gather", "a,i", "y"))},
		{name: "all positions one by one", consts: []*onnxio.Tensor{cube, onnxio.FromInt64s("i", nil, []int64{0}), onnxio.FromInt64s("j", nil, []int64{1}), onnxio.FromInt64s("k", nil, []int64{2})},
			outputs: []string{"p", "q", "r"}, nodes: []*onnxio.Node{node("Gather", "a,i", "p", graph.IntAttr("axis", 1)), node("Gather", "a,j", "q", graph.IntAttr("axis", 1)), node("Gather", "a,k", "r", graph.IntAttr("axis", 1))}},
	}
	checkAll(t, cases)
}
