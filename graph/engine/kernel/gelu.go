package kernel

import "math"

// Files hold the constants of GELU rounded to float32, or to a few digits. The functions here keep them as they are, so that float64
// results do not depend on who computes them; in float32, constants that are right to its precision give the usual functions.

// geluClose is how far a constant may be off, relatively, to be the usual one in float32.
const geluClose = 6e-8

// GeluOf returns 0.5 x (1 + erf(c x)); c is about 1/sqrt(2).
func GeluOf(c float64) Unary {
	f := same(func(x float64) float64 { return 0.5 * x * math.Erfc(-c*x) }).with(bySlopeX(func(x float64) float64 {
		slope := 0.5 * math.Erfc(-c*x)
		if d := x * math.Exp(-c*c*x*x); d == d {
			slope += d * c / math.SqrtPi
		}
		return slope
	}))
	if math.Abs(c*math.Sqrt2-1) < geluClose {
		f.F32, f.Grad.F32 = Gelu.F32, Gelu.Grad.F32
	}
	return f
}

// GeluTanhOf returns 0.5 x (1 + tanh(a x + b x^3)); a is about sqrt(2/pi), and b 0.044715 times that.
func GeluTanhOf(a, b float64) Unary {
	inner := func(x float64) float64 { return 2 * x * (a + b*x*x) }
	f := same(func(x float64) float64 { return x * sigmoid64(inner(x)) }).with(bySlopeX(func(x float64) float64 {
		s := sigmoid64(inner(x))
		if s == 0 || s == 1 { // also at the infinities
			return s
		}
		return s + s*(1-s)*x*2*(a+3*b*x*x)
	}))
	const root = 0.7978845608028654
	if math.Abs(a/root-1) < geluClose && math.Abs(b/(0.044715*root)-1) < 2*geluClose {
		f.F32, f.Grad.F32 = GeluTanh.F32, GeluTanh.Grad.F32
	}
	return f
}
