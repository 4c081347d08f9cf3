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

func TestGradientsOfElementLookups(t *testing.T) {
	a := random("a", 1, 4, 256)
	idx := func(dims []int64, bound int64) *onnxio.Tensor {
		v := make([]int64, product(toInts(dims)))
		for i := range v {
			v[i] = int64(i*i*31+i*7)%(2*bound) - bound // some twice, some from the end
		}
		return onnxio.FromInt64s("i", dims, v)
	}
	cases := []gradientCase{
		{name: "GatherElements", consts: two(a, idx([]int64{3, 300}, 256)), nodes: one(node("GatherElements", "a,i", "y", graph.IntAttr("axis", 1)))},
		{name: "GatherElements of the first axis", consts: two(a, idx([]int64{9, 256}, 4)), nodes: one(node("GatherElements", "a,i", "y"))},
		{name: "GatherND of elements", consts: two(a, onnxio.FromInt64s("i", []int64{3, 2}, []int64{0, 255, -1, 7, 0, -1})), nodes: one(node("GatherND", "a,i", "y"))},
		{name: "GatherND of rows", consts: two(a, onnxio.FromInt64s("i", []int64{2, 2, 1}, []int64{0, 3, -1, 0})), nodes: one(node("GatherND", "a,i", "y"))},
		{name: "GatherND in batches", consts: two(random("a", 1, 2, 3, 256), onnxio.FromInt64s("i", []int64{2, 2, 1}, []int64{0, 2, 2, 2})),
			nodes: one(node("GatherND", "a,i", "y", graph.IntAttr("batch_dims", 1)))},
	}
	checkAll(t, cases)
}

func TestGradientsOfScatter(t *testing.T) {
	var cases []gradientCase
	a := between("a", 1, 0.5, 2, 4, 256)
	for _, r := range []string{"none", "add", "mul", "min", "max"} {
		reduction := graph.StringAttr("reduction", r)
		index := onnxio.FromInt64s("i", []int64{3, 4}, []int64{0, 255, -1, 7, 9, 9, 9, 1, 255, 0, 0, 255}) // places come twice
		rows := onnxio.FromInt64s("i", []int64{3, 1}, []int64{2, 0, 2})
		pairs := onnxio.FromInt64s("i", []int64{4, 2}, []int64{0, 255, 3, 1, -4, -1, 3, 1})
		cases = append(cases,
			gradientCase{name: "ScatterElements " + r, consts: append(two(a, index), between("u", 2, 0.5, 2, 3, 4)),
				nodes: one(node("ScatterElements", "a,i,u", "y", graph.IntAttr("axis", 1), reduction))},
			gradientCase{name: "ScatterND of rows " + r, consts: append(two(a, rows), between("u", 2, 0.5, 2, 3, 256)), nodes: one(node("ScatterND", "a,i,u", "y", reduction))},
			gradientCase{name: "ScatterND of elements " + r, consts: append(two(a, pairs), between("u", 2, 0.5, 2, 4)), nodes: one(node("ScatterND", "a,i,u", "y", reduction))},
			gradientCase{name: "frozen data " + r, consts: append(two(a, rows), between("u", 2, 0.5, 2, 3, 256)), frozen: []string{"a"}, nodes: one(node("ScatterND", "a,i,u", "y", reduction))},
		)
	}
	cases = append(cases, gradientCase{name: "Scatter", opset: 10, consts: append(two(a, onnxio.FromInt64s("i", []int64{1, 3}, []int64{3, 1, 3})), random("u", 2, 1, 3)),
		nodes: one(node("Scatter", "a,i,u", "y", graph.IntAttr("axis", 1)))})
	for i := range cases {
		if cases[i].opset == 0 {
			cases[i].opset = 18
		}
	}
	checkAll(t, cases)
}
