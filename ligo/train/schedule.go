package train

import (
	"fmt"
	"math"
)

// Schedule says how the learning rate goes on after the warmup.
type Schedule string

// Schedules, as in transformers.get_scheduler. Linear and Cosine fall to MinLR at the last step.
const (
	Constant Schedule = "constant"
	Linear   Schedule = "linear"
	Cosine   Schedule = "cosine"
)

func (s Schedule) check() error {
	switch s {
	case Constant, Linear, Cosine:
		return nil
	}
	return fmt.Errorf("schedule %q does not exist; there are %s, %s and %s", s, Constant, Linear, Cosine)
}

// rate is the learning rate of a step, counting from 0. The warmup rises linearly from 0, so the first step of a warmup has rate 0.
// After it the factor falls from 1 to MinLR/LR over the rest of Steps (get_cosine_with_min_lr_schedule_with_warmup).
func (o Options) rate(step int) float64 {
	if step < o.Warmup {
		return o.LR * float64(step) / float64(max(1, o.Warmup))
	}
	progress := min(1, float64(step-o.Warmup)/float64(max(1, o.Steps-o.Warmup)))
	factor := 1.0
	switch o.Schedule {
	case Linear:
		factor = 1 - progress
	case Cosine:
		factor = 0.5 * (1 + math.Cos(math.Pi*progress))
	}
	if o.Schedule != Constant && o.MinLR > 0 {
		floor := o.MinLR / o.LR
		factor = factor*(1-floor) + floor
	}
	return o.LR * factor
}
