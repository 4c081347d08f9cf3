package kernel

import "math"

// The float32 transcendental functions evaluate in float64, where a short polynomial is far more exact than float32 can show,
// and round once. That is as fast as float32 arithmetic on scalar units and leaves no ill-conditioned corner.

// expRange bounds the arguments for which exp does not over- or underflow float32.
const (
	expMax = 88.72283905206835
	expMin = -104
)

// exp32 is e**x to float32 accuracy: x = k ln2 + r with |r| <= ln2/2, and the Taylor polynomial of degree 7 in r (relative
// error below 6e-9).
func exp32(x float64) float64 {
	if !(x < expMax+1) {
		return x * math.Inf(1) // +Inf, or NaN
	}
	if x < expMin {
		return 0
	}
	t := x*math.Log2E + expShift
	r := (x*math.Log2E - (t - expShift)) * math.Ln2
	p := 1 + r*(1+r*(1.0/2+r*(1.0/6+r*(1.0/24+r*(1.0/120+r*(1.0/720+r*(1.0/5040)))))))
	return p * expPower(t)
}

// expShift rounds what it is added to to an integer, which then sits in the low bits.
const expShift = 0x1.8p52

// expPower is 2 to the power of the integer in t's low bits.
func expPower(t float64) float64 {
	k := int64(math.Float64bits(t)<<12) >> 12
	return math.Float64frombits(uint64(k+1023) << 52)
}

func tanh32(x float64) float64 {
	switch {
	case x > 10:
		return 1
	case x < -10:
		return -1
	case x > -1e-2 && x < 1e-2:
		s := x * x
		return x * (1 - s*(1.0/3-s*(2.0/15-s*(17.0/315))))
	}
	e := exp32(2 * x)
	return (e - 1) / (e + 1)
}

// erf is tabulated as Taylor polynomials around the middles of intervals of width 1/erfSteps on [0, erfEnd); beyond, it is 1
// to float64 accuracy. The truncation error is below 1e-12, which keeps the tail of GELU, a difference of erf and 1, meaningful.
const (
	erfSteps = 8
	erfEnd   = 6
	erfTerms = 9
)

var erfTable = makeErfTable()

func makeErfTable() (table [erfSteps * erfEnd][erfTerms]float64) {
	for i := range table {
		c := (float64(i) + 0.5) / erfSteps
		table[i][0] = math.Erf(c)
		// The derivatives follow Hermite's recurrence: with g = 2/sqrt(pi) exp(-x^2), g' = -2x g, and
		// g^(n+1) = -2x g^(n) - 2n g^(n-1).
		g := [erfTerms]float64{2 / math.SqrtPi * math.Exp(-c*c)}
		g[1] = -2 * c * g[0]
		for n := 1; n+1 < erfTerms; n++ {
			g[n+1] = -2*c*g[n] - 2*float64(n)*g[n-1]
		}
		fact := 1.0
		for n := 1; n < erfTerms; n++ {
			fact *= float64(n)
			table[i][n] = g[n-1] / fact
		}
	}
	return table
}

// erfNear is erf(x)/x as a polynomial in x^2, for |x| below the first interval's end: there the result is small, and what counts is
// its relative error.
var erfNear = [erfTerms]float64{2 / math.SqrtPi, -2 / math.SqrtPi / 3, 2 / math.SqrtPi / 10, -2 / math.SqrtPi / 42, 2 / math.SqrtPi / 216}

// erfPiece is how erf(x) is computed for a = |x| < erfEnd: s times the polynomial t in r.
func erfPiece(x, a float64) (t *[erfTerms]float64, r, s float64) {
	if a < 1.0/erfSteps {
		return &erfNear, x * x, x
	}
	i := int(a * erfSteps)
	return &erfTable[i], a - (float64(i)+0.5)/erfSteps, math.Copysign(1, x)
}

func erf32(x float64) float64 {
	a := math.Abs(x)
	if !(a < erfEnd) {
		if x != x {
			return x
		}
		return math.Copysign(1, x)
	}
	t, r, s := erfPiece(x, a)
	return s * (t[0] + r*(t[1]+r*(t[2]+r*(t[3]+r*(t[4]+r*(t[5]+r*(t[6]+r*(t[7]+r*t[8]))))))))
}
