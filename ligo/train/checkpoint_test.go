package train

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Seven steps and thirteen more are twenty, to the bit.
func TestResumeIsExact(t *testing.T) {
	for name, o := range map[string]Options{"adamw": adamw, "sgd": {LR: 0.05, Warmup: 3, Optimizer: SGD, Momentum: 0.9, Accumulate: 2}, "plain": {LR: 0.05, Optimizer: SGD},
		"float64": {LR: 1e-3, Float64: true, Init: "random", Seed: 5}} {
		t.Run(name, func(t *testing.T) {
			task, g := goldenTask(t, Spec{Loss: CausalLM})
			data := &goldenBatches{g: g, task: task, size: 3}
			o.Steps = goldenSteps
			straight := mustRun(t, task, data, o)
			o.Checkpoint = t.TempDir()
			ctx, cancel := context.WithCancel(context.Background())
			o.Progress = func(p Point) {
				if p.Step == 7 {
					cancel()
				}
			}
			first, err := Run(ctx, task, data, o)
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stopped after step 7 of 20, saved in "+filepath.Join(o.Checkpoint, "step-00000007")) {
				t.Fatalf("error %v", err)
			}
			if first.State.Step != 7 {
				t.Fatalf("%d steps", first.State.Step)
			}
			o.Progress, o.Resume = nil, o.Checkpoint
			resumed := mustRun(t, task, data, o)
			if !slices.Equal(bits(straight), bits(resumed)) {
				t.Error("the resumed run ends elsewhere")
			}
			if len(resumed.Curve) != goldenSteps {
				t.Fatalf("a curve of %d", len(resumed.Curve))
			}
			for i, p := range resumed.Curve {
				if q := straight.Curve[i]; p.Loss != q.Loss || p.LR != q.LR || p.GradNorm != q.GradNorm || p.Step != q.Step {
					t.Errorf("step %d: %+v, straight %+v", i+1, p, q)
				}
			}
			// What is complete stays as it is.
			if again := mustRun(t, task, data, o); !slices.Equal(bits(straight), bits(again)) {
				t.Error("resuming a complete run changes it")
			}
		})
	}
}

// However often and wherever a run is cut off, it ends in the same place.
func TestCancellingAtRandomMoments(t *testing.T) {
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	data := &goldenBatches{g: g, task: task, size: 3}
	o := adamw
	o.Eval, o.EvalEvery = data, 3
	begin := time.Now()
	straight := mustRun(t, task, data, o)
	whole := time.Since(begin)
	r := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		o.Checkpoint, o.Resume, o.Keep = t.TempDir(), "", 2
		var got *Result
		cuts := 0
		for got == nil {
			// Longer and longer, so that a machine that has become slow gets there too.
			limit := (time.Duration(r.Int64N(int64(whole))) + whole/20) * time.Duration(50+cuts*cuts) / 50
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			res, err := Run(ctx, task, data, o)
			cancel()
			switch {
			case err == nil:
				got = res
			case !errors.Is(err, context.DeadlineExceeded):
				t.Fatal(err)
			default:
				cuts++
				if o.Resume = o.Checkpoint; cuts > 200 {
					t.Fatal("the run does not advance")
				}
			}
		}
		if !slices.Equal(bits(straight), bits(got)) {
			t.Errorf("after %d cuts the run ends elsewhere", cuts)
		}
		for i, p := range got.Curve {
			if q := straight.Curve[i]; (p.Eval == nil) != (q.Eval == nil) || p.Eval != nil && p.Eval.Loss != q.Eval.Loss {
				t.Errorf("after %d cuts, step %d was measured otherwise", cuts, p.Step)
			}
		}
		names, err := checkpoints(o.Checkpoint)
		if err != nil || len(names) > 2 || len(names) == 0 {
			t.Errorf("checkpoints %v (%v)", names, err)
		}
		if left, _ := filepath.Glob(filepath.Join(o.Checkpoint, ".*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestKeepAndInterval(t *testing.T) {
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	o := adamw
	o.Checkpoint, o.CheckpointEvery, o.Keep = t.TempDir(), 6, 3
	r := mustRun(t, task, &goldenBatches{g: g, task: task, size: 2}, o)
	names, err := checkpoints(o.Checkpoint)
	if err != nil || !slices.Equal(names, []string{"step-00000012", "step-00000018", "step-00000020"}) {
		t.Errorf("checkpoints %v (%v)", names, err)
	}
	if r.Checkpoint != filepath.Join(o.Checkpoint, "step-00000020") {
		t.Errorf("the last is %s", r.Checkpoint)
	}
}

// damaged is a checkpoint of step 4, and the options of its run.
func checkpointOf(t *testing.T) (*Task, *goldenBatches, Options) {
	t.Helper()
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	data := &goldenBatches{g: g, task: task, size: 2}
	o := adamw
	o.Steps, o.Schedule, o.MinLR = 4, Constant, 0
	o.Checkpoint = t.TempDir()
	mustRun(t, task, data, o)
	o.Steps, o.Resume, o.Checkpoint = 6, o.Checkpoint, ""
	return task, data, o
}

func TestDamagedCheckpoints(t *testing.T) {
	for name, k := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"cut":          {func(d string) error { return os.Truncate(filepath.Join(d, parametersFile), 1000) }, "not what was written"},
		"missing":      {func(d string) error { return os.Remove(filepath.Join(d, optimizerFile)) }, "no such file"},
		"no state":     {func(d string) error { return os.Remove(filepath.Join(d, stateFile)) }, "no such file"},
		"half a state": {func(d string) error { return os.Truncate(filepath.Join(d, stateFile), 500) }, "state.json"},
		"a bit": {func(d string) error {
			p := filepath.Join(d, optimizerFile)
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			b[len(b)-3] ^= 4
			return os.WriteFile(p, b, 0o666)
		}, "not what was written"},
		"other format": {func(d string) error { return os.WriteFile(filepath.Join(d, stateFile), []byte(`{"format": 7}`), 0o666) }, "format 7"},
		"empty":        {func(d string) error { return os.WriteFile(filepath.Join(d, stateFile), []byte(`{"format": 1}`), 0o666) }, "another run"},
	} {
		t.Run(name, func(t *testing.T) {
			task, data, o := checkpointOf(t)
			if err := k.damage(filepath.Join(o.Resume, "step-00000004")); err != nil {
				t.Fatal(err)
			}
			_, err := Run(context.Background(), task, data, o)
			if err == nil || !strings.Contains(err.Error(), k.want) || !strings.Contains(err.Error(), "step-00000004") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestForeignCheckpoints(t *testing.T) {
	task, data, o := checkpointOf(t)
	if _, err := Run(context.Background(), task, data, o); err != nil {
		t.Fatal(err) // more steps of a constant rate are no other run
	}
	refused := func(what string, task *Task, data *goldenBatches, o Options) {
		t.Helper()
		if _, err := Run(context.Background(), task, data, o); err == nil || !strings.Contains(err.Error(), "another run: "+what+" was") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v", what, err)
		}
	}
	p := o
	p.LR = 1
	refused("learning rate", task, data, p)
	p = o
	p.Optimizer = SGD
	refused("optimizer", task, data, p)
	p = o
	p.Float64 = true
	refused("float64", task, data, p)
	refused("data", task, &goldenBatches{g: data.g, task: task, size: 3}, o)
	less, _ := goldenTask(t, Spec{Loss: CausalLM, Freeze: []string{"*wpe*"}})
	refused("trained parameters", less, data, o)
	mse, _ := goldenTask(t, Spec{Loss: MSE})
	refused("loss", mse, data, o)
	p = o
	p.Steps = 3
	if _, err := Run(context.Background(), task, data, p); err == nil || !strings.Contains(err.Error(), "at step 4, beyond the 3") {
		t.Errorf("error %v", err)
	}
}
