package kernel

import "math"

// The functions of math32.go on four numbers at a time. One evaluation of a polynomial waits for itself all the time; four that
// take turns do not, which is several times as fast. Each number goes through the operations of the scalar function, in the same
// order, so its result does not depend on its neighbours.

// lanes is four numbers.
type lanes = [4]float64

// poly4 is poly of each.
func poly4(x *lanes, c []float64) lanes {
	p := c[len(c)-1]
	p0, p1, p2, p3 := p, p, p, p
	x0, x1, x2, x3 := x[0], x[1], x[2], x[3]
	for i := len(c) - 2; i >= 0; i-- {
		p = c[i]
		p0, p1, p2, p3 = p0*x0+p, p1*x1+p, p2*x2+p, p3*x3+p
	}
	return lanes{p0, p1, p2, p3}
}

// exp4 is exp32 of each.
func exp4(x *lanes) {
	x0, x1, x2, x3 := x[0], x[1], x[2], x[3]
	if !(x0 < expMax && x1 < expMax && x2 < expMax && x3 < expMax && x0 > expMin && x1 > expMin && x2 > expMin && x3 > expMin) {
		x[0], x[1], x[2], x[3] = exp32(x0), exp32(x1), exp32(x2), exp32(x3)
		return
	}
	expWide4(x)
}

// expWide4 is expWide of each.
func expWide4(x *lanes) {
	x0, x1, x2, x3 := x[0]*math.Log2E, x[1]*math.Log2E, x[2]*math.Log2E, x[3]*math.Log2E
	t0, t1, t2, t3 := x0+expShift, x1+expShift, x2+expShift, x3+expShift
	f := lanes{x0 - (t0 - expShift), x1 - (t1 - expShift), x2 - (t2 - expShift), x3 - (t3 - expShift)}
	p := poly4(&f, exp2Terms[:])
	x[0], x[1], x[2], x[3] = p[0]*expPower(t0), p[1]*expPower(t1), p[2]*expPower(t2), p[3]*expPower(t3)
}

// tanh4 is tanh32 of each.
func tanh4(x *lanes) {
	var e lanes
	for i, v := range x {
		e[i] = max(-40, min(40, 2*v))
	}
	expWide4(&e)
	for i, v := range x {
		if math.Abs(v) < tanhNear {
			x[i] = v * poly(v*v, tanhTerms[:])
		} else {
			x[i] = (e[i] - 1) / (e[i] + 1)
		}
	}
}

// sigmoid4 is 1 / (1 + e^-x) of each. It is above 0 for all finite x, so that a product with x keeps its precision.
func sigmoid4(x *lanes) {
	for i, v := range x {
		x[i] = max(-expEnd, min(expEnd, -v))
	}
	expWide4(x)
	for i, e := range x {
		x[i] = 1 / (1 + e)
	}
}

// halfErfc4 is halfErfc of each.
func halfErfc4(x *lanes) (half, e lanes) {
	var t lanes
	for i, v := range x {
		z := min(math.Abs(v), erfcEnd)
		e[i], t[i] = -z*z, (z-erfcMid)/(z+erfcMid)
	}
	expWide4(&e)
	half = poly4(&t, erfcTerms[:])
	for i := range half {
		half[i] *= e[i]
	}
	return half, e
}

// erf4 is erf32 of each.
func erf4(x *lanes) {
	h, _ := halfErfc4(x)
	for i, v := range x {
		if math.Abs(v) < erfNear {
			x[i] = v * poly(v*v, erfTerms[:])
		} else {
			x[i] = math.Copysign(1-h[i]-h[i], v)
		}
	}
}

// normal4 is the distribution function of the standard normal distribution and e^(-x^2/2) of each. The tail keeps its relative precision.
func normal4(x *lanes) (phi, e lanes) {
	u := lanes{x[0] * (1 / math.Sqrt2), x[1] * (1 / math.Sqrt2), x[2] * (1 / math.Sqrt2), x[3] * (1 / math.Sqrt2)}
	phi, e = halfErfc4(&u)
	for i, v := range x {
		if !(v < 0) {
			phi[i] = 1 - phi[i]
		}
	}
	return phi, e
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

// times4 is the product of x and f(inner(x)) for each number, and its limit where that is 0 at -Inf.
func times4(inner func(x float64) float64, f func(*lanes)) func(*lanes) {
	return func(x *lanes) {
		for i, v := range x {
			x[i] = max(v, -far)
		}
		u := lanes{inner(x[0]), inner(x[1]), inner(x[2]), inner(x[3])}
		f(&u)
		x[0], x[1], x[2], x[3] = x[0]*u[0], x[1]*u[1], x[2]*u[2], x[3]*u[3]
	}
}

func gelu4(x *lanes) {
	phi, _ := normal4(x)
	for i, v := range x {
		x[i] = max(v, -far) * phi[i]
	}
}
