package race

import (
	"context"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Story is growing from the beginning: a small model is trained from random weights, grown in several ways, and the large models race.
type Story struct {
	// Small is the small model as its training begins; SmallTrain.Init may draw its numbers.
	Small  *graph.Graph
	Target ligo.Target
	Spec   train.Spec
	// SmallTrain trains the small model, Train every large one (see Options.Train).
	SmallTrain, Train train.Options
	// Entries are the large models; the first is what the others are measured against.
	Entries []Entry
	Seed    uint64 // of operators
	// Data is what models are trained and measured on, Learn what operators are: other batches, and measurements on other data, as they
	// choose the operator.
	Data, Learn Data
	// Progress is told about every step of every model: what is done, of how many steps, and the step. Nil is told nothing.
	Progress func(stage string, steps int, p train.Point)
}

// Told is what a story has come to.
type Told struct {
	Sizes struct {
		From ligo.Sizes `json:"from"`
		To   ligo.Sizes `json:"to"`
	} `json:"sizes"`
	// Small is the small model's training, Curves the race.
	Small  *Curve   `json:"small"`
	Grown  []*Grown `json:"grown"`
	Curves []*Curve `json:"curves"`
}

// Run tells a story.
func (s *Story) Run(ctx context.Context) (*Told, error) {
	t := &Told{}
	model, err := s.small(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("the small model: %w", err)
	}
	g, err := graph.FromModel(model)
	if err != nil {
		return nil, err
	}
	a, err := ligo.Analyse(ctx, g)
	if err != nil {
		return nil, err
	}
	var runners []Runner
	for _, e := range s.Entries {
		p, err := ligo.NewPlan(ctx, a, s.Target, ligo.Options{Method: e.Method, Seed: s.Seed})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		grown, err := e.Grow(ctx, p, s.Spec, s.Learn, s.progress("learning the operator"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		t.Sizes.From, t.Sizes.To = p.From, p.To
		t.Grown = append(t.Grown, grown)
		runners = append(runners, grown.Runner)
	}
	o := Options{Spec: s.Spec, Train: s.Train, Data: s.Data}
	o.Progress = func(i, steps int, p train.Point) {
		if s.Progress != nil {
			s.Progress("training: "+runners[i].Name, steps, p)
		}
	}
	t.Curves, err = Run(ctx, runners, o)
	return t, err
}

// small trains the small model.
func (s *Story) small(ctx context.Context, t *Told) (*onnxio.Model, error) {
	o := Options{Spec: s.Spec, Train: s.SmallTrain, Data: s.Data}
	tell := s.progress("training the small model")
	o.Progress = func(_, steps int, p train.Point) { tell(steps, p) }
	curves, err := Run(ctx, []Runner{{Name: "small", Graph: s.Small}}, o)
	if err != nil {
		return nil, err
	}
	t.Small = curves[0]
	if t.Small.Failed != "" {
		return nil, fmt.Errorf("%s", t.Small.Failed)
	}
	return t.Small.Model()
}

func (s *Story) progress(stage string) func(steps int, p train.Point) {
	return func(steps int, p train.Point) {
		if s.Progress != nil {
			s.Progress(stage, steps, p)
		}
	}
}
