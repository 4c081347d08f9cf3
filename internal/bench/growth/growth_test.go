package main

import (
	"context"
	"encoding/xml"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/learn"
	"github.com/ligoonnx/ligoonnx/ligo/train"
)

func tinySettings(t *testing.T, methods ...string) *settings {
	t.Helper()
	tasks, err := preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	s := &settings{dir: t.TempDir(), tasks: tasks, seeds: []uint64{3}, jobs: 2}
	for _, m := range methods {
		v, err := parse(m)
		if err != nil {
			t.Fatal(err)
		}
		s.variants = append(s.variants, v)
	}
	s.bench = newBench(s.dir, 1)
	return s
}

// The whole benchmark in a few seconds: every run is there and spends the same FLOPs, an interrupted one goes on, and the report names
// every method.
func TestTinyBenchmark(t *testing.T) {
	ctx := context.Background()
	s := tinySettings(t, named...)
	results, err := s.all(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(named)*2 {
		t.Fatalf("%d results, want %d", len(results), len(named)*2)
	}
	for _, r := range results {
		budget := float64(24) * r.StepFLOPs
		if r.Long > 0 {
			budget *= r.Long
		}
		if spent := r.final().FLOPs; spent > budget || spent < budget-2*r.StepFLOPs {
			t.Errorf("%s %s spends %v FLOPs of %v", r.Task, r.Name, spent, budget)
		}
		if (r.Free != "") != (r.Operator != nil) {
			t.Errorf("%s %s: operator %+v", r.Task, r.Name, r.Operator)
		}
		if o := r.Operator; o != nil && (o.Cost <= 1 || o.Best > o.Start || r.Curve[0].FLOPs != o.FLOPs) {
			t.Errorf("%s %s: operator %+v, the curve starts at %v FLOPs", r.Task, r.Name, o, r.Curve[0].FLOPs)
		}
		if r.Start == ligo.LiGO && r.Operator == nil && math.Abs(r.Curve[0].Loss-r.SmallLoss) > 1e-5 {
			t.Errorf("%s: the exact start has loss %v, the small model %v", r.Task, r.Curve[0].Loss, r.SmallLoss)
		}
	}

	// A run that is there is not made again, one that is missing comes out the same.
	gone := filepath.Join(s.dir, s.variants[len(s.variants)-1].file(s.tasks[0], 3))
	before, err := os.ReadFile(gone)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	made := 0
	s.bench.log = func(string, ...any) { made++ }
	again, err := s.all(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if made != 1 {
		t.Errorf("%d runs were made again, want 1", made)
	}
	for i := range results {
		if !slices.Equal(results[i].Curve, again[i].Curve) {
			t.Errorf("%s %s: another curve, before:\n%s", again[i].Task, again[i].Name, before)
		}
	}

	docs := t.TempDir()
	frame := "above\n" + markBegin + "old\n" + markEnd + "below\n"
	if err := os.WriteFile(filepath.Join(docs, "results.md"), []byte(frame), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := document(docs, s.tasks, results); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(docs, "results.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "above\n") || !strings.HasSuffix(string(text), "below\n") || strings.Contains(string(text), "old\n") {
		t.Errorf("results.md is not its frame:\n%s", text)
	}
	for _, task := range s.tasks {
		svg, err := os.ReadFile(filepath.Join(docs, "results-"+task.Name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(svg, new(struct{})); err != nil {
			t.Errorf("%s: %v", task.Name, err)
		}
		for _, v := range s.variants {
			if !strings.Contains(string(svg), v.Name) || strings.Count(string(text), "| "+v.Name+" |") != 2 {
				t.Errorf("%s: %s is missing", task.Name, v.Name)
			}
		}
	}
}

// What growth itself counts for the weights is what this package counts without attention's products.
func TestFLOPs(t *testing.T) {
	ctx := context.Background()
	tasks, err := preset("full")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		g, err := graph.FromModel(task.build(task.Model))
		if err != nil {
			t.Fatal(err)
		}
		a, err := ligo.Analyse(ctx, g)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ligo.NewPlan(ctx, a, ligo.Target{}, ligo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := task.large()
		n, outside := float64(task.Tokens), 0.0
		if task.Loss == train.Classify {
			patches := float64(c.Image / c.Patch * (c.Image / c.Patch))
			n = patches + 1
			// The plan counts every weight once a token; patches are one fewer, and one token is classified.
			outside = 2 * float64(c.Patch*c.Patch*c.Channels*c.Hidden+(int(n)-1)*c.Hidden*c.Classes)
		}
		attention := 2 * float64(c.Layers) * 2 * n * n * float64(c.Hidden)
		if got, want := task.forward(c), n*float64(p.FLOPsTo)-outside+attention; got != want {
			t.Errorf("%s: %v FLOPs forward, want %v", task.Name, got, want)
		}
	}
}

// reach finds where a curve comes to stay below a loss.
func TestReach(t *testing.T) {
	r := &result{Curve: []measured{{0, 10, 5, 0}, {1, 20, 3, 0}, {2, 30, 4, 0}, {3, 40, 2, 0}}}
	for _, c := range []struct{ loss, want float64 }{{6, 10}, {5, 10}, {3, 35}, {2, 40}} {
		if got := r.reach(c.loss); got != c.want {
			t.Errorf("loss %v is reached at %v, want %v", c.loss, got, c.want)
		}
	}
	if got := r.reach(1); !math.IsNaN(got) {
		t.Errorf("a loss that is not reached is reached at %v", got)
	}
}

func TestParse(t *testing.T) {
	v, err := parse("ligo-support,oplr=5e-4,steps=.05")
	if err != nil || v.Start != ligo.LiGO || v.Free != ligo.FreeSupport || v.OpLR != 5e-4 || v.OpSteps != .05 || v.OpBatch != 1 {
		t.Errorf("%+v %v", v, err)
	}
	if v, err := parse("mine=stack,free=depth,steps=25,batch=2"); err != nil || v.Name != "mine" || v.Start != ligo.Stack || v.OpBatch != 2 {
		t.Errorf("%+v %v", v, err)
	}
	for _, text := range []string{"nothing", "a=ligo,what=1", "a=ligo,lr=x"} {
		if _, err := parse(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// What the weights of a learned operator cost is what the engine counts beyond a plain step.
func TestBuildingIsWhatTheEngineCounts(t *testing.T) {
	ctx := context.Background()
	s := tinySettings(t)
	task := s.tasks[0]
	for _, spec := range []string{"a=paper,free=dense,tie=paper", "b=ligo,free=dense", "c=ligo,free=support"} {
		v, err := parse(spec)
		if err != nil {
			t.Fatal(err)
		}
		g, err := task.fresh(ctx, task.Model, 1)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ligo.Analyse(ctx, g)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ligo.NewPlan(ctx, a, ligo.Target{}, ligo.Options{Method: v.Start})
		if err != nil {
			t.Fatal(err)
		}
		op, err := p.Operator(ctx)
		if err != nil {
			t.Fatal(err)
		}
		grown, err := ligo.Apply(ctx, p, op)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := train.NewTask(ctx, grown.Graph, train.Spec{Loss: task.Loss})
		if err != nil {
			t.Fatal(err)
		}
		learned, err := learn.NewTask(ctx, p, op, train.Spec{Loss: task.Loss}, learn.Options{Learn: ligo.LearnOptions{Free: v.Free, Tie: v.Tie}})
		if err != nil {
			t.Fatal(err)
		}
		count := func(on *train.Task) (forward, backward float64) {
			in, err := task.feed(on.Labels, splitTrain, 1, task.Rows).Batch(ctx, 0)
			if err != nil {
				t.Fatal(err)
			}
			f, b, err := on.FLOPs(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			return float64(f), float64(b)
		}
		f0, b0 := count(plain)
		f1, b1 := count(learned.Task)
		f, b := building(learned.Task)
		t.Logf("%s: engine %v %v, counted %v %v, plain %v %v, model %v", spec, f1-f0, b1-b0, f, b, f0, b0, task.step(task.large(), task.Rows))
		if f1-f0 != f || b1-b0 != b {
			t.Errorf("%s: the engine counts %v forward and %v backward beyond a plain step, want %v and %v", spec, f1-f0, b1-b0, f, b)
		}
	}
}
