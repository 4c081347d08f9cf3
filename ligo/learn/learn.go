package learn

import (
	"context"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/train"
)

// Options are the choices in learning an operator. Zero values are the defaults given.
type Options struct {
	// Learn is the parametrisation; by default dense, and tied as in the paper where the start is the paper's.
	Learn ligo.LearnOptions
	// Train is how it is learned. Defaults that differ from those of training: 100 Steps; LR by what is free and from where (Rate);
	// Warmup of a tenth of the steps, 10 at most; a linear Schedule; Eps 1e-6; Clip 1; three Retries. KeepBest is always on, and
	// EvalEvery a tenth of the steps.
	Train train.Options
}

// Result is what was learned.
type Result struct {
	// Operator is the best one that was measured; with BestStep 0 that is the start.
	Operator *ligo.Operator
	// Elements is the number of learned numbers.
	Elements    int
	Start, Best *train.Eval
	BestStep    int
	Curve       []train.Point
	Checkpoint  string
}

// The learning rates that were best in 100 steps from the starts they are for (docs/results.md; three orders of magnitude apart: Adam
// moves every entry of a dense matrix by about the rate, and nearly all of an exact start's are zero).
const (
	ratePaper   = 3e-3
	rateDense   = 3e-5
	rateSupport = 1e-3
	rateDepth   = 1e-2
)

// Rate is the default learning rate for what is learned.
func Rate(m ligo.Method, o ligo.LearnOptions) float64 {
	switch {
	case o.Free == ligo.FreeDepth:
		return rateDepth
	case m == ligo.Paper:
		return ratePaper
	case o.Free == ligo.FreeSupport:
		return rateSupport
	}
	return rateDense
}

// withDefaults fills in what is zero.
func (o Options) withDefaults(m ligo.Method) Options {
	if o.Learn.Free == "" {
		o.Learn.Free = ligo.FreeDense
	}
	if o.Learn.Tie == "" {
		o.Learn.Tie = ligo.TieNone
		if m == ligo.Paper {
			o.Learn.Tie = ligo.TiePaper
		}
	}
	t := &o.Train
	if t.Steps == 0 {
		t.Steps = 100
	}
	if t.LR == 0 {
		t.LR = Rate(m, o.Learn)
	}
	if t.Warmup == 0 {
		t.Warmup = min(10, t.Steps/10)
	}
	if t.Schedule == "" {
		t.Schedule = train.Linear
	}
	if t.Optimizer != train.SGD && t.Eps == 0 {
		t.Eps = 1e-6
	}
	if t.Clip == 0 {
		t.Clip = 1
	}
	if t.Retries == 0 {
		t.Retries = 3
	}
	if t.EvalEvery == 0 {
		t.EvalEvery = max(1, t.Steps/10)
	}
	t.KeepBest = t.Eval != nil
	return o
}

// Task is an operator that can be learned: the task of training it. Batches are made for it.
type Task struct {
	*train.Task
	plan *ligo.Plan
	l    *ligo.Learnable
	o    Options
}

// NewTask prepares to learn the operator of a plan, from a start, for a loss of the large model. Only Loss, Output, IgnoreIndex,
// Temperature and HardWeight of spec are read.
func NewTask(ctx context.Context, p *ligo.Plan, start *ligo.Operator, spec train.Spec, o Options) (*Task, error) {
	o = o.withDefaults(p.Method)
	l, err := p.Learnable(ctx, start, o.Learn)
	if err != nil {
		return nil, err
	}
	if len(l.Params) == 0 {
		return nil, fmt.Errorf("nothing of the operator can be learned: no weight grows, or %q leaves nothing free", o.Learn.Free)
	}
	spec.Params, spec.Only, spec.Freeze, spec.TieEqual = l.Params, nil, nil, false
	t, err := train.NewTask(ctx, l.Graph, spec)
	if err != nil {
		return nil, err
	}
	return &Task{Task: t, plan: p, l: l, o: o}, nil
}

// Run learns. Like train.Run, it gives what it has come to beside an error.
func (t *Task) Run(ctx context.Context, data train.Batches) (*Result, error) {
	r, err := train.Run(ctx, t.Task, data, t.o.Train)
	if r == nil {
		return nil, err
	}
	out := &Result{Elements: t.Elements(), Start: r.Start, Best: r.Best, BestStep: r.BestStep, Curve: r.Curve, Checkpoint: r.Checkpoint}
	if t.o.Train.Eval == nil {
		out.BestStep = r.State.Step
	}
	op, opErr := t.operator(r, out)
	if err == nil {
		err = opErr
	}
	out.Operator = op
	return out, err
}

// operator is the operator with the values of a run.
func (t *Task) operator(r *train.Result, sum *Result) (*ligo.Operator, error) {
	learned := map[string]engine.Floats{}
	for i, p := range t.Params {
		learned[p.Name] = r.Values[i]
	}
	var failed error
	op, err := t.l.Operator(func(name string) []float64 {
		if f, ok := learned[name]; ok {
			return widened(f)
		}
		// The loss does not depend on it.
		x, err := t.l.Graph.Value(name).Const.Float64s()
		if err != nil {
			failed = err
		}
		return x
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	if sum.BestStep > 0 {
		op.Learned = &ligo.Learned{Steps: sum.BestStep, LR: t.o.Train.LR, Free: t.o.Learn.Free, Tie: t.o.Learn.Tie}
		if sum.Best != nil {
			op.Learned.LossBefore, op.Learned.LossAfter = sum.Start.Loss, sum.Best.Loss
		}
	}
	return op, nil
}

func widened(f engine.Floats) []float64 {
	if f.F64 != nil {
		return f.F64
	}
	out := make([]float64, len(f.F32))
	for i, v := range f.F32 {
		out[i] = float64(v)
	}
	return out
}
