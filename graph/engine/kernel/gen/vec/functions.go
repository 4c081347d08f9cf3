package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

var negInf = float32(math.Inf(-1))

// The polynomials are those of the portable functions; math32.go says where they come from.
var (
	exp2Terms = []float64{1, 0.6931471805568324, 0.24022651213498092, 0.055504109063258665, 0.009618025613318034,
		0.0013333478473685416, 0.00015469729214118296, 1.5303700711365693e-05}
	erfcTerms = []float64{0.10540318203033634, -0.18586836689030814, 0.12585659653434228, -0.06251653007437803, 0.019961272465674706,
		-0.0019967974682697964, -0.0013212083489638413, 0.00043762974349903576, 0.00011424243640349026, -6.33934633719617e-05,
		-1.6922373212434446e-05, 7.606103431892275e-06, 2.9852157501710612e-06}
	erfTerms = []float64{1.1283791670824095, -0.37612638525650693, 0.11283774013179539, -0.026863143032249386, 0.005200413724335493,
		-0.0007694534279142308}
	tanhTerms = []float64{1, -1.0 / 3, 2.0 / 15, -17.0 / 315, 62.0 / 2835}
)

const (
	expShift = 0x1.8p52
	// expEnd keeps e^x a normal float64; the results of float32 are long 0 or infinite there.
	expEnd  = 700
	expMin  = -104
	erfcMid = 2.5
	erfcEnd = 26
	// far is a number beyond which functions with limits have reached them; unlike infinity it times 0 is 0.
	far        = 1e30
	geluScale  = 2 * 0.7978845608028654
	geluFactor = 0.044715
)

// exp is e^x for |x| <= expEnd: 2^k times a polynomial in f, where x log2(e) = k + f.
func (s isa) exp(x Op) vec {
	t := s.load64(c64(expShift))
	s.addProduct(t, x, c64(math.Log2E)) // k is in its low bits
	f := s.sub(t, c64(expShift))
	s.into(VFMSUB231PD, VFMSUB231PD_BCST, c64(math.Log2E), x, f)
	p := s.polynomial(f, exp2Terms...)
	VPSLLQ(Imm(52), t, t)
	VPADDQ(t, p, p)
	return p
}

// exp32 is e^x, 0 where it is 0 in float32.
func (s isa) exp32(x Op) vec {
	return s.keep(s.exp(s.clamp(x, -expEnd, expEnd)), x, notLess, c64(expMin))
}

func (s isa) abs(x Op) vec { return s.and(x, bits64(1<<63-1)) }

// logistic is e = e^-u and 1 + e for u given as -u.
func (s isa) logistic(minus Op) (e, d vec) {
	e = s.exp(s.clamp(minus, -expEnd, expEnd))
	return e, s.add(e, c64(1))
}

func (s isa) one() vec { return s.load64(c64(1)) }

// erfc is erfc(z)/2 and e^(-z^2) for z = min(|x|, erfcEnd): the first is the second times a polynomial in (z - erfcMid) / (z + erfcMid).
func (s isa) erfc(x Op) (half, e vec) {
	z := s.atMost(s.abs(x), erfcEnd)
	e = s.exp(s.mul(s.mul(z, z), c64(-1)))
	t := s.div(s.sub(z, c64(erfcMid)), s.add(z, c64(erfcMid)))
	return s.mul(s.polynomial(t, erfcTerms...), e), e
}

// normal is the normal distribution function and e^(-x^2/2).
func (s isa) normal(x Op) (phi, e vec) {
	h, e := s.erfc(s.mul(x, c64(1/math.Sqrt2)))
	return s.choose(x, less, c64(0), h, s.sub(s.one(), h)), e
}

func (s isa) tanh(x vec) vec {
	e := s.exp(s.clamp(s.add(x, x), -40, 40))
	far := s.div(s.sub(e, c64(1)), s.add(e, c64(1)))
	near := s.mul(x, s.polynomial(s.mul(x, x), tanhTerms...))
	return s.choose(s.abs(x), less, c64(1.0/16), near, far)
}

func (s isa) erf(x vec) vec {
	h, _ := s.erfc(x)
	far := s.sub(s.sub(s.one(), h), h)
	far = s.or(far, s.and(x, bits64(1<<63)))
	near := s.mul(x, s.polynomial(s.mul(x, x), erfTerms...))
	return s.choose(s.abs(x), less, c64(0.5), near, far)
}

// geluMinus is -2u for the tanh form of GELU, which is x times the logistic function of 2u = 2 sqrt(2/pi) (x + 0.044715 x^3).
func (s isa) geluMinus(x, square vec) vec {
	return s.mul(x, s.polynomial(square, -geluScale, -geluScale*geluFactor))
}

// functions are of one operand.
func functions() []*kernel {
	unary := func(name, formula string, f func(k *loop, x vec) vec) *kernel {
		return &kernel{name: name, signature: "func(dst, x *float32, n int)", doc: name + " computes dst = " + formula + ".", slices: []string{"dst", "x"},
			double: true, unroll: 1, body: func(k *loop) { k.store("dst", f(k, k.load("x"))) }}
	}
	silu := unary("asmSiLU", "x / (1 + e^-(alpha x))", func(k *loop, x vec) vec {
		x = k.atLeast(x, -far)
		_, d := k.logistic(k.mul(x, k.value["minus"]))
		return k.div(x, d)
	})
	silu.signature, silu.prepare = "func(dst, x *float32, n int, minus float64)", numbers("minus")
	return []*kernel{
		unary("asmExp", "e^x", func(k *loop, x vec) vec { return k.exp32(x) }),
		unary("asmTanh", "tanh(x)", func(k *loop, x vec) vec { return k.tanh(x) }),
		unary("asmErf", "erf(x)", func(k *loop, x vec) vec { return k.erf(x) }),
		unary("asmSigmoid", "1 / (1 + e^-x)", func(k *loop, x vec) vec {
			_, d := k.logistic(k.mul(x, c64(-1)))
			return k.div(k.one(), d)
		}),
		unary("asmGelu", "x times the normal distribution function", func(k *loop, x vec) vec {
			x = k.atLeast(x, -far)
			phi, _ := k.normal(x)
			return k.mul(x, phi)
		}),
		unary("asmGeluTanh", "x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))", func(k *loop, x vec) vec {
			x = k.atLeast(x, -far)
			_, d := k.logistic(k.geluMinus(x, k.mul(x, x)))
			return k.div(x, d)
		}),
		silu,
	}
}

// slopes are a gradient times a derivative at x.
func slopes() []*kernel {
	slope := func(name, formula string, f func(k *loop, x vec) vec) *kernel {
		return &kernel{name: name, signature: "func(dx, dy, x *float32, n int)", doc: name + " computes dx = dy times " + formula + ".",
			slices: []string{"dx", "dy", "x"}, double: true, unroll: 1,
			body: func(k *loop) { k.store("dx", k.mul(f(k, k.load("x")), k.load("dy"))) }}
	}
	silu := slope("asmSiLUGrad", "the derivative of x / (1 + e^-(alpha x))", func(k *loop, x vec) vec {
		x = k.clamp(x, -far, far)
		u := k.mul(x, k.value["minus"])
		e, d := k.logistic(u)
		s := k.div(k.one(), d)
		// s + alpha x s (1 - s), where 1 - s is e s.
		w := k.mul(k.mul(k.mul(e, s), s), u)
		return k.sub(s, w)
	})
	silu.signature, silu.prepare = "func(dx, dy, x *float32, n int, minus float64)", numbers("minus")
	return []*kernel{
		slope("asmErfGrad", "2/sqrt(pi) e^(-x^2)", func(k *loop, x vec) vec {
			e := k.exp(k.atLeast(k.mul(k.mul(x, x), c64(-1)), -expEnd))
			return k.mul(e, c64(2/math.SqrtPi))
		}),
		slope("asmGeluGrad", "the derivative of GELU", func(k *loop, x vec) vec {
			x = k.clamp(x, -far, far)
			phi, e := k.normal(x)
			k.addProduct(phi, k.mul(x, e), c64(1/(math.Sqrt2*math.SqrtPi)))
			return phi
		}),
		slope("asmGeluTanhGrad", "the derivative of the tanh form of GELU", func(k *loop, x vec) vec {
			x = k.clamp(x, -far, far)
			square := k.mul(x, x)
			e, d := k.logistic(k.geluMinus(x, square))
			s := k.div(k.one(), d)
			w := k.mul(k.mul(k.mul(e, s), s), k.mul(x, k.polynomial(square, geluScale, 3*geluScale*geluFactor)))
			return k.add(s, w)
		}),
		silu,
		slope("asmSigmoidMul", "1 / (1 + e^-x)", func(k *loop, x vec) vec {
			_, d := k.logistic(k.mul(x, c64(-1)))
			return k.div(k.one(), d)
		}),
	}
}
