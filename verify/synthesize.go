package verify

import (
	"context"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// Synthesize makes one set of inputs for a model from its signature and a seed; run must run g.
func Synthesize(ctx context.Context, g *graph.Graph, run Runner, seed uint64) (dataset.Set, error) {
	s, err := newSynthesizer(g, run, seed)
	if err != nil {
		return dataset.Set{}, err
	}
	if err := s.solve(ctx); err != nil {
		return dataset.Set{}, err
	}
	return s.make(s.scenarios(synthesis{short: true})[0])
}
