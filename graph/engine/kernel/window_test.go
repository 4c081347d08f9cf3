package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRunsReadWhatPositionsRead compares the runs of random geometries with the position by position definition.
func TestRunsReadWhatPositionsRead(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 400 {
		dims := 1 + r.IntN(3)
		w := &Window{}
		for range dims {
			w.In = append(w.In, 1+r.IntN(6))
			w.Out = append(w.Out, 1+r.IntN(7))
			w.Kernel = append(w.Kernel, 1+r.IntN(4))
			w.Strides = append(w.Strides, 1+r.IntN(3))
			w.Dilations = append(w.Dilations, 1+r.IntN(3))
			w.Pads = append(w.Pads, r.IntN(4))
		}
		w.Pads = append(w.Pads, make([]int, dims)...)
		k := make([]int, dims)
		for {
			want := slices.Repeat([]int{-1}, product(w.Out))
			idx := make([]int, dims)
			for o := range want {
				if at, ok := w.source(idx, k); ok {
					want[o] = at
				}
				next(idx, w.Out)
			}
			got := slices.Repeat([]int{-1}, len(want))
			w.runs(k, func(o, n, at int) {
				for i := range n {
					got[o+i] = at + i*w.Strides[dims-1]
				}
			})
			if !slices.Equal(got, want) {
				t.Fatalf("%+v at %v reads %v, want %v", *w, k, got, want)
			}
			if !next(k, w.Kernel) {
				break
			}
		}
	}
}
