package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// feed is a source as batches of a training task.
type feed struct {
	t      *task
	labels string
	split  split
	seed   uint64
	rows   int
}

// feed gives the batches of a split to a training task, whose input for labels has the name given. Training batches depend on the seed; what is measured on is always the same.
func (t *task) feed(labels string, s split, seed uint64, rows int) *feed {
	if s == splitHeld || s == splitTest {
		seed = 0
	}
	return &feed{t, labels, s, seed, rows}
}

func (f *feed) ID() string { return fmt.Sprint(f.t.Name, " ", f.split, " ", f.seed, " ", f.rows) }

func (f *feed) Batch(_ context.Context, i int) (map[string]*onnxio.Tensor, error) {
	in, labels := f.t.data.batch(f.split, f.seed, i, f.rows)
	return map[string]*onnxio.Tensor{f.t.input(): in, f.labels: labels}, nil
}

// numbers is a generator for one purpose.
func numbers(seed, purpose, i uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed<<8|purpose, i))
}
