package learn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// counting is batches of sequences that count up: easy to learn, and different every time.
type counting struct {
	labels        string
	vocab, length int64
	seed          int64
}

func (c counting) ID() string { return fmt.Sprint("counting ", c) }

func (c counting) Batch(_ context.Context, i int) (map[string]*onnxio.Tensor, error) {
	const rows = 4
	ids, labels := make([]int64, rows*c.length), make([]int64, rows*c.length)
	for r := range int64(rows) {
		at := (int64(i)*7 + r*3 + c.seed) % c.vocab
		step := 1 + (int64(i)+r)%3
		for t := range c.length {
			ids[r*c.length+t] = (at + step*t) % c.vocab
			labels[r*c.length+t] = (at + step*(t+1)) % c.vocab
		}
	}
	dims := []int64{rows, c.length}
	return map[string]*onnxio.Tensor{"input_ids": onnxio.FromInt64s("", dims, ids), c.labels: onnxio.FromInt64s("", dims, labels)}, nil
}

// tinyTask is the operator that doubles a tiny GPT-2.
func tinyTask(t testing.TB, method ligo.Method, o Options) (*Task, *ligo.Plan, counting) {
	t.Helper()
	ctx := context.Background()
	g, err := graph.FromModel(fixtures.GPT2(fixtures.Config{Layers: 2, Hidden: 16, Heads: 2, Vocab: 23, Positions: 12}))
	if err != nil {
		t.Fatal(err)
	}
	a, err := ligo.Analyse(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ligo.NewPlan(ctx, a, ligo.Target{}, ligo.Options{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	start, err := p.Operator(ctx)
	if err != nil {
		t.Fatal(err)
	}
	task, err := NewTask(ctx, p, start, train.Spec{Loss: train.CausalLM}, o)
	if err != nil {
		t.Fatal(err)
	}
	data := counting{labels: task.Labels, vocab: 23, length: 12}
	if task.o.Train.Eval == nil {
		held := data
		held.seed = 1001
		task.o.Train.Eval, task.o.Train.EvalBatches, task.o.Train.KeepBest = held, 2, true
	}
	return task, p, data
}

// loss is that of a grown model on held-out batches.
func loss(t testing.TB, g *graph.Graph, task *Task) float64 {
	t.Helper()
	k, err := train.NewTask(context.Background(), g, train.Spec{Loss: train.CausalLM})
	if err != nil {
		t.Fatal(err)
	}
	r, err := train.Run(context.Background(), k, task.o.Train.Eval, train.Options{KeepBest: true, Eval: task.o.Train.Eval, EvalBatches: 2})
	if err != nil {
		t.Fatal(err)
	}
	return r.Start.Loss
}

// What was measured while learning is the loss of the model that the learned operator makes.
func TestTheLearnedModelHasTheLossThatWasMeasured(t *testing.T) {
	ctx := context.Background()
	for _, s := range []struct {
		method ligo.Method
		free   ligo.Free
	}{{ligo.Paper, ligo.FreeDense}, {ligo.LiGO, ligo.FreeDense}, {ligo.LiGO, ligo.FreeSupport}, {ligo.LiGO, ligo.FreeDepth}} {
		t.Run(fmt.Sprint(s.method, "/", s.free), func(t *testing.T) {
			task, p, data := tinyTask(t, s.method, Options{Learn: ligo.LearnOptions{Free: s.free}, Train: train.Options{Steps: 30, LR: 3e-3}})
			r, err := task.Run(ctx, data)
			if err != nil {
				t.Fatal(err)
			}
			if !(r.Best.Loss < r.Start.Loss) || r.BestStep == 0 || r.Operator.Learned == nil {
				t.Errorf("nothing was learned: from %v to %v after %d steps", r.Start.Loss, r.Best.Loss, r.BestStep)
			}
			grown, err := ligo.Apply(ctx, p, r.Operator)
			if err != nil {
				t.Fatal(err)
			}
			if got := loss(t, grown.Graph, task); got-r.Best.Loss > 1e-5 || r.Best.Loss-got > 1e-5 {
				t.Errorf("the grown model has loss %v, the learned one %v", got, r.Best.Loss)
			}
			if grown.Record.Promise != ligo.None || grown.Record.Learned == nil || grown.Record.Learned.Steps != r.BestStep {
				t.Errorf("record %+v", grown.Record)
			}
		})
	}
}

// A rate that ruins everything leaves the start.
func TestNeverWorseThanTheStart(t *testing.T) {
	ctx := context.Background()
	task, p, data := tinyTask(t, ligo.LiGO, Options{Train: train.Options{Steps: 20, LR: 3, Warmup: 1}})
	r, err := task.Run(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	if r.BestStep != 0 || r.Operator.Learned != nil || r.Best.Loss != r.Start.Loss {
		t.Errorf("best %v after step %d, start %v", r.Best.Loss, r.BestStep, r.Start.Loss)
	}
	grown, err := ligo.Apply(ctx, p, r.Operator)
	if err != nil {
		t.Fatal(err)
	}
	if grown.Record.Promise != ligo.Exact {
		t.Errorf("the start promises %s", grown.Record.Promise)
	}
	if got := loss(t, grown.Graph, task); got-r.Start.Loss > 1e-6 || r.Start.Loss-got > 1e-6 {
		t.Errorf("the grown model has loss %v, the start %v", got, r.Start.Loss)
	}
}

// numbers of an operator, in order.
func numbers(op *ligo.Operator) []float64 {
	var keys []string
	for k := range op.Slots {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var out []float64
	for _, k := range keys {
		out = append(out, linmap.DenseOf(op.Slots[k])...)
	}
	keys = keys[:0]
	for k := range op.Blends {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		out = append(out, slices.Concat(op.Blends[k]...)...)
	}
	return out
}

// Interrupted learning goes on to the same operator, to the bit.
func TestResumeIsExact(t *testing.T) {
	o := Options{Train: train.Options{Steps: 14, LR: 1e-3}}
	task, _, data := tinyTask(t, ligo.Paper, o)
	straight, err := task.Run(context.Background(), data)
	if err != nil {
		t.Fatal(err)
	}
	for stop := 1; stop < 14; stop += 3 {
		first := o
		ctx, cancel := context.WithCancel(context.Background())
		first.Train.Checkpoint = t.TempDir()
		first.Train.Progress = func(p train.Point) {
			if p.Step == stop {
				cancel()
			}
		}
		task, _, data := tinyTask(t, ligo.Paper, first)
		if _, err := task.Run(ctx, data); !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled after step %d: %v", stop, err)
		}
		second := o
		second.Train.Resume = first.Train.Checkpoint
		task, _, data = tinyTask(t, ligo.Paper, second)
		r, err := task.Run(context.Background(), data)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(numbers(straight.Operator), numbers(r.Operator)) || r.BestStep != straight.BestStep {
			t.Errorf("resumed after step %d: another operator", stop)
		}
	}
}

func TestNothingToLearn(t *testing.T) {
	ctx := context.Background()
	g, err := graph.FromModel(fixtures.GPT2(fixtures.Config{Layers: 2, Hidden: 16, Heads: 2}))
	if err != nil {
		t.Fatal(err)
	}
	a, err := ligo.Analyse(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ligo.NewPlan(ctx, a, ligo.Target{Width: 2}, ligo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	start, err := p.Operator(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewTask(ctx, p, start, train.Spec{Loss: train.CausalLM}, Options{Learn: ligo.LearnOptions{Free: ligo.FreeDepth}})
	if err == nil || !strings.Contains(err.Error(), "nothing of the operator can be learned") {
		t.Errorf("got %v", err)
	}
}
