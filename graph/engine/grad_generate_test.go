package engine

import (
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestGradientsOfTriangles(t *testing.T) {
	a := random("a", 1, 2, 40, 256)
	k := func(v int64) []*onnxio.Tensor { return two(a, onnxio.FromInt64s("k", nil, []int64{v})) }
	checkAll(t, []gradientCase{
		{name: "upper", consts: []*onnxio.Tensor{a}, nodes: one(node("Trilu", "a", "y"))},
		{name: "lower", consts: []*onnxio.Tensor{a}, nodes: one(node("Trilu", "a", "y", graph.IntAttr("upper", 0)))},
		{name: "above the diagonal", consts: k(3), nodes: one(node("Trilu", "a,k", "y"))},
		{name: "below the diagonal", consts: k(-2), nodes: one(node("Trilu", "a,k", "y", graph.IntAttr("upper", 0)))},
	})
}

func TestGradientsOfCumSum(t *testing.T) {
	var cases []gradientCase
	for name, attrs := range map[string][]*onnxio.Attribute{"plain": nil, "exclusive": {graph.IntAttr("exclusive", 1)}, "reverse": {graph.IntAttr("reverse", 1)},
		"both": {graph.IntAttr("exclusive", 1), graph.IntAttr("reverse", 1)}} {
		for _, axis := range []int64{0, 1, -1} {
			cases = append(cases, gradientCase{name: name, consts: two(random("a", 1, 3, 4, 256), onnxio.FromInt64s("x", nil, []int64{axis})),
				nodes: one(node("CumSum", "a,x", "y", attrs...))})
		}
	}
	checkAll(t, cases)
}

func TestGradientsOfSelections(t *testing.T) {
	a := random("a", 1, 4, 256)
	cases := []gradientCase{
		{name: "TopK", outputs: []string{"y"}, consts: two(a, ints64("k", 5)), nodes: one(node("TopK", "a,k", "y,i"))},
		{name: "TopK, smallest of an axis", outputs: []string{"y"}, consts: two(a, ints64("k", 2)),
			nodes: one(node("TopK", "a,k", "y,i", graph.IntAttr("axis", 0), graph.IntAttr("largest", 0)))},
		{name: "TopK by attribute", opset: 9, outputs: []string{"y"}, consts: []*onnxio.Tensor{a}, nodes: one(node("TopK", "a", "y,i", graph.IntAttr("k", 3)))},
		{name: "ArgMax decides a lookup", consts: []*onnxio.Tensor{a}, nodes: []*onnxio.Node{node("ArgMax", "a", "i", graph.IntAttr("axis", 1)),
			node("GatherElements", "a,i", "y", graph.IntAttr("axis", 1))}},
		{name: "OneHot", consts: []*onnxio.Tensor{onnxio.FromInt64s("i", []int64{2, 3}, []int64{0, 255, -1, 7, 900, 3}), onnxio.FromInt64s("d", nil, []int64{256}), random("v", 1, 2)},
			nodes: one(node("OneHot", "i,d,v", "y", graph.IntAttr("axis", 1)))},
		{name: "Compress", consts: two(a, mask("c", 4)), nodes: one(node("Compress", "a,c", "y", graph.IntAttr("axis", 0)))},
		{name: "Compress the last axis", consts: two(a, mask("c", 100)), nodes: one(node("Compress", "a,c", "y", graph.IntAttr("axis", -1)))},
		{name: "Compress the flat tensor", consts: two(a, mask("c", 600)), nodes: one(node("Compress", "a,c", "y"))},
	}
	checkAll(t, cases)
}
