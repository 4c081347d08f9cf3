package engine

import (
	"fmt"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestGradientsOfReductions(t *testing.T) {
	var cases []gradientCase
	for _, op := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum",
		"ReduceLogSumExp"} {
		a := random("a", 1, 3, 4, 256)
		if op == "ReduceLogSum" || op == "ReduceProd" { // the logarithm's domain; products that neither vanish nor explode
			a = between("a", 1, 0.9, 1.1, 3, 4, 256)
		}
		for _, axes := range [][]int64{{0}, {1}, {2}, {-1}, {0, 1}, {1, 2}, {0, 2}, {-3, -1}, {0, 1, 2}} {
			for _, keep := range []int64{0, 1} {
				cases = append(cases, gradientCase{name: fmt.Sprint(op, axes, keep), opset: 11, consts: []*onnxio.Tensor{a},
					nodes: one(node(op, "a", "y", graph.IntsAttr("axes", axes...), graph.IntAttr("keepdims", keep)))})
			}
		}
		axes := onnxio.FromInt64s("axes", []int64{1}, []int64{1})
		cases = append(cases,
			gradientCase{name: op + " of everything", opset: 11, consts: []*onnxio.Tensor{a}, nodes: one(node(op, "a", "y"))},
			gradientCase{name: op + " by operand", opset: 18, consts: []*onnxio.Tensor{a, axes}, nodes: one(node(op, "a,axes", "y"))},
			gradientCase{name: op + " of nothing", opset: 18, consts: []*onnxio.Tensor{a}, nodes: one(node(op, "a", "y", graph.IntAttr("noop_with_empty_axes", 1)))},
			gradientCase{name: op + " of a scalar", opset: 18, consts: []*onnxio.Tensor{scalar("a", 1.5)}, nodes: one(node(op, "a", "y"))},
		)
	}
	x := random("a", 1, 2, 3, 16, 16)
	cases = append(cases,
		gradientCase{name: "GlobalAveragePool", consts: []*onnxio.Tensor{x}, nodes: one(node("GlobalAveragePool", "a", "y"))},
		gradientCase{name: "GlobalMaxPool", consts: []*onnxio.Tensor{x}, nodes: one(node("GlobalMaxPool", "a", "y"))},
		gradientCase{name: "zeros in a product", opset: 11, consts: []*onnxio.Tensor{onnxio.FromFloat32s("a", []int64{3, 3}, []float32{2, 3, 4, 2, 0, 4, 0, 3, 0})},
			nodes: one(node("ReduceProd", "a", "y", graph.IntsAttr("axes", 1)))},
	)
	checkAll(t, cases)
}
