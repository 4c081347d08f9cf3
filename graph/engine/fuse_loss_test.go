package engine

import (
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestFuseLoss(t *testing.T) {
	labels := func(dims ...int64) *onnxio.Tensor {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		v := make([]int64, n)
		for i := range v {
			v[i] = int64(i * 7 % 256)
		}
		return onnxio.FromInt64s("t", dims, v)
	}
	flat := []*onnxio.Tensor{random("x", 1, 6, 256), labels(6), random("w", 2, 256)}
	deep := []*onnxio.Tensor{random("x", 1, 2, 256, 3), labels(2, 3)}
	deeper := []*onnxio.Tensor{random("x", 1, 2, 256, 2, 3), labels(2, 2, 3)}
	for _, k := range []fusionCase{
		{name: "LogSoftmax", consts: flat, nodes: "LogSoftmax x axis=1 -> l; NegativeLogLikelihoodLoss l,t -> y", want: "crossEntropy:1"},
		{name: "last axis", consts: flat, nodes: "LogSoftmax x axis=-1 -> l; NegativeLogLikelihoodLoss l,t ignore_index=3 -> y", want: "crossEntropy:1"},
		{name: "Log of Softmax", consts: flat, nodes: "Softmax x axis=1 -> p; Log p -> l; NegativeLogLikelihoodLoss l,t -> y", want: "crossEntropy:1"},
		{name: "classes in the middle", consts: deep, nodes: "LogSoftmax x axis=1 -> l; NegativeLogLikelihoodLoss l,t -> y", want: "transposeOp:1 crossEntropy:1"},
		{name: "two axes behind the classes", consts: deeper, nodes: "LogSoftmax x axis=1 -> l; NegativeLogLikelihoodLoss l,t -> y", not: "softmaxOp"},

		{name: "logarithms returned", consts: flat, nodes: "LogSoftmax x axis=1 -> l; NegativeLogLikelihoodLoss l,t -> y", keep: []string{"l"}, not: "crossEntropy"},
		{name: "softmax over rows", consts: flat, nodes: "LogSoftmax x axis=0 -> l; NegativeLogLikelihoodLoss l,t -> y", not: "crossEntropy"},
		{name: "Softmax without a logarithm", consts: flat, nodes: "Softmax x axis=1 -> l; NegativeLogLikelihoodLoss l,t -> y", not: "crossEntropy"},
		{name: "logarithm twice", consts: flat, nodes: "LogSoftmax x axis=1 -> p; Neg p -> q; Log q -> l; NegativeLogLikelihoodLoss l,t -> y", not: "crossEntropy"},
	} {
		t.Run(k.name, k.check)
	}
}
