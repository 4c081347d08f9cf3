package axes

import (
	"context"

	"github.com/ligoonnx/ligoonnx/graph"
)

type state struct{}

func infer(ctx context.Context, g *graph.Graph, o Options) (*Result, error) { return nil, nil }
