package train

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// golden is testdata/trajectories.json, PyTorch's runs.
type golden struct {
	Tokens, Labels [][]int64
	Teacher        []float64
	Runs           map[string][]struct {
		Loss, LR float64
		GradNorm float64 `json:"grad_norm"`
		Counted  int64
	}
}

const (
	goldenSteps, goldenSeq, goldenVocab = 20, 6, 11
	goldenBatch                         = 3 // sequences in a micro-batch
)

func readGolden(t testing.TB) *golden {
	t.Helper()
	text, err := os.ReadFile("testdata/trajectories.json")
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{}
	if err := json.Unmarshal(text, g); err != nil {
		t.Fatal(err)
	}
	return g
}

// goldenBatches gives size sequences a micro-batch.
type goldenBatches struct {
	g     *golden
	task  *Task
	size  int
	fault func(i int) error // called before each batch
}

func (b *goldenBatches) ID() string { return fmt.Sprint("golden, sequences: ", b.size) }

func (b *goldenBatches) Batch(_ context.Context, i int) (map[string]*onnxio.Tensor, error) {
	if b.fault != nil {
		if err := b.fault(i); err != nil {
			return nil, err
		}
	}
	var ids, labels []int64
	var teacher []float32
	for k := range b.size {
		at := (i*b.size + k) % len(b.g.Tokens)
		ids = append(ids, b.g.Tokens[at][:goldenSeq]...)
		labels = append(labels, b.g.Labels[at]...)
		for _, v := range b.g.Teacher[at*goldenSeq*goldenVocab:][:goldenSeq*goldenVocab] {
			teacher = append(teacher, float32(v))
		}
	}
	n := int64(b.size)
	logits := onnxio.FromFloat32s("", []int64{n, goldenSeq, goldenVocab}, teacher)
	out := map[string]*onnxio.Tensor{"input_ids": onnxio.FromInt64s("", []int64{n, goldenSeq}, ids)}
	switch {
	case b.task.Teacher != "":
		out[b.task.Teacher] = logits
		if b.task.Labels != "" {
			out[b.task.Labels] = onnxio.FromInt64s("", []int64{n, goldenSeq}, labels)
		}
	case b.task.Spec.Loss == MSE:
		out[b.task.Labels] = logits
	default:
		out[b.task.Labels] = onnxio.FromInt64s("", []int64{n, goldenSeq}, labels)
	}
	return out, nil
}

func goldenTask(t testing.TB, s Spec) (*Task, *golden) {
	t.Helper()
	return mustTask(t, open(t, "testdata/tiny_gpt.onnx"), s), readGolden(t)
}

// adamw is the run "adamw" of the golden file.
var adamw = Options{Steps: goldenSteps, LR: 3e-3, MinLR: 3e-4, Warmup: 4, Schedule: Cosine, Beta1: 0.9, Beta2: 0.95, WeightDecay: 0.1, Clip: 0.5, Accumulate: 2}

// Losses, gradient norms and learning rates of 20 steps are PyTorch's, for every loss, optimizer and schedule.
func TestTrajectoriesArePyTorchs(t *testing.T) {
	for name, run := range map[string]struct {
		spec Spec
		opts Options
	}{
		"adamw":               {Spec{Loss: CausalLM}, adamw},
		"sgd":                 {Spec{Loss: MaskedLM}, Options{LR: 0.05, Warmup: 3, Schedule: Linear, Optimizer: SGD, Momentum: 0.9, Nesterov: true, WeightDecay: 0.01}},
		"plain sgd":           {Spec{Loss: MSE}, Options{LR: 0.1, Warmup: 5, Optimizer: SGD, WeightDecay: 0.01, DecayAll: true, Clip: 1}},
		"distill":             {Spec{Loss: Distill, Temperature: 2}, Options{LR: 1e-3, Schedule: Cosine, WeightDecay: 0.01, DecayAll: true}},
		"distill with labels": {Spec{Loss: Distill, Temperature: 3, HardWeight: 0.25}, Options{LR: 1e-3}},
	} {
		for _, double := range []bool{false, true} {
			full, tolerance := name+" float32", 1e-5
			if double {
				full, tolerance = name+" float64", 1e-6
			}
			t.Run(full, func(t *testing.T) {
				task, g := goldenTask(t, run.spec)
				want := g.Runs[full]
				if len(want) != goldenSteps {
					t.Fatalf("the golden file has %d steps", len(want))
				}
				o := run.opts
				o.Steps, o.Accumulate, o.Float64 = goldenSteps, 2, double
				r, err := Run(context.Background(), task, &goldenBatches{g: g, task: task, size: goldenBatch}, o)
				if err != nil {
					t.Fatal(err)
				}
				worst := 0.0
				for i, p := range r.Curve {
					w := want[i]
					if p.Counted != w.Counted {
						t.Fatalf("step %d: %d labels counted, PyTorch %d", i+1, p.Counted, w.Counted)
					}
					if d := math.Abs(p.LR - w.LR); d > 1e-15 {
						t.Errorf("step %d: learning rate %v, PyTorch %v", i+1, p.LR, w.LR)
					}
					if d := math.Abs(p.Loss-w.Loss) / math.Abs(w.Loss); !(d <= tolerance) {
						t.Errorf("step %d: loss %.9g, PyTorch %.9g", i+1, p.Loss, w.Loss)
					} else {
						worst = max(worst, d)
					}
					if d := math.Abs(p.GradNorm-w.GradNorm) / w.GradNorm; !(d <= 10*tolerance) {
						t.Errorf("step %d: gradient norm %.9g, PyTorch %.9g", i+1, p.GradNorm, w.GradNorm)
					}
				}
				t.Logf("largest relative difference of a loss: %.2g", worst)
				if first, last := r.Curve[0].Loss, r.Curve[goldenSteps-1].Loss; !(last < first) {
					t.Errorf("the loss went from %v to %v", first, last)
				}
			})
		}
	}
}
