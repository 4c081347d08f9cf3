package train_test

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// With PyTorch's weights, batches and settings, training gives PyTorch's losses, step by step: AdamW with decay on matrices, warmup and
// cosine, clipping, and a tied head that the exporter wrote twice.
func TestLossesArePyTorchs(t *testing.T) {
	t.Run("hashed", func(t *testing.T) {
		l := fixtures.LoadLosses(t, "hashed")
		checkLosses(t, l, fixtures.LoadGradients(t, "gpt2").Model, l.Tokens())
	})
	t.Run("shakespeare", func(t *testing.T) {
		root := fixtures.TestData(t)
		m, err := onnxio.Read(filepath.Join(root, "models", "trained", "gpt2_shakespeare_op17", "model.onnx"), onnxio.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		raw, err := os.ReadFile(filepath.Join(root, "data", "shakespeare_train.bin"))
		if err != nil {
			t.Fatal(err)
		}
		tokens := make([]int64, len(raw)/2)
		for i := range tokens {
			tokens[i] = int64(binary.LittleEndian.Uint16(raw[2*i:]))
		}
		checkLosses(t, fixtures.LoadLosses(t, "shakespeare"), m, tokens)
	})
}

func checkLosses(t *testing.T, l *fixtures.Losses, m *onnxio.Model, tokens []int64) {
	t.Helper()
	const tolerance = 1e-4
	ctx := context.Background()
	l.Fill(t, m)
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	task, err := train.NewTask(ctx, g, train.Spec{Loss: train.CausalLM})
	if err != nil {
		t.Fatal(err)
	}
	r, err := train.Run(ctx, task, &replay{l, tokens, task}, train.Options{Steps: len(l.Losses), LR: l.LR, Warmup: l.Warmup, Schedule: train.Cosine,
		Beta1: l.Beta1, Beta2: l.Beta2, WeightDecay: l.WeightDecay, Clip: l.Clip})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Curve) != len(l.Losses) {
		t.Fatalf("%d steps, want %d", len(r.Curve), len(l.Losses))
	}
	worst := 0.0
	for i, p := range r.Curve {
		d := math.Abs(p.Loss - l.Losses[i])
		worst = max(worst, d)
		if !(d <= tolerance) {
			t.Errorf("step %d: the loss is %.7f, PyTorch's %.7f", i+1, p.Loss, l.Losses[i])
		}
		if d := math.Abs(p.GradNorm-l.GradientNorms[i]) / l.GradientNorms[i]; !(d <= 10*tolerance) {
			t.Errorf("step %d: the gradient's norm is %.7f, PyTorch's %.7f", i+1, p.GradNorm, l.GradientNorms[i])
		}
	}
	t.Logf("largest difference of %d losses: %.2g", len(l.Losses), worst)
}

// replay gives PyTorch's batches.
type replay struct {
	l      *fixtures.Losses
	tokens []int64
	task   *train.Task
}

func (r *replay) Batch(_ context.Context, i int) (map[string]*onnxio.Tensor, error) {
	ids, labels := r.l.Step(r.tokens, i)
	return map[string]*onnxio.Tensor{"input_ids": ids, r.task.Labels: labels}, nil
}

func (r *replay) ID() string { return "PyTorch's" }
