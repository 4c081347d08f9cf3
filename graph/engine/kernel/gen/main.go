// Command gen writes the assembly of the register tiles of matrix products. It is a module of its own, so that the generator's
// dependencies stay out of the product's. Run `go generate` in the kernel package.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tile describes acc[m][n] = a panel of m rows times a panel of n columns. The accumulators fill all vector registers but those
// for n columns of b and, without broadcast operands, one element of a.
type tile struct {
	name  string
	bytes int // of an element
	m     int
	n     int // in vectors
	width int // of a vector in bytes
}

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, t := range []tile{
		{"tile6x16AVX2", 4, 6, 2, 32},
		{"tile6x8AVX2", 8, 6, 2, 32},
		{"tile14x32AVX512", 4, 14, 2, 64},
		{"tile14x16AVX512", 8, 14, 2, 64},
	} {
		t.emit()
	}
	Generate()
}

func (t tile) vector() reg.VecVirtual {
	if t.width == 64 {
		return ZMM()
	}
	return YMM()
}

func (t tile) emit() {
	elem := map[int]string{4: "float32", 8: "float64"}[t.bytes]
	TEXT(t.name, NOSPLIT, fmt.Sprintf("func(k int, a, b, acc *%s)", elem))
	Doc(fmt.Sprintf("%s computes acc[i*%d+j] = sum over p < k of a[p*%d+i] * b[p*%d+j].", t.name, t.cols(), t.m, t.cols()))
	k := Load(Param("k"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	acc := Load(Param("acc"), GP64())
	sums := make([][]reg.VecVirtual, t.m)
	for i := range sums {
		for range t.n {
			v := t.vector()
			sums[i] = append(sums[i], v)
			if t.width == 64 {
				VPXORD(v, v, v)
			} else {
				VXORPS(v, v, v)
			}
		}
	}
	loop, done := t.name+"_loop", t.name+"_done"
	TESTQ(k, k)
	JZ(LabelRef(done))
	Label(loop)
	cols := make([]reg.VecVirtual, t.n)
	for j := range cols {
		cols[j] = t.vector()
		VMOVUPS(Mem{Base: b, Disp: j * t.width}, cols[j])
	}
	for i, row := range sums {
		from := Mem{Base: a, Disp: i * t.bytes}
		x := Op(from)
		if t.width == 32 {
			v := t.vector()
			if t.bytes == 4 {
				VBROADCASTSS(from, v)
			} else {
				VBROADCASTSD(from, v)
			}
			x = v
		}
		for j, s := range row {
			t.fma(x, cols[j], s)
		}
	}
	ADDQ(Imm(uint64(t.m*t.bytes)), a)
	ADDQ(Imm(uint64(t.n*t.width)), b)
	DECQ(k)
	JNZ(LabelRef(loop))
	Label(done)
	for i, row := range sums {
		for j, s := range row {
			VMOVUPS(s, Mem{Base: acc, Disp: (i*t.n + j) * t.width})
		}
	}
	VZEROUPPER()
	RET()
}

func (t tile) cols() int { return t.n * t.width / t.bytes }

func (t tile) fma(x, y, sum Op) {
	switch {
	case t.width == 64 && t.bytes == 4:
		VFMADD231PS_BCST(x, y, sum)
	case t.width == 64:
		VFMADD231PD_BCST(x, y, sum)
	case t.bytes == 4:
		VFMADD231PS(x, y, sum)
	default:
		VFMADD231PD(x, y, sum)
	}
}
