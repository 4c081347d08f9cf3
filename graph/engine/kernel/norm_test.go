package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func widened(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// furthest is the largest difference, relative to the largest element.
func furthest(got []float32, want []float64) float64 {
	var d, top float64
	for i, v := range want {
		d, top = max(d, math.Abs(float64(got[i])-v)), max(top, math.Abs(v))
	}
	return d / top
}

// A mean that is large beside the deviation costs no digits that the operand has.
func TestLayerNormOfShiftedRows(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const rows, n = 70, 300
	x, dy, gain := randoms[float32](r, rows*n), randoms[float32](r, rows*n), randoms[float32](r, n)
	for i := range x {
		x[i] += 10000
	}
	g := &NormGrads[float32]{X: x, Gain: gain, Mean: make([]float32, rows), InvStd: make([]float32, rows), DY: dy,
		DX: make([]float32, rows*n), DGain: make([]float32, n), DBias: make([]float32, n)}
	w := &NormGrads[float64]{X: widened(x), Gain: widened(gain), Mean: make([]float64, rows), InvStd: make([]float64, rows), DY: widened(dy),
		DX: make([]float64, rows*n), DGain: make([]float64, n), DBias: make([]float64, n)}
	y, exact := make([]float32, rows*n), make([]float64, rows*n)
	LayerNorm(2, y, x, gain, gain, g.Mean, g.InvStd, n, 1e-5)
	LayerNorm(2, exact, w.X, w.Gain, w.Gain, w.Mean, w.InvStd, n, 1e-5)
	LayerNormGrad(2, g, n)
	LayerNormGrad(2, w, n)
	for name, d := range map[string]float64{"y": furthest(y, exact), "dx": furthest(g.DX, w.DX), "dgain": furthest(g.DGain, w.DGain), "dbias": furthest(g.DBias, w.DBias)} {
		if !(d < 1e-6) {
			t.Errorf("%s is off by %.2g", name, d)
		}
	}
}

func TestLogSumExp(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	inf := math.Inf(-1)
	const n = 3000
	x := randoms[float64](r, 4*n)
	for i := range n {
		x[n+i] = inf          // a row of -Inf
		x[2*n+i] += 1000      // would overflow
		x[3*n+i] = float64(i) // the highest is in the last chunk
		if i < 2*lossChunk {
			x[2*n+i] = inf // whole chunks of -Inf
		}
	}
	got := make([]float64, 4)
	LogSumExp(2, got, x, n)
	for row := range 4 {
		top, sum := inf, 0.0
		for _, v := range x[row*n : row*n+n] {
			top = max(top, v)
		}
		for _, v := range x[row*n : row*n+n] {
			sum += math.Exp(v - top)
		}
		want := top + math.Log(sum)
		if row == 1 {
			want = inf
		}
		if !(got[row] == want || math.Abs(got[row]-want) < 1e-12*math.Abs(want)) {
			t.Errorf("row %d: %g, want %g", row, got[row], want)
		}
	}
	x[5] = math.NaN()
	LogSumExp(1, got, x, n)
	if !math.IsNaN(got[0]) {
		t.Errorf("a row with NaN gives %g", got[0])
	}
}
