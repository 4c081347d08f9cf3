package kernel

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// optimGolden is what testdata/optim.py writes: weights after each step of PyTorch's optimizers.
type optimGolden struct {
	Start []float64   `json:"start"`
	Grads [][]float64 `json:"grads"`
	Cases []struct {
		Kind    string  `json:"kind"`
		Scale   float64 `json:"scale"`
		Options struct {
			LR       float64    `json:"lr"`
			Betas    [2]float64 `json:"betas"`
			Eps      float64    `json:"eps"`
			Decay    float64    `json:"weight_decay"`
			Momentum float64    `json:"momentum"`
			Nesterov bool       `json:"nesterov"`
		} `json:"options"`
		Trace [][]float64 `json:"trace"`
	} `json:"cases"`
}

func TestOptimizersAgainstPyTorch(t *testing.T) {
	data, err := os.ReadFile("testdata/optim.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden optimGolden
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) != 7 {
		t.Fatalf("%d cases, want 7", len(golden.Cases))
	}
	optimizersAgainstPyTorch[float64](t, golden, 1e-13)
	optimizersAgainstPyTorch[float32](t, golden, 1e-6)
}

func optimizersAgainstPyTorch[T Float](t *testing.T, golden optimGolden, tol float64) {
	for _, c := range golden.Cases {
		w := convert[T](golden.Start)
		m, v := make([]T, len(w)), make([]T, len(w))
		for i := range m {
			m[i] = T(math.NaN()) // the first step of SGD does not look at it
		}
		if c.Kind == "AdamW" {
			clear(m)
		}
		o := c.Options
		for step, want := range c.Trace {
			g := convert[T](golden.Grads[step])
			if c.Kind == "AdamW" {
				AdamW(2, AdamWParams{o.LR, o.Betas[0], o.Betas[1], o.Eps, o.Decay, int64(step + 1), c.Scale}, w, g, m, v)
			} else {
				SGD(2, SGDParams{o.LR, o.Momentum, o.Decay, o.Nesterov, step == 0, c.Scale}, w, g, m)
			}
			for i, x := range want {
				if !(math.Abs(float64(w[i])-x) <= tol*(1+math.Abs(x))) {
					t.Fatalf("%s %+v, step %d: weight %d is %v, PyTorch has %v", c.Kind, o, step+1, i, w[i], x)
				}
			}
		}
	}
}

func convert[T Float](x []float64) []T {
	y := make([]T, len(x))
	for i, v := range x {
		y[i] = T(v)
	}
	return y
}

// Results do not depend on the number of threads, nor an element's on where it is.
func TestOptimizersAreElementwise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	const n = 3*walkGrain + 77
	w, g, m := randoms[float32](r, n), randoms[float32](r, n), randoms[float32](r, n)
	v := randoms[float32](r, n)
	for i := range v {
		v[i] *= v[i]
	}
	step := func(threads, at, n int) []float32 {
		w := append([]float32(nil), w[at:at+n]...)
		g, m, v := g[at:at+n], append([]float32(nil), m[at:at+n]...), append([]float32(nil), v[at:at+n]...)
		AdamW(threads, AdamWParams{1e-2, 0.9, 0.99, 1e-8, 0.1, 3, 0.5}, w, g, m, v)
		SGD(threads, SGDParams{LR: 1e-2, Momentum: 0.9, WeightDecay: 0.1, GradScale: 0.5}, w, g, m)
		return w
	}
	all := step(1, 0, n)
	for _, c := range []struct{ threads, at, n int }{{3, 0, n}, {1, 5, 100}, {1, walkGrain - 3, 7}, {2, n - 1, 1}} {
		for i, x := range step(c.threads, c.at, c.n) {
			if x != all[c.at+i] {
				t.Fatalf("%+v: weight %d is %v, want %v", c, i, x, all[c.at+i])
			}
		}
	}
	if a, b := SumSquares(1, g), SumSquares(4, g); a != b {
		t.Errorf("sum of squares is %v with one thread, %v with four", a, b)
	}
	var exact float64
	for _, x := range g {
		exact += float64(x) * float64(x)
	}
	if s := SumSquares(2, g); math.Abs(s-exact) > 1e-12*exact {
		t.Errorf("sum of squares is %v, want %v", s, exact)
	}
}
