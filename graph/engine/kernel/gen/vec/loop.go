package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// kernel is a loop over n elements of float32 slices. Its last elements are loaded and stored under a mask, so that they go through
// the instructions of all others.
type kernel struct {
	name, signature, doc string
	slices               []string // parameters that point to n elements
	double               bool     // lanes are float64, converted at loads and stores
	unroll               int      // how many vectors one turn of the loop has
	prepare              func(k *loop)
	body                 func(k *loop)
	finish               func(k *loop)
}

// loop is a kernel being emitted for one instruction set.
type loop struct {
	isa
	*kernel
	base   map[string]reg.Register
	index  reg.GPVirtual
	vec    int  // which vector of the turn
	masked bool // these are the last elements
	k      reg.Register
	m      reg.Register // AVX2: the mask of float32 lanes
	m64    reg.VecVirtual
	value  map[string]reg.VecVirtual // what prepare made
	sums   []reg.VecVirtual          // accumulators, one per vector of a turn
}

func (k *kernel) emit() {
	TEXT(k.name, NOSPLIT, k.signature)
	Doc(k.doc)
	n := Load(Param("n"), GP64())
	base := map[string]reg.Register{}
	for _, s := range k.slices {
		base[s] = Load(Param(s), GP64())
	}
	CMPQ(NewDataAddr(Symbol{Name: "·vecLevel"}, 0), Imm(2))
	JNE(LabelRef("avx2"))
	k.loop(isa{64}, n, base, "avx512")
	Label("avx2")
	k.loop(isa{32}, n, base, "avx2")
}

func (k *kernel) lanes(s isa) int {
	if k.double {
		return s.width / 8
	}
	return s.width / 4
}

func (k *kernel) loop(s isa, n reg.Register, base map[string]reg.Register, label string) {
	l := &loop{isa: s, kernel: k, base: base, index: GP64(), value: map[string]reg.VecVirtual{}}
	if k.prepare != nil {
		k.prepare(l)
	}
	XORQ(l.index, l.index)
	if k.unroll > 1 {
		l.turns(n, k.unroll, label+"_turn", label+"_one")
	}
	l.turns(n, 1, label+"_one", label+"_rest")
	Label(label + "_rest")
	rest := GP64()
	MOVQ(n, rest)
	SUBQ(l.index, rest)
	JZ(LabelRef(label + "_done"))
	l.mask(rest)
	l.masked, l.vec = true, 0
	k.body(l)
	Label(label + "_done")
	if k.finish != nil {
		k.finish(l)
	}
	VZEROUPPER()
	RET()
}

// turns emits the loop over as many vectors a turn, which goes on at next.
func (l *loop) turns(n reg.Register, vectors int, label, next string) {
	Label(label)
	end := GP64()
	LEAQ(Mem{Base: l.index, Disp: vectors * l.lanes(l.isa)}, end)
	CMPQ(end, n)
	JG(LabelRef(next))
	for l.vec = range vectors {
		l.body(l)
	}
	MOVQ(end, l.index)
	JMP(LabelRef(label))
}

// mask prepares loads and stores of the first elements only.
func (l *loop) mask(rest reg.GPVirtual) {
	if l.wide() {
		ones := GP64()
		MOVQ(I64(-1), ones)
		BZHIQ(rest, ones, ones)
		k := K()
		KMOVW(ones.As32(), k)
		l.k = k
		return
	}
	// Eight lanes of ones, then eight of zeros: those before the end of the ones.
	table := constant("mask", func() {
		for i := range 8 {
			DATA(4*i, U32(0xffffffff))
		}
		for i := 8; i < 16; i++ {
			DATA(4*i, U32(0))
		}
	})
	at := GP64()
	LEAQ(table, at)
	NEGQ(rest)
	from := Mem{Base: at, Index: rest, Scale: 4, Disp: 32}
	if !l.double {
		m := YMM()
		VMOVUPS(from, m)
		l.m = m
		return
	}
	m := XMM()
	VMOVUPS(from, m)
	l.m, l.m64 = m, YMM()
	VPMOVSXDQ(m, l.m64)
}

func (l *loop) at(slice string, bytes int) Mem {
	return Mem{Base: l.base[slice], Index: l.index, Scale: uint8(bytes), Disp: l.vec * l.lanes(l.isa) * bytes}
}

// load is the elements of a slice, as float64 if the kernel computes in that. Masked ones are 0.
func (l *loop) load(slice string) reg.VecVirtual {
	d, from := l.vector(), Op(l.at(slice, 4))
	switch {
	case l.double && l.masked && l.wide():
		VCVTPS2PD_Z(from, l.k, d)
	case l.double && l.masked:
		x := XMM()
		VMASKMOVPS(from, l.m, x)
		VCVTPS2PD(x, d)
	case l.double:
		VCVTPS2PD(from, d)
	case l.masked && l.wide():
		VMOVUPS_Z(from, l.k, d)
	case l.masked:
		VMASKMOVPS(from, l.m, d)
	default:
		VMOVUPS(from, d)
	}
	return d
}

// store writes elements of a slice; it rounds float64.
func (l *loop) store(slice string, v reg.VecVirtual) {
	to, from := l.at(slice, 4), Op(v)
	if l.double {
		h := l.half()
		if l.wide() {
			VCVTPD2PS(v, h)
		} else {
			VCVTPD2PSY(v, h)
		}
		from = h
	}
	switch {
	case l.masked && l.wide():
		VMOVUPS(from, l.k, to)
	case l.masked:
		VMASKMOVPS(from, l.m, to)
	default:
		VMOVUPS(from, to)
	}
}

// loadDouble is the elements of a slice of float64.
func (l *loop) loadDouble(slice string) reg.VecVirtual {
	d, from := l.vector(), l.at(slice, 8)
	switch {
	case l.masked && l.wide():
		VMOVUPD_Z(from, l.k, d)
	case l.masked:
		VMASKMOVPD(from, l.m64, d)
	default:
		VMOVUPD(from, d)
	}
	return d
}

func (l *loop) storeDouble(slice string, v reg.VecVirtual) {
	to := l.at(slice, 8)
	switch {
	case l.masked && l.wide():
		VMOVUPD(v, l.k, to)
	case l.masked:
		VMASKMOVPD(v, l.m64, to)
	default:
		VMOVUPD(v, to)
	}
}

// present is v with 0 for the lanes that are not there.
func (l *loop) present(v reg.VecVirtual) reg.VecVirtual {
	if !l.masked {
		return v
	}
	d := l.vector()
	if l.wide() {
		VMOVAPD_Z(v, l.k, d)
	} else {
		VANDPD(l.m64, v, d)
	}
	return d
}

// presentOr is float32 lanes v with other for those that are not there.
func (l *loop) presentOr(v, other reg.VecVirtual) reg.VecVirtual {
	if !l.masked {
		return v
	}
	d := l.vector()
	if l.wide() {
		VBLENDMPS(v, other, l.k, d)
	} else {
		VBLENDVPS(l.m, v, other, d)
	}
	return d
}

// number reads a parameter into all lanes.
func (l *loop) number(param string) {
	x, v := XMM(), l.vector()
	Load(Param(param), x)
	if l.double {
		VBROADCASTSD(x, v)
	} else {
		VBROADCASTSS(x, v)
	}
	l.value[param] = v
}

// accumulate prepares a sum for every vector of a turn.
func (l *loop) accumulate() {
	for range l.unroll {
		v := l.vector()
		VXORPD(v.AsY(), v.AsY(), v.AsY())
		l.sums = append(l.sums, v)
	}
}

// total returns the sum of all lanes of all accumulators.
func (l *loop) total() {
	for len(l.sums) > 1 {
		h := len(l.sums) / 2
		for i := range h {
			VADDPD(l.sums[h+i], l.sums[i], l.sums[i])
		}
		l.sums = l.sums[:h]
	}
	Store(l.fold(l.sums[0], 8, VADDPD), ReturnIndex(0))
}
