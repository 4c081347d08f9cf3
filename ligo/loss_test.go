package ligo_test

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// crossEntropy is the mean of -log softmax(logits)[label] over the rows whose label is not negative.
func crossEntropy(logits []float64, labels []int64) float64 {
	classes := len(logits) / len(labels)
	sum, n := 0.0, 0
	for i, label := range labels {
		if label < 0 {
			continue
		}
		row := logits[i*classes : (i+1)*classes]
		top := math.Inf(-1)
		for _, x := range row {
			top = max(top, x)
		}
		z := 0.0
		for _, x := range row {
			z += math.Exp(x - top)
		}
		sum += math.Log(z) + top - row[label]
		n++
	}
	return sum / float64(n)
}

// batch is validation data with its labels; a negative label does not count.
type batch struct {
	inputs map[string]*onnxio.Tensor
	labels []int64
}

// tokens cuts a token stream of uint16 into sequences of length n+1.
func tokens(t *testing.T, path string, sequences, n int) [][]int64 {
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]int64, sequences)
	for i := range out {
		for j := range n + 1 {
			out[i] = append(out[i], int64(binary.LittleEndian.Uint16(raw[2*(i*n+j):])))
		}
	}
	return out
}

func ids(name string, rows [][]int64) *onnxio.Tensor {
	var flat []int64
	for _, r := range rows {
		flat = append(flat, r...)
	}
	return onnxio.FromInt64s(name, []int64{int64(len(rows)), int64(len(rows[0]))}, flat)
}

// causal predicts the next token.
func causal(t *testing.T, data string) batch {
	var in, labels [][]int64
	for _, s := range tokens(t, filepath.Join(data, "shakespeare_val.bin"), 32, 64) {
		in, labels = append(in, s[:64]), append(labels, s[1:])
	}
	flat, _ := ids("", labels).Int64s()
	return batch{map[string]*onnxio.Tensor{"input_ids": ids("input_ids", in)}, flat}
}

// masked hides 15 % of the tokens behind the mask token 65, in sequences as long as those of the training.
func masked(t *testing.T, data string) batch {
	const n = 32
	r := rand.New(rand.NewPCG(1, 2))
	var in, labels, ones, zeros [][]int64
	for _, s := range tokens(t, filepath.Join(data, "shakespeare_val.bin"), 64, n) {
		row, label, one, zero := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
		for j := range n {
			row[j], label[j], one[j] = s[j], -1, 1
			if r.Float64() < 0.15 {
				row[j], label[j] = 65, s[j]
			}
		}
		in, labels, ones, zeros = append(in, row), append(labels, label), append(ones, one), append(zeros, zero)
	}
	flat, _ := ids("", labels).Int64s()
	return batch{map[string]*onnxio.Tensor{"input_ids": ids("input_ids", in), "attention_mask": ids("attention_mask", ones),
		"token_type_ids": ids("token_type_ids", zeros)}, flat}
}

// digits classifies images.
func digits(t *testing.T, data string) batch {
	arrays, err := dataset.ReadNPZ(context.Background(), filepath.Join(data, "mnist_val.npz"))
	if err != nil {
		t.Fatal(err)
	}
	labels, err := arrays["labels"].Int64s()
	if err != nil {
		t.Fatal(err)
	}
	pixels, err := arrays["pixel_values"].Float32s()
	if err != nil {
		t.Fatal(err)
	}
	const n = 256
	return batch{map[string]*onnxio.Tensor{"pixel_values": onnxio.FromFloat32s("pixel_values", []int64{n, 1, 28, 28}, pixels[:n*28*28])}, labels[:n]}
}

// TestValidationLoss grows the trained models of the test data to twice their width and depth: their validation loss does not change
// by 1e-5. It must also be the loss of a trained model, so that the comparison means something.
func TestValidationLoss(t *testing.T) {
	data := filepath.Join(fixtures.TestData(t), "data")
	models, err := filepath.Glob(filepath.Join(fixtures.TestData(t), "models/trained/*/model.onnx"))
	if err != nil || len(models) == 0 {
		t.Fatalf("no trained models: %v", err)
	}
	for _, path := range models {
		name := filepath.Base(filepath.Dir(path))
		t.Run(name, func(t *testing.T) {
			var b batch
			limit := 2.2
			switch {
			case strings.HasPrefix(name, "gpt2"):
				b = causal(t, data)
			case strings.HasPrefix(name, "bert"):
				b = masked(t, data)
			default:
				b, limit = digits(t, data), 0.5
			}
			loss := func(g *graph.Graph) float64 {
				e, err := engine.New(g, engine.Options{})
				if err != nil {
					t.Fatal(err)
				}
				out, err := e.Run(context.Background(), b.inputs)
				if err != nil {
					t.Fatal(err)
				}
				logits, err := out[g.Outputs[0].Name].Float64s()
				if err != nil {
					t.Fatal(err)
				}
				return crossEntropy(logits, b.labels)
			}
			a := analyse(t, read(t, path))
			_, grown := grow(t, a, ligo.Target{}, ligo.Options{})
			small, large := loss(a.Graph), loss(grown.Graph)
			t.Logf("loss %.6f, grown %.6f, difference %.1e", small, large, large-small)
			if small > limit {
				t.Errorf("loss %.4f is not that of a trained model", small)
			}
			if math.Abs(large-small) > 1e-5 {
				t.Errorf("loss %.7f became %.7f", small, large)
			}
		})
	}
}
