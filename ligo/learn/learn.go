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
	// Warmup of a tenth of the steps, 10 at most, or none if negative; a linear Schedule; Eps 1e-6; Clip 1, or none if negative; three
	// Retries. KeepBest is always on, and EvalEvery a tenth of the steps.
	Train train.Options
}

// Result is what was learned.
type Result struct {
	// Operator is the best one that was measured; with BestStep 0 that is the start, as it was.
	Operator *ligo.Operator
	// Elements is the number of learned numbers.
	Elements int
	// Step is the last one that was taken. Start and Best are losses on Options.Train.Eval, before the first step and after BestStep.
	Step        int
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
	switch {
	case t.Warmup < 0:
		t.Warmup = 0
	case t.Warmup == 0:
		t.Warmup = min(10, t.Steps/10)
	}
	if t.Schedule == "" {
		t.Schedule = train.Linear
	}
	if t.Optimizer != train.SGD && t.Eps == 0 {
		t.Eps = 1e-6
	}
	switch {
	case t.Clip < 0:
		t.Clip = 0
	case t.Clip == 0:
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
	plan  *ligo.Plan
	start *ligo.Operator
	l     *ligo.Learnable
	o     Options
}

// NothingError says that an operator has nothing to learn.
type NothingError struct{ Free ligo.Free }

func (e *NothingError) Error() string {
	return fmt.Sprintf("nothing of the operator can be learned: no weight grows, or %q leaves nothing free", e.Free)
}

// NewTask prepares to learn the operator of a plan, from a start, for a loss of the large model. Only Loss, Output, IgnoreIndex,
// Temperature and HardWeight of spec are read.
func NewTask(ctx context.Context, p *ligo.Plan, start *ligo.Operator, spec train.Spec, o Options) (*Task, error) {
	o = o.withDefaults(p.Method)
	if o.Learn.Tie == ligo.TiePaper && p.Method != ligo.Paper {
		return nil, fmt.Errorf("the paper's tie is for the paper's start: in that of method %s, readers are not the transpose of writers", p.Method)
	}
	l, err := p.Learnable(ctx, start, o.Learn)
	if err != nil {
		return nil, err
	}
	if len(l.Params) == 0 {
		return nil, &NothingError{o.Learn.Free}
	}
	spec.Params, spec.Only, spec.Freeze, spec.TieEqual = l.Params, nil, nil, false
	t, err := train.NewTask(ctx, l.Graph, spec)
	if err != nil {
		return nil, err
	}
	return &Task{Task: t, plan: p, start: start, l: l, o: o}, nil
}

// Options are the choices with their defaults filled in.
func (t *Task) Options() Options { return t.o }

// HoldOut says what the operator is measured on, the first n batches of eval, where that was made for the task and so could not be
// among its options.
func (t *Task) HoldOut(eval train.Batches, n int) {
	t.o.Train.Eval, t.o.Train.EvalBatches, t.o.Train.KeepBest = eval, n, true
}

// batches are those of an operator: a checkpoint is of the same one only with the same parametrisation and method.
type batches struct {
	train.Batches
	id string
}

func (b batches) ID() string { return b.id + b.Batches.ID() }

// Run learns. Like train.Run, it gives what it has come to beside an error.
func (t *Task) Run(ctx context.Context, data train.Batches) (*Result, error) {
	id := fmt.Sprintf("operator %s, %s, tied %s, free terms %t; ", t.start.Method, t.o.Learn.Free, t.o.Learn.Tie, t.o.Learn.Additive)
	r, err := train.Run(ctx, t.Task, batches{data, id}, t.o.Train)
	if r == nil {
		return nil, err
	}
	out := &Result{Elements: t.Elements(), Step: r.State.Step, Start: r.Start, Best: r.Best, BestStep: r.BestStep, Curve: r.Curve, Checkpoint: r.Checkpoint}
	if t.o.Train.Eval == nil {
		out.BestStep = r.State.Step
	}
	if out.BestStep == 0 {
		out.Operator = t.start
		return out, err
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
	op.Learned = &ligo.Learned{Steps: sum.BestStep, LR: t.o.Train.LR, Free: t.o.Learn.Free, Tie: t.o.Learn.Tie}
	if sum.Best != nil {
		op.Learned.LossBefore, op.Learned.LossAfter = sum.Start.Loss, sum.Best.Loss
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
