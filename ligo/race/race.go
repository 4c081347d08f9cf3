package race

import (
	"context"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Data gives what a task is trained on and what it is measured on, of which the first n batches are taken. Batches are functions of their
// number, so all tasks get the same.
type Data func(t *train.Task) (data, eval train.Batches, n int)

// Runner is a model of a race.
type Runner struct {
	Name  string
	Graph *graph.Graph
	// FLOPs and Seconds are spent before the race, on learning the operator.
	FLOPs, Seconds float64
	// Init is that of train.Options, for this runner alone.
	Init string
}

// Options are the choices in a race.
type Options struct {
	Spec train.Spec
	// Train is how all are trained; of Steps, LR and the like there is one for all. Eval is set by Data. The first runner makes Steps
	// steps, the others as many as come to the same FLOPs, with those that they have spent before: all have the same budget.
	Train train.Options
	Data  Data
	// Progress is told about every step: whose, of how many, and the step. Nil is told nothing.
	Progress func(runner, steps int, p train.Point)
}

// Point is a measurement on the data that is not trained on. Tokens, FLOPs and Seconds are those of all steps before it, FLOPs and
// Seconds with what the runner had spent before the race. Measuring is not charged.
type Point struct {
	Step     int      `json:"step"`
	Tokens   int64    `json:"tokens"` // labels; images where there are no tokens
	FLOPs    float64  `json:"flops"`
	Seconds  float64  `json:"seconds"`
	Loss     float64  `json:"loss"`
	Accuracy *float64 `json:"accuracy,omitempty"`
}

// Curve is what became of a runner.
type Curve struct {
	Name string `json:"name"`
	// Spent is what was spent before the race, StepFLOPs what a step costs, Parameters how many numbers are trained.
	Spent      float64 `json:"spent_flops"`
	StepFLOPs  float64 `json:"step_flops"`
	Parameters int     `json:"parameters"`
	// Points begins before the first step and ends after the last.
	Points []Point `json:"points"`
	// Training is the loss on the batch of each step, before its update.
	Training []float64 `json:"training_loss"`
	// Failed says why the runner did not come to the end, where its loss became infinite or no number; Points ends before that.
	Failed string `json:"failed,omitempty"`

	task   *train.Task
	result *train.Result
}

// Run trains all runners, one after the other.
func Run(ctx context.Context, runners []Runner, o Options) ([]*Curve, error) {
	var out []*Curve
	budget := 0.0
	for i, r := range runners {
		c, err := o.enter(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		if i == 0 {
			budget = c.Spent + float64(o.Train.Steps)*c.StepFLOPs
		}
		if err := o.run(ctx, i, r, c, budget); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// enter makes the task of a runner and counts its steps.
func (o *Options) enter(ctx context.Context, r Runner) (*Curve, error) {
	t, err := train.NewTask(ctx, r.Graph, o.Spec)
	if err != nil {
		return nil, err
	}
	data, _, _ := o.Data(t)
	_, step, err := cost(ctx, t, data, o.Train.Accumulate)
	if err != nil {
		return nil, err
	}
	return &Curve{Name: r.Name, Spent: r.FLOPs, StepFLOPs: step, Parameters: t.Elements(), task: t}, nil
}

func (o *Options) run(ctx context.Context, i int, r Runner, c *Curve, budget float64) error {
	run := o.Train
	run.Steps = max(0, int((budget-c.Spent)/c.StepFLOPs))
	data, eval, n := o.Data(c.task)
	if r.Init != "" {
		run.Init = r.Init
	}
	run.Eval, run.EvalBatches, run.KeepBest = eval, n, true // KeepBest measures before the first step, too
	if o.Progress != nil {
		run.Progress = func(p train.Point) { o.Progress(i, run.Steps, p) }
	}
	result, err := train.Run(ctx, c.task, data, run)
	if err != nil {
		if !train.Diverged(err) || result == nil || result.Start == nil {
			return err
		}
		c.Failed = err.Error()
	}
	c.result = result
	c.note(0, 0, r.Seconds, result.Start)
	tokens, seconds := int64(0), r.Seconds
	for _, p := range result.Curve {
		tokens += p.Elements
		seconds += p.Seconds
		c.Training = append(c.Training, p.Loss)
		if p.Eval != nil {
			c.note(p.Step, tokens, seconds, p.Eval)
		}
	}
	return nil
}

func (c *Curve) note(step int, tokens int64, seconds float64, e *train.Eval) {
	c.Points = append(c.Points, Point{Step: step, Tokens: tokens, FLOPs: c.Spent + float64(step)*c.StepFLOPs, Seconds: seconds, Loss: e.Loss, Accuracy: e.Accuracy})
}

// Model is the runner's model with the best numbers that were measured.
func (c *Curve) Model() (*onnxio.Model, error) { return c.task.Export(c.result.Values) }

// Final is the last measurement.
func (c *Curve) Final() Point { return c.Points[len(c.Points)-1] }

// Reach is where a runner comes to a loss and stays at or below it, between two measurements on a straight line; ok is false if it does
// not. Step is rounded up.
func (c *Curve) Reach(loss float64) (at Point, ok bool) {
	for i := len(c.Points) - 1; i >= 0 && c.Points[i].Loss <= loss; i-- {
		at, ok = c.Points[i], true
		if i == 0 || c.Points[i-1].Loss <= loss {
			continue
		}
		a, b := c.Points[i-1], c.Points[i]
		share := (a.Loss - loss) / (a.Loss - b.Loss)
		at = between(a, b, share)
		at.Loss = loss
	}
	return at, ok
}

// At is the loss at so many FLOPs, between two measurements on a straight line; ok is false before the first and behind the last.
func (c *Curve) At(flops float64) (loss float64, ok bool) {
	for i, b := range c.Points {
		switch {
		case b.FLOPs < flops:
			continue
		case b.FLOPs == flops:
			return b.Loss, true
		case i == 0:
			return 0, false
		}
		a := c.Points[i-1]
		return between(a, b, (flops-a.FLOPs)/(b.FLOPs-a.FLOPs)).Loss, true
	}
	return 0, false
}

func between(a, b Point, share float64) Point {
	mix := func(x, y float64) float64 { return x + share*(y-x) }
	return Point{Step: a.Step + ceil(share*float64(b.Step-a.Step)), Tokens: a.Tokens + int64(ceil(share*float64(b.Tokens-a.Tokens))),
		FLOPs: mix(a.FLOPs, b.FLOPs), Seconds: mix(a.Seconds, b.Seconds), Loss: mix(a.Loss, b.Loss)}
}

func ceil(f float64) int {
	n := int(f)
	if float64(n) < f {
		n++
	}
	return n
}

// Saved is the share of a reference's FLOPs that a runner does not need for the reference's last loss; what more is charged comes on top of
// its own. It is negative where it needs more. ok is false if the loss is not reached.
func (c *Curve) Saved(reference *Curve, more float64) (share float64, ok bool) {
	end := reference.Final()
	at, ok := c.Reach(end.Loss)
	if !ok || end.FLOPs == 0 {
		return 0, false
	}
	return 1 - (at.FLOPs+more)/end.FLOPs, true
}

// cost counts a step of a task, and the forward pass of one of its micro-batches.
func cost(ctx context.Context, t *train.Task, data train.Batches, accumulate int) (forward, step float64, err error) {
	in, err := data.Batch(ctx, 0)
	if err != nil {
		return 0, 0, err
	}
	f, b, err := t.FLOPs(ctx, in)
	return float64(f), float64(f+b) * float64(max(1, accumulate)), err
}
