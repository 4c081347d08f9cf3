package engine_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// languageModel is a model with the cross-entropy of its logits as "loss" and its floating weights as parameters.
func languageModel(t testing.TB, m *onnxio.Model, vocab int64) (*graph.Graph, []string) {
	t.Helper()
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	logits := g.Outputs[0]
	labels := g.NewInput("labels", onnxio.TensorType(onnxio.Int64))
	labels.Type.HasShape = false
	flat := func(v *graph.Value, dims ...int64) *graph.Value {
		out := g.NewValue(v.Name+"_flat", nil)
		shape := g.NewConst("flat", onnxio.FromInt64s("", []int64{int64(len(dims))}, dims))
		g.NewNode("Reshape", "", "flat", []*graph.Value{v, shape}, []*graph.Value{out})
		return out
	}
	loss := g.NewValue("loss", nil)
	g.NewNode("SoftmaxCrossEntropyLoss", "", "loss", []*graph.Value{flat(logits, -1, vocab), flat(labels, -1)}, []*graph.Value{loss})
	g.AddOutput(loss)
	var params []string
	for _, v := range g.Consts {
		if v.Const.DType.Growable() && v.Const.NumElements() > 1 && len(v.Const.Dims) > 0 {
			params = append(params, v.Name)
		}
	}
	return g, params
}

// BenchmarkGradients is the forward and backward pass of language models on 8 x 128 tokens, the program compiled before.
func BenchmarkGradients(b *testing.B) {
	for _, c := range []fixtures.Config{
		{Layers: 4, Hidden: 256, Heads: 4, Vocab: 65, Positions: 128},
		{Layers: 6, Hidden: 512, Heads: 8, Vocab: 65, Positions: 128},
	} {
		for name, build := range map[string]func(fixtures.Config) *onnxio.Model{"gpt2": fixtures.GPT2, "bert": fixtures.BERT} {
			m := build(c)
			in := fixtures.Inputs(m, 1, map[string]int{"batch": 8, "sequence": 128})
			g, params := languageModel(b, m, int64(c.Vocab))
			labels := make([]int64, 8*128)
			for i := range labels {
				labels[i] = int64(i % c.Vocab)
			}
			in["labels"] = onnxio.FromInt64s("", []int64{8, 128}, labels)
			for threads := 1; threads <= 2; threads++ {
				b.Run(fmt.Sprintf("%s-%dx%d/threads%d", name, c.Layers, c.Hidden, threads), func(b *testing.B) {
					tr, err := engine.NewTrainer(g, "loss", params, engine.Options{Threads: threads})
					if err != nil {
						b.Fatal(err)
					}
					if _, err := tr.Gradients(context.Background(), in); err != nil {
						b.Fatal(err)
					}
					b.ReportAllocs()
					for b.Loop() {
						if _, err := tr.Gradients(context.Background(), in); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// After the first step, a step allocates nothing that grows with the batch.
func TestStepsAllocateNothingForActivations(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short, which is how the race detector runs; it makes pools forget")
	}
	m := fixtures.GPT2(fixtures.Config{Layers: 2, Hidden: 256, Heads: 4, Vocab: 65, Positions: 128})
	g, params := languageModel(t, m, 65)
	allocated := func(batch int) uint64 {
		in := fixtures.Inputs(m, 1, map[string]int{"batch": batch, "sequence": 128})
		in["labels"] = onnxio.FromInt64s("", []int64{int64(batch), 128}, make([]int64, 128*batch))
		tr, err := engine.NewTrainer(g, "loss", params, engine.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		best := uint64(math.MaxUint64) // others allocate in between
		for range 4 {
			var m0, m1 runtime.MemStats
			runtime.ReadMemStats(&m0)
			if _, err := tr.Gradients(context.Background(), in); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&m1)
			best = min(best, m1.TotalAlloc-m0.TotalAlloc)
		}
		return best
	}
	few, many := allocated(1), allocated(8)
	// One value of the stream at the larger batch is 1 MiB; what is allowed is the bookkeeping of kernels that cut their work.
	if many > few+512<<10 {
		t.Errorf("a step of 8 sequences allocates %d bytes, one of 1 sequence %d", many, few)
	}
}
