package kernel

import "math"

// Unary is an elementwise function in both precisions, and its derivative.
type Unary struct {
	F32  func(dst, src []float32)
	F64  func(dst, src []float64)
	Grad Derivative
}

// lift makes a Unary of two scalar functions: one to float32 accuracy, one to float64's.
func lift(f32, f64 func(float64) float64) Unary {
	return Unary{
		F32: func(dst, src []float32) {
			for i, v := range src[:len(dst)] {
				dst[i] = float32(f32(float64(v)))
			}
		},
		F64: func(dst, src []float64) {
			for i, v := range src[:len(dst)] {
				dst[i] = f64(v)
			}
		},
	}
}

// Elementwise functions by their ONNX names. GELU is x times the normal distribution function; GeluTanh is its approximation
// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
var (
	Exp        = lift4(exp4, math.Exp).vector(&simd.exp).with(expGrad)
	Log        = same(math.Log).with(logGrad)
	Sqrt       = Unary{F32: sqrtRun[float32], F64: sqrtRun[float64], Grad: sqrtGrad}.vector(&simd.sqrt)
	Reciprocal = Unary{F32: reciprocalRun[float32], F64: reciprocalRun[float64], Grad: reciprocalGrad}.vector(&simd.reciprocal)
	Tanh       = lift4(tanh4, math.Tanh).vector(&simd.tanh).with(tanhGrad)
	Erf        = lift4(erf4, math.Erf).vector(&simd.erf).with(erfGrad)
	Sigmoid    = lift4(sigmoid4, sigmoid64).vector(&simd.sigmoid).with(sigmoidGrad)
	Relu       = Unary{F32: reluRun[float32], F64: reluRun[float64], Grad: reluGrad}.vector(&simd.relu)
	Sin        = same(math.Sin).with(bySlopeX(math.Cos))
	Cos        = same(math.Cos).with(bySlopeX(cosSlope))
	Tan        = same(math.Tan).with(bySlopeY(func(y float64) float64 { return 1 + y*y }))
	Asin       = same(math.Asin).with(bySlopeX(func(x float64) float64 { return 1 / math.Sqrt((1-x)*(1+x)) }))
	Acos       = same(math.Acos).with(bySlopeX(func(x float64) float64 { return -1 / math.Sqrt((1-x)*(1+x)) }))
	Atan       = same(math.Atan).with(bySlopeX(func(x float64) float64 { return 1 / (1 + x*x) }))
	Sinh       = same(math.Sinh).with(bySlopeX(math.Cosh))
	Cosh       = same(math.Cosh).with(bySlopeX(math.Sinh))
	Asinh      = same(math.Asinh).with(bySlopeX(func(x float64) float64 { return 1 / math.Hypot(x, 1) }))
	Acosh      = same(math.Acosh).with(bySlopeX(func(x float64) float64 { return 1 / math.Sqrt((x-1)*(x+1)) }))
	Atanh      = same(math.Atanh).with(bySlopeX(func(x float64) float64 { return 1 / ((1 - x) * (1 + x)) }))
	Floor      = same(math.Floor) // the slope of the steps is zero
	Ceil       = same(math.Ceil)
	Round      = same(math.RoundToEven)
	Softplus   = same(softplus).with(softplusGrad)
	Softsign   = same(func(x float64) float64 { return x / (1 + math.Abs(x)) }).with(bySlopeX(softsignSlope))
	HardSwish  = same(func(x float64) float64 { return x * max(0, min(1, x/6+0.5)) }).with(bySlopeX(hardSwishSlope))
	Mish       = same(func(x float64) float64 { return x * math.Tanh(softplus(x)) }).with(bySlopeX(mishSlope))
	Gelu       = lift4(gelu4, func(x float64) float64 { return 0.5 * x * math.Erfc(-x*(1/math.Sqrt2)) }).vector(&simd.gelu).with(geluGrad)
	GeluTanh   = lift4(
		// 1 + tanh(u) is 2 sigmoid(2u), without the cancellation.
		times4(func(x float64) float64 { return 2 * geluInner(x) }, sigmoid4),
		func(x float64) float64 { return x * sigmoid64(2*geluInner(x)) }).vector(&simd.geluTanh).with(geluTanhGrad)
)

// SiLU returns x * sigmoid(alpha x), which is QuickGelu for alpha 1.702 and Swish for 1.
func SiLU(alpha float64) Unary {
	u := lift4(
		times4(func(x float64) float64 { return alpha * x }, sigmoid4),
		func(x float64) float64 { return x * sigmoid64(alpha*x) }).with(siluGrad(alpha))
	portable := u.F32
	u.F32 = func(dst, src []float32) {
		src = src[:len(dst)]
		if simd.silu == nil || len(dst) == 0 {
			portable(dst, src)
			return
		}
		simd.silu(&dst[0], &src[0], len(dst), -alpha)
	}
	return u
}

// LeakyRelu returns x for x >= 0 and alpha x below.
func LeakyRelu(alpha float64) Unary {
	return same(func(x float64) float64 {
		if x < 0 {
			return alpha * x
		}
		return x
	}).with(bySlopeX(func(x float64) float64 {
		if x < 0 {
			return alpha
		}
		return 1
	}))
}

// Elu returns x for x >= 0 and alpha (e^x - 1) below.
func Elu(alpha float64) Unary {
	return same(func(x float64) float64 {
		if x < 0 {
			return alpha * math.Expm1(x)
		}
		return x
	}).with(bySlopeX(func(x float64) float64 {
		if x < 0 {
			return alpha * math.Exp(x)
		}
		return 1
	}))
}

// Celu returns max(0, x) + min(0, alpha (e^(x/alpha) - 1)).
func Celu(alpha float64) Unary {
	return same(func(x float64) float64 {
		if x < 0 {
			return alpha * math.Expm1(x/alpha)
		}
		return x
	}).with(bySlopeX(func(x float64) float64 {
		if x < 0 {
			return math.Exp(x / alpha)
		}
		return 1
	}))
}

// Selu returns gamma x for x > 0 and gamma alpha (e^x - 1) otherwise.
func Selu(alpha, gamma float64) Unary {
	return same(func(x float64) float64 {
		if x > 0 {
			return gamma * x
		}
		return gamma * alpha * math.Expm1(x)
	}).with(bySlopeX(func(x float64) float64 {
		if x > 0 {
			return gamma
		}
		return gamma * alpha * math.Exp(x)
	}))
}

// HardSigmoid returns alpha x + beta, clipped to [0, 1].
func HardSigmoid(alpha, beta float64) Unary {
	return same(func(x float64) float64 { return max(0, min(1, alpha*x+beta)) }).with(bySlopeX(func(x float64) float64 {
		if y := alpha*x + beta; y <= 0 || y >= 1 {
			return 0
		}
		return alpha
	}))
}

// ThresholdedRelu returns x where x > alpha and 0 elsewhere.
func ThresholdedRelu(alpha float64) Unary {
	return same(func(x float64) float64 {
		if x > alpha {
			return x
		}
		return 0
	}).with(bySlopeX(func(x float64) float64 {
		if x > alpha {
			return 1
		}
		return 0
	}))
}

func same(f func(float64) float64) Unary { return lift(f, f) }

func geluInner(x float64) float64 { return 0.7978845608028654 * (x + 0.044715*x*x*x) }

func sigmoid64(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

func softplus(x float64) float64 {
	return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
}

func sqrtRun[T Float](dst, src []T) {
	for i, v := range src[:len(dst)] {
		dst[i] = T(math.Sqrt(float64(v)))
	}
}

func reciprocalRun[T Float](dst, src []T) {
	for i, v := range src[:len(dst)] {
		dst[i] = 1 / v
	}
}

func reluRun[T Float](dst, src []T) {
	for i, v := range src[:len(dst)] {
		dst[i] = max(v, 0)
	}
}

// Map applies f to every element of src in parallel.
func Map[T Elem, U Elem](threads int, dst []U, src []T, f func(dst []U, src []T)) {
	if len(src) < walkGrain {
		threads = 1
	}
	Parallel(threads, len(src), walkGrain/4, func(lo, hi int) { f(dst[lo:hi], src[lo:hi]) })
}
