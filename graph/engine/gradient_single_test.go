package engine

import (
	"context"
	"math"
	"testing"
)

// checkSingle compares the gradients of a case in float32 with those in float64, relative to the tensor's largest element (to that of all
// gradients where the tensor's is zero but for rounding), and the bits of those that 1, 2 and 3 threads compute.
func checkSingle(t *testing.T, k gradientCase) {
	t.Helper()
	const tolerance = 1e-5
	g, params := k.lossGraph(t)
	gradients := func(o Options) [][]float64 {
		tr, err := NewTrainer(g, "loss", params, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Gradients(context.Background(), k.inputs); err != nil {
			t.Fatal(err)
		}
		var out [][]float64
		for _, p := range tr.Params() {
			d := append([]float64(nil), p.Grad.F64...)
			for _, v := range p.Grad.F32 {
				d = append(d, float64(v))
			}
			out = append(out, d)
		}
		return out
	}
	want, one := gradients(Options{Float64: true}), gradients(Options{Threads: 1})
	of := func(d []float64) (largest float64) {
		for _, v := range d {
			largest = max(largest, math.Abs(v))
		}
		return largest
	}
	all := 0.0
	for _, d := range want {
		all = max(all, of(d))
	}
	for i, name := range params {
		largest := of(want[i])
		if largest < 1e-12*all {
			largest = all
		}
		for j, v := range one[i] {
			if !(math.Abs(v-want[i][j]) <= tolerance*largest) {
				t.Errorf("%s: gradient by %s[%d] is %.9g, %.9g in float64 (largest of the tensor %.3g)", k.name, name, j, v, want[i][j], largest)
				break
			}
		}
	}
	for _, threads := range []int{2, 3} {
		for i, d := range gradients(Options{Threads: threads}) {
			for j, v := range d {
				if v != one[i][j] {
					t.Errorf("%s: gradient by %s[%d] is %g with %d threads, %g with one", k.name, params[i], j, v, threads, one[i][j])
					break
				}
			}
		}
	}
}
