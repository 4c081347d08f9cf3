package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// derivatives lists every elementwise function with a derivative and a part of its domain.
var derivatives = map[string]struct {
	f      Unary
	lo, hi float64
}{
	"Exp": {Exp, -20, 20}, "Log": {Log, 1e-3, 50}, "Sqrt": {Sqrt, 1e-3, 50}, "Reciprocal": {Reciprocal, 0.01, 50}, "Tanh": {Tanh, -12, 12},
	"Erf": {Erf, -7, 7}, "Sigmoid": {Sigmoid, -30, 30}, "Relu": {Relu, -3, 3}, "Sin": {Sin, -9, 9}, "Cos": {Cos, -9, 9}, "Tan": {Tan, -1.5, 1.5},
	"Asin": {Asin, -0.9, 0.9}, "Acos": {Acos, -0.9, 0.9}, "Atan": {Atan, -50, 50}, "Sinh": {Sinh, -9, 9}, "Cosh": {Cosh, -9, 9},
	"Asinh": {Asinh, -50, 50}, "Acosh": {Acosh, 1.1, 50}, "Atanh": {Atanh, -0.9, 0.9}, "Softplus": {Softplus, -30, 30},
	"Softsign": {Softsign, -50, 50}, "HardSwish": {HardSwish, -5, 5}, "Mish": {Mish, -20, 20}, "Gelu": {Gelu, -8, 8}, "GeluTanh": {GeluTanh, -8, 8},
	"SiLU": {SiLU(1), -30, 30}, "QuickGelu": {SiLU(1.702), -30, 30}, "LeakyRelu": {LeakyRelu(0.1), -3, 3}, "Elu": {Elu(0.7), -20, 3},
	"Celu": {Celu(0.7), -20, 3}, "Selu": {Selu(1.6, 1.05), -20, 3}, "HardSigmoid": {HardSigmoid(0.2, 0.5), -4, 4}, "ThresholdedRelu": {ThresholdedRelu(1), -2, 3},
}

// TestDerivativesInSingle compares each float32 derivative with its float64 form at the very numbers that it reads.
func TestDerivativesInSingle(t *testing.T) {
	const n = 4003 // not a multiple of what vectors hold
	const ulp = 1.0 / (1 << 23)
	r := rand.New(rand.NewPCG(3, 4))
	for name, k := range derivatives {
		x, y, dy, dx := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
		for i := range x {
			x[i] = float32(k.lo + (k.hi-k.lo)*float64(i)/(n-1))
			dy[i] = float32(r.NormFloat64())
		}
		k.f.F32(y, x)
		wide := func(v []float32) []float64 {
			out := make([]float64, n)
			widenRun(out, v)
			return out
		}
		want := make([]float64, n)
		k.f.Grad.F64(want, wide(dy), wide(x), wide(y))
		readX, readY := x, y
		if !k.f.Grad.ReadsX {
			readX = nil
		}
		if !k.f.Grad.ReadsY {
			readY = nil
		}
		MapGrad(1, dx, dy, readX, readY, k.f.Grad.F32)
		for i, v := range dx {
			if !(math.Abs(float64(v)-want[i]) <= 3*ulp*math.Abs(want[i])+1e-9*math.Abs(float64(dy[i]))) {
				t.Errorf("%s: gradient %g at x %g, dy %g, want %g", name, v, x[i], dy[i], want[i])
				break
			}
		}
		// dx may be dy, and no element depends on its neighbours.
		in := append([]float32(nil), dy...)
		MapGrad(1, in[1:7], in[1:7], cut(readX), cut(readY), k.f.Grad.F32)
		for i := 1; i < 7; i++ {
			if in[i] != dx[i] {
				t.Errorf("%s: gradient %g of an element in a short piece in place, %g in a long one", name, in[i], dx[i])
			}
		}
	}
}

func cut(v []float32) []float32 {
	if v == nil {
		return nil
	}
	return v[1:7]
}

// TestDerivativesAreSlopes compares the float64 forms with central differences.
func TestDerivativesAreSlopes(t *testing.T) {
	const n = 801
	for name, k := range derivatives {
		x, y, lo, hi, d, ones := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
		h := make([]float64, n)
		for i := range x {
			x[i] = k.lo + (k.hi-k.lo)*(float64(i)+0.37)/n
			ones[i] = 1
			h[i] = 1e-5 * min(max(1, math.Abs(x[i])), x[i]-k.lo+1e-3)
			lo[i], hi[i] = x[i]-h[i], x[i]+h[i]
		}
		k.f.F64(y, x)
		k.f.F64(lo, lo)
		k.f.F64(hi, hi)
		k.f.Grad.F64(d, ones, x, y)
		for i, v := range d {
			want := (hi[i] - lo[i]) / (2 * h[i])
			if noise := 1e-15 * (math.Abs(hi[i]) + math.Abs(lo[i])) / h[i]; !(math.Abs(v-want) <= 1e-6*max(1, math.Abs(want))+noise) {
				t.Errorf("%s: slope %g at %g, central difference %g", name, v, x[i], want)
				break
			}
		}
	}
}

func BenchmarkDerivatives(b *testing.B) {
	for _, name := range []string{"Gelu", "GeluTanh", "SiLU", "Tanh", "Sigmoid", "Relu", "Exp", "Erf"} {
		b.Run(name, func(b *testing.B) {
			x, y, dy, dx := make([]float32, 1<<16), make([]float32, 1<<16), make([]float32, 1<<16), make([]float32, 1<<16)
			for i := range x {
				x[i], dy[i] = float32(i%97)/16-3, 1
			}
			f := derivatives[name].f
			f.F32(y, x)
			b.SetBytes(4 << 16)
			for b.Loop() {
				f.Grad.F32(dx, dy, x, y)
			}
		})
	}
}
