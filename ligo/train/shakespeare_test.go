package train

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// strided is 24 sequences of 64 tokens a batch, from places a fixed number of tokens apart.
type strided []byte

func (s strided) ID() string { return "strided" }

func (s strided) Batch(_ context.Context, i int) (map[string]*onnxio.Tensor, error) {
	const b, t, stride = 24, 64, 9973
	var ids, labels []int64
	for k := range b {
		at := (i*b + k) * stride % (len(s)/2 - t)
		for j := at; j < at+t; j++ {
			ids = append(ids, int64(binary.LittleEndian.Uint16(s[2*j:])))
			labels = append(labels, int64(binary.LittleEndian.Uint16(s[2*j+2:])))
		}
	}
	return map[string]*onnxio.Tensor{"input_ids": onnxio.FromInt64s("", []int64{b, t}, ids), "labels": onnxio.FromInt64s("", []int64{b, t}, labels)}, nil
}

// A model of three layers learns from random weights as it does in PyTorch, step by step.
func TestShakespeareIsPyTorchs(t *testing.T) {
	dir := os.Getenv("LIGOONNX_TESTDATA")
	if dir == "" {
		t.Skip("LIGOONNX_TESTDATA is not set")
	}
	data, err := os.ReadFile(filepath.Join(dir, "data", "shakespeare_train.bin"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/shakespeare.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []float64
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	task := mustTask(t, open(t, filepath.Join(dir, "models", "trained", "gpt2_shakespeare_op17", "model.onnx")), Spec{Loss: CausalLM})
	r := mustRun(t, task, strided(data), Options{Steps: 20, LR: 1e-3, Beta1: 0.9, Beta2: 0.95, WeightDecay: 0.1, Clip: 1, Init: "random", Seed: 1})
	worst := 0.0
	for i, p := range r.Curve {
		d := math.Abs(p.Loss - want[i])
		if worst = max(worst, d); !(d <= 1e-4) {
			t.Errorf("step %d: loss %.7f, PyTorch %.7f", i+1, p.Loss, want[i])
		}
	}
	t.Logf("from %.4f to %.4f, at most %.2g from PyTorch", r.Curve[0].Loss, r.Curve[19].Loss, worst)
}
