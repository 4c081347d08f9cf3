package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
)

// FromGrown is the growth that was just done.
func FromGrown(p *ligo.Plan, g *ligo.Grown) *Growth {
	out := &Growth{Promise: string(g.Record.Promise), Reasons: reasons(g.Record.Reasons), InputMaps: g.InputMaps, OutputMaps: g.OutputMaps,
		Deeper: p.To.Depth() > p.From.Depth()}
	if out.Promise == "" {
		out.Promise = Exact
	}
	return out
}

func reasons(in []ligo.Reason) []Reason {
	out := make([]Reason, len(in))
	for i, r := range in {
		out[i] = Reason(r)
	}
	return out
}

// Recall finds out how the large model was grown: from the record in its metadata, or, when it has none, from what a growth of the
// small model to the same sizes would promise. The note says which, and what could not be found out. A growth of nil means that
// nothing is known and the models must agree.
func Recall(ctx context.Context, small, large Model) (*Growth, string, error) {
	rec, ok, err := ligo.FromMetadata(large.Model.Metadata)
	if err != nil {
		return nil, "", &ModelError{large.Path, &graph.InvalidError{Where: "metadata", Problem: err.Error()}}
	}
	a, err := ligo.Analyse(ctx, small.Graph)
	if err != nil {
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		return nil, fmt.Sprintf("how the models correspond is not known (%v); they must agree", err), nil
	}
	if !ok {
		return infer(ctx, a, large)
	}
	p, err := ligo.Replay(ctx, a, rec)
	var impossible *ligo.TargetError
	switch {
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case errors.As(err, &impossible):
		// The record is of another small model: what it promised does not hold for this one.
		return nil, fmt.Sprintf("the growth record of the large model does not fit the small one (%v); the models must agree", err), nil
	case err != nil:
		return nil, "", &ModelError{small.Path, err}
	}
	g, err := repeat(ctx, p)
	if err != nil {
		return nil, "", &ModelError{small.Path, err}
	}
	note := ""
	if rec.Source != "" && small.Model.SHA256 != "" && rec.Source != small.Model.SHA256 {
		note = "the large model was grown from another file than the small one given; they are compared all the same"
	}
	// What was promised counts, not what would be promised now.
	if rec.Promise != "" {
		g.Promise, g.Reasons = string(rec.Promise), reasons(rec.Reasons)
	}
	return g, note, nil
}

func repeat(ctx context.Context, p *ligo.Plan) (*Growth, error) {
	op, err := p.Operator(ctx)
	if err != nil {
		return nil, err
	}
	grown, err := ligo.Apply(ctx, p, op)
	if err != nil {
		return nil, err
	}
	g := FromGrown(p, grown)
	g.Planned = grown.Graph
	return g, nil
}

func infer(ctx context.Context, a *ligo.Analysis, large Model) (*Growth, string, error) {
	const without = "the large model has no growth record; "
	b, err := ligo.Analyse(ctx, large.Graph)
	if err == nil {
		var p *ligo.Plan
		if p, err = ligo.NewPlan(ctx, a, ligo.Target{Like: b}, ligo.Options{}); err == nil {
			g := &Growth{Promise: string(p.Promise), Reasons: reasons(p.Reasons), Deeper: p.To.Depth() > p.From.Depth()}
			return g, without + "what a growth to its sizes can promise is expected of it: " + g.Promise, nil
		}
	}
	if ctx.Err() != nil {
		return nil, "", ctx.Err()
	}
	return nil, without + "the models must agree", nil
}
