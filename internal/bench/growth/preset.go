package main

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// task is what is trained: the small model's sizes (the large one is twice as wide and deep), batches and lengths of training.
type task struct {
	Name string
	Loss train.Loss
	// Model is the small model's.
	Model fixtures.Config
	// Rows of a batch; Tokens of a row of text.
	Rows, Tokens int
	// Small and Large are the numbers of steps for the small model and for training the large one from scratch; a grown one is given
	// the same FLOPs, those of learning its operator included.
	Small, Large int
	// SmallLR and LR are their largest learning rates.
	SmallLR, LR float64
	Warmup      int
	// EvalRows are measured Evals times in a run.
	EvalRows, Evals int

	data source
}

// source makes examples: example i of a split, of Rows rows.
type source interface {
	batch(split split, seed uint64, i, rows int) (inputs, labels *onnxio.Tensor)
	// describe is one line for the report.
	describe() string
}

// split says what an example is for.
type split uint8

const (
	splitTrain    split = iota
	splitOperator       // as splitTrain, in another order: for learning the operator
	splitHeld           // for choices: the best operator, and learning rates
	splitTest           // for what is reported
)

// input is the name of what the model takes.
func (t *task) input() string {
	if t.Loss == train.CausalLM {
		return "input_ids"
	}
	return "pixel_values"
}

func (t *task) build(c fixtures.Config) *onnxio.Model {
	if t.Loss == train.CausalLM {
		return fixtures.GPT2(c)
	}
	return fixtures.ViT(c)
}

// sizes are one line about the small and the large model.
func (t *task) sizes() string {
	m, l := t.Model, t.large()
	return fmt.Sprintf("%d layers of %d -> %d layers of %d", m.Layers, m.Hidden, l.Layers, l.Hidden)
}

// large is the large model's configuration.
func (t *task) large() fixtures.Config {
	c := t.Model
	c.Layers, c.Hidden, c.Heads = 2*c.Layers, 2*c.Hidden, 2*c.Heads
	return c
}

// preset gives the tasks of a size: "full" takes under two hours on two cores, "quick" is what docs/results.md was made with, a fifth of
// it, and "tiny" takes seconds, for the test.
func preset(name string) ([]*task, error) {
	text := &task{Name: "text", Loss: train.CausalLM, Model: fixtures.Config{Layers: 2, Hidden: 48, Heads: 2, Vocab: alphabet, Positions: 64},
		Rows: 8, Tokens: 64, Small: 1600, Large: 500, SmallLR: 6e-3, LR: 4e-3, Warmup: 20, EvalRows: 192, Evals: 10}
	image := &task{Name: "image", Loss: train.Classify, Model: fixtures.Config{Layers: 2, Hidden: 32, Heads: 2, Image: 24, Patch: 4, Channels: 1, Classes: glyphs},
		Rows: 32, Small: 1500, Large: 400, SmallLR: 3e-3, LR: 3e-3, Warmup: 20, EvalRows: 768, Evals: 10}
	switch name {
	case "full":
		text.Model.Hidden, text.Small, text.Large, text.LR = 96, 5000, 2000, 2e-3
		image.Model.Hidden, image.Small, image.Large, image.LR = 64, 3000, 1500, 2e-3
	case "quick":
	case "tiny":
		for _, t := range []*task{text, image} {
			t.Model.Hidden = 16
			t.Rows, t.Small, t.Large, t.Warmup, t.EvalRows, t.Evals = 4, 12, 24, 2, 8, 3
		}
		text.Tokens, text.Model.Positions = 16, 16
	default:
		return nil, fmt.Errorf("preset %q does not exist; there are full, quick and tiny", name)
	}
	corpus, err := goSource()
	if err != nil {
		return nil, err
	}
	text.data, image.data = &textSource{corpus, text.Tokens}, imageSource{image.Model.Image}
	return []*task{text, image}, nil
}
