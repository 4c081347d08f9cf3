package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// ulps32 is the distance of got from the exact value in units of want's last place.
func ulps32(got float32, want float64) float64 {
	w := float32(want)
	if got == w {
		return 0
	}
	unit := math.Abs(float64(math.Nextafter32(w, float32(math.Inf(1)))) - float64(w))
	return math.Abs(float64(got)-want) / unit
}

func TestFastFunctionsAreExact(t *testing.T) {
	for name, c := range map[string]struct {
		f      Unary
		exact  func(float64) float64
		lo, hi float64
		// abs is the error allowed where the result is next to nothing, as in the tails of GELU.
		abs float64
	}{
		"exp":      {Exp, math.Exp, -90, 88.7, 0},
		"tanh":     {Tanh, math.Tanh, -12, 12, 0},
		"erf":      {Erf, math.Erf, -5, 5, 0},
		"sigmoid":  {Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, -80, 80, 0},
		"gelu":     {Gelu, func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }, -8, 8, 1e-11},
		"geluTanh": {GeluTanh, func(x float64) float64 { return 0.5 * x * (1 + math.Tanh(0.7978845608028654*(x+0.044715*x*x*x))) }, -8, 8, 1e-15},
	} {
		worst, at := 0.0, 0.0
		check := func(x float32) {
			var got [1]float32
			c.f.F32(got[:], []float32{x})
			want := c.exact(float64(x))
			if math.Abs(float64(got[0])-want) <= c.abs {
				return
			}
			if u := ulps32(got[0], want); !(u <= worst) {
				worst, at = u, float64(x)
			}
		}
		steps := 200_000
		if testing.Short() {
			steps = 5_000
		}
		for i := range steps {
			check(float32(c.lo + (c.hi-c.lo)*float64(i)/float64(steps)))
			check(float32(math.Exp(-40+40*float64(i)/float64(steps)) * (1 - 2*float64(i%2)))) // small arguments of both signs
		}
		if !(worst <= 1) {
			t.Errorf("%s is %.3g units in the last place off at %g", name, worst, at)
		}
		for _, x := range []float64{0, math.Inf(1), math.Inf(-1), math.NaN()} {
			var got [1]float32
			c.f.F32(got[:], []float32{float32(x)})
			if want := float32(c.exact(x)); got[0] != want && !(got[0] != got[0] && want != want) && name != "gelu" && name != "geluTanh" {
				t.Errorf("%s(%g) = %g, want %g", name, x, got[0], want)
			}
		}
	}
}

func TestSoftmaxIsStable(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 7, 257, 1000} {
		src := randoms[float32](r, 5*n)
		for i := range src {
			src[i] = src[i]*30 + 1e4
		}
		dst, logs := make([]float32, len(src)), make([]float32, len(src))
		Softmax(2, dst, src, n, false)
		Softmax(2, logs, src, n, true)
		for row := range 5 {
			top := math.Inf(-1)
			for _, v := range src[row*n : row*n+n] {
				top = max(top, float64(v))
			}
			var s float64
			for _, v := range src[row*n : row*n+n] {
				s += math.Exp(float64(v) - top)
			}
			for i, v := range src[row*n : row*n+n] {
				want := math.Exp(float64(v)-top) / s
				if d := math.Abs(float64(dst[row*n+i]) - want); d > 2e-7*want+1e-38 {
					t.Fatalf("n=%d: %g, want %g", n, dst[row*n+i], want)
				}
				wantLog := float64(v) - top - math.Log(s)
				if d := math.Abs(float64(logs[row*n+i]) - wantLog); d > 1e-6*math.Abs(wantLog)+1e-6 {
					t.Fatalf("n=%d: log %g, want %g", n, logs[row*n+i], wantLog)
				}
			}
		}
	}
}

func TestLayerNormKeepsItsPrecisionFarFromZero(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{3, 256, 771} {
		const rows = 9
		src, gain, bias := randoms[float32](r, rows*n), randoms[float32](r, n), randoms[float32](r, n)
		for i := range src {
			src[i] += 1000
		}
		dst, mean, inv := make([]float32, rows*n), make([]float32, rows), make([]float32, rows)
		rms := make([]float32, rows*n)
		LayerNorm(2, dst, src, gain, bias, mean, inv, n, 1e-5)
		RMSNorm(2, rms, src, gain, nil, n, 1e-5)
		for row := range rows {
			x := src[row*n : row*n+n]
			var mu, v, sq float64
			for _, e := range x {
				mu += float64(e) / float64(n)
			}
			for _, e := range x {
				v += (float64(e) - mu) * (float64(e) - mu) / float64(n)
				sq += float64(e) * float64(e) / float64(n)
			}
			for i, e := range x {
				want := (float64(e)-mu)/math.Sqrt(v+1e-5)*float64(gain[i]) + float64(bias[i])
				if d := math.Abs(float64(dst[row*n+i]) - want); d > 1e-6*(1+math.Abs(want)) {
					t.Fatalf("n=%d: %g, want %g", n, dst[row*n+i], want)
				}
				want = float64(e) / math.Sqrt(sq+1e-5) * float64(gain[i])
				if d := math.Abs(float64(rms[row*n+i]) - want); d > 1e-6*(1+math.Abs(want)) {
					t.Fatalf("n=%d: rms %g, want %g", n, rms[row*n+i], want)
				}
			}
		}
	}
}

func TestAttentionAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	p := AttentionParams{Batch: 2, Heads: 6, KVHeads: 2, Queries: 33, Keys: 65, HeadSize: 43, ValueSize: 47, Scale: 0.2}
	p.Q = [3]int{p.Heads * p.Queries * p.HeadSize, p.HeadSize, p.Heads * p.HeadSize} // position-major
	p.K = [3]int{p.KVHeads * p.Keys * p.HeadSize, p.Keys * p.HeadSize, p.HeadSize}   // head-major
	p.V = [3]int{p.KVHeads * p.Keys * p.ValueSize, p.Keys * p.ValueSize, p.ValueSize}
	p.Y = [3]int{p.Heads * p.Queries * p.ValueSize, p.ValueSize, p.Heads * p.ValueSize}
	p.Bias = [4]int{p.Keys, 0, 0, 1}
	p.Visible = func(_, i int) (int, int) { return 0, 32 + i }
	q, k, v := randoms[float32](r, p.Batch*p.Q[0]), randoms[float32](r, p.Batch*p.K[0]), randoms[float32](r, p.Batch*p.V[0])
	bias := randoms[float32](r, p.Batch*p.Keys)
	y, one := make([]float32, p.Batch*p.Y[0]), make([]float32, p.Batch*p.Y[0])
	Attention(2, &p, y, q, k, v, bias, nil)
	Attention(1, &p, one, q, k, v, bias, nil)
	for b := range p.Batch {
		for h := range p.Heads {
			for i := range p.Queries {
				w := make([]float64, 32+i)
				top, sum := math.Inf(-1), 0.0
				for j := range w {
					for d := range p.HeadSize {
						w[j] += float64(q[b*p.Q[0]+h*p.Q[1]+i*p.Q[2]+d]) * float64(k[b*p.K[0]+h/3*p.K[1]+j*p.K[2]+d])
					}
					w[j] = w[j]*p.Scale + float64(bias[b*p.Keys+j])
					top = max(top, w[j])
				}
				for j := range w {
					w[j] = math.Exp(w[j] - top)
					sum += w[j]
				}
				for d := range p.ValueSize {
					var want float64
					for j := range w {
						want += w[j] / sum * float64(v[b*p.V[0]+h/3*p.V[1]+j*p.V[2]+d])
					}
					at := b*p.Y[0] + h*p.Y[1] + i*p.Y[2] + d
					if math.Abs(float64(y[at])-want) > 2e-6 {
						t.Fatalf("[%d %d %d %d] = %g, want %g", b, h, i, d, y[at], want)
					}
					if y[at] != one[at] {
						t.Fatal("result depends on the number of threads")
					}
				}
			}
		}
	}
}

func TestReduceAndExtremes(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	const outer, n, inner = 3, 301, 7
	src := randoms[float32](r, outer*n*inner)
	for _, c := range []struct {
		op   ReduceOp
		fold func(s, v float64) float64
		zero float64
		end  func(s float64) float64
	}{
		{ReduceMean, func(s, v float64) float64 { return s + v }, 0, func(s float64) float64 { return s / n }},
		{ReduceMax, math.Max, math.Inf(-1), func(s float64) float64 { return s }},
		{ReduceMin, math.Min, math.Inf(1), func(s float64) float64 { return s }},
		{ReduceL2, func(s, v float64) float64 { return s + v*v }, 0, math.Sqrt},
		{ReduceLogSumExp, func(s, v float64) float64 { return s + math.Exp(v) }, 0, math.Log},
	} {
		got := make([]float32, outer*inner)
		Reduce(2, c.op, got, src, outer, n, inner)
		for i := range got {
			s := c.zero
			for k := range n {
				s = c.fold(s, float64(src[(i/inner*n+k)*inner+i%inner]))
			}
			if want := c.end(s); math.Abs(float64(got[i])-want) > 1e-6*(1+math.Abs(want)) {
				t.Errorf("op %d: %g, want %g", c.op, got[i], want)
			}
		}
	}
	if got := emptyExtreme[int8](true); got != math.MinInt8 {
		t.Errorf("empty maximum of int8 is %d", got)
	}
	if got := emptyExtreme[int64](false); got != math.MaxInt64 {
		t.Errorf("empty minimum of int64 is %d", got)
	}
	if got := emptyExtreme[uint8](false); got != math.MaxUint8 {
		t.Errorf("empty minimum of uint8 is %d", got)
	}
	if got := emptyExtreme[float32](true); !math.IsInf(float64(got), -1) {
		t.Errorf("empty maximum of float32 is %g", got)
	}
}

func TestWalkVisitsEverythingOnce(t *testing.T) {
	shape := []int{5, 1, 70, 130}
	strides := []int{0, 9100, 130, 1}
	seen := make([]int32, product(shape))
	src := make([]int32, 70*130)
	for i := range src {
		src[i] = int32(i)
	}
	Copy(2, NewWalk(shape, Strides(shape), strides), seen, 0, src, 0)
	for i, v := range seen {
		if v != int32(i%len(src)) {
			t.Fatalf("element %d is %d", i, v)
		}
	}
	back := make([]int32, 70*130)
	Copy(2, NewWalk([]int{130, 70}, Strides([]int{130, 70}), []int{-1, 130}), back, 0, src, 129)
	for i, v := range back {
		if want := int32(i%70*130 + 129 - i/70); v != want {
			t.Fatalf("reversed transpose: element %d is %d, want %d", i, v, want)
		}
	}
}
