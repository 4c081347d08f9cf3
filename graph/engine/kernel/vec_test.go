package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// eachLevel runs a test with every instruction set that the machine has, and with none.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	levels := vecLevels()
	defer setVecLevel(levels[0])
	for _, level := range levels {
		setVecLevel(level)
		t.Run([]string{"portable", "AVX2", "AVX-512"}[level], f)
	}
}

// portably runs f without assembly.
func portably(f func()) {
	was := simd
	simd = simdKernels{}
	defer func() { simd = was }()
	f()
}

const guard = float32(-12345.5)

// guarded is a copy of x at some offset between guards, of which whole gives all.
func guarded(x []float32, offset int) (at, whole []float32) {
	whole = make([]float32, offset+len(x)+40)
	for i := range whole {
		whole[i] = guard
	}
	copy(whole[offset:], x)
	return whole[offset : offset+len(x) : offset+len(x)], whole
}

func checkGuards(t *testing.T, name string, whole []float32, offset, n int) {
	t.Helper()
	for i, v := range whole {
		if (i < offset || i >= offset+n) && v != guard {
			t.Fatalf("%s of %d elements wrote %v to position %d", name, n, v, i-offset)
		}
	}
}

func sameBits(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}

// vecOps are the elementwise loops on operands d (also the destination), a and b.
var vecOps = map[string]func(d, a, b []float32){
	"add":             vecAdd[float32],
	"sub":             vecSub[float32],
	"mul":             vecMul[float32],
	"div":             vecDiv[float32],
	"mulAdd":          func(d, a, b []float32) { vecMulAdd(d, a, b, d) },
	"axpy":            func(d, a, _ []float32) { vecAxpy(0.3, a, d) },
	"scale":           func(d, a, _ []float32) { vecScale(d, a, 0.3) },
	"addScalar":       func(d, a, _ []float32) { vecAddScalar(d, a, 0.3) },
	"divScalar":       func(d, a, _ []float32) { vecDivScalar(d, a, 0.3) },
	"scalarSub":       func(d, a, _ []float32) { vecScalarSub(d, a, 0.3) },
	"scalarDiv":       func(d, a, _ []float32) { vecScalarDiv(d, a, 0.3) },
	"mulDiff":         func(d, a, b []float32) { vecMulDiff(d, a, b, 0.3) },
	"normGrad":        func(d, a, b []float32) { vecNormGrad(d, a, b, 1.3, 0.1, 0.7) },
	"normalize":       func(d, a, _ []float32) { vecNormalize(d, a, 0.1, 1.7) },
	"relu":            func(d, a, _ []float32) { Relu.F32(d, a) },
	"sqrt":            func(d, a, _ []float32) { Sqrt.F32(d, a) },
	"reciprocal":      func(d, a, _ []float32) { Reciprocal.F32(d, a) },
	"exp grad":        func(d, a, b []float32) { Exp.Grad.F32(d, a, nil, b) },
	"log grad":        func(d, a, b []float32) { Log.Grad.F32(d, a, b, nil) },
	"tanh grad":       func(d, a, b []float32) { Tanh.Grad.F32(d, a, nil, b) },
	"sigmoid grad":    func(d, a, b []float32) { Sigmoid.Grad.F32(d, a, nil, b) },
	"relu grad":       func(d, a, b []float32) { Relu.Grad.F32(d, a, nil, b) },
	"sqrt grad":       func(d, a, b []float32) { Sqrt.Grad.F32(d, a, nil, b) },
	"reciprocal grad": func(d, a, b []float32) { Reciprocal.Grad.F32(d, a, nil, b) },
	"rotate": func(d, a, b []float32) {
		c := append([]float32(nil), d...)
		rotateHalves(d, c, a, b, c, a)
		for i := range d {
			d[i] += 3 * c[i]
		}
	},
	"sgd":          sgdOp(0, false),
	"sgd momentum": sgdOp(0.9, false),
	"sgd nesterov": sgdOp(0.9, true),
	"adamW": func(d, a, b []float32) {
		m, v := append([]float32(nil), a...), append([]float32(nil), b...)
		AdamW(1, AdamWParams{1e-2, 0.9, 0.99, 1e-8, 0.1, 3, 0.5}, d, b, m, v)
		for i := range d {
			d[i] += m[i] + v[i]
		}
	},
}

// sgdOp is a step of SGD on weights d, gradients a and moments b, which the result shows all of.
func sgdOp(momentum float64, nesterov bool) func(d, a, b []float32) {
	return func(d, a, b []float32) {
		m := append([]float32(nil), b...)
		SGD(1, SGDParams{LR: 1e-2, Momentum: momentum, WeightDecay: 0.1, Nesterov: nesterov, GradScale: 0.5}, d, a, m)
		for i := range d {
			d[i] += m[i]
		}
	}
}

func awkward(r *rand.Rand, n int) []float32 {
	x := randoms[float32](r, n)
	special := []float32{0, float32(math.Copysign(0, -1)), 1e-40, -3e-39, 1e30, -1e38, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	for range n / 5 {
		x[r.IntN(n)] = special[r.IntN(len(special))]
	}
	return x
}

// Loops of arithmetic give the bits of the portable form at every length and alignment, and write nothing else.
func TestVecArithmeticIsThePortableOne(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		for name, op := range vecOps {
			for n := range 101 {
				a, b, d := awkward(r, n), awkward(r, n), awkward(r, n)
				want := append([]float32(nil), d...)
				portably(func() { op(want, a, b) })
				offset := n % 9
				x, _ := guarded(a, offset)
				y, _ := guarded(b, (offset+3)%8)
				got, whole := guarded(d, (offset+5)%7)
				op(got, x, y)
				checkGuards(t, name, whole, (offset+5)%7, n)
				for i := range want {
					if !sameBits(got[i], want[i]) {
						t.Fatalf("%s: element %d of %d is %v of %v, %v, %v; want %v", name, i, n, got[i], d[i], a[i], b[i], want[i])
					}
				}
			}
		}
	})
}

func TestVecSums(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(13, 14))
		for n := range 301 {
			a, b := randoms[float32](r, n), randoms[float32](r, n)
			for i := range a {
				a[i] -= 1
			}
			var sum, dot, sq, about, size float64
			top := float32(math.Inf(-1))
			for i, v := range a {
				x, y := float64(v), float64(b[i])
				sum, dot, sq, about = sum+x, dot+x*y, sq+x*x, about+(x-0.4)*(x-0.4)
				size += math.Abs(x) + math.Abs(x*y) + x*x + 1
				top = max(top, v)
			}
			wide := make([]float64, n+9)
			for offset := range 5 {
				x, _ := guarded(a, offset)
				y, _ := guarded(b, 4-offset)
				for i, c := range []struct{ got, want float64 }{{vecSum(x), sum}, {vecDot(x, y), dot}, {vecSumSq(x), sq}, {vecSumSqAbout(x, 0.4), about}} {
					if math.Abs(c.got-c.want) > 1e-15*size {
						t.Fatalf("sum %d of %d elements is %v, want %v", i, n, c.got, c.want)
					}
				}
				if got := vecMax(x); got != top {
					t.Fatalf("maximum of %d elements is %v, want %v", n, got, top)
				}
				vecAddWide(wide[:n], x)
			}
			for i, v := range a {
				if want := ((((0 + float64(v)) + float64(v)) + float64(v)) + float64(v)) + float64(v); wide[i] != want {
					t.Fatalf("wide sum %d of %d is %v, want %v", i, n, wide[i], want)
				}
			}
			for _, v := range wide[n:] {
				if v != 0 {
					t.Fatal("a wide sum was written beyond its end")
				}
			}
			if n > 0 {
				a[r.IntN(n)] = float32(math.NaN())
				portably(func() { top = vecMax(a) })
				if got := vecMax(a); got != top {
					t.Fatalf("maximum of %d elements with a NaN is %v, want %v", n, got, top)
				}
			}
		}
	})
}

func TestVecExpSum(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 16))
		for n := range 101 {
			src := randoms[float32](r, n)
			for i := range src {
				src[i] *= 40
			}
			top := vecMax(src)
			dst, whole := guarded(src, n%8)
			got := vecExpSum(dst, dst, top)
			checkGuards(t, "exp", whole, n%8, n)
			var want float64
			for i, v := range src {
				e := math.Exp(float64(v) - float64(top))
				want += e
				if u := ulps32(dst[i], e); u > 0.51 {
					t.Fatalf("e^(%v-%v) is %v units in the last place off", v, top, u)
				}
			}
			if math.Abs(got-want) > 2e-10*want {
				t.Fatalf("sum of %d is %v, want %v", n, got, want)
			}
		}
	})
}

// vecFunctions are the transcendental functions with their definitions in float64, and the slopes.
var vecFunctions = map[string]struct {
	f     func(dst, x []float32)
	exact func(x float64) float64
	// cancels is the size of the terms of a slope relative to which it is precise where it is next to zero.
	cancels float64
}{
	"exp":       {f: Exp.F32, exact: math.Exp},
	"tanh":      {f: Tanh.F32, exact: math.Tanh},
	"erf":       {f: Erf.F32, exact: math.Erf},
	"sigmoid":   {f: Sigmoid.F32, exact: Sigmoid.scalar},
	"gelu":      {f: Gelu.F32, exact: Gelu.scalar},
	"gelu tanh": {f: GeluTanh.F32, exact: GeluTanh.scalar},
	"silu":      {f: SiLU(1).F32, exact: SiLU(1).scalar},
	"quick":     {f: SiLU(1.702).F32, exact: SiLU(1.702).scalar},

	"erf'":       {f: Erf.Grad.ones, exact: Erf.Grad.scalar},
	"gelu'":      {f: Gelu.Grad.ones, exact: Gelu.Grad.scalar, cancels: 0.5},
	"gelu tanh'": {f: GeluTanh.Grad.ones, exact: GeluTanh.Grad.scalar, cancels: 0.5},
	"silu'":      {f: SiLU(1).Grad.ones, exact: SiLU(1).Grad.scalar, cancels: 0.5},
	"softplus'":  {f: Softplus.Grad.ones, exact: Softplus.Grad.scalar},
}

// scalar is the float64 form of one number.
func (u Unary) scalar(x float64) float64 {
	var y [1]float64
	u.F64(y[:], []float64{x})
	return y[0]
}

func (d Derivative) scalar(x float64) float64 {
	var y [1]float64
	d.F64(y[:], []float64{1}, []float64{x}, nil)
	return y[0]
}

// ones is the slope.
func (d Derivative) ones(dst, x []float32) {
	dy := make([]float32, len(x))
	for i := range dy {
		dy[i] = 1
	}
	d.F32(dst, dy, x, nil)
}

// Every so many float32 of all there are, denormals, infinities and NaNs among them.
func TestVecFunctionsOnTheWholeRange(t *testing.T) {
	step := uint64(20011)
	if testing.Short() {
		step = 400009
	}
	var x []float32
	for b := uint64(0); b < 1<<32; b += step {
		x = append(x, math.Float32frombits(uint32(b)))
	}
	for i := range 4000 {
		x = append(x, float32(i-2000)/100)
	}
	inf := float32(math.Inf(1))
	x = append(x, inf, -inf, float32(math.NaN()), 0, float32(math.Copysign(0, -1)))
	exact := map[string][]float64{}
	for name, f := range vecFunctions {
		for _, v := range x {
			exact[name] = append(exact[name], f.exact(float64(v)))
		}
	}
	eachLevel(t, func(t *testing.T) {
		for name, f := range vecFunctions {
			got := make([]float32, len(x))
			f.f(got, x)
			worst, at := 0.0, 0
			for i, v := range x {
				want := exact[name][i]
				if math.IsInf(float64(v), -1) && math.IsNaN(want) {
					want = 0 // GELU and SiLU by their definition are -Inf times 0; the limit is 0
				}
				if got[i] != got[i] && want != want || math.Abs(float64(got[i])-want) <= 1e-9*f.cancels {
					continue
				}
				if u := ulps32(got[i], want); !(u <= worst) {
					worst, at = u, i
				}
			}
			if !(worst <= 0.55) {
				t.Errorf("%s is %.3g units in the last place off at %g: %g, want %g", name, worst, x[at], got[at], exact[name][at])
			}
		}
	})
}

// What an element gives does not depend on its neighbours, its place, or the length.
func TestVecFunctionsAreElementwise(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(17, 18))
		for name, f := range vecFunctions {
			for n := range 101 {
				x := awkward(r, n)
				dst, whole := guarded(x, n%8)
				f.f(dst, dst)
				checkGuards(t, name, whole, n%8, n)
				for i := range x {
					var one [1]float32
					f.f(one[:], x[i:i+1])
					if !sameBits(one[0], dst[i]) {
						t.Fatalf("%s(%g) is %g alone and %g at %d of %d", name, x[i], one[0], dst[i], i, n)
					}
				}
			}
		}
	})
}

func BenchmarkVec(b *testing.B) {
	const n = 4096
	r := rand.New(rand.NewPCG(1, 2))
	x, y, z := randoms[float32](r, n), randoms[float32](r, n), randoms[float32](r, n)
	wide := make([]float64, n)
	cases := map[string]func(){
		"dot":     func() { vecDot(x, y) },
		"sum":     func() { vecSum(x) },
		"max":     func() { vecMax(x) },
		"expSum":  func() { vecExpSum(z, x, 2) },
		"addWide": func() { vecAddWide(wide, x) },
		"softmax": func() { Softmax(1, z, x, 128, false) },
	}
	for name, f := range vecFunctions {
		cases[name] = func() { f.f(z, x) }
	}
	for name, f := range vecOps {
		cases[name] = func() { f(z, x, y) }
	}
	levels := vecLevels()
	defer setVecLevel(levels[0])
	for name, f := range cases {
		for _, level := range levels {
			setVecLevel(level)
			b.Run(fmt.Sprintf("%s/%d", name, level), func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/elem")
			})
		}
	}
}
