package train

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine"
)

// guard keeps what a run may have to go back to.
type guard struct {
	// before is the parameters and moments before the last update, with Options.Retries.
	before *snapshot
	// again counts the retries of the step after failed.
	again, failed int
	// best is the parameters with the lowest loss on Eval, with Options.KeepBest, measured after bestStep.
	best     []engine.Floats
	bestStep int
	bestEval *Eval
	start    *Eval
}

// snapshot is a state of a run, apart from its curve.
type snapshot struct {
	values, first, second []engine.Floats
	step                  int
}

func copyFloats(dst, src engine.Floats) {
	copy(dst.F32, src.F32)
	copy(dst.F64, src.F64)
}

// remember copies the state before an update, into the same memory every time.
func (r *run) remember() {
	if r.o.Retries == 0 {
		return
	}
	params := r.trainer.Params()
	if r.guard.before == nil {
		s := &snapshot{}
		for i, p := range params {
			m := r.state.Moments[i]
			s.values = append(s.values, zeros(p.Value))
			s.first = append(s.first, zeros(m.First))
			s.second = append(s.second, zeros(m.Second))
		}
		r.guard.before = s
	}
	s := r.guard.before
	s.step = r.state.Step
	for i, p := range params {
		copyFloats(s.values[i], p.Value)
		copyFloats(s.first[i], r.state.Moments[i].First)
		copyFloats(s.second[i], r.state.Moments[i].Second)
	}
}

// retry goes back to before the last update with half the learning rate: a step that is not finite follows from the update before
// it, not from itself. It reports false for other errors, and where there is nothing to go back to or no retry left.
func (r *run) retry(err error) bool {
	s := r.guard.before
	if !Diverged(err) || s == nil || s.step >= r.state.Step {
		return false
	}
	if r.state.Step > r.guard.failed {
		r.guard.failed, r.guard.again = r.state.Step, 0
	}
	if r.guard.again >= r.o.Retries {
		return false
	}
	r.guard.again++
	r.state.Rate /= 2
	r.state.Step = s.step
	r.curve = r.curve[:s.step]
	for i, p := range r.trainer.Params() {
		copyFloats(p.Value, s.values[i])
		copyFloats(r.state.Moments[i].First, s.first[i])
		copyFloats(r.state.Moments[i].Second, s.second[i])
	}
	return true
}

// exhausted adds to an error that retries did not help.
func (r *run) exhausted(err error) error {
	if r.guard.again == 0 || r.guard.failed != r.state.Step || !Diverged(err) {
		return err
	}
	return fmt.Errorf("%w; halving the learning rate %d times, to %.3g of what was asked for, did not help", err, r.guard.again, r.state.Rate)
}

// judge keeps the parameters if their loss is the lowest so far.
func (r *run) judge(e *Eval) {
	if !r.o.KeepBest || r.guard.bestEval != nil && !(e.Loss < r.guard.bestEval.Loss) {
		return
	}
	if r.guard.best == nil {
		for _, p := range r.trainer.Params() {
			r.guard.best = append(r.guard.best, zeros(p.Value))
		}
	}
	for i, p := range r.trainer.Params() {
		copyFloats(r.guard.best[i], p.Value)
	}
	r.guard.bestStep, r.guard.bestEval = r.state.Step, e
}
