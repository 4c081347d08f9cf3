package race

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/learn"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

const (
	rows, tokens = 3, 16
	vocabulary   = 67
)

// feed is batches of a language in which every token but the first follows from the one before.
type feed struct {
	task *train.Task
	seed uint64
}

func (f feed) ID() string { return fmt.Sprint(f.seed) }

func (f feed) Batch(_ context.Context, i int) (map[string]*onnxio.Tensor, error) {
	r := rand.New(rand.NewPCG(f.seed, uint64(i)))
	ids, next := make([]int64, rows*tokens), make([]int64, rows*tokens)
	for j := range rows {
		at := r.Int64N(vocabulary)
		for k := range tokens {
			ids[j*tokens+k] = at
			at = (at*5 + 3) % vocabulary
			next[j*tokens+k] = at
		}
	}
	dims := []int64{rows, tokens}
	return map[string]*onnxio.Tensor{"input_ids": onnxio.FromInt64s("", dims, ids), f.task.Labels: onnxio.FromInt64s("", dims, next)}, nil
}

func data(seed uint64) Data {
	return func(t *train.Task) (train.Batches, train.Batches, int) { return feed{t, seed}, feed{t, 1000}, 2 }
}

func small(t *testing.T) *graph.Graph {
	t.Helper()
	g, err := graph.FromModel(fixtures.GPT2(fixtures.Config{Hidden: 16}))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func story(t *testing.T) *Story {
	t.Helper()
	o := train.Options{LR: 1e-2, Clip: 1, Schedule: train.Cosine}
	first, large := o, o
	first.Steps, first.EvalEvery, first.Init = 60, 20, "glorot"
	large.Steps, large.EvalEvery = 40, 8
	return &Story{Small: small(t), Spec: train.Spec{Loss: train.CausalLM}, SmallTrain: first, Train: large, Data: data(1), Learn: data(2), Entries: []Entry{
		{Name: "scratch", Method: ligo.Random, Init: "glorot"}, {Name: "exact", Method: ligo.LiGO},
		{Name: "learned", Method: ligo.LiGO, Learn: &learn.Options{Train: train.Options{Steps: 5}}}}}
}

// A story has every model, all with one budget: the exact start begins with the small model's loss, a learned operator is charged for.
func TestStory(t *testing.T) {
	told, err := story(t).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if told.Sizes.From.Layers != 2 || told.Sizes.To.Layers != 4 || told.Sizes.To.Hidden != 32 || len(told.Grown) != 3 || len(told.Curves) != 3 {
		t.Fatalf("%+v", told)
	}
	scratch, exact, learned := told.Curves[0], told.Curves[1], told.Curves[2]
	if a, b := told.Small.Final().Loss, exact.Points[0].Loss; math.Abs(a-b) > 1e-5 {
		t.Errorf("the exact start has loss %v, the small model %v", b, a)
	}
	if first := scratch.Points[0].Loss; first < told.Small.Final().Loss+0.5 {
		t.Errorf("the model from scratch begins with loss %v: it knows something", first)
	}
	budget := scratch.Final().FLOPs
	if scratch.Final().Step != 40 || budget != 40*scratch.StepFLOPs || exact.Final() == scratch.Final() || exact.Final().FLOPs != budget {
		t.Errorf("scratch ends with %+v, exact with %+v", scratch.Final(), exact.Final())
	}
	op := told.Grown[2].Operator
	if op == nil || told.Grown[1].Operator != nil || op.Steps != 5 || op.StepFLOPs <= scratch.StepFLOPs || op.FLOPs <= 5*op.StepFLOPs || op.Best > op.Start {
		t.Fatalf("the operator: %+v", op)
	}
	if learned.Points[0].FLOPs != op.FLOPs || learned.Points[0].Seconds != op.Seconds {
		t.Errorf("the curve of the learned operator begins with %+v, learning was %+v", learned.Points[0], op)
	}
	if end := learned.Final(); end.FLOPs > budget || end.FLOPs < budget-2*scratch.StepFLOPs || end.Step >= 40 {
		t.Errorf("with the operator %v FLOPs were spent of %v, in %d steps", end.FLOPs, budget, end.Step)
	}
	if p := exact.Points[1]; p.Step != 8 || p.Tokens != 8*rows*tokens || len(exact.Points) != 6 || len(exact.Training) != 40 {
		t.Errorf("%d points, the second is %+v; %d steps", len(exact.Points), p, len(exact.Training))
	}
	m, err := exact.Model()
	if err != nil {
		t.Fatal(err)
	}
	if r, ok, err := ligo.FromMetadata(m.Metadata); !ok || err != nil || r.To.Hidden != 32 {
		t.Errorf("the model's record is %+v, %v", r, err)
	}

	again, err := story(t).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range told.Curves {
		for j := range c.Points {
			c.Points[j].Seconds, again.Curves[i].Points[j].Seconds = 0, 0
		}
		if !reflect.DeepEqual(c.Points, again.Curves[i].Points) || !reflect.DeepEqual(c.Training, again.Curves[i].Training) {
			t.Errorf("%s: another run has another curve", c.Name)
		}
	}
}

// All runners get the same batches: two of one model have one curve.
func TestSameBatches(t *testing.T) {
	g := small(t)
	o := Options{Spec: train.Spec{Loss: train.CausalLM}, Train: train.Options{Steps: 6, LR: 1e-3, EvalEvery: 2}, Data: data(1)}
	seen := map[int]int{}
	o.Progress = func(runner, steps int, p train.Point) {
		if steps != 6 || p.Step < 1 {
			t.Errorf("runner %d: %d steps, %+v", runner, steps, p)
		}
		seen[runner]++
	}
	curves, err := Run(context.Background(), []Runner{{Name: "a", Graph: g}, {Name: "b", Graph: g}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(curves[0].Training, curves[1].Training) || seen[0] != 6 || seen[1] != 6 {
		t.Errorf("%v\n%v\n%v", curves[0].Training, curves[1].Training, seen)
	}
}

func TestRunIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := story(t)
	s.Progress = func(stage string, _ int, p train.Point) {
		if stage == "training: exact" && p.Step == 3 {
			cancel()
		}
	}
	if _, err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// A model that comes to grief is reported, and the others race on.
func TestDivergence(t *testing.T) {
	g := small(t)
	bad := g.Clone()
	for _, c := range bad.Consts {
		if len(c.Const.Dims) == 2 && c.Const.DType == onnxio.Float {
			v := make([]float32, c.Const.NumElements())
			for i := range v {
				v[i] = 1e30
			}
			c.Const = onnxio.FromFloat32s(c.Const.Name, c.Const.Dims, v)
		}
	}
	o := Options{Spec: train.Spec{Loss: train.CausalLM}, Train: train.Options{Steps: 2, LR: 1e-3}, Data: data(1)}
	_, err := Run(context.Background(), []Runner{{Name: "good", Graph: g}, {Name: "bad", Graph: bad}}, o)
	if err == nil || !strings.HasPrefix(err.Error(), "bad: ") || !train.Diverged(err) {
		t.Errorf("a model without a loss at the start: %v", err)
	}
	o.Train.LR = 1e30
	curves, err := Run(context.Background(), []Runner{{Name: "wild", Graph: g}}, o)
	if err != nil || curves[0].Failed == "" || len(curves[0].Points) != 1 {
		t.Errorf("%v: %+v", err, curves)
	}
}

func curve(name string, losses ...float64) *Curve {
	c := &Curve{Name: name, StepFLOPs: 1}
	for i, l := range losses {
		c.Points = append(c.Points, Point{Step: 10 * i, Tokens: int64(100 * i), FLOPs: float64(10 * i), Seconds: float64(i), Loss: l})
	}
	return c
}

// Reach finds where a curve comes to stay below a loss.
func TestReach(t *testing.T) {
	c := curve("a", 5, 3, 4, 2)
	for _, x := range []struct {
		loss, flops float64
		step        int
	}{{6, 0, 0}, {5, 0, 0}, {3.5, 22.5, 23}, {3, 25, 25}, {2, 30, 30}} {
		if at, ok := c.Reach(x.loss); !ok || at.FLOPs != x.flops || at.Step != x.step {
			t.Errorf("loss %v is reached at %+v, %v; want %v FLOPs", x.loss, at, ok, x.flops)
		}
	}
	if at, ok := c.Reach(1); ok {
		t.Errorf("a loss that is not reached is reached at %+v", at)
	}
	for _, x := range []struct{ flops, loss float64 }{{0, 5}, {5, 4}, {30, 2}} {
		if l, ok := c.At(x.flops); !ok || l != x.loss {
			t.Errorf("at %v the loss is %v, %v", x.flops, l, ok)
		}
	}
	if _, ok := c.At(31); ok {
		t.Error("there is a loss behind the end")
	}
	reference := curve("scratch", 9, 6, 4, 3)
	if s, ok := c.Saved(reference, 0); !ok || math.Abs(s-(1-25.0/30)) > 1e-12 {
		t.Errorf("saved %v, %v", s, ok)
	}
	if s, ok := c.Saved(reference, 12); !ok || math.Abs(s-(1-37.0/30)) > 1e-12 {
		t.Errorf("with 12 charged, saved %v, %v", s, ok)
	}
	if _, ok := reference.Saved(c, 0); ok {
		t.Error("a loss that is not reached saves something")
	}
}

// The chart is well-formed whatever the curves are, escapes names, and shows every point at a finite place.
func TestChart(t *testing.T) {
	for name, curves := range map[string][]*Curve{
		"usual": {curve("scratch", 9, 6, 4, 3), curve("a<b>&\"c\"", 5, 3, 4, 2)}, "one point": {curve("x", 3)}, "flat": {curve("x", 3, 3)}, "none": nil, "empty": {{Name: "x"}},
	} {
		svg := Chart(curves)
		d := xml.NewDecoder(strings.NewReader(svg))
		circles := 0
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, svg)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
				circles++
			}
		}
		want := 0
		for _, c := range curves {
			want += len(c.Points)
		}
		if circles != want || strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || strings.Contains(svg, "<b>") {
			t.Errorf("%s: %d points, want %d\n%s", name, circles, want, svg)
		}
	}
}
