package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/learn"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// result is one run, as it is stored.
type result struct {
	// Key is everything the run depends on; a stored result with another one is of other sizes, and is made again.
	Key string
	variant
	Task string
	Seed uint64
	// Step is the cost of a step of the large model, Small that of training the small one.
	StepFLOPs, SmallFLOPs float64
	// SmallLoss is the small model's.
	SmallLoss float64
	Operator  *operatorResult `json:",omitempty"`
	// Curve is the loss on the test data, from before the first step on.
	Curve   []measured
	Seconds float64
}

type operatorResult struct {
	Steps, Numbers   int
	FLOPs            float64 // with the measurements
	Cost             float64 // of a step, in steps of the same batch without an operator
	Start, Best, End float64 // losses on held-out data
	BestStep         int
	Seconds          float64
}

type measured struct {
	Step     int
	FLOPs    float64 // all so far, the operator's included, the small model's not
	Loss     float64
	Accuracy float64 `json:",omitempty"`
}

// final is the last measurement.
func (r *result) final() measured { return r.Curve[len(r.Curve)-1] }

// bench is a benchmark in a folder.
type bench struct {
	dir     string
	threads int
	stored  bool  // no run is made
	split   split // what curves are measured on
	log     func(format string, args ...any)

	mu     sync.Mutex
	smalls map[string]*sync.Mutex
}

// run gives the result of a run, stored or made; nil where it is not stored and none is made.
func (b *bench) run(ctx context.Context, t *task, seed uint64, v variant) (*result, error) {
	path := filepath.Join(b.dir, v.file(t, seed))
	key, err := b.key(t, v)
	if err != nil {
		return nil, err
	}
	if text, err := os.ReadFile(path); err == nil {
		var r result
		if json.Unmarshal(text, &r) == nil && r.Key == key {
			return &r, nil
		}
	}
	if b.stored {
		return nil, nil
	}
	begin := time.Now()
	r, err := b.race(ctx, t, seed, v)
	if err != nil {
		return nil, fmt.Errorf("%s, seed %d, %s: %w", t.Name, seed, v.Name, err)
	}
	r.Key, r.Seconds = key, time.Since(begin).Seconds()
	b.log("%s seed %d %-14s %.4f -> %.4f in %d steps, %.2f TFLOP, %.0f s", t.Name, seed, v.Name, r.Curve[0].Loss, r.final().Loss, r.final().Step, r.final().FLOPs/1e12, r.Seconds)
	return r, store(path, r)
}

func (b *bench) key(t *task, v variant) (string, error) {
	k := *t
	k.Evals = 0
	text, err := json.Marshal(struct {
		task
		V     variant
		Split split
	}{k, v, b.split})
	return string(text), err
}

// store writes a result that is there as a whole or not at all.
func store(path string, r *result) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".part", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// options are those of training any model of a task.
func (b *bench) options(t *task, seed uint64, steps int, lr float64) train.Options {
	return train.Options{Steps: steps, LR: lr, MinLR: lr / 10, Warmup: t.Warmup, Schedule: train.Cosine, Beta1: 0.9, Beta2: 0.95, WeightDecay: 0.01,
		Clip: 1, Seed: seed, Threads: b.threads}
}

// batchesOf is how many batches hold the rows that are measured.
func (t *task) batchesOf(rows int) int { return max(1, rows/t.Rows) }

// small gives the file of the small model of a seed, trained for a share of its steps.
func (b *bench) small(ctx context.Context, t *task, seed uint64, share float64) (*onnxio.Model, error) {
	steps := t.Small
	if share > 0 {
		steps = int(share * float64(steps))
	}
	path := filepath.Join(b.dir, fmt.Sprintf("%s-%d-small-l%d-d%d-n%d-lr%g.onnx", t.Name, seed, t.Model.Layers, t.Model.Hidden, steps, t.SmallLR))
	b.mu.Lock()
	lock := b.smalls[path]
	if lock == nil {
		lock = new(sync.Mutex)
		b.smalls[path] = lock
	}
	b.mu.Unlock()
	lock.Lock()
	defer lock.Unlock()
	if _, err := os.Stat(path); err == nil {
		return onnxio.Read(path, onnxio.ReadOptions{})
	}
	g, err := t.fresh(ctx, t.Model, seed)
	if err != nil {
		return nil, err
	}
	on, err := train.NewTask(ctx, g, train.Spec{Loss: t.Loss})
	if err != nil {
		return nil, err
	}
	o := b.options(t, seed, steps, t.SmallLR)
	o.Eval, o.EvalBatches = t.feed(on.Labels, b.split, 0, t.Rows), t.batchesOf(t.EvalRows)
	r, err := train.Run(ctx, on, t.feed(on.Labels, splitTrain, seed, t.Rows), o)
	if err != nil {
		return nil, err
	}
	b.log("%s seed %d small model: %.4f after %d steps", t.Name, seed, r.Curve[len(r.Curve)-1].Eval.Loss, steps)
	m, err := on.Export(r.Values)
	if err != nil {
		return nil, err
	}
	if err := onnxio.Write(ctx, m, path, onnxio.WriteOptions{}); err != nil {
		return nil, err
	}
	return onnxio.Read(path, onnxio.ReadOptions{})
}

// race grows a small model and trains the large one, for the FLOPs that training it from scratch is given.
func (b *bench) race(ctx context.Context, t *task, seed uint64, v variant) (*result, error) {
	m, err := b.small(ctx, t, seed, v.Small)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	g, err := graph.FromModel(m)
	if err != nil {
		return nil, err
	}
	small, err := b.measure(ctx, t, g)
	if err != nil {
		return nil, err
	}
	r := &result{variant: v, Task: t.Name, Seed: seed, StepFLOPs: t.step(t.large(), t.Rows), SmallLoss: small}
	r.SmallFLOPs = t.step(t.Model, t.Rows) * float64(t.Small)
	if v.Small > 0 {
		r.SmallFLOPs *= v.Small
	}
	if v.Start == scratch {
		if g, err = t.fresh(ctx, t.large(), seed+2000); err != nil {
			return nil, err
		}
		return r, b.train(ctx, t, r, g, 0)
	}
	a, err := ligo.Analyse(ctx, g)
	if err != nil {
		return nil, err
	}
	p, err := ligo.NewPlan(ctx, a, ligo.Target{}, ligo.Options{Method: v.Start, Seed: seed})
	if err != nil {
		return nil, err
	}
	op, err := p.Operator(ctx)
	if err != nil {
		return nil, err
	}
	spent := 0.0
	if v.Free != "" {
		if op, r.Operator, err = b.learn(ctx, t, seed, v, p, op); err != nil {
			return nil, err
		}
		spent = r.Operator.FLOPs
	}
	grown, err := ligo.Apply(ctx, p, op)
	if err != nil {
		return nil, err
	}
	return r, b.train(ctx, t, r, grown.Graph, spent)
}

// measure gives the loss of a model as it is.
func (b *bench) measure(ctx context.Context, t *task, g *graph.Graph) (float64, error) {
	on, err := train.NewTask(ctx, g, train.Spec{Loss: t.Loss})
	if err != nil {
		return 0, err
	}
	data := t.feed(on.Labels, b.split, 0, t.Rows)
	r, err := train.Run(ctx, on, data, train.Options{KeepBest: true, Eval: data, EvalBatches: t.batchesOf(t.EvalRows), Threads: b.threads})
	if err != nil {
		return 0, err
	}
	return r.Start.Loss, nil
}

// learn learns an operator, and counts what that costs.
func (b *bench) learn(ctx context.Context, t *task, seed uint64, v variant, p *ligo.Plan, start *ligo.Operator) (*ligo.Operator, *operatorResult, error) {
	begin := time.Now()
	rows, steps := t.Rows*v.OpBatch, v.steps(t)
	held := t.batchesOf(t.EvalRows / 4)
	eval := t.feed("", splitHeld, 0, t.Rows)
	o := learn.Options{Learn: ligo.LearnOptions{Free: v.Free, Tie: v.Tie, Additive: v.Additive}, Train: train.Options{Steps: steps, LR: v.OpLR, Beta1: 0.9, Beta2: 0.95,
		Eval: eval, EvalBatches: held, EvalEvery: max(1, steps/v.OpEvals), Threads: b.threads}}
	if v.OpEvals < 0 {
		o.Train.Eval = nil
	}
	task, err := learn.NewTask(ctx, p, start, train.Spec{Loss: t.Loss}, o)
	if err != nil {
		return nil, nil, err
	}
	eval.labels = task.Labels
	r, err := task.Run(ctx, t.feed(task.Labels, splitOperator, seed, rows))
	if err != nil {
		return nil, nil, err
	}
	out := &operatorResult{Steps: steps, Numbers: r.Elements, BestStep: r.BestStep}
	measurements := 0.0
	if r.Start != nil {
		out.Start, out.Best, out.End, measurements = r.Start.Loss, r.Best.Loss, r.Curve[len(r.Curve)-1].Eval.Loss, 1
	}
	forward, backward := building(task.Task)
	plain := t.step(t.large(), rows)
	out.Cost = (plain + forward + backward) / plain
	for _, c := range r.Curve {
		if c.Eval != nil {
			measurements++
		}
	}
	out.FLOPs = float64(steps)*plain*out.Cost + measurements*float64(held)*(t.step(t.large(), t.Rows)/3+forward)
	out.Seconds = time.Since(begin).Seconds()
	return r.Operator, out, nil
}

// train trains the large model with what is left of the FLOPs.
func (b *bench) train(ctx context.Context, t *task, r *result, g *graph.Graph, spent float64) error {
	on, err := train.NewTask(ctx, g, train.Spec{Loss: t.Loss})
	if err != nil {
		return err
	}
	budget := float64(t.Large) * r.StepFLOPs
	if r.Long > 0 {
		budget *= r.Long
	}
	steps := max(1, int((budget-spent)/r.StepFLOPs))
	lr := t.LR
	if r.LR > 0 {
		lr = r.LR
	}
	o := b.options(t, r.Seed, steps, lr)
	if r.Warmup > 0 {
		o.Warmup = r.Warmup
	}
	if r.Beta2 > 0 {
		o.Beta2 = r.Beta2
	}
	o.Eval, o.EvalBatches, o.EvalEvery, o.KeepBest = t.feed(on.Labels, b.split, 0, t.Rows), t.batchesOf(t.EvalRows), max(1, steps/t.Evals), true
	run, err := train.Run(ctx, on, t.feed(on.Labels, splitTrain, r.Seed+1000, t.Rows), o)
	if err != nil {
		return err
	}
	note := func(step int, e *train.Eval) {
		m := measured{Step: step, FLOPs: spent + float64(step)*r.StepFLOPs, Loss: e.Loss}
		if e.Accuracy != nil {
			m.Accuracy = *e.Accuracy
		}
		r.Curve = append(r.Curve, m)
	}
	note(0, run.Start)
	for _, p := range run.Curve {
		if p.Eval != nil {
			note(p.Step, p.Eval)
		}
	}
	return nil
}

func newBench(dir string, threads int) *bench {
	return &bench{dir: dir, threads: threads, split: splitTest, log: func(string, ...any) {}, smalls: map[string]*sync.Mutex{}}
}
