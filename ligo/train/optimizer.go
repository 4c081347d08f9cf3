package train

import (
	"math"

	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// State is an optimizer's memory: plain tensors by parameter, which can be stored, and grown with the model.
type State struct {
	// Step is the number of updates that were applied.
	Step int
	// Rate multiplies the schedule's learning rate: 1, or less after retries.
	Rate float64
	// Moments has an entry for each parameter, in the order of Task.Params.
	Moments []Moments
}

// Moments is what an optimizer remembers of one parameter, in its shape. Names are PyTorch's: AdamW has exp_avg (First) and exp_avg_sq
// (Second), SGD with momentum has momentum_buffer (First); without momentum both are empty.
type Moments struct {
	First, Second engine.Floats
}

// newState is the state before the first step.
func newState(params []*engine.Param, o Options) *State {
	s := &State{Rate: 1, Moments: make([]Moments, len(params))}
	for i, p := range params {
		if o.Optimizer == AdamW {
			s.Moments[i] = Moments{zeros(p.Value), zeros(p.Value)}
		} else if o.Momentum > 0 {
			s.Moments[i].First = zeros(p.Value)
		}
	}
	return s
}

func zeros(like engine.Floats) engine.Floats {
	if like.F64 != nil {
		return engine.Floats{F64: make([]float64, len(like.F64))}
	}
	return engine.Floats{F32: make([]float32, len(like.F32))}
}

// update applies one step to all parameters that have a gradient; the others stay as they are, as in PyTorch. Gradients are multiplied
// by scale.
func (s *State) update(o Options, params []*engine.Param, grads []engine.Floats, lr, scale float64, threads int) {
	s.Step++
	for i, p := range params {
		if grads[i].Len() == 0 {
			continue
		}
		decay := o.WeightDecay
		if len(p.Shape) < 2 && !o.DecayAll {
			decay = 0
		}
		m := s.Moments[i]
		if p.Value.F64 != nil {
			apply(o, s.Step, lr, decay, scale, threads, p.Value.F64, grads[i].F64, m.First.F64, m.Second.F64)
		} else {
			apply(o, s.Step, lr, decay, scale, threads, p.Value.F32, grads[i].F32, m.First.F32, m.Second.F32)
		}
	}
}

func apply[T kernel.Float](o Options, n int, lr, decay, scale float64, threads int, w, g, m, v []T) {
	if o.Optimizer == SGD {
		kernel.SGD(threads, kernel.SGDParams{LR: lr, Momentum: o.Momentum, WeightDecay: decay, Nesterov: o.Nesterov, First: n == 1, GradScale: scale}, w, g, m)
		return
	}
	kernel.AdamW(threads, kernel.AdamWParams{LR: lr, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, WeightDecay: decay, Step: int64(n), GradScale: scale}, w, g, m, v)
}

func sumSquares(x engine.Floats, threads int) float64 {
	if x.F64 != nil {
		return kernel.SumSquares(threads, x.F64)
	}
	return kernel.SumSquares(threads, x.F32)
}

// clipScale is the factor of torch.nn.utils.clip_grad_norm_.
func clipScale(norm, limit float64) float64 {
	if limit <= 0 {
		return 1
	}
	return math.Min(1, limit/(norm+1e-6))
}

// add sums gradients over micro-batches.
func add(sum, g engine.Floats) {
	for i, v := range g.F32 {
		sum.F32[i] += v
	}
	for i, v := range g.F64 {
		sum.F64[i] += v
	}
}
