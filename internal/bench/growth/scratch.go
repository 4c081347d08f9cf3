package main

import (
	"context"
	"math"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/train"
)

// scratch is the start that has nothing of the small model.
const scratch ligo.Method = "scratch"

// fresh is a model that nobody has trained: matrices normal of variance 2/(in+out) (Glorot & Bengio 2010), tables of variance 1/width,
// gains 1, biases 0. The constant 0.02 for matrices, which is usual at 768 features, learns much more slowly at the widths here,
// and a weak baseline would make all growth look good.
func (t *task) fresh(ctx context.Context, c fixtures.Config, seed uint64) (*graph.Graph, error) {
	g, err := graph.FromModel(t.build(c))
	if err != nil {
		return nil, err
	}
	on, err := train.NewTask(ctx, g, train.Spec{Loss: t.Loss})
	if err != nil {
		return nil, err
	}
	values := make([]engine.Floats, len(on.Params))
	for i, p := range on.Params {
		values[i].F32 = make([]float32, p.Len())
	}
	on.Random(values, seed)
	for i, p := range on.Params {
		scale := float32(1 / 0.02) // the deviation that Random gives
		switch p.Role {
		case train.RoleMatrix:
			scale *= float32(math.Sqrt(2 / spread(p.Shape)))
		case train.RoleTable:
			scale *= float32(math.Sqrt(1 / float64(c.Hidden)))
		default:
			continue
		}
		for j := range values[i].F32 {
			values[i].F32[j] *= scale
		}
	}
	m, err := on.Export(values)
	if err != nil {
		return nil, err
	}
	return graph.FromModel(m)
}

// spread is the number of inputs and outputs of a unit of a matrix or of a convolution [out, in, height, width] without overlaps.
func spread(shape []int) float64 {
	area := 1
	for _, n := range shape[2:] {
		area *= n
	}
	return float64(shape[0] + shape[1]*area)
}
