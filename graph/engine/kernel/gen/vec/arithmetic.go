package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const turn = 4 // vectors a turn of kernels that are bound by memory

type vec = reg.VecVirtual

// elementwise is a kernel in float32 lanes.
func elementwise(name, signature, formula string, slices []string, prepare, body func(k *loop)) *kernel {
	return &kernel{name: name, signature: signature, doc: name + " computes " + formula + ".", slices: slices, unroll: turn, prepare: prepare, body: body}
}

func numbers(params ...string) func(*loop) {
	return func(k *loop) {
		for _, p := range params {
			k.number(p)
		}
	}
}

func arithmetic() []*kernel {
	const (
		two    = "func(dst, a, b *float32, n int)"
		one    = "func(dst, x *float32, n int)"
		scalar = "func(dst, x *float32, n int, s float32)"
	)
	binary := func(name, formula string, f func(s isa, a, b Op) vec) *kernel {
		return elementwise(name, two, formula, []string{"dst", "a", "b"}, nil,
			func(k *loop) { k.store("dst", f(k.isa, k.load("a"), k.load("b"))) })
	}
	withScalar := func(name, formula string, f func(s isa, x, c Op) vec) *kernel {
		return elementwise(name, scalar, formula, []string{"dst", "x"}, numbers("s"),
			func(k *loop) { k.store("dst", f(k.isa, k.load("x"), k.value["s"])) })
	}
	unary := func(name, formula string, f func(k *loop, x vec) vec) *kernel {
		return elementwise(name, one, formula, []string{"dst", "x"}, nil,
			func(k *loop) { k.store("dst", f(k, k.load("x"))) })
	}
	return []*kernel{
		binary("asmAdd", "dst = a + b", isa.add32),
		binary("asmSub", "dst = a - b", isa.sub32),
		binary("asmMul", "dst = a * b", isa.mul32),
		binary("asmDiv", "dst = a / b", isa.div32),
		withScalar("asmAddScalar", "dst = x + s", isa.add32),
		withScalar("asmScale", "dst = x * s", isa.mul32),
		withScalar("asmDivScalar", "dst = x / s", isa.div32),
		withScalar("asmScalarSub", "dst = s - x", func(s isa, x, c Op) vec { return s.sub32(c, x) }),
		withScalar("asmScalarDiv", "dst = s / x", func(s isa, x, c Op) vec { return s.div32(c, x) }),
		elementwise("asmMulAdd", "func(dst, a, b, c *float32, n int)", "dst = a * b + c", []string{"dst", "a", "b", "c"}, nil,
			func(k *loop) { k.store("dst", k.add32(k.mul32(k.load("a"), k.load("b")), k.load("c"))) }),
		elementwise("asmAxpy", "func(y, x *float32, n int, s float32)", "y += s * x", []string{"y", "x"}, numbers("s"),
			func(k *loop) { k.store("y", k.add32(k.load("y"), k.mul32(k.value["s"], k.load("x")))) }),
		elementwise("asmMulDiff", "func(dst, a, b *float32, n int, s float32)", "dst = a * (b - s)", []string{"dst", "a", "b"}, numbers("s"),
			func(k *loop) { k.store("dst", k.mul32(k.load("a"), k.sub32(k.load("b"), k.value["s"]))) }),
		elementwise("asmNormGrad", "func(dst, a, b *float32, n int, scale, shift, slope float32)", "dst = scale * (a - shift - b * slope)",
			[]string{"dst", "a", "b"}, numbers("scale", "shift", "slope"),
			func(k *loop) {
				d := k.sub32(k.sub32(k.load("a"), k.value["shift"]), k.mul32(k.load("b"), k.value["slope"]))
				k.store("dst", k.mul32(k.value["scale"], d))
			}),
		elementwise("asmRotate", "func(y0, y1, x0, x1, c, s *float32, n int)", "y0 = c * x0 - s * x1 and y1 = s * x0 + c * x1",
			[]string{"y0", "y1", "x0", "x1", "c", "s"}, nil,
			func(k *loop) {
				u, v, c, s := k.load("x0"), k.load("x1"), k.load("c"), k.load("s")
				k.store("y0", k.sub32(k.mul32(c, u), k.mul32(s, v)))
				k.store("y1", k.add32(k.mul32(s, u), k.mul32(c, v)))
			}),
		unary("asmRelu", "dst = max(x, 0)", func(k *loop, x vec) vec {
			// Of two zeros the maximum is the second operand, so -0 stays; adding 0 makes it 0.
			return k.add32(k.max32(k.load32(c32(0)), x), c32(0))
		}),
		unary("asmSqrt", "dst = sqrt(x)", func(k *loop, x vec) vec { return k.sqrt32(x) }),
		unary("asmReciprocal", "dst = 1 / x", func(k *loop, x vec) vec { return k.div32(k.load32(c32(1)), x) }),
		elementwise("asmTanhGrad", two, "dst = a * (1 - b) * (1 + b)", []string{"dst", "a", "b"}, nil, func(k *loop) {
			y, one := k.load("b"), k.load32(c32(1))
			k.store("dst", k.mul32(k.load("a"), k.mul32(k.sub32(one, y), k.add32(one, y))))
		}),
		elementwise("asmSigmoidGrad", two, "dst = a * b * (1 - b)", []string{"dst", "a", "b"}, nil, func(k *loop) {
			y := k.load("b")
			k.store("dst", k.mul32(k.load("a"), k.mul32(y, k.sub32(k.load32(c32(1)), y))))
		}),
		elementwise("asmReluGrad", two, "dst = a where b > 0 or is a NaN, 0 elsewhere", []string{"dst", "a", "b"}, nil,
			func(k *loop) { k.store("dst", k.keepPositive32(k.load("a"), k.load("b"))) }),
		{name: "asmNormalize", signature: "func(dst, x *float32, n int, mean, scale float64)", doc: "asmNormalize computes dst = (x - mean) * scale in float64.",
			slices: []string{"dst", "x"}, double: true, unroll: turn, prepare: numbers("mean", "scale"),
			body: func(k *loop) { k.store("dst", k.mul(k.sub(k.load("x"), k.value["mean"]), k.value["scale"])) }},
		{name: "asmAddWide", signature: "func(dst *float64, x *float32, n int)", doc: "asmAddWide computes dst += x.",
			slices: []string{"dst", "x"}, double: true, unroll: turn,
			body: func(k *loop) { k.storeDouble("dst", k.add(k.loadDouble("dst"), k.load("x"))) }},
	}
}

func sums() []*kernel {
	sum := func(name, signature, formula string, slices []string, prepare func(*loop), add func(k *loop, sum vec)) *kernel {
		return &kernel{name: name, signature: signature, doc: name + " is the sum of " + formula + " in float64.", slices: slices,
			double: true, unroll: turn,
			prepare: func(k *loop) {
				if prepare != nil {
					prepare(k)
				}
				k.accumulate()
			},
			body:   func(k *loop) { add(k, k.sums[k.vec]) },
			finish: (*loop).total,
		}
	}
	return []*kernel{
		sum("asmSum", "func(x *float32, n int) float64", "x", []string{"x"}, nil,
			func(k *loop, s vec) { VADDPD(k.load("x"), s, s) }),
		sum("asmDot", "func(a, b *float32, n int) float64", "a * b", []string{"a", "b"}, nil,
			func(k *loop, s vec) { k.addProduct(s, k.load("a"), k.load("b")) }),
		sum("asmSumSq", "func(x *float32, n int, mean float64) float64", "(x - mean)^2", []string{"x"}, numbers("mean"),
			func(k *loop, s vec) {
				d := k.present(k.sub(k.load("x"), k.value["mean"]))
				k.addProduct(s, d, d)
			}),
		sum("asmExpSum", "func(dst, x *float32, n int, top float64) float64", "dst = e^(x - top), before it is rounded", []string{"dst", "x"}, numbers("top"),
			func(k *loop, s vec) {
				e := k.exp32(k.sub(k.load("x"), k.value["top"]))
				k.store("dst", e)
				VADDPD(k.present(e), s, s)
			}),
		{name: "asmMax", signature: "func(x *float32, n int) float32", doc: "asmMax is the largest element, NaNs apart; -Inf if there is none.",
			slices: []string{"x"}, unroll: turn,
			prepare: func(k *loop) {
				for range k.unroll {
					k.sums = append(k.sums, k.load32(c32(negInf)))
				}
			},
			body: func(k *loop) {
				v, top := k.load("x"), k.sums[k.vec]
				if k.masked {
					v = k.presentOr(v, top)
				}
				VMAXPS(top, v, top) // the second operand in Intel's order wins over a NaN
			},
			finish: func(k *loop) {
				for _, v := range k.sums[1:] {
					VMAXPS(v, k.sums[0], k.sums[0])
				}
				Store(k.fold(k.sums[0], 4, VMAXPS), ReturnIndex(0))
			}},
	}
}
