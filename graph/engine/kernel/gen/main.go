// Command gen writes the assembly of the register tiles of matrix products. It is a module of its own, so that the generator's
// dependencies stay out of the product's. Run `go generate` in the kernel package.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tile describes a product of m rows with n vectors of columns. The accumulators of the largest fill all vector registers but those
// for n columns of b and two elements of a.
type tile struct {
	isa   string
	bytes int // of an element
	m     int
	n     int // in vectors
	width int // of a vector in bytes
}

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, isa := range []struct {
		name    string
		width   int
		heights []int
	}{{"AVX2", 32, []int{6, 4}}, {"AVX512", 64, []int{14, 12, 8, 4}}} {
		for _, bytes := range []int{4, 8} {
			for _, m := range isa.heights {
				for n := 2; n >= 1; n-- {
					tile{isa.name, bytes, m, n, isa.width}.emit()
				}
			}
		}
	}
	packing()
	Generate()
}

func (t tile) vector() reg.VecVirtual {
	if t.width == 64 {
		return ZMM()
	}
	return YMM()
}

func (t tile) emit() {
	// As in BLAS, s is single precision and d double.
	letter, elem := "s", "float32"
	if t.bytes == 8 {
		letter, elem = "d", "float64"
	}
	name := fmt.Sprintf("%stile%dx%d%s", letter, t.m, t.cols(), t.isa)
	TEXT(name, NOSPLIT, fmt.Sprintf("func(k int, a *%[1]s, lda, step int, b *%[1]s, ldb int, c *%[1]s, ldc int, d *%[1]s, ldd int, alpha, beta %[1]s, read bool)", elem))
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes c[i,j] = alpha * sum over p < k of a[i,p] * b[p,j], plus beta * d[i,j] if d is to be read.", name),
		"Rows of a, b, c and d are lda, ldb, ldc and ldd bytes apart, columns of a step bytes.")
	k := Load(Param("k"), GP64())
	a := t.rows()
	step := GP64()
	Load(Param("step"), step)
	b := Load(Param("b"), GP64())
	ldb := Load(Param("ldb"), GP64())
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	// The rows of c are needed when the sums are ready; they are often far away.
	row := GP64()
	MOVQ(c, row)
	sums := make([][]reg.VecVirtual, t.m)
	for i := range sums {
		for j := range t.n {
			v := t.vector()
			sums[i] = append(sums[i], v)
			if t.width == 64 {
				VPXORD(v, v, v)
			} else {
				VXORPS(v, v, v)
			}
			if j*t.width%64 == 0 {
				PREFETCHT0(Mem{Base: row, Disp: j * t.width})
			}
		}
		ADDQ(ldc, row)
	}
	loop := name + "_loop"
	Label(loop)
	cols := make([]reg.VecVirtual, t.n)
	for j := range cols {
		cols[j] = t.vector()
		VMOVUPS(Mem{Base: b, Disp: j * t.width}, cols[j])
	}
	for i, row := range sums {
		x := t.vector()
		t.broadcast(a.at(i), x)
		for j, s := range row {
			t.fma(x, cols[j], s)
		}
	}
	a.advance(step)
	ADDQ(ldb, b)
	DECQ(k)
	JNZ(LabelRef(loop))
	t.store(name, sums, c, ldc)
}

// rows addresses up to 14 rows of a with two bases, seven rows apart, and multiples of lda.
type rows struct {
	base []reg.GPVirtual
	ld   [6]reg.GPVirtual // 1, 3 and 5 times lda
}

func (t tile) rows() rows {
	r := rows{base: []reg.GPVirtual{GP64()}}
	Load(Param("a"), r.base[0])
	for _, n := range []int{1, 3, 5} {
		r.ld[n] = GP64()
	}
	Load(Param("lda"), r.ld[1])
	LEAQ(Mem{Base: r.ld[1], Index: r.ld[1], Scale: 2}, r.ld[3])
	if t.m > 5 {
		LEAQ(Mem{Base: r.ld[1], Index: r.ld[1], Scale: 4}, r.ld[5])
	}
	if t.m > 7 {
		r.base = append(r.base, GP64())
		LEAQ(Mem{Base: r.base[0], Index: r.ld[3], Scale: 2}, r.base[1])
		ADDQ(r.ld[1], r.base[1])
	}
	return r
}

// at is where row i is.
func (r rows) at(i int) Mem {
	base, n := r.base[i/7], i%7
	switch n {
	case 0:
		return Mem{Base: base}
	case 1, 2, 4:
		return Mem{Base: base, Index: r.ld[1], Scale: uint8(n)}
	case 3, 6:
		return Mem{Base: base, Index: r.ld[3], Scale: uint8(n / 3)}
	}
	return Mem{Base: base, Index: r.ld[5], Scale: 1}
}

func (r rows) advance(step reg.GPVirtual) {
	for _, b := range r.base {
		ADDQ(step, b)
	}
}

// store writes alpha times the sums, plus beta times what is in d.
func (t tile) store(name string, sums [][]reg.VecVirtual, c, ldc reg.Register) {
	write := name + "_write"
	alpha, beta := t.vector(), t.vector()
	t.broadcast(t.param("alpha"), alpha)
	t.broadcast(t.param("beta"), beta)
	read := Load(Param("read"), GP8())
	TESTB(read, read)
	JZ(LabelRef(write))
	d, ldd := Load(Param("d"), GP64()), Load(Param("ldd"), GP64())
	for i, row := range sums {
		for j, s := range row {
			t.mul(alpha, s)
			t.fma(Mem{Base: d, Disp: j * t.width}, beta, s)
			VMOVUPS(s, Mem{Base: c, Disp: j * t.width})
		}
		if i < t.m-1 {
			ADDQ(ldc, c)
			ADDQ(ldd, d)
		}
	}
	VZEROUPPER()
	RET()
	Label(write)
	for i, row := range sums {
		for j, s := range row {
			t.mul(alpha, s)
			VMOVUPS(s, Mem{Base: c, Disp: j * t.width})
		}
		if i < t.m-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

func (t tile) param(name string) Op {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

func (t tile) cols() int { return t.n * t.width / t.bytes }

func (t tile) broadcast(from, to Op) {
	if t.bytes == 4 {
		VBROADCASTSS(from, to)
	} else {
		VBROADCASTSD(from, to)
	}
}

func (t tile) mul(x, y Op) {
	if t.bytes == 4 {
		VMULPS(x, y, y)
	} else {
		VMULPD(x, y, y)
	}
}

func (t tile) fma(x, y, sum Op) {
	if t.bytes == 4 {
		VFMADD231PS(x, y, sum)
	} else {
		VFMADD231PD(x, y, sum)
	}
}
