package engine

import (
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestGradientsOfConvolution(t *testing.T) {
	var cases []gradientCase
	add := func(name string, x, w []int64, attrs ...*onnxio.Attribute) {
		cases = append(cases,
			gradientCase{name: name, consts: two(random("a", 1, x...), random("b", 2, w...)), nodes: one(node("Conv", "a,b", "y", attrs...))},
			gradientCase{name: name + " with bias", consts: append(two(random("a", 1, x...), random("b", 2, w...)), random("c", 3, w[0])),
				nodes: one(node("Conv", "a,b,c", "y", attrs...))})
	}
	add("patches", []int64{2, 3, 32, 32}, []int64{16, 3, 16, 16}, graph.IntsAttr("strides", 16, 16))
	add("same size", []int64{2, 3, 9, 7}, []int64{4, 3, 3, 3}, graph.IntsAttr("pads", 1, 1, 1, 1))
	add("asymmetric pads", []int64{1, 2, 9, 7}, []int64{4, 2, 3, 2}, graph.IntsAttr("pads", 0, 1, 2, 0))
	add("groups", []int64{2, 4, 8, 8}, []int64{6, 2, 3, 3}, graph.IntAttr("group", 2))
	add("depthwise", []int64{1, 4, 8, 8}, []int64{4, 1, 3, 3}, graph.IntAttr("group", 4), graph.StringAttr("auto_pad", "SAME_UPPER"))
	add("dilations and strides", []int64{1, 2, 11, 12}, []int64{3, 2, 3, 3}, graph.IntsAttr("dilations", 2, 1), graph.IntsAttr("strides", 2, 3))
	add("one dimension", []int64{2, 8, 256}, []int64{5, 8, 7}, graph.IntsAttr("pads", 6, 0))
	add("three dimensions", []int64{1, 2, 4, 5, 6}, []int64{3, 2, 2, 2, 3})
	cases = append(cases, gradientCase{name: "weights only", consts: two(random("a", 1, 2, 3, 8, 8), random("b", 2, 4, 3, 3, 3)), frozen: []string{"a"},
		nodes: one(node("Conv", "a,b", "y"))})
	checkAll(t, cases)
}

func TestGradientsOfPooling(t *testing.T) {
	var cases []gradientCase
	x := []*onnxio.Tensor{random("a", 1, 2, 3, 17, 19)}
	for _, op := range []string{"MaxPool", "AveragePool"} {
		add := func(name string, attrs ...*onnxio.Attribute) {
			cases = append(cases, gradientCase{name: op + " " + name, opset: 19, consts: x, nodes: one(node(op, "a", "y", attrs...))})
		}
		k := graph.IntsAttr("kernel_shape", 3, 2)
		add("windows apart", k, graph.IntsAttr("strides", 3, 2))
		add("windows overlap", k)
		add("pads", k, graph.IntsAttr("pads", 1, 1, 2, 0), graph.IntsAttr("strides", 2, 2))
		add("last window over the edge", k, graph.IntsAttr("strides", 3, 3), graph.IntAttr("ceil_mode", 1))
		add("dilations", k, graph.IntsAttr("dilations", 2, 3))
		add("same size", k, graph.StringAttr("auto_pad", "SAME_LOWER"))
	}
	cases = append(cases,
		gradientCase{name: "AveragePool that counts pads", opset: 19, consts: x, nodes: one(node("AveragePool", "a", "y", graph.IntsAttr("kernel_shape", 3, 3),
			graph.IntsAttr("pads", 1, 1, 1, 1), graph.IntAttr("count_include_pad", 1), graph.IntsAttr("strides", 2, 3), graph.IntAttr("ceil_mode", 1)))},
		gradientCase{name: "MaxPool of one dimension", consts: []*onnxio.Tensor{random("a", 1, 2, 3, 256)}, nodes: one(node("MaxPool", "a", "y", graph.IntsAttr("kernel_shape", 4)))},
	)
	checkAll(t, cases)
}
