package race

import (
	"context"
	"fmt"
	"time"

	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/learn"
	"github.com/ligoonnx/ligoonnx/ligo/train"
)

// Entry is a way to get the large model.
type Entry struct {
	Name   string
	Method ligo.Method
	// Learn says how the operator is learned from the method's; nil: the method's operator is applied as it is.
	Learn *learn.Options
	// Init draws the large model's numbers anew (train.Options.Init): the run from scratch. Empty: they stay.
	Init string
}

// Grown is what an entry has made.
type Grown struct {
	Name       string        `json:"name"`
	Method     ligo.Method   `json:"method"`
	Promise    ligo.Promise  `json:"promise"`
	Parameters int64         `json:"parameters"`
	Operator   *LearnedStats `json:"operator,omitempty"` // nil where nothing was learned

	Runner Runner `json:"-"`
}

// LearnedStats is what learning an operator has cost and brought.
type LearnedStats struct {
	Steps      int       `json:"steps"`
	Parameters int       `json:"parameters"` // learned numbers
	Free       ligo.Free `json:"free"`
	LR         float64   `json:"lr"`
	// FLOPs is all of it, the measurements by which the best operator is kept included. StepFLOPs is that of a step: the large model's
	// and what its weights take to be made of the small ones'.
	FLOPs     float64 `json:"flops"`
	StepFLOPs float64 `json:"step_flops"`
	Seconds   float64 `json:"seconds"`
	// Start and Best are losses on held-out data, before the first step and after BestStep.
	Start    float64 `json:"loss_start"`
	Best     float64 `json:"loss_best"`
	BestStep int     `json:"best_step"`
}

// Grow makes the runner of an entry: the large model of a plan, by the plan's operator or one learned on data. Progress may be nil.
func (e Entry) Grow(ctx context.Context, p *ligo.Plan, spec train.Spec, data Data, progress func(steps int, p train.Point)) (*Grown, error) {
	op, err := p.Operator(ctx)
	if err != nil {
		return nil, err
	}
	out := &Grown{Name: e.Name, Method: e.Method, Parameters: p.ParamsTo}
	if e.Learn != nil {
		if op, out.Operator, err = learned(ctx, p, op, spec, *e.Learn, data, progress); err != nil {
			return nil, fmt.Errorf("learning the operator: %w", err)
		}
		out.Runner.FLOPs, out.Runner.Seconds = out.Operator.FLOPs, out.Operator.Seconds
	}
	grown, err := ligo.Apply(ctx, p, op)
	if err != nil {
		return nil, err
	}
	out.Promise, _ = p.Promised(op)
	out.Runner.Name, out.Runner.Graph, out.Runner.Init = e.Name, grown.Graph, e.Init
	return out, nil
}

func learned(ctx context.Context, p *ligo.Plan, start *ligo.Operator, spec train.Spec, o learn.Options, data Data, progress func(int, train.Point)) (*ligo.Operator, *LearnedStats, error) {
	begin := time.Now()
	if progress != nil {
		steps := o.Train.Steps
		o.Train.Progress = func(p train.Point) { progress(steps, p) }
	}
	t, err := learn.NewTask(ctx, p, start, spec, o)
	if err != nil {
		return nil, nil, err
	}
	batches, eval, n := data(t.Task)
	t.HoldOut(eval, n)
	forward, step, err := cost(ctx, t.Task, batches, o.Train.Accumulate)
	if err != nil {
		return nil, nil, err
	}
	r, err := t.Run(ctx, batches)
	if err != nil {
		return nil, nil, err
	}
	measured := 1 // the start
	for _, c := range r.Curve {
		if c.Eval != nil {
			measured++
		}
	}
	used := t.Options()
	return r.Operator, &LearnedStats{Steps: r.Step, Parameters: r.Elements, Free: used.Learn.Free, LR: used.Train.LR, StepFLOPs: step,
		FLOPs: float64(r.Step)*step + float64(measured*n)*forward, Seconds: time.Since(begin).Seconds(),
		Start: r.Start.Loss, Best: r.Best.Loss, BestStep: r.BestStep}, nil
}
