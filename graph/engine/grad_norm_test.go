package engine

import (
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestGradientsOfSoftmax(t *testing.T) {
	axis := func(a int64) *onnxio.Attribute { return graph.IntAttr("axis", a) }
	for _, k := range []gradientCase{
		{name: "last axis", consts: []*onnxio.Tensor{random("x", 1, 5, 256)}, nodes: []*onnxio.Node{node("Softmax", "x", "y")}},
		{name: "first axis", consts: []*onnxio.Tensor{random("x", 1, 256, 3, 2)}, nodes: []*onnxio.Node{node("Softmax", "x", "y", axis(0))}},
		{name: "axis in the middle", consts: []*onnxio.Tensor{random("x", 1, 2, 300, 3)}, nodes: []*onnxio.Node{node("Softmax", "x", "y", axis(-2))}},
		{name: "coerced", opset: 11, consts: []*onnxio.Tensor{random("x", 1, 3, 16, 16)}, nodes: []*onnxio.Node{node("Softmax", "x", "y")}},
		{name: "coerced to single elements", opset: 11, consts: []*onnxio.Tensor{random("x", 1, 3, 16)}, nodes: []*onnxio.Node{node("Softmax", "x", "y", axis(2))}},
		{name: "logarithm", consts: []*onnxio.Tensor{random("x", 1, 5, 257)}, nodes: []*onnxio.Node{node("LogSoftmax", "x", "y")}},
		{name: "logarithm, first axis", consts: []*onnxio.Tensor{random("x", 1, 256, 5)}, nodes: []*onnxio.Node{node("LogSoftmax", "x", "y", axis(0))}},
		{name: "logarithm, coerced", opset: 12, consts: []*onnxio.Tensor{random("x", 1, 2, 8, 32)}, nodes: []*onnxio.Node{node("LogSoftmax", "x", "y", axis(1))}},
		{name: "length 1", consts: []*onnxio.Tensor{random("x", 1, 5, 1)}, nodes: []*onnxio.Node{node("Softmax", "x", "y")}},
		{name: "large numbers", consts: []*onnxio.Tensor{between("x", 1, 0, 30, 3, 256)}, nodes: []*onnxio.Node{node("Softmax", "x", "y")}},
	} {
		t.Run(k.name, func(t *testing.T) {
			checkGradients(t, k)
			checkSingle(t, k)
		})
	}
}

func TestGradientsOfNorms(t *testing.T) {
	x, gain, bias := random("x", 1, 3, 5, 256), random("g", 2, 256), random("b", 3, 256)
	skip, image := random("s", 4, 3, 5, 256), random("x", 1, 2, 12, 16, 16)
	list := func(c ...*onnxio.Tensor) []*onnxio.Tensor { return c }
	one := func(n *onnxio.Node) []*onnxio.Node { return []*onnxio.Node{n} }
	for _, k := range []gradientCase{
		{name: "layer", consts: list(x, gain, bias), nodes: one(node("LayerNormalization", "x,g,b", "y"))},
		{name: "layer without bias", consts: list(x, gain), nodes: one(node("LayerNormalization", "x,g", "y", graph.FloatAttr("epsilon", 0.1)))},
		{name: "layer over two axes", consts: list(random("x", 1, 4, 16, 16), random("g", 2, 16, 16), random("b", 3, 16, 16)),
			nodes: one(node("LayerNormalization", "x,g,b", "y", graph.IntAttr("axis", 1)))},
		{name: "layer with a broadcast gain", consts: list(random("x", 1, 4, 16, 16), random("g", 2, 16, 1), random("b", 3, 16)),
			nodes: one(node("LayerNormalization", "x,g,b", "y", graph.IntAttr("axis", 1)))},
		{name: "layer, many rows", consts: list(random("x", 1, 700, 256), gain, bias), nodes: one(node("LayerNormalization", "x,g,b", "y"))},
		{name: "layer, frozen gain", consts: list(x, gain, bias), frozen: []string{"g"}, nodes: one(node("LayerNormalization", "x,g,b", "y"))},
		{name: "layer, frozen operand", consts: list(x, gain, bias), frozen: []string{"x"}, nodes: one(node("LayerNormalization", "x,g,b", "y"))},
		{name: "layer and its statistics", consts: list(x, gain, bias), outputs: []string{"y", "m", "i"}, nodes: one(node("LayerNormalization", "x,g,b", "y,m,i"))},
		{name: "statistics of a layer", consts: list(x, gain), outputs: []string{"m", "i"}, nodes: one(node("LayerNormalization", "x,g", "y,m,i"))},
		{name: "RMS", opset: 23, consts: list(x, gain), nodes: one(node("RMSNormalization", "x,g", "y"))},
		{name: "simplified", consts: list(x, gain), nodes: one(node("SimplifiedLayerNormalization", "x,g", "y"))},
		{name: "skip", consts: list(x, skip, gain, bias, random("c", 5, 256)), outputs: []string{"y", "sum"}, nodes: one(ours("SkipLayerNormalization", "x,s,g,b,c", "y,,,sum"))},
		{name: "skip without biases", consts: list(x, skip, gain), nodes: one(ours("SkipLayerNormalization", "x,s,g", "y"))},
		{name: "simplified skip", consts: list(x, skip, gain, random("c", 5, 256)), outputs: []string{"y", "sum"},
			nodes: one(ours("SkipSimplifiedLayerNormalization", "x,s,g,c", "y,,,sum"))},
		{name: "groups", opset: 21, consts: list(image, random("g", 2, 12), random("b", 3, 12)), nodes: one(node("GroupNormalization", "x,g,b", "y", graph.IntAttr("num_groups", 3)))},
		{name: "groups with a gain each", opset: 18, consts: list(image, random("g", 2, 3), random("b", 3, 3)),
			nodes: one(node("GroupNormalization", "x,g,b", "y", graph.IntAttr("num_groups", 3)))},
		{name: "instances", consts: list(image, random("g", 2, 12), random("b", 3, 12)), nodes: one(node("InstanceNormalization", "x,g,b", "y"))},
		{name: "batch", consts: list(image, random("g", 2, 12), random("b", 3, 12), random("m", 4, 12), between("v", 5, 0.5, 2, 12)),
			nodes: one(node("BatchNormalization", "x,g,b,m,v", "y"))},
		{name: "batch, fixed statistics", consts: list(random("x", 1, 300, 256), gain, bias, random("m", 4, 256), between("v", 5, 0.5, 2, 256)), frozen: []string{"m", "v", "g"},
			nodes: one(node("BatchNormalization", "x,g,b,m,v", "y"))},
		{name: "batch, training", consts: list(image, random("g", 2, 12), random("b", 3, 12), random("m", 4, 12), between("v", 5, 0.5, 2, 12)),
			outputs: []string{"y", "mean", "var"}, nodes: one(node("BatchNormalization", "x,g,b,m,v", "y,mean,var", graph.IntAttr("training_mode", 1)))},
	} {
		t.Run(k.name, func(t *testing.T) {
			checkGradients(t, k)
			checkSingle(t, k)
		})
	}
}
