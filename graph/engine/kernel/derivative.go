package kernel

import "math"

// Derivative computes dx = dy * f'(x) of an elementwise function in one pass. Of x and y = f(x) it reads what it says; the other may be
// nil. dx may be dy. The float32 forms evaluate the slope in float64, or are exact to a few units in the last place of what they read.
type Derivative struct {
	ReadsX, ReadsY bool
	F32            func(dx, dy, x, y []float32)
	F64            func(dx, dy, x, y []float64)
}

// Zero reports whether the derivative is zero wherever it is defined.
func (d Derivative) Zero() bool { return d.F32 == nil }

// with is u with a derivative.
func (u Unary) with(d Derivative) Unary {
	u.Grad = d
	return u
}

// bySlopeX makes a Derivative of the slope as a function of x.
func bySlopeX(slope func(x float64) float64) Derivative {
	return Derivative{ReadsX: true,
		F32: func(dx, dy, x, _ []float32) { slopeRun(dx, dy, x, slope) },
		F64: func(dx, dy, x, _ []float64) { slopeRun(dx, dy, x, slope) }}
}

// bySlopeY makes a Derivative of the slope as a function of y.
func bySlopeY(slope func(y float64) float64) Derivative {
	return Derivative{ReadsY: true,
		F32: func(dx, dy, _, y []float32) { slopeRun(dx, dy, y, slope) },
		F64: func(dx, dy, _, y []float64) { slopeRun(dx, dy, y, slope) }}
}

func slopeRun[T Float](dx, dy, at []T, slope func(float64) float64) {
	dy, at = dy[:len(dx)], at[:len(dx)]
	for i := range dx {
		dx[i] = T(float64(dy[i]) * slope(float64(at[i])))
	}
}

// bySlope4 makes a Derivative of the slope as a function of x: of four numbers, to float32 accuracy, and of one, to float64's.
func bySlope4(f32 func(*lanes), f64 func(float64) float64) Derivative {
	d := bySlopeX(f64)
	d.F32 = func(dx, dy, x, _ []float32) {
		dy, x = dy[:len(dx)], x[:len(dx)]
		var s lanes
		for len(dx) >= 4 {
			a, b, c := (*[4]float32)(x), (*[4]float32)(dy), (*[4]float32)(dx)
			s = lanes{float64(a[0]), float64(a[1]), float64(a[2]), float64(a[3])}
			f32(&s)
			c[0], c[1], c[2], c[3] = float32(s[0]*float64(b[0])), float32(s[1]*float64(b[1])), float32(s[2]*float64(b[2])), float32(s[3]*float64(b[3]))
			dx, dy, x = dx[4:], dy[4:], x[4:]
		}
		if len(dx) == 0 {
			return
		}
		s = lanes{}
		for i, v := range x {
			s[i] = float64(v)
		}
		f32(&s)
		for i, v := range dy {
			dx[i] = float32(s[i] * float64(v))
		}
	}
	return d
}

// The derivatives that models spend time in, as loops of plain arithmetic.
var (
	expGrad        = Derivative{ReadsY: true, F32: expGradRun[float32], F64: expGradRun[float64]}.vector(&simd.mul)
	logGrad        = Derivative{ReadsX: true, F32: logGradRun[float32], F64: logGradRun[float64]}.vector(&simd.div)
	sqrtGrad       = Derivative{ReadsY: true, F32: sqrtGradRun[float32], F64: sqrtGradRun[float64]}
	reciprocalGrad = Derivative{ReadsY: true, F32: reciprocalGradRun[float32], F64: reciprocalGradRun[float64]}
	tanhGrad       = Derivative{ReadsY: true, F32: tanhGradRun[float32], F64: tanhGradRun[float64]}.vector(&simd.tanhGrad)
	sigmoidGrad    = Derivative{ReadsY: true, F32: sigmoidGradRun[float32], F64: sigmoidGradRun[float64]}.vector(&simd.sigmoidGrad)
	reluGrad       = Derivative{ReadsY: true, F32: reluGradRun[float32], F64: reluGradRun[float64]}.vector(&simd.reluGrad)
)

func expGradRun[T Float](dx, dy, _, y []T) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i := range dx {
		dx[i] = dy[i] * y[i]
	}
}

func logGradRun[T Float](dx, dy, x, _ []T) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	for i := range dx {
		dx[i] = dy[i] / x[i]
	}
}

func sqrtGradRun[T Float](dx, dy, _, y []T) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i := range dx {
		dx[i] = dy[i] * 0.5 / y[i]
	}
}

func reciprocalGradRun[T Float](dx, dy, _, y []T) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i := range dx {
		dx[i] = -(dy[i] * y[i]) * y[i]
	}
}

// tanhGradRow is the derivative of Tanh for a row of either type.
func tanhGradRow[T Float](dx, dy, y []T) {
	if !fast3(simd.tanhGrad, dx, dy[:len(dx)], y[:len(dx)]) {
		tanhGradRun(dx, dy, nil, y)
	}
}

func tanhGradRun[T Float](dx, dy, _, y []T) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i := range dx {
		dx[i] = dy[i] * ((1 - y[i]) * (1 + y[i]))
	}
}

func sigmoidGradRun[T Float](dx, dy, _, y []T) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i := range dx {
		dx[i] = dy[i] * (y[i] * (1 - y[i]))
	}
}

func reluGradRun[T Float](dx, dy, _, y []T) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i, v := range y {
		g := dy[i]
		if v <= 0 {
			g = 0
		}
		dx[i] = g
	}
}

// normalDensity is the density of the standard normal distribution.
func normalDensity(x float64) float64 { return (1 / (math.Sqrt2 * math.SqrtPi)) * math.Exp(-x*x/2) }

var erfGrad = bySlope4(
	func(x *lanes) {
		*x = lanes{-x[0] * x[0], -x[1] * x[1], -x[2] * x[2], -x[3] * x[3]}
		exp4(x)
		for i := range x {
			x[i] *= 2 / math.SqrtPi
		}
	},
	func(x float64) float64 { return 2 / math.SqrtPi * math.Exp(-x*x) }).vector(&simd.erfGrad)

// geluGrad is the normal distribution function plus x times its density.
var geluGrad = bySlope4(
	func(x *lanes) {
		phi, e := normal4(x)
		for i, v := range x {
			x[i] = phi[i] + max(-far, min(far, v))*(1/(math.Sqrt2*math.SqrtPi))*e[i]
		}
	},
	func(x float64) float64 {
		if math.IsInf(x, 0) {
			return max(0, math.Copysign(1, x))
		}
		return 0.5*math.Erfc(-x*(1/math.Sqrt2)) + x*normalDensity(x)
	}).vector(&simd.geluGrad)

// geluTanhGrad differentiates x sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x^3).
var geluTanhGrad = bySlope4(
	func(x *lanes) {
		s := lanes{2 * geluInner(x[0]), 2 * geluInner(x[1]), 2 * geluInner(x[2]), 2 * geluInner(x[3])}
		sigmoid4(&s)
		for i, v := range x {
			x[i] = geluTanhSlope(max(-far, min(far, v)), s[i])
		}
	},
	func(x float64) float64 { return geluTanhSlope(x, sigmoid64(2*geluInner(x))) }).vector(&simd.geluTanhGrad)

func geluTanhSlope(x, s float64) float64 {
	if s == 0 || s == 1 { // also at the infinities
		return s
	}
	return s + s*(1-s)*x*(2*0.7978845608028654*(1+3*0.044715*x*x))
}

// siluGrad differentiates x sigmoid(alpha x).
func siluGrad(alpha float64) Derivative {
	slope := func(x, s float64) float64 {
		if s == 0 || s == 1 {
			return s
		}
		return s * (1 + alpha*x*(1-s))
	}
	d := bySlope4(
		func(x *lanes) {
			s := lanes{alpha * x[0], alpha * x[1], alpha * x[2], alpha * x[3]}
			sigmoid4(&s)
			for i, v := range x {
				x[i] = slope(max(-far, min(far, v)), s[i])
			}
		},
		func(x float64) float64 { return slope(x, sigmoid64(alpha*x)) })
	portable := d.F32
	d.F32 = func(dx, dy, x, _ []float32) {
		if simd.siluGrad == nil || len(dx) == 0 {
			portable(dx, dy, x, nil)
			return
		}
		simd.siluGrad(&dx[0], &dy[:len(dx)][0], &x[:len(dx)][0], len(dx), -alpha)
	}
	return d
}

// softplusGrad is the logistic function.
var softplusGrad = bySlope4(sigmoid4, sigmoid64).vector(&simd.sigmoidMul)

func cosSlope(x float64) float64 { return -math.Sin(x) }

func mishSlope(x float64) float64 {
	t := math.Tanh(softplus(x))
	return t + x*(1-t)*(1+t)*sigmoid64(x)
}

func hardSwishSlope(x float64) float64 {
	switch {
	case x <= -3:
		return 0
	case x >= 3:
		return 1
	}
	return x/3 + 0.5
}

func softsignSlope(x float64) float64 {
	d := 1 + math.Abs(x)
	return 1 / (d * d)
}

// Absolute is the derivative of the absolute value: the sign, 0 at 0.
var Absolute = Derivative{ReadsX: true, F32: absGradRun[float32], F64: absGradRun[float64]}

func absGradRun[T Float](dx, dy, x, _ []T) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	for i, v := range x {
		switch {
		case v > 0:
			dx[i] = dy[i]
		case v < 0:
			dx[i] = -dy[i]
		default:
			dx[i] = dy[i] * v // 0, or NaN
		}
	}
}

// MapGrad applies a derivative to every element in parallel; x or y is nil where d does not read it.
func MapGrad[T Float](threads int, dx, dy, x, y []T, f func(dx, dy, x, y []T)) {
	if len(dx) < walkGrain {
		threads = 1
	}
	Parallel(threads, len(dx), walkGrain/4, func(lo, hi int) {
		var px, py []T
		if x != nil {
			px = x[lo:hi]
		}
		if y != nil {
			py = y[lo:hi]
		}
		f(dx[lo:hi], dy[lo:hi], px, py)
	})
}
