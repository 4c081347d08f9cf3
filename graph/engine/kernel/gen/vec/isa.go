package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is an instruction set with vectors of width bytes: 64 is AVX-512, 32 AVX2 with FMA. Its methods emit one operation each and
// return a new register. An operand is a register or a constant (c32, c64).
type isa struct{ width int }

func (s isa) wide() bool { return s.width == 64 }

func (s isa) vector() reg.VecVirtual {
	if s.wide() {
		return ZMM()
	}
	return YMM()
}

// half is a vector of half the width.
func (s isa) half() reg.VecVirtual {
	if s.wide() {
		return YMM()
	}
	return XMM()
}

// constants holds the numbers in use. Each fills 32 bytes, an operand of AVX2; AVX-512 broadcasts the first.
var constants = map[string]Mem{}

func constant(name string, value func()) Mem {
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		value()
		constants[name] = m
	}
	return m
}

// c64 is a float64 in each lane.
func c64(v float64) Mem { return bits64(math.Float64bits(v)) }

func bits64(b uint64) Mem {
	return constant(fmt.Sprintf("f64_%016x", b), func() {
		for i := range 4 {
			DATA(8*i, U64(b))
		}
	})
}

// c32 is a float32 in each lane.
func c32(v float32) Mem {
	b := math.Float32bits(v)
	return constant(fmt.Sprintf("f32_%08x", b), func() {
		for i := range 8 {
			DATA(4*i, U32(b))
		}
	})
}

type instruction func(...Op)

// emit is d = f(a, b) in Intel's order; b may be a constant.
func (s isa) emit(f, broadcast instruction, a, b Op) reg.VecVirtual {
	d := s.vector()
	s.into(f, broadcast, b, a, d)
	return d
}

func (s isa) into(f, broadcast instruction, operands ...Op) {
	if _, ok := operands[0].(Mem); ok && s.wide() {
		broadcast(operands...)
		return
	}
	f(operands...)
}

func (s isa) add(a, b Op) reg.VecVirtual { return s.emit(VADDPD, VADDPD_BCST, a, b) }
func (s isa) sub(a, b Op) reg.VecVirtual { return s.emit(VSUBPD, VSUBPD_BCST, a, b) }
func (s isa) mul(a, b Op) reg.VecVirtual { return s.emit(VMULPD, VMULPD_BCST, a, b) }
func (s isa) div(a, b Op) reg.VecVirtual { return s.emit(VDIVPD, VDIVPD_BCST, a, b) }
func (s isa) and(a, b Op) reg.VecVirtual { return s.emit(VANDPD, VANDPD_BCST, a, b) }
func (s isa) or(a, b Op) reg.VecVirtual  { return s.emit(VORPD, VORPD_BCST, a, b) }

func (s isa) add32(a, b Op) reg.VecVirtual { return s.emit(VADDPS, VADDPS_BCST, a, b) }
func (s isa) sub32(a, b Op) reg.VecVirtual { return s.emit(VSUBPS, VSUBPS_BCST, a, b) }
func (s isa) mul32(a, b Op) reg.VecVirtual { return s.emit(VMULPS, VMULPS_BCST, a, b) }
func (s isa) div32(a, b Op) reg.VecVirtual { return s.emit(VDIVPS, VDIVPS_BCST, a, b) }

// max32 is the larger of a and b, b if either is a NaN.
func (s isa) max32(a, b Op) reg.VecVirtual { return s.emit(VMAXPS, VMAXPS_BCST, a, b) }

func (s isa) sqrt32(a Op) reg.VecVirtual {
	d := s.vector()
	VSQRTPS(a, d)
	return d
}

// clamp limits x to [lo, hi]; a NaN stays.
func (s isa) clamp(x Op, lo, hi float64) reg.VecVirtual {
	return s.atMost(s.atLeast(x, lo), hi)
}

func (s isa) atLeast(x Op, lo float64) reg.VecVirtual {
	return s.emit(VMAXPD, VMAXPD_BCST, s.load64(c64(lo)), x)
}

func (s isa) atMost(x Op, hi float64) reg.VecVirtual {
	return s.emit(VMINPD, VMINPD_BCST, s.load64(c64(hi)), x)
}

// load64 puts a constant into a register.
func (s isa) load64(m Mem) reg.VecVirtual {
	d := s.vector()
	VBROADCASTSD(m, d)
	return d
}

// load32 puts a constant into a register.
func (s isa) load32(m Mem) reg.VecVirtual {
	d := s.vector()
	VBROADCASTSS(m, d)
	return d
}

// horner is p * x + c, in p.
func (s isa) horner(p reg.VecVirtual, x, c Op) {
	s.into(VFMADD213PD, VFMADD213PD_BCST, c, x, p)
}

// addProduct is sum += a * b.
func (s isa) addProduct(sum reg.VecVirtual, a, b Op) {
	s.into(VFMADD231PD, VFMADD231PD_BCST, b, a, sum)
}

// polynomial is the sum of c[i] x^i.
func (s isa) polynomial(x Op, c ...float64) reg.VecVirtual {
	p := s.load64(c64(c[len(c)-1]))
	for i := len(c) - 2; i >= 0; i-- {
		s.horner(p, x, c64(c[i]))
	}
	return p
}

// Comparisons: less is false for NaN, the others true.
const (
	less      = 17
	notLess   = 21
	notAtMost = 22
)

// choose is yes where a compares to the constant, no elsewhere.
func (s isa) choose(a Op, how uint64, limit Mem, yes, no Op) reg.VecVirtual {
	d := s.vector()
	if s.wide() {
		k := K()
		VCMPPD_BCST(Imm(how), limit, a, k)
		VBLENDMPD(yes, no, k, d)
		return d
	}
	m := s.vector()
	VCMPPD(Imm(how), limit, a, m)
	VBLENDVPD(m, yes, no, d)
	return d
}

// keep is v where a compares to the constant, 0 elsewhere.
func (s isa) keep(v, a Op, how uint64, limit Mem) reg.VecVirtual {
	d := s.vector()
	if s.wide() {
		k := K()
		VCMPPD_BCST(Imm(how), limit, a, k)
		VMOVAPD_Z(v, k, d)
		return d
	}
	VCMPPD(Imm(how), limit, a, d)
	VANDPD(v, d, d)
	return d
}

// keepPositive32 is v where a is not at most 0 (also for NaN), 0 elsewhere.
func (s isa) keepPositive32(v, a Op) reg.VecVirtual {
	d, zero := s.vector(), s.load32(c32(0))
	if s.wide() {
		k := K()
		VCMPPS(Imm(notAtMost), zero, a, k)
		VMOVAPS_Z(v, k, d)
		return d
	}
	VCMPPS(Imm(notAtMost), zero, a, d)
	VANDPS(v, d, d)
	return d
}

// fold combines the two halves of a vector until one lane is left, in the lowest lane of an XMM register.
func (s isa) fold(v reg.VecVirtual, lanesOf int, f instruction) reg.Register {
	y := v.AsY()
	if s.wide() {
		h, r := YMM(), YMM()
		VEXTRACTF64X4(Imm(1), v, h)
		f(h, y, r)
		y = r
	}
	x, r := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, x)
	f(x, y.(reg.Vec).AsX(), r)
	x = XMM()
	VPERMILPD(Imm(1), r, x)
	sum := XMM()
	f(x, r, sum)
	if lanesOf == 8 {
		return sum
	}
	x, r = XMM(), XMM()
	VPERMILPS(Imm(1), sum, x)
	f(x, sum, r)
	return r
}
