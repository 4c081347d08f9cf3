package train

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// steep is a regression whose loss overflows float32 when the weight grows tenfold: a rate that is too high shows at once.
func steep(t *testing.T) (*Task, Batches) {
	t.Helper()
	task, err := NewTask(context.Background(), linearModel(t, []float32{1e18}, 1, 1), Spec{Loss: MSE})
	if err != nil {
		t.Fatal(err)
	}
	one := onnxio.FromFloat32s("", []int64{1, 1}, []float32{1})
	zero := onnxio.FromFloat32s("", []int64{1, 1}, []float32{0})
	return task, fixed{"x": one, task.Labels: zero}
}

func TestRetriesHalveTheRate(t *testing.T) {
	task, data := steep(t)
	o := Options{Steps: 12, LR: 20, Optimizer: SGD, Retries: 3}
	r, err := Run(context.Background(), task, data, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Curve) != o.Steps || r.State.Step != o.Steps || !(r.State.Rate < 1) {
		t.Errorf("%d points, step %d, rate %v", len(r.Curve), r.State.Step, r.State.Rate)
	}
	for i, p := range r.Curve {
		if p.Step != i+1 || math.IsInf(p.Loss, 0) || math.IsNaN(p.Loss) {
			t.Errorf("point %d: %+v", i, p)
		}
	}
	if first, last := r.Curve[0], r.Curve[o.Steps-1]; !(last.LR < first.LR) && first.LR == o.LR {
		t.Errorf("the rate went from %v to %v", first.LR, last.LR)
	}
	if got := r.Curve[0].LR / o.LR; math.Log2(got) != math.Trunc(math.Log2(got)) {
		t.Errorf("the rate was not halved: %v", got)
	}
	o.Retries, o.LR = 1, 1e6
	if _, err := Run(context.Background(), task, data, o); err == nil || !strings.Contains(err.Error(), "the loss is +Inf") {
		t.Errorf("too few retries: %v", err)
	}
	o.Retries = 0
	if _, err := Run(context.Background(), task, data, o); err == nil {
		t.Error("no retries, and no error")
	}
}

func TestTheBestIsKept(t *testing.T) {
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	o := adamw
	o.LR, o.Schedule, o.Warmup = 0.3, Constant, 0 // learns, then ruins
	o.Eval, o.EvalEvery, o.EvalBatches, o.KeepBest = &goldenBatches{g: g, task: task, size: 5}, 1, 1, true
	r := mustRun(t, task, &goldenBatches{g: g, task: task, size: 3}, o)
	lowest, at := r.Start.Loss, 0
	for _, p := range r.Curve {
		if p.Eval.Loss < lowest {
			lowest, at = p.Eval.Loss, p.Step
		}
	}
	if r.Best.Loss != lowest || r.BestStep != at {
		t.Errorf("best is %v after step %d, the lowest is %v after step %d", r.Best.Loss, r.BestStep, lowest, at)
	}
	// The parameters are those of that step.
	o.Steps, o.KeepBest = at, false
	if at > 0 {
		short := mustRun(t, task, &goldenBatches{g: g, task: task, size: 3}, o)
		for i, v := range short.Values {
			if !slices.Equal(v.F32, r.Values[i].F32) {
				t.Fatalf("%s is not that of step %d", task.Params[i].Name, at)
			}
		}
	}
}

// A run that keeps the best goes on from a checkpoint to the bit, the best included.
func TestTheBestIsResumed(t *testing.T) {
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	o := adamw
	o.LR, o.Schedule, o.Warmup = 0.3, Constant, 0
	o.Eval, o.EvalEvery, o.EvalBatches, o.KeepBest, o.Retries = &goldenBatches{g: g, task: task, size: 5}, 2, 1, true, 3
	data := &goldenBatches{g: g, task: task, size: 3}
	straight := mustRun(t, task, data, o)
	for stop := 1; stop < o.Steps; stop += 4 {
		first := o
		first.Checkpoint, first.CheckpointEvery = t.TempDir(), 1
		ctx, cancel := context.WithCancel(context.Background())
		first.Progress = func(p Point) {
			if p.Step == stop {
				cancel()
			}
		}
		if _, err := Run(ctx, task, data, first); err == nil {
			t.Fatal("the run was not cancelled")
		}
		second := o
		second.Resume = first.Checkpoint
		r := mustRun(t, task, data, second)
		if !slices.Equal(bits(straight), bits(r)) || r.Best.Loss != straight.Best.Loss || r.BestStep != straight.BestStep || r.Start.Loss != straight.Start.Loss {
			t.Errorf("resumed after step %d: best %v after step %d, straight %v after step %d", stop, r.Best.Loss, r.BestStep, straight.Best.Loss, straight.BestStep)
		}
	}
}
