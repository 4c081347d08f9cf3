package kernel

// The types of the assembly kernels, each over n > 0 elements.
type (
	simdUnary  = func(dst, x *float32, n int)
	simdBinary = func(dst, a, b *float32, n int)
	simdScalar = func(dst, x *float32, n int, s float32)
	// simdSigned is a function with the parameter -alpha.
	simdSigned = func(dst, x *float32, n int, minus float64)
)

// simdKernels are the vector forms of the loops over float32. A nil one is done in Go. They compute the same numbers element by
// element as the Go forms where those only add, multiply, divide and take roots, and sums and transcendental functions that differ
// in the last place at most.
type simdKernels struct {
	add, sub, mul, div                                simdBinary
	addScalar, scale, divScalar, scalarSub, scalarDiv simdScalar
	axpy                                              func(y, x *float32, n int, s float32)
	mulAdd                                            func(dst, a, b, c *float32, n int)
	mulDiff                                           func(dst, a, b *float32, n int, s float32)
	normGrad                                          func(dst, a, b *float32, n int, scale, shift, slope float32)
	normalize                                         func(dst, x *float32, n int, mean, scale float64)
	addWide                                           func(dst *float64, x *float32, n int)
	sum                                               func(x *float32, n int) float64
	dot                                               func(a, b *float32, n int) float64
	sumSq                                             func(x *float32, n int, mean float64) float64
	max                                               func(x *float32, n int) float32
	expSum                                            func(dst, x *float32, n int, top float64) float64
	relu, sqrt, reciprocal                            simdUnary
	exp, tanh, erf, sigmoid, gelu, geluTanh           simdUnary
	silu                                              simdSigned
	tanhGrad, sigmoidGrad, reluGrad                   simdBinary // dx, dy, y
	erfGrad, geluGrad, geluTanhGrad, sigmoidMul       simdBinary // dx, dy, x
	siluGrad                                          func(dx, dy, x *float32, n int, minus float64)
	adamW                                             func(w, g, m, v *float32, n int, p *[8]float32)
	sgd                                               func(w, g *float32, n int, p *[4]float32)
	sgdMomentum, sgdNesterov                          func(w, g, m *float32, n int, p *[4]float32)
	rotate                                            func(y0, y1, x0, x1, c, s *float32, n int)
}

// simd is what the processor has, set once by the architecture.
var simd simdKernels

// fast is x as float32, if there is a vector form and something to do.
func fast[T Float](have bool, x []T) ([]float32, bool) {
	if !have || len(x) == 0 {
		return nil, false
	}
	f, ok := any(x).([]float32)
	return f, ok
}

// first points to the first of the elements, which are float32.
func first[T Float](x []T) *float32 { return &any(x).([]float32)[0] }

func fast3[T Float](f simdBinary, dst, a, b []T) bool {
	d, ok := fast(f != nil, dst)
	if ok {
		f(&d[0], first(a), first(b), len(d))
	}
	return ok
}

func fastScalar[T Float](f simdScalar, dst, x []T, s T) bool {
	d, ok := fast(f != nil, dst)
	if ok {
		f(&d[0], first(x), len(d), float32(s))
	}
	return ok
}

// or32 is the vector form f where the processor has it, else g.
func or32(f *simdUnary, g func(dst, src []float32)) func(dst, src []float32) {
	return func(dst, src []float32) {
		src = src[:len(dst)]
		if *f == nil || len(dst) == 0 {
			g(dst, src)
			return
		}
		(*f)(&dst[0], &src[0], len(dst))
	}
}

// vector is u with a vector form.
func (u Unary) vector(f *simdUnary) Unary {
	u.F32 = or32(f, u.F32)
	return u
}

// vector is d with a vector form, which reads what d reads.
func (d Derivative) vector(f *simdBinary) Derivative {
	portable, byX := d.F32, d.ReadsX
	d.F32 = func(dx, dy, x, y []float32) {
		if *f == nil || len(dx) == 0 {
			portable(dx, dy, x, y)
			return
		}
		at := y
		if byX {
			at = x
		}
		(*f)(&dx[0], &dy[:len(dx)][0], &at[:len(dx)][0], len(dx))
	}
	return d
}
