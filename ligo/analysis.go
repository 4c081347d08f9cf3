package ligo

import (
	"context"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/graph/blocks"
)

// Analysis is what is known of a model before anything is planned.
type Analysis struct {
	Graph  *graph.Graph      // as it was read
	Axes   *axes.Result      // refers to a normalised copy of Graph
	Blocks *blocks.Structure // the layers, in the normalised copy
}

// Analyse infers the axes of a graph and finds its layers. The graph is not changed.
func Analyse(ctx context.Context, g *graph.Graph) (*Analysis, error) {
	r, err := axes.Infer(ctx, g, axes.Options{})
	if err != nil {
		return nil, fmt.Errorf("axes: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := blocks.Find(r)
	if err != nil {
		return nil, fmt.Errorf("layers: %w", err)
	}
	return &Analysis{Graph: g, Axes: r, Blocks: s}, nil
}
