package engine

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// labelsIn draws labels below classes; every third is ignored.
func labelsIn(seed uint64, classes, ignored int64, dims ...int64) map[string]*onnxio.Tensor {
	r := rand.New(rand.NewPCG(seed, 3))
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	v := make([]int64, n)
	for i := range v {
		v[i] = r.Int64N(classes)
		if i%3 == 2 {
			v[i] = ignored
		}
	}
	return map[string]*onnxio.Tensor{"l": onnxio.FromInt64s("l", dims, v)}
}

func TestGradientsOfLosses(t *testing.T) {
	const none = -100
	list := func(c ...*onnxio.Tensor) []*onnxio.Tensor { return c }
	ignore, reduce := graph.IntAttr("ignore_index", none), func(r string) *onnxio.Attribute { return graph.StringAttr("reduction", r) }
	x, w := random("x", 1, 12, 300), between("w", 2, 0.1, 2, 300)
	for _, k := range []gradientCase{
		{name: "mean", consts: list(x), inputs: labelsIn(1, 300, 299, 12), nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y")}},
		{name: "mean with ignored", consts: list(x), inputs: labelsIn(1, 300, none, 12), nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y", ignore)}},
		{name: "sum", consts: list(x), inputs: labelsIn(1, 300, none, 12), nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y", ignore, reduce("sum"))}},
		{name: "none", consts: list(x), inputs: labelsIn(1, 300, none, 12), nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y", ignore, reduce("none"))}},
		{name: "weights", consts: list(x, w), frozen: []string{"w"}, inputs: labelsIn(1, 300, none, 12), nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l,w", "y", ignore)}},
		{name: "logarithms as well", consts: list(random("x", 1, 2, 257, 3)), outputs: []string{"y", "p"}, inputs: labelsIn(1, 257, none, 2, 3),
			nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y,p", ignore)}},
		{name: "images", consts: list(random("x", 1, 2, 260, 3, 2)), inputs: labelsIn(1, 260, none, 2, 3, 2), nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y", ignore)}},
		{name: "several chunks", consts: list(random("x", 1, 3, 2500)), inputs: labelsIn(1, 2500, none, 3), nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y", ignore)}},
		{name: "classes last", consts: list(random("x", 1, 2, 3, 256)), inputs: labelsIn(1, 256, none, 2, 3), nodes: []*onnxio.Node{
			node("Transpose", "x", "t", graph.IntsAttr("perm", 0, 2, 1)), node("SoftmaxCrossEntropyLoss", "t,l", "y", ignore)}},
		{name: "one class", consts: list(random("x", 1, 4, 1)), inputs: labelsIn(1, 1, 0, 4), nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y")}},
		{name: "picked", consts: list(x, w), frozen: []string{"w"}, inputs: labelsIn(1, 300, none, 12), nodes: []*onnxio.Node{
			node("LogSoftmax", "x", "p"), node("NegativeLogLikelihoodLoss", "p,l,w", "y", ignore)}},
		{name: "picked, sum", consts: list(random("x", 1, 2, 260, 3)), inputs: labelsIn(1, 260, none, 2, 3), nodes: []*onnxio.Node{
			node("NegativeLogLikelihoodLoss", "x,l", "y", ignore, reduce("sum"))}},
		{name: "picked, none", consts: list(random("x", 1, 5, 256)), inputs: labelsIn(1, 256, none, 5), nodes: []*onnxio.Node{
			node("NegativeLogLikelihoodLoss", "x,l", "y", ignore, reduce("none"))}},
	} {
		t.Run(k.name, func(t *testing.T) {
			checkGradients(t, k)
			checkSingle(t, k)
		})
	}
}

// A mean over no label is no number, but its gradient is zero: the batch says nothing.
func TestLossOfIgnoredLabels(t *testing.T) {
	k := gradientCase{consts: []*onnxio.Tensor{random("x", 1, 2, 5)}, inputs: map[string]*onnxio.Tensor{"l": onnxio.FromInt64s("l", []int64{2}, []int64{-1, -1})},
		nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y", graph.IntAttr("ignore_index", -1))}}
	g, params := k.lossGraph(t)
	tr, err := NewTrainer(g, "loss", params, Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := tr.Gradients(context.Background(), k.inputs)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := out["loss"].Float64s(); !math.IsNaN(v[0]) {
		t.Errorf("loss %g", v[0])
	}
	for i, v := range tr.Params()[0].Grad.F32 {
		if v != 0 {
			t.Errorf("gradient[%d] = %g", i, v)
		}
	}
}

func TestLossRefusesLabels(t *testing.T) {
	g := func(l *onnxio.Tensor) error {
		k := gradientCase{consts: []*onnxio.Tensor{random("x", 1, 2, 5)}, inputs: map[string]*onnxio.Tensor{"l": onnxio.FromInt64s("l", []int64{2}, []int64{0, 1})},
			nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y", graph.IntAttr("ignore_index", -100))}}
		g, _ := k.lossGraph(t)
		_, err := mustNew(t, g, Options{}).Run(context.Background(), map[string]*onnxio.Tensor{"l": l})
		return err
	}
	for _, c := range []struct {
		labels []int64
		dims   []int64
		want   string
	}{
		{[]int64{1, 5}, []int64{2}, "label 5, number 1 of the labels, is outside the 5 classes"},
		{[]int64{-1, 0}, []int64{2}, "label -1, number 0 of the labels, is outside the 5 classes"},
		{[]int64{1, 0, 2}, []int64{3}, "labels of shape [3], expected [2]"},
	} {
		err := g(onnxio.FromInt64s("l", c.dims, c.labels))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "SoftmaxCrossEntropyLoss") {
			t.Errorf("labels %v: %v, expected %q", c.labels, err, c.want)
		}
	}
}

func TestLossOfInt32Labels(t *testing.T) {
	labels, err := onnxio.FromBytes("l", onnxio.Int32, []int64{3}, []byte{5, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	k := gradientCase{consts: []*onnxio.Tensor{random("x", 1, 3, 256)}, inputs: map[string]*onnxio.Tensor{"l": labels},
		nodes: []*onnxio.Node{node("SoftmaxCrossEntropyLoss", "x,l", "y")}}
	checkGradients(t, k)
}

// Scores of a large vocabulary are what takes most memory: their gradient is written over them, and nothing else has their size.
func TestLossGradientTakesTheScoresPlace(t *testing.T) {
	const rows, classes, width = 64, 50000, 8
	k := gradientCase{consts: []*onnxio.Tensor{random("h", 1, rows, width), random("w", 2, width, classes)}, inputs: labelsIn(1, classes, -100, rows),
		nodes: []*onnxio.Node{node("MatMul", "h,w", "x"), node("SoftmaxCrossEntropyLoss", "x,l", "y", graph.IntAttr("ignore_index", -100))}}
	g, params := k.lossGraph(t)
	const scores, weights = 4 * rows * classes, 4 * width * classes
	for limit, fits := range map[int64]bool{scores + 3*weights: true, scores: false} {
		tr, err := NewTrainer(g, "loss", params, Options{MaxMemory: limit})
		if err == nil {
			_, err = tr.Gradients(context.Background(), k.inputs)
		}
		var full *MemoryError
		if fits && err != nil || !fits && !errors.As(err, &full) {
			t.Errorf("with %d bytes: %v", limit, err)
		}
	}
}
