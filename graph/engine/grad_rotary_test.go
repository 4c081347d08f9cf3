package engine

import (
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestGradientsOfRotation(t *testing.T) {
	list := func(c ...*onnxio.Tensor) []*onnxio.Tensor { return c }
	flat, apart := random("x", 1, 2, 3, 512), random("x", 1, 2, 4, 3, 256)
	cos, sin := random("c", 2, 2, 3, 128), random("s", 3, 2, 3, 128)
	shared := list(random("c", 2, 1, 3, 128), random("s", 3, 1, 3, 128))
	heads := graph.IntAttr("num_heads", 2)
	positions := map[string]*onnxio.Tensor{"p": onnxio.FromInt64s("p", []int64{2, 3}, []int64{4, 0, 2, 1, 1, 3})}
	for _, k := range []gradientCase{
		{name: "heads in the middle", consts: list(apart, cos, sin), nodes: []*onnxio.Node{node("RotaryEmbedding", "x,c,s", "y")}},
		{name: "heads last", consts: list(flat, cos, sin), nodes: []*onnxio.Node{node("RotaryEmbedding", "x,c,s", "y", heads)}},
		{name: "one table for all", consts: append(shared, flat), nodes: []*onnxio.Node{node("RotaryEmbedding", "x,c,s", "y", heads)}},
		{name: "neighbours", consts: list(flat, cos, sin), nodes: []*onnxio.Node{node("RotaryEmbedding", "x,c,s", "y", heads, graph.IntAttr("interleaved", 1))}},
		{name: "part of a head", consts: list(apart, random("c", 2, 2, 3, 16), random("s", 3, 2, 3, 16)),
			nodes: []*onnxio.Node{node("RotaryEmbedding", "x,c,s", "y", graph.IntAttr("rotary_embedding_dim", 32))}},
		{name: "by position", consts: list(flat, random("c", 2, 5, 128), random("s", 3, 5, 128)), frozen: []string{"c", "s"}, inputs: positions,
			nodes: []*onnxio.Node{node("RotaryEmbedding", "x,c,s,p", "y", heads)}},
		{name: "only the sines", consts: list(flat, cos, sin), frozen: []string{"x", "c"}, nodes: []*onnxio.Node{node("RotaryEmbedding", "x,c,s", "y", heads)}},
	} {
		k.opset = 23
		t.Run(k.name, func(t *testing.T) {
			checkGradients(t, k)
			checkSingle(t, k)
		})
	}
}

func TestGradientsOfTensorScatter(t *testing.T) {
	consts := []*onnxio.Tensor{random("cache", 1, 2, 3, 8, 32), random("u", 2, 2, 3, 4, 32)}
	at := map[string]*onnxio.Tensor{"p": onnxio.FromInt64s("p", []int64{2}, []int64{6, 1})}
	for _, k := range []gradientCase{
		{name: "linear", consts: consts, nodes: []*onnxio.Node{node("TensorScatter", "cache,u", "y")}},
		{name: "circular", consts: consts, inputs: at, nodes: []*onnxio.Node{node("TensorScatter", "cache,u,p", "y", graph.StringAttr("mode", "circular"))}},
	} {
		k.opset = 24
		t.Run(k.name, func(t *testing.T) {
			checkGradients(t, k)
			checkSingle(t, k)
		})
	}
}
