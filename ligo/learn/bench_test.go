package learn

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// words is one batch of random tokens, again and again.
type words map[string]*onnxio.Tensor

func (w words) ID() string                                                    { return "words" }
func (w words) Batch(context.Context, int) (map[string]*onnxio.Tensor, error) { return w, nil }

// BenchmarkStep compares a step of learning the operator that makes BERT-base of BERT-small with a plain training step of BERT-base, on
// 8 x 128 tokens: ratio is the median over pairs of steps.
func BenchmarkStep(b *testing.B) {
	ctx := context.Background()
	small := fixtures.BERT(fixtures.BERTSmall())
	in := fixtures.Inputs(small, 1, map[string]int{"batch": 8, "sequence": 128})
	labels := make([]int64, 8*128)
	for i := range labels {
		labels[i] = int64(i)
	}
	in["labels"] = onnxio.FromInt64s("", []int64{8, 128}, labels)
	g, err := graph.FromModel(small)
	if err != nil {
		b.Fatal(err)
	}
	a, err := ligo.Analyse(ctx, g)
	if err != nil {
		b.Fatal(err)
	}
	spec := train.Spec{Loss: train.MaskedLM}
	target := ligo.Target{Hidden: 768, Heads: 12, FFN: 3072, Layers: 12}
	plan := func(m ligo.Method) (*ligo.Plan, *ligo.Operator) {
		p, err := ligo.NewPlan(ctx, a, target, ligo.Options{Method: m})
		if err != nil {
			b.Fatal(err)
		}
		op, err := p.Operator(ctx)
		if err != nil {
			b.Fatal(err)
		}
		return p, op
	}
	p, op := plan(ligo.LiGO)
	grown, err := ligo.Apply(ctx, p, op)
	if err != nil {
		b.Fatal(err)
	}
	plain, err := train.NewTask(ctx, grown.Graph, spec)
	if err != nil {
		b.Fatal(err)
	}
	const steps = 5 // the first compiles
	times := func(t *train.Task) []time.Duration {
		r, err := train.Run(ctx, t, words(in), train.Options{Steps: steps, LR: 1e-6})
		if err != nil {
			b.Fatal(err)
		}
		var out []time.Duration
		for _, p := range r.Curve[1:] {
			out = append(out, time.Duration(p.Seconds*float64(time.Second)))
		}
		return out
	}
	for _, s := range []struct {
		method ligo.Method
		o      ligo.LearnOptions
	}{{ligo.LiGO, ligo.LearnOptions{Free: ligo.FreeDepth}}, {ligo.LiGO, ligo.LearnOptions{Free: ligo.FreeSupport}}, {ligo.LiGO, ligo.LearnOptions{Free: ligo.FreeDense}}, {ligo.Paper, ligo.LearnOptions{Free: ligo.FreeDense, Tie: ligo.TiePaper}}} {
		b.Run(fmt.Sprint(s.method, "-", s.o.Free), func(b *testing.B) {
			p, op := plan(s.method)
			task, err := NewTask(ctx, p, op, spec, Options{Learn: s.o})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				learned, usual := slices.Min(times(task.Task)), slices.Min(times(plain))
				b.ReportMetric(float64(learned)/float64(usual), "ratio")
				b.ReportMetric(learned.Seconds(), "s/step")
				b.ReportMetric(float64(task.Elements())/1e6, "M-numbers")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
