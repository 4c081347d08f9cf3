package kernel

import "math"

// The functions of math32.go on four numbers at a time. One evaluation of a polynomial waits for itself all the time; four that
// take turns do not, which is several times as fast. Each number goes through the operations of the scalar function, in the same
// order, so its result does not depend on its neighbours.

// lanes is four numbers.
type lanes = [4]float64

// exp4 is exp32 of each.
func exp4(x *lanes) {
	x0, x1, x2, x3 := x[0], x[1], x[2], x[3]
	if !(x0 < expMax && x1 < expMax && x2 < expMax && x3 < expMax && x0 > expMin && x1 > expMin && x2 > expMin && x3 > expMin) {
		x[0], x[1], x[2], x[3] = exp32(x0), exp32(x1), exp32(x2), exp32(x3)
		return
	}
	t0, t1, t2, t3 := x0*math.Log2E+expShift, x1*math.Log2E+expShift, x2*math.Log2E+expShift, x3*math.Log2E+expShift
	r0, r1 := (x0*math.Log2E-(t0-expShift))*math.Ln2, (x1*math.Log2E-(t1-expShift))*math.Ln2
	r2, r3 := (x2*math.Log2E-(t2-expShift))*math.Ln2, (x3*math.Log2E-(t3-expShift))*math.Ln2
	const c = 1.0 / 5040
	p0, p1, p2, p3 := 1.0/720+r0*c, 1.0/720+r1*c, 1.0/720+r2*c, 1.0/720+r3*c
	p0, p1, p2, p3 = 1.0/120+r0*p0, 1.0/120+r1*p1, 1.0/120+r2*p2, 1.0/120+r3*p3
	p0, p1, p2, p3 = 1.0/24+r0*p0, 1.0/24+r1*p1, 1.0/24+r2*p2, 1.0/24+r3*p3
	p0, p1, p2, p3 = 1.0/6+r0*p0, 1.0/6+r1*p1, 1.0/6+r2*p2, 1.0/6+r3*p3
	p0, p1, p2, p3 = 1.0/2+r0*p0, 1.0/2+r1*p1, 1.0/2+r2*p2, 1.0/2+r3*p3
	p0, p1, p2, p3 = 1+r0*p0, 1+r1*p1, 1+r2*p2, 1+r3*p3
	p0, p1, p2, p3 = 1+r0*p0, 1+r1*p1, 1+r2*p2, 1+r3*p3
	x[0], x[1], x[2], x[3] = p0*expPower(t0), p1*expPower(t1), p2*expPower(t2), p3*expPower(t3)
}

// tanh4 is tanh32 of each.
func tanh4(x *lanes) {
	e := lanes{2 * x[0], 2 * x[1], 2 * x[2], 2 * x[3]}
	exp4(&e)
	for i, v := range x {
		if a := math.Abs(v); a > 1e-2 && a < 10 {
			x[i] = (e[i] - 1) / (e[i] + 1)
		} else {
			x[i] = tanh32(v)
		}
	}
}

// sigmoid4 is 1 / (1 + e^-x) of each, as e^x / (1 + e^x) where e^-x could overflow.
func sigmoid4(x *lanes) {
	e := lanes{-math.Abs(x[0]), -math.Abs(x[1]), -math.Abs(x[2]), -math.Abs(x[3])}
	exp4(&e)
	for i, v := range x {
		n := 1.0
		if !(v >= 0) {
			n = e[i]
		}
		x[i] = n / (1 + e[i])
	}
}

// erf4 is erf32 of each.
func erf4(x *lanes) {
	a0, a1, a2, a3 := math.Abs(x[0]), math.Abs(x[1]), math.Abs(x[2]), math.Abs(x[3])
	if !(a0 < erfEnd && a1 < erfEnd && a2 < erfEnd && a3 < erfEnd) {
		x[0], x[1], x[2], x[3] = erf32(x[0]), erf32(x[1]), erf32(x[2]), erf32(x[3])
		return
	}
	t0, r0, s0 := erfPiece(x[0], a0)
	t1, r1, s1 := erfPiece(x[1], a1)
	t2, r2, s2 := erfPiece(x[2], a2)
	t3, r3, s3 := erfPiece(x[3], a3)
	p0, p1, p2, p3 := t0[7]+r0*t0[8], t1[7]+r1*t1[8], t2[7]+r2*t2[8], t3[7]+r3*t3[8]
	p0, p1, p2, p3 = t0[6]+r0*p0, t1[6]+r1*p1, t2[6]+r2*p2, t3[6]+r3*p3
	p0, p1, p2, p3 = t0[5]+r0*p0, t1[5]+r1*p1, t2[5]+r2*p2, t3[5]+r3*p3
	p0, p1, p2, p3 = t0[4]+r0*p0, t1[4]+r1*p1, t2[4]+r2*p2, t3[4]+r3*p3
	p0, p1, p2, p3 = t0[3]+r0*p0, t1[3]+r1*p1, t2[3]+r2*p2, t3[3]+r3*p3
	p0, p1, p2, p3 = t0[2]+r0*p0, t1[2]+r1*p1, t2[2]+r2*p2, t3[2]+r3*p3
	p0, p1, p2, p3 = t0[1]+r0*p0, t1[1]+r1*p1, t2[1]+r2*p2, t3[1]+r3*p3
	p0, p1, p2, p3 = t0[0]+r0*p0, t1[0]+r1*p1, t2[0]+r2*p2, t3[0]+r3*p3
	x[0], x[1], x[2], x[3] = s0*p0, s1*p1, s2*p2, s3*p3
}

// lift4 makes a Unary of a function of four numbers to float32 accuracy and a scalar one to float64's.
func lift4(f32 func(*lanes), f64 func(float64) float64) Unary {
	u := lift(nil, f64)
	u.F32 = func(dst, src []float32) {
		src = src[:len(dst)]
		var x lanes
		for len(dst) >= 4 {
			s, d := (*[4]float32)(src), (*[4]float32)(dst)
			x = lanes{float64(s[0]), float64(s[1]), float64(s[2]), float64(s[3])}
			f32(&x)
			d[0], d[1], d[2], d[3] = float32(x[0]), float32(x[1]), float32(x[2]), float32(x[3])
			src, dst = src[4:], dst[4:]
		}
		if len(dst) == 0 {
			return
		}
		x = lanes{}
		for i, v := range src {
			x[i] = float64(v)
		}
		f32(&x)
		for i := range dst {
			dst[i] = float32(x[i])
		}
	}
	return u
}

// times4 is the product of x and f(inner(x)) for each number.
func times4(inner func(x float64) float64, f func(*lanes)) func(*lanes) {
	return func(x *lanes) {
		u := lanes{inner(x[0]), inner(x[1]), inner(x[2]), inner(x[3])}
		f(&u)
		x[0], x[1], x[2], x[3] = x[0]*u[0], x[1]*u[1], x[2]*u[2], x[3]*u[3]
	}
}

func gelu4(x *lanes) {
	u := lanes{x[0] * (1 / math.Sqrt2), x[1] * (1 / math.Sqrt2), x[2] * (1 / math.Sqrt2), x[3] * (1 / math.Sqrt2)}
	erf4(&u)
	for i, e := range u {
		x[i] = 0.5 * x[i] * (1 + e)
	}
}
