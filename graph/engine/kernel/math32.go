package kernel

import "math"

// The float32 transcendental functions evaluate in float64, where a short polynomial is far more exact than float32 can show,
// and round once. That is as fast as float32 arithmetic on scalar units and leaves no ill-conditioned corner. The polynomials
// interpolate at the Chebyshev nodes of their ranges, which is next to the best that their degrees can do.

// Bounds of the arguments for which e^x does not over- or underflow float32.
const (
	expMax = 88.72283905206835
	expMin = -104
	expEnd = 700 // e^x is a normal float64 up to here, and as far below 0
)

// exp2Terms is 2^f for |f| <= 1/2, with a relative error below 1.1e-10, and exact at 0.
var exp2Terms = [8]float64{1, 0.6931471805568324, 0.24022651213498092, 0.055504109063258665, 0.009618025613318034,
	0.0013333478473685416, 0.00015469729214118296, 1.5303700711365693e-05}

// exp32 is e**x to float32 accuracy: x log2(e) = k + f with |f| <= 1/2.
func exp32(x float64) float64 {
	if !(x < expMax+1) {
		return x * math.Inf(1) // +Inf, or NaN
	}
	if x < expMin {
		return 0
	}
	return expWide(x)
}

// expWide is exp32 wherever the result is a normal float64.
func expWide(x float64) float64 {
	t := x*math.Log2E + expShift
	return poly(x*math.Log2E-(t-expShift), exp2Terms[:]) * expPower(t)
}

// expShift rounds what it is added to to an integer, which then sits in the low bits.
const expShift = 0x1.8p52

// expPower is 2 to the power of the integer in t's low bits.
func expPower(t float64) float64 {
	k := int64(math.Float64bits(t)<<12) >> 12
	return math.Float64frombits(uint64(k+1023) << 52)
}

// poly is the sum of c[i] x^i.
func poly(x float64, c []float64) float64 {
	p := c[len(c)-1]
	for i := len(c) - 2; i >= 0; i-- {
		p = p*x + c[i]
	}
	return p
}

// tanhTerms is tanh(x)/x in x^2, for |x| < tanhNear.
var tanhTerms = [5]float64{1, -1.0 / 3, 2.0 / 15, -17.0 / 315, 62.0 / 2835}

const tanhNear = 1.0 / 16

func tanh32(x float64) float64 {
	if math.Abs(x) < tanhNear {
		return x * poly(x*x, tanhTerms[:])
	}
	e := expWide(max(-40, min(40, 2*x)))
	return (e - 1) / (e + 1)
}

// erfcTerms is e^(z^2) erfc(z) / 2 in (z - erfcMid) / (z + erfcMid) for 0 <= z < 10.6, with a relative error below 5e-11. Beyond, erfc is
// 0 in float32.
var erfcTerms = [13]float64{0.10540318203033634, -0.18586836689030814, 0.12585659653434228, -0.06251653007437803, 0.019961272465674706,
	-0.0019967974682697964, -0.0013212083489638413, 0.00043762974349903576, 0.00011424243640349026, -6.33934633719617e-05,
	-1.6922373212434446e-05, 7.606103431892275e-06, 2.9852157501710612e-06}

const (
	erfcMid = 2.5
	erfcEnd = 26 // e^(-z^2) is still a normal float64, and makes any float32 vanish
)

// erfTerms is erf(x)/x in x^2 for |x| < erfNear, where erfc is near 1, with a relative error below 1.3e-11.
var erfTerms = [6]float64{1.1283791670824095, -0.37612638525650693, 0.11283774013179539, -0.026863143032249386, 0.005200413724335493,
	-0.0007694534279142308}

const erfNear = 0.5

// halfErfc is erfc(z)/2 and e^(-z^2) for z = |x|, at most erfcEnd.
func halfErfc(x float64) (half, e float64) {
	z := min(math.Abs(x), erfcEnd)
	e = expWide(-z * z)
	return poly((z-erfcMid)/(z+erfcMid), erfcTerms[:]) * e, e
}

func erf32(x float64) float64 {
	if math.Abs(x) < erfNear {
		return x * poly(x*x, erfTerms[:])
	}
	h, _ := halfErfc(x)
	return math.Copysign(1-h-h, x)
}

// far is a number beyond which functions that have limits have reached them; unlike infinity it times 0 is 0.
const far = 1e30
