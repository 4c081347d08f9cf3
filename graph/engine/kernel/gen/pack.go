package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// packing writes what brings float32 matrices into panels.
func packing() {
	turn(8)
	turn(4)
	strip(8, 1)
	strip(4, 1)
	strip(32, 4)
}

// wide is a vector of n float32, 4 or 8.
func wide(n int) reg.VecVirtual {
	if n == 8 {
		return YMM()
	}
	return XMM()
}

// turn transposes n rows, n columns at a time. Lanes of 16 bytes are transposed on their own, so that with 8 rows each lane gets
// four of them.
func turn(n int) {
	name := fmt.Sprintf("transpose%dAVX2", n)
	TEXT(name, NOSPLIT, "func(blocks int, dst *float32, ldd int, src *float32, lds int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s copies %d rows of src, lds bytes apart, to the columns of dst, whose rows are ldd bytes apart: blocks times %d columns.", name, n, n))
	blocks := Load(Param("blocks"), GP64())
	dst := Load(Param("dst"), GP64())
	ldd := Load(Param("ldd"), GP64())
	src := Load(Param("src"), GP64())
	lds := Load(Param("lds"), GP64())
	src3, dst3, src4, dst4 := GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: lds, Index: lds, Scale: 2}, src3)
	LEAQ(Mem{Base: ldd, Index: ldd, Scale: 2}, dst3)
	LEAQ(Mem{Base: src, Index: lds, Scale: 4}, src4)
	LEAQ(Mem{Base: dst, Index: ldd, Scale: 4}, dst4)
	row := func(base, ld, ld3 reg.Register, r, disp int) Mem {
		switch r {
		case 0:
			return Mem{Base: base, Disp: disp}
		case 3:
			return Mem{Base: base, Index: ld3, Scale: 1, Disp: disp}
		}
		return Mem{Base: base, Index: ld, Scale: uint8(r), Disp: disp}
	}
	loop := name + "_loop"
	Label(loop)
	for half := 0; half < n; half += 4 {
		t := make([]reg.VecVirtual, 4)
		for r := range t {
			t[r] = wide(n)
			if n == 4 {
				VMOVUPS(row(src, lds, src3, r, 0), t[r])
				continue
			}
			VMOVUPS(row(src, lds, src3, r, 4*half), t[r].AsX())
			VINSERTF128(Imm(1), row(src4, lds, src3, r, 4*half), t[r], t[r])
		}
		ab, cd := wide(n), wide(n)
		at := dst
		if half == 4 {
			at = dst4
		}
		for c, unpack := range []func(...Op){func(o ...Op) { VUNPCKLPS(o[0], o[1], o[2]) }, func(o ...Op) { VUNPCKHPS(o[0], o[1], o[2]) }} {
			unpack(t[1], t[0], ab)
			unpack(t[3], t[2], cd)
			low, high := wide(n), wide(n)
			VUNPCKLPD(cd, ab, low)
			VUNPCKHPD(cd, ab, high)
			VMOVUPS(low, row(at, ldd, dst3, 2*c, 0))
			VMOVUPS(high, row(at, ldd, dst3, 2*c+1, 0))
		}
	}
	ADDQ(Imm(uint64(4*n)), src)
	ADDQ(Imm(uint64(4*n)), src4)
	LEAQ(Mem{Base: dst, Index: ldd, Scale: uint8(n)}, dst)
	LEAQ(Mem{Base: dst4, Index: ldd, Scale: uint8(n)}, dst4)
	DECQ(blocks)
	JNZ(LabelRef(loop))
	VZEROUPPER()
	RET()
}

// strip copies n columns, as so many vectors.
func strip(n, vectors int) {
	name := fmt.Sprintf("strip%dAVX2", n)
	TEXT(name, NOSPLIT, "func(rows int, dst *float32, ldd int, src *float32, lds int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s copies %d columns; rows of dst and src are ldd and lds bytes apart.", name, n))
	rows := Load(Param("rows"), GP64())
	dst := Load(Param("dst"), GP64())
	ldd := Load(Param("ldd"), GP64())
	src := Load(Param("src"), GP64())
	lds := Load(Param("lds"), GP64())
	loop := name + "_loop"
	Label(loop)
	v := make([]reg.VecVirtual, vectors)
	for i := range v {
		v[i] = wide(n / vectors)
		VMOVUPS(Mem{Base: src, Disp: 32 * i}, v[i])
	}
	for i := range v {
		VMOVUPS(v[i], Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(lds, src)
	ADDQ(ldd, dst)
	DECQ(rows)
	JNZ(LabelRef(loop))
	VZEROUPPER()
	RET()
}
