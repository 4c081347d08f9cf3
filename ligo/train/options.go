package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Batches gives micro-batches by number. It must be a pure function: a run that is resumed asks again from where it stopped.
type Batches interface {
	// Batch is the i-th micro-batch, counting from 0 and without end: a tensor for each of Task.Inputs. More are ignored.
	Batch(ctx context.Context, i int) (map[string]*onnxio.Tensor, error)
	// ID describes everything that the batches depend on (files, sizes, seed) in one line. A checkpoint is resumed only with batches
	// of the same ID.
	ID() string
}

// Options are the choices in a run. Zero values are the defaults given.
type Options struct {
	Steps int // number of updates

	LR       float64 // the largest learning rate
	MinLR    float64 // where Linear and Cosine end; 0
	Warmup   int     // steps in which the rate rises from 0 to LR
	Schedule Schedule

	Optimizer    Optimizer // AdamW
	Beta1, Beta2 float64   // AdamW's; both 0: 0.9 and 0.999
	Eps          float64   // AdamW's; 0: 1e-8
	Momentum     float64   // SGD's
	Nesterov     bool      // SGD's
	// WeightDecay is decoupled in AdamW and part of the gradient in SGD. It applies to parameters of two or more axes, or to all with
	// DecayAll: gains and biases have no scale to keep small.
	WeightDecay float64
	DecayAll    bool
	// Clip bounds the norm of all gradients together, as torch.nn.utils.clip_grad_norm_ does; 0 does not.
	Clip float64
	// Accumulate is the number of micro-batches in a step; 0 is 1.
	Accumulate int

	// Init is "" (the model's numbers), "random" or "glorot" (Task.Random and Task.Glorot, with Seed).
	Init string
	Seed uint64

	// Eval is what the loss is measured on every EvalEvery steps (0: never in between) and at the end: EvalBatches micro-batches from
	// the first on (0: 1). Nil measures nothing.
	Eval        Batches
	EvalEvery   int
	EvalBatches int

	// KeepBest measures before the first step as well, and gives back (Result.Values) the parameters with the lowest loss on Eval.
	KeepBest bool

	// Retries is how often a step whose loss or gradient is not finite is tried again with half the learning rate, which then stays
	// halved, before the run fails.
	Retries int

	// Checkpoint is a folder for checkpoints, one every CheckpointEvery steps (0: none in between), at the end and when the run is
	// cancelled; empty for none. Keep is how many stay, the latest; 0 keeps all.
	Checkpoint      string
	CheckpointEvery int
	Keep            int
	// Resume is a checkpoint, or a folder of checkpoints, whose latest is taken, to go on from. The result is that of a run which was
	// never interrupted, to the bit.
	Resume string

	Threads   int   // 0: GOMAXPROCS. Results do not depend on it.
	MaxMemory int64 // bytes of intermediate values and parameters; 0 is no bound
	Float64   bool  // everything is computed in float64

	// Progress is told about every step after it was applied, in the goroutine of Run. Nil is told nothing.
	Progress func(Point)
}

// Optimizer names an update rule.
type Optimizer string

// Optimizers, with the arithmetic of PyTorch's.
const (
	AdamW Optimizer = "adamw"
	SGD   Optimizer = "sgd"
)

// Point is one step of a run.
type Point struct {
	Step     int     `json:"step"` // from 1 on
	Loss     float64 `json:"loss"` // mean over the counted elements, before the update
	LR       float64 `json:"lr"`
	GradNorm float64 `json:"grad_norm"` // of the mean loss, before clipping
	// Elements is the number of labels (targets) of the step, Counted how many of them were not ignored.
	Elements int64 `json:"elements"`
	Counted  int64 `json:"counted"`
	// Accuracy is the share of the counted labels that was predicted; nil where nothing is predicted.
	Accuracy *float64 `json:"accuracy,omitempty"`
	Seconds  float64  `json:"seconds"` // of the step; the evaluation is not in it
	Eval     *Eval    `json:"eval,omitempty"`
}

// Eval is a loss on data that is not trained on.
type Eval struct {
	Loss     float64  `json:"loss"`
	Accuracy *float64 `json:"accuracy,omitempty"`
	Counted  int64    `json:"counted"`
	Seconds  float64  `json:"seconds"`
}

// withDefaults fills in what is zero and checks the rest.
func (o Options) withDefaults() (Options, error) {
	if o.Schedule == "" {
		o.Schedule = Constant
	}
	if o.Optimizer == "" {
		o.Optimizer = AdamW
	}
	if o.Optimizer == AdamW && o.Beta1 == 0 && o.Beta2 == 0 {
		o.Beta1, o.Beta2 = 0.9, 0.999
	}
	if o.Optimizer == AdamW && o.Eps == 0 {
		o.Eps = 1e-8
	}
	o.Accumulate = max(o.Accumulate, 1)
	if o.Eval != nil {
		o.EvalBatches = max(o.EvalBatches, 1)
	}
	return o, o.check()
}

func (o Options) check() error {
	for _, v := range []struct {
		name  string
		value float64
	}{{"learning rate", o.LR}, {"final learning rate", o.MinLR}, {"weight decay", o.WeightDecay}, {"clipping norm", o.Clip},
		{"momentum", o.Momentum}, {"epsilon", o.Eps}} {
		if !(v.value >= 0) || math.IsInf(v.value, 0) {
			return fmt.Errorf("the %s is %v, it must be a number from 0 on", v.name, v.value)
		}
	}
	for _, v := range []struct {
		name  string
		value int
	}{{"number of steps", o.Steps}, {"number of warmup steps", o.Warmup}, {"number of checkpoints to keep", o.Keep},
		{"number of retries", o.Retries}, {"interval of evaluations", o.EvalEvery}, {"interval of checkpoints", o.CheckpointEvery}} {
		if v.value < 0 {
			return fmt.Errorf("the %s is %d, it must not be negative", v.name, v.value)
		}
	}
	switch {
	case o.Optimizer != AdamW && o.Optimizer != SGD:
		return fmt.Errorf("optimizer %q does not exist; there are %s and %s", o.Optimizer, AdamW, SGD)
	case !(o.Beta1 >= 0 && o.Beta1 < 1 && o.Beta2 >= 0 && o.Beta2 < 1):
		return fmt.Errorf("the betas are %v and %v, they must be in [0, 1)", o.Beta1, o.Beta2)
	case o.Nesterov && o.Momentum == 0:
		return errors.New("nesterov needs a momentum")
	case o.MinLR > o.LR:
		return fmt.Errorf("the final learning rate %v is above the largest, %v", o.MinLR, o.LR)
	case o.Init != "" && o.Init != "random" && o.Init != "glorot":
		return fmt.Errorf("initialisation %q does not exist; there are \"random\" and \"glorot\"", o.Init)
	}
	return o.Schedule.check()
}
