package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// What a number gives does not depend on its neighbours, special values included, nor on where it is in the slice.
func TestLanesAreIndependent(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	special := []float32{0, float32(math.Copysign(0, -1)), 1e-40, -1e-20, 0.124999, 0.125, -0.125, 5.999, 6, -6.5, 9.99, 10.01, 88.7, 88.8, -103, -104.5,
		1e30, -1e30, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	for name, u := range map[string]Unary{"exp": Exp, "tanh": Tanh, "erf": Erf, "sigmoid": Sigmoid, "gelu": Gelu, "gelu tanh": GeluTanh, "silu": SiLU(1)} {
		for round := range 200 {
			x := randoms[float32](r, 1+round%23)
			for range round % 4 {
				x[r.IntN(len(x))] = special[r.IntN(len(special))]
			}
			got := make([]float32, len(x))
			u.F32(got, x)
			for i := range x {
				one := make([]float32, 1)
				u.F32(one, x[i:i+1])
				if math.Float32bits(one[0]) != math.Float32bits(got[i]) && !(one[0] != one[0] && got[i] != got[i]) {
					t.Fatalf("%s(%g) is %g alone and %g at %d of %d", name, x[i], one[0], got[i], i, len(x))
				}
			}
		}
	}
}

// The four at a time are the scalar functions.
func TestLanesAreTheScalarFunctions(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	for name, f := range map[string]struct {
		four func(*lanes)
		one  func(float64) float64
	}{"exp": {exp4, exp32}, "tanh": {tanh4, tanh32}, "erf": {erf4, erf32}} {
		for range 2000 {
			var x lanes
			for i := range x {
				x[i] = r.NormFloat64() * math.Exp(r.NormFloat64()*3)
			}
			y := x
			f.four(&y)
			for i := range x {
				if y[i] != f.one(x[i]) {
					t.Fatalf("%s(%g) is %g, %g of the scalar function", name, x[i], y[i], f.one(x[i]))
				}
			}
		}
	}
}

func BenchmarkUnary(b *testing.B) {
	x := randoms[float32](rand.New(rand.NewPCG(1, 2)), 1<<14)
	y := make([]float32, len(x))
	for name, u := range map[string]Unary{"erf": Erf, "exp": Exp, "tanh": Tanh, "gelu": Gelu, "gelu-tanh": GeluTanh} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				u.F32(y, x)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/elem")
		})
	}
	b.Run("softmax", func(b *testing.B) {
		for b.Loop() {
			Softmax(1, y, x, 128, false)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/elem")
	})
}
