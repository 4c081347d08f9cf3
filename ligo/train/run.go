package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Result is what a run has come to.
type Result struct {
	// Curve has a point for each step, those before a resumed checkpoint included.
	Curve []Point
	// Values is the parameters, in the order of Task.Params.
	// With Options.KeepBest they are those of Best's step, which can be 0.
	Values []engine.Floats
	State  *State
	// Start is the loss on Eval before the first step, Best the lowest, measured after BestStep; nil without Options.KeepBest.
	Start, Best *Eval
	BestStep    int
	// Checkpoint is the folder of the last one that was written; empty if none was.
	Checkpoint string
}

// run is a run in progress.
type run struct {
	t       *Task
	o       Options
	data    Batches
	trainer *engine.Trainer
	state   *State
	curve   []Point
	sums    []engine.Floats // over micro-batches; nil where a step has only one
	threads int
	saved   string
	guard   guard
}

// Run trains. After an error or when ctx is cancelled, the result is what the last complete step has left, and the error says how
// far that is; a cancelled run with Options.Checkpoint writes a checkpoint first, and its error wraps ctx.Err().
func Run(ctx context.Context, t *Task, data Batches, o Options) (*Result, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(t.Params) == 0 {
		return nil, errors.New("nothing is trained: no parameter was chosen")
	}
	names := make([]string, len(t.Params))
	for i, p := range t.Params {
		names[i] = p.value
	}
	r := &run{t: t, o: o, data: data, threads: o.Threads}
	if r.threads <= 0 {
		r.threads = runtime.GOMAXPROCS(0)
	}
	r.trainer, err = engine.NewTrainer(t.Graph, t.loss, names, engine.Options{Float64: o.Float64, Outputs: t.observed(), MaxMemory: o.MaxMemory, Threads: o.Threads})
	if err != nil {
		return nil, err
	}
	r.state = newState(r.trainer.Params(), o)
	if o.Accumulate > 1 {
		for _, p := range r.trainer.Params() {
			r.sums = append(r.sums, zeros(p.Value))
		}
	}
	if err := r.begin(); err != nil {
		return nil, err
	}
	err = r.loop(ctx)
	res := &Result{Curve: r.curve, State: r.state, Checkpoint: r.saved}
	for _, p := range r.trainer.Params() {
		res.Values = append(res.Values, p.Value)
	}
	if r.guard.best != nil {
		res.Values, res.Start, res.Best, res.BestStep = r.guard.best, r.guard.start, r.guard.bestEval, r.guard.bestStep
	}
	return res, err
}

// begin sets the parameters: the model's, random ones or a checkpoint's.
func (r *run) begin() error {
	if r.o.Resume != "" {
		return r.resume()
	}
	if r.o.Init == "" {
		return nil
	}
	values := make([]engine.Floats, len(r.t.Params))
	for i, p := range r.trainer.Params() {
		values[i] = p.Value
	}
	if r.o.Init == "glorot" {
		r.t.Glorot(values, r.o.Seed)
	} else {
		r.t.Random(values, r.o.Seed)
	}
	return nil
}

func (r *run) loop(ctx context.Context) error {
	if n := len(r.curve); n > 0 && r.due() && r.curve[n-1].Eval == nil {
		// The checkpoint is of a run that was cancelled while it measured.
		e, err := r.evaluate(ctx)
		if err != nil {
			return r.stopped(ctx, err)
		}
		r.curve[n-1].Eval = e
		r.judge(e)
	}
	if r.o.KeepBest && r.o.Eval != nil && r.guard.start == nil {
		e, err := r.evaluate(ctx)
		if err != nil {
			return r.stopped(ctx, err)
		}
		r.guard.start = e
		r.judge(e)
	}
	for r.state.Step < r.o.Steps {
		p, err := r.step(ctx)
		if r.retry(err) {
			continue
		}
		if err != nil {
			return r.stopped(ctx, r.exhausted(err))
		}
		done := r.state.Step == r.o.Steps
		if r.due() {
			p.Eval, err = r.evaluate(ctx)
			if r.retry(err) {
				continue
			}
			if err != nil {
				// The step has been applied: its point must be in the checkpoint.
				r.curve = append(r.curve, p)
				return r.stopped(ctx, r.exhausted(err))
			}
			r.judge(p.Eval)
		}
		r.curve = append(r.curve, p)
		if every := r.o.CheckpointEvery; r.o.Checkpoint != "" && (done || every > 0 && r.state.Step%every == 0) {
			if err := r.save(); err != nil {
				return err
			}
		}
		if r.o.Progress != nil {
			r.o.Progress(p)
		}
	}
	return nil
}

// due reports whether the loss is measured after the present step.
func (r *run) due() bool {
	every := r.o.EvalEvery
	return r.o.Eval != nil && (r.state.Step == r.o.Steps || every > 0 && r.state.Step%every == 0)
}

// stopped is the end of a run that did not reach its last step.
func (r *run) stopped(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		if r.o.Checkpoint == "" {
			return fmt.Errorf("stopped after step %d of %d: %w", r.state.Step, r.o.Steps, cause)
		}
		if err := r.save(); err != nil {
			return fmt.Errorf("stopped after step %d of %d: %w; %w", r.state.Step, r.o.Steps, cause, err)
		}
		return fmt.Errorf("stopped after step %d of %d, saved in %s: %w", r.state.Step, r.o.Steps, r.saved, cause)
	}
	return fmt.Errorf("step %d: %w", r.state.Step+1, err)
}

// totals is what micro-batches add up to.
type totals struct {
	loss                    float64
	counted, total, correct int64
}

// step computes the gradients of a step and applies them.
func (r *run) step(ctx context.Context) (Point, error) {
	begin := time.Now()
	var sum totals
	params := r.trainer.Params()
	grads := make([]engine.Floats, len(params))
	for i := range r.o.Accumulate {
		in, err := r.batch(ctx, r.data, r.state.Step*r.o.Accumulate+i)
		if err != nil {
			return Point{}, err
		}
		out, err := r.trainer.Gradients(ctx, in)
		if err != nil {
			return Point{}, err
		}
		if err := r.t.tally(&sum, out); err != nil {
			return Point{}, err
		}
		for j, p := range params {
			switch {
			case p.Grad.Len() == 0: // the loss does not depend on it
			case r.sums == nil:
				grads[j] = p.Grad
			case grads[j].Len() == 0:
				copy(r.sums[j].F32, p.Grad.F32)
				copy(r.sums[j].F64, p.Grad.F64)
				grads[j] = r.sums[j]
			default:
				add(grads[j], p.Grad)
			}
		}
	}
	if sum.counted == 0 {
		return Point{}, errors.New("no label of the batch is counted, so it has no loss")
	}
	n := float64(sum.counted)
	var squares float64
	for _, g := range grads {
		squares += sumSquares(g, r.threads)
	}
	norm := math.Sqrt(squares) / n
	p := Point{Step: r.state.Step + 1, Loss: sum.loss / n, LR: r.o.rate(r.state.Step) * r.state.Rate, GradNorm: norm, Elements: sum.total, Counted: sum.counted, Accuracy: r.t.accuracy(sum)}
	if err := r.finite(p, grads); err != nil {
		return Point{}, err
	}
	r.remember()
	r.state.update(r.o, params, grads, p.LR, clipScale(norm, r.o.Clip)/n, r.threads)
	p.Seconds = time.Since(begin).Seconds()
	return p, nil
}

// finite refuses a step whose loss or gradient is not a number.
func (r *run) finite(p Point, grads []engine.Floats) error {
	bad := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
	if !bad(p.Loss) && !bad(p.GradNorm) {
		return nil
	}
	for i, g := range grads {
		if at, v, ok := notFinite(g); ok {
			return notFiniteError(fmt.Sprintf("the loss is %v and element %d of the gradient of %q is %v; the step was not applied", p.Loss, at, r.t.Params[i].Name, v))
		}
	}
	return notFiniteError(fmt.Sprintf("the loss is %v and the norm of its gradient %v; the step was not applied", p.Loss, p.GradNorm))
}

// suspect names the parameter that explains a loss that is no number: the first with an element that is none, or the one with the
// largest.
func (r *run) suspect() string {
	var largest float64
	var text string
	for i, p := range r.trainer.Params() {
		name := r.t.Params[i].Name
		if at, v, ok := notFinite(p.Value); ok {
			return fmt.Sprintf("element %d of %q is %v", at, name, v)
		}
		if v := greatest(p.Value); v >= largest {
			largest, text = v, fmt.Sprintf("the largest number is in %q, %.3g", name, v)
		}
	}
	return text
}

// greatest is the largest magnitude of an element.
func greatest(f engine.Floats) float64 {
	m := 0.0
	for _, v := range f.F32 {
		m = max(m, math.Abs(float64(v)))
	}
	for _, v := range f.F64 {
		m = max(m, math.Abs(v))
	}
	return m
}

// notFiniteError says that a loss or a gradient is no finite number.
type notFiniteError string

func (e notFiniteError) Error() string { return string(e) }

// Diverged reports whether a run ended because a loss or a gradient was no finite number.
func Diverged(err error) bool {
	bad := notFiniteError("")
	return errors.As(err, &bad)
}

// notFinite finds the first element that is not a finite number.
func notFinite(f engine.Floats) (at int, v float64, ok bool) {
	for i, x := range f.F32 {
		if x-x != 0 {
			return i, float64(x), true
		}
	}
	for i, x := range f.F64 {
		if x-x != 0 {
			return i, x, true
		}
	}
	return 0, 0, false
}

// batch fetches a micro-batch without the inputs that the loss does not depend on.
func (r *run) batch(ctx context.Context, from Batches, i int) (map[string]*onnxio.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := from.Batch(ctx, i)
	if err != nil {
		return nil, fmt.Errorf("batch %d: %w", i, err)
	}
	in := make(map[string]*onnxio.Tensor, len(r.t.Inputs))
	for _, v := range r.t.Inputs {
		if in[v.Name] = all[v.Name]; in[v.Name] == nil {
			return nil, fmt.Errorf("batch %d: nothing for input %q", i, v.Name)
		}
	}
	return in, nil
}

// evaluate measures the loss on data that is not trained on.
func (r *run) evaluate(ctx context.Context) (*Eval, error) {
	begin := time.Now()
	var sum totals
	for i := range r.o.EvalBatches {
		in, err := r.batch(ctx, r.o.Eval, i)
		if err != nil {
			return nil, fmt.Errorf("evaluation: %w", err)
		}
		out, err := r.trainer.Forward(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("evaluation: %w", err)
		}
		if err := r.t.tally(&sum, out); err != nil {
			return nil, err
		}
	}
	if sum.counted == 0 {
		return nil, errors.New("evaluation: no label is counted")
	}
	e := &Eval{Loss: sum.loss / float64(sum.counted), Accuracy: r.t.accuracy(sum), Counted: sum.counted, Seconds: time.Since(begin).Seconds()}
	if math.IsNaN(e.Loss) || math.IsInf(e.Loss, 0) {
		return nil, notFiniteError(fmt.Sprintf("evaluation: the loss is %v; %s", e.Loss, r.suspect()))
	}
	return e, nil
}

// tally adds what a micro-batch has given.
func (t *Task) tally(sum *totals, out map[string]*onnxio.Tensor) error {
	loss, err := out[t.loss].Float64s()
	if err != nil {
		return err
	}
	if len(loss) != 1 {
		return fmt.Errorf("internal error: the loss has %d elements", len(loss))
	}
	sum.loss += loss[0]
	for _, v := range []struct {
		name string
		to   *int64
	}{{t.count, &sum.counted}, {t.total, &sum.total}, {t.correct, &sum.correct}} {
		if v.name == "" {
			continue
		}
		n, err := out[v.name].Int64s()
		if err != nil {
			return err
		}
		if len(n) != 1 {
			return fmt.Errorf("internal error: a count has %d elements", len(n))
		}
		*v.to += n[0]
	}
	return nil
}

func (t *Task) accuracy(sum totals) *float64 {
	if t.correct == "" {
		return nil
	}
	a := float64(sum.correct) / float64(sum.counted)
	return &a
}
