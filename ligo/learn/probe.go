package learn

import (
	"context"
	"errors"
	"fmt"

	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Candidate is a way to grow that a Probe tries.
type Candidate struct {
	Name   string
	Method ligo.Method
	// Learn says how the operator is learned from the method's; nil: the method's operator is applied as it is.
	Learn *ligo.LearnOptions
}

// Candidates are the ways that a Probe tries unless told otherwise.
func Candidates() []Candidate {
	return []Candidate{
		{"exact", ligo.LiGO, nil},
		{"stack", ligo.Stack, nil},
		{"learned", ligo.LiGO, &ligo.LearnOptions{Free: ligo.FreeSupport, Tie: ligo.TieNone}},
		{"learned-paper", ligo.Paper, &ligo.LearnOptions{Free: ligo.FreeDense, Tie: ligo.TiePaper}},
	}
}

// Probe chooses how to grow by trying: each candidate's large model is trained on the same batches for a few steps, and the one with
// the lowest loss on held-out data afterwards is the best. The loss before those steps would mislead: what has lost nothing
// by growing is not what trains best (Shen et al., Staged Training, 2022).
//
// All have the same total cost, which is that of learning an operator and Lag plain steps; who learns nothing takes so many plain steps
// more. The cost of a step is its multiplications and additions (train.Task.FLOPs), and the measurements by which learning keeps the
// best operator count as well; that of the choice itself, the last one of each, does not.
type Probe struct {
	Candidates []Candidate // nil: Candidates()
	// Plan plans the growth by a method.
	Plan func(ctx context.Context, m ligo.Method) (*ligo.Plan, error)
	Spec train.Spec // see NewTask
	// Data gives batches for a task, and the held-out ones with their number.
	Data func(*train.Task) (data, eval train.Batches, n int)
	// Learn is how operators are learned; defaults are those of Options, by candidate, but 20 Steps, and EvalEvery a quarter of them.
	Learn train.Options
	// Train is how the large models are trained. Defaults that differ from those of training: a rate of 3e-4, Clip 1, and a Warmup of half
	// the lag, 10 at most. Steps is not read.
	Train train.Options
	// Lag is the number of plain steps behind a learned operator; 0 is 20.
	Lag int
	// Progress is told about every step: of the operator, or of the large model.
	Progress func(c Candidate, operator bool, steps int, p train.Point)
}

// Trial is what became of a candidate.
type Trial struct {
	Candidate
	// Skipped says why it was not tried, or did not come to an end; empty for the others, which have all that follows.
	Skipped string
	Plan    *ligo.Plan
	// Operator is that of the best trial alone.
	Operator *ligo.Operator
	// Result is how the operator was learned, and Options with what; nil where it was not.
	Result  *Result
	Options Options
	// StepCost is the cost of a step of learning the operator, in plain steps: 0 where there is none. Cost is that of everything.
	StepCost, Cost float64
	// Steps is the number of plain steps.
	Steps int
	// Start is the loss on the held-out data of the large model as it was grown, End that after the plain steps.
	Start, End *train.Eval
}

const (
	probeSteps = 20
	probeLag   = 20
	probeRate  = 3e-4
)

// Run tries all candidates; best is the index of the chosen one. Of candidates with equal losses the first is taken.
func (p *Probe) Run(ctx context.Context) (trials []*Trial, best int, err error) {
	q := *p
	q.defaults()
	best = -1
	// Who learns comes first: what that costs is what the others may spend.
	budget := 0.0
	for _, c := range q.Candidates {
		t := &Trial{Candidate: c}
		trials = append(trials, t)
		if t.Plan, err = q.Plan(ctx, c.Method); err != nil {
			return nil, -1, err
		}
		if c.Learn == nil {
			continue
		}
		if err := q.learn(ctx, t); err != nil {
			return nil, -1, err
		}
		budget = max(budget, t.Cost)
	}
	budget += float64(q.Lag)
	for i, t := range trials {
		if t.Skipped == "" {
			if err := q.train(ctx, t, budget); err != nil {
				return nil, -1, err
			}
		}
		if t.Skipped == "" && (best < 0 || t.End.Loss < trials[best].End.Loss) {
			best = i
		}
	}
	if best < 0 {
		return trials, -1, fmt.Errorf("no way to grow could be tried: %s: %s", trials[0].Name, trials[0].Skipped)
	}
	for i, t := range trials {
		if i != best {
			t.Operator = nil
		}
	}
	return trials, best, nil
}

func (p *Probe) defaults() {
	if p.Candidates == nil {
		p.Candidates = Candidates()
	}
	if p.Learn.Steps == 0 {
		p.Learn.Steps = probeSteps
	}
	if p.Learn.EvalEvery == 0 {
		p.Learn.EvalEvery = max(1, p.Learn.Steps/4)
	}
	if p.Lag == 0 {
		p.Lag = probeLag
	}
	t := &p.Train
	if t.LR == 0 {
		t.LR = probeRate
	}
	if t.Clip == 0 {
		t.Clip = 1
	}
	if t.Warmup == 0 {
		t.Warmup = min(10, p.Lag/2)
	}
	if p.Progress == nil {
		p.Progress = func(Candidate, bool, int, train.Point) {}
	}
}

// learn learns the operator of a candidate, and counts what that costs.
func (p *Probe) learn(ctx context.Context, t *Trial) error {
	start, err := t.Plan.Operator(ctx)
	if err != nil {
		return err
	}
	o := Options{Learn: *t.Learn, Train: p.Learn}
	o.Train.Progress = func(s train.Point) { p.Progress(t.Candidate, true, o.Train.Steps, s) }
	task, err := NewTask(ctx, t.Plan, start, p.Spec, o)
	var nothing *NothingError
	if errors.As(err, &nothing) {
		t.Skipped = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	data, eval, n := p.Data(task.Task)
	task.HoldOut(eval, n)
	t.Options = task.Options()
	forward, step, err := flops(ctx, task.Task, data)
	if err != nil {
		return err
	}
	plain, err := p.plainStep(ctx, t)
	if err != nil {
		return err
	}
	r, err := task.Run(ctx, data)
	switch {
	case train.Diverged(err):
		t.Skipped = err.Error()
		return nil
	case err != nil:
		return err
	}
	t.Result, t.Operator, t.StepCost = r, r.Operator, step/plain
	measured := 1 // the start
	for _, s := range r.Curve {
		if s.Eval != nil {
			measured++
		}
	}
	t.Cost = t.StepCost*float64(o.Train.Steps) + float64(measured*n)*forward/plain/float64(max(1, o.Train.Accumulate))
	return nil
}

// flops counts a micro-batch of a task, forward and in all.
func flops(ctx context.Context, task *train.Task, data train.Batches) (forward, all float64, err error) {
	in, err := data.Batch(ctx, 0)
	if err != nil {
		return 0, 0, err
	}
	f, b, err := task.FLOPs(ctx, in)
	return float64(f), float64(f + b), err
}

// large is the task of training the model that an operator grows.
func (p *Probe) large(ctx context.Context, t *Trial, op *ligo.Operator) (*train.Task, error) {
	grown, err := ligo.Apply(ctx, t.Plan, op)
	if err != nil {
		return nil, err
	}
	spec := p.Spec
	spec.Params, spec.Only, spec.Freeze = nil, nil, nil
	return train.NewTask(ctx, grown.Graph, spec)
}

// plainStep counts a micro-batch of training the large model.
func (p *Probe) plainStep(ctx context.Context, t *Trial) (float64, error) {
	op, err := t.Plan.Operator(ctx)
	if err != nil {
		return 0, err
	}
	task, err := p.large(ctx, t, op)
	if err != nil {
		return 0, err
	}
	data, _, _ := p.Data(task)
	_, all, err := flops(ctx, task, data)
	return all, err
}

// train spends on plain steps what a candidate has left.
func (p *Probe) train(ctx context.Context, t *Trial, budget float64) (err error) {
	if t.Method == ligo.Stack && t.Plan.From.Depth() == t.Plan.To.Depth() {
		t.Skipped = "no layers are added"
		return nil
	}
	if t.Operator == nil {
		if t.Operator, err = t.Plan.Operator(ctx); err != nil {
			return err
		}
	}
	task, err := p.large(ctx, t, t.Operator)
	if err != nil {
		return err
	}
	o := p.Train
	o.Steps = int(budget - t.Cost)
	o.Checkpoint, o.Resume, o.EvalEvery, o.KeepBest = "", "", 0, true
	data, eval, n := p.Data(task)
	o.Eval, o.EvalBatches = eval, n
	o.Progress = func(s train.Point) { p.Progress(t.Candidate, false, o.Steps, s) }
	used := 0
	if t.Result != nil {
		used = t.Result.Step * max(1, p.Learn.Accumulate)
	}
	r, err := train.Run(ctx, task, later{data, used}, o)
	switch {
	case train.Diverged(err):
		t.Skipped = err.Error()
		return nil
	case err != nil:
		return err
	}
	t.Steps, t.Cost = o.Steps, t.Cost+float64(o.Steps)
	t.Start, t.End = r.Start, r.Curve[len(r.Curve)-1].Eval
	return nil
}

// later are batches from one on: those before it have been used.
type later struct {
	train.Batches
	from int
}

func (l later) Batch(ctx context.Context, i int) (map[string]*onnxio.Tensor, error) {
	return l.Batches.Batch(ctx, l.from+i)
}
