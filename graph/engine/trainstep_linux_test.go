package engine_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// BenchmarkBERTBase is a forward and backward pass of BERT-base on 8 x 128 tokens; peak-RSS-MiB is that of the process.
func BenchmarkBERTBase(b *testing.B) {
	c := fixtures.BERTBase()
	m := fixtures.BERT(c)
	in := fixtures.Inputs(m, 1, map[string]int{"batch": 8, "sequence": 128})
	g, params := languageModel(b, m, int64(c.Vocab))
	labels := make([]int64, 8*128)
	for i := range labels {
		labels[i] = int64(i % c.Vocab)
	}
	in["labels"] = onnxio.FromInt64s("", []int64{8, 128}, labels)
	tr, err := engine.NewTrainer(g, "loss", params, engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := tr.Gradients(context.Background(), in); err != nil {
			b.Fatal(err)
		}
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		b.ReportMetric(float64(usage.Maxrss)/1024, "peak-RSS-MiB")
	}
}
