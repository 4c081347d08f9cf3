package kernel

import (
	"math/bits"
	"sync"
)

// Blocking of the matrix product. A packed block of A (blockM x blockK) stays in the second-level cache, a packed panel of B
// (blockK x tileN) in the first.
const (
	blockM = 84 // a multiple of every tile's rows
	blockK = 256
	blockN = 2048
	// grainN is how many columns one unit of parallel work has; products with few rows are still cut along the columns.
	grainN = 256
)

// Gemm computes C = alpha * op(A) * op(B) + beta * C for row-major matrices: op(A) is m x k, op(B) is k x n and C is m x n, with
// row strides lda, ldb and ldc; op transposes where transA or transB is set. With beta 0, C is written without being read.
// Every element of C is summed over k in ascending order inside blocks of fixed size, so the result is the same for any number
// of threads.
func Gemm[T Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	gemmOf(threads, transA, transB, m, n, k, alpha, a, lda, matrix[T]{own: b, ld: ldb}, beta, c, ldc)
}

// GemmStored is Gemm with a matrix B as it is stored, whose first element is number off. The result has the bits that Gemm gives
// for the widened matrix, which never exists: panels are widened as they are packed.
func GemmStored[T Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b Stored, off, ldb int, beta T, c []T, ldc int) {
	gemmOf(threads, transA, transB, m, n, k, alpha, a, lda, matrix[T]{stored: b, off: off, ld: ldb}, beta, c, ldc)
}

func gemmOf[T Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b matrix[T], beta T, c []T, ldc int) {
	if m <= 0 || n <= 0 {
		return
	}
	if k <= 0 || alpha == 0 {
		scale(m, n, beta, c, ldc)
		return
	}
	if m < 4 {
		gemmFlat(threads, transA, transB, m, n, k, alpha, a, lda, b, beta, c, ldc)
		return
	}
	multiply(pickTile[T](), threads, transA, transB, m, n, k, alpha, a, lda, b, beta, c, ldc)
}

// multiply is the blocked product with a given tile.
func multiply[T Float](t tile[T], threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b matrix[T], beta T, c []T, ldc int) {
	g := gemm[T]{transA: transA, transB: transB, m: m, n: n, k: k, alpha: alpha, beta: beta, a: a, b: b, c: c, lda: lda, ldc: ldc, tile: t}
	if m*n*k < 1<<17 {
		threads = 1
	}
	packB := borrow[T](min(blockK, k) * roundUp(min(blockN, n), g.tile.n))
	defer giveBack(packB)
	for jc := 0; jc < n; jc += blockN {
		nc := min(blockN, n-jc)
		for pc := 0; pc < k; pc += blockK {
			kc := min(blockK, k-pc)
			Parallel(threads, nc, grainN, func(lo, hi int) { g.packB(*packB, pc, kc, jc, lo, hi) })
			// One unit of work is a block of rows, times a strip of columns where there are few rows. Strips of the same rows
			// pack A again; that costs 1/grainN of the arithmetic and keeps the units independent.
			rows, strips, width := (m+blockM-1)/blockM, 1, nc
			if rows < 2*threads {
				strips, width = (nc+grainN-1)/grainN, grainN
			}
			Parallel(threads, rows*strips, 1, func(lo, hi int) {
				for u := lo; u < hi; u++ {
					r, s := u/strips, u%strips
					j0, j1 := s*width, min((s+1)*width, nc)
					g.block(*packB, r*blockM, min(blockM, m-r*blockM), pc, kc, jc, j0, j1)
				}
			})
		}
	}
}

type gemm[T Float] struct {
	transA, transB bool
	m, n, k        int
	alpha, beta    T
	a, c           []T
	b              matrix[T]
	lda, ldc       int
	tile           tile[T]
}

// packB copies columns [jc+lo, jc+hi) of rows [pc, pc+kc) of op(B) into panels of tile.n columns, zero-padded.
func (g *gemm[T]) packB(dst []T, pc, kc, jc, lo, hi int) {
	rows, cols, i0, j0 := kc, hi-lo, pc, jc+lo
	if g.transB {
		rows, cols, i0, j0 = hi-lo, kc, jc+lo, pc
	}
	switch b := g.b; {
	case b.own != nil:
		packPanels(dst, b.own[i0*b.ld+j0:], b.ld, g.transB, kc, lo, hi, g.tile.n)
	case b.stored.F32 != nil:
		packPanels(dst, b.stored.F32[b.off+i0*b.ld+j0:], b.ld, g.transB, kc, lo, hi, g.tile.n)
	default:
		room := borrow[float32](rows * cols)
		defer giveBack(room)
		for i := range rows {
			b.stored.Decode((*room)[i*cols:(i+1)*cols], b.off+(i0+i)*b.ld+j0)
		}
		packPanels(dst, *room, cols, g.transB, kc, lo, hi, g.tile.n)
	}
}

// packPanels packs columns [lo, hi) of a block that begins at src.
func packPanels[T, S Float](dst []T, src []S, ld int, trans bool, kc, lo, hi, w int) {
	for j := lo; j < hi; j += w {
		p := dst[j*kc : (j+w)*kc]
		cols := min(w, hi-j)
		if trans {
			packRows(p, src[(j-lo)*ld:], ld, cols, kc, w)
		} else {
			packCols(p, src[j-lo:], ld, cols, kc, w)
		}
	}
}

// block multiplies rows [i0, i0+mc) of op(A) with the packed columns [j0, j1).
func (g *gemm[T]) block(pb []T, i0, mc, pc, kc, jc, j0, j1 int) {
	h, w := g.tile.m, g.tile.n
	pa := borrow[T](roundUp(mc, h) * kc)
	defer giveBack(pa)
	for i := 0; i < mc; i += h {
		p := (*pa)[i*kc : (i+h)*kc]
		rows := min(h, mc-i)
		if g.transA {
			packCols(p, g.a[pc*g.lda+i0+i:], g.lda, rows, kc, h)
		} else {
			packRows(p, g.a[(i0+i)*g.lda+pc:], g.lda, rows, kc, h)
		}
	}
	var room [maxTile]T
	acc := room[:h*w]
	first := pc == 0
	for j := j0; j < j1; j += w {
		b := pb[j*kc : (j+w)*kc]
		cols := min(w, j1-j)
		for i := 0; i < mc; i += h {
			g.tile.run(kc, (*pa)[i*kc:(i+h)*kc], b, acc)
			for r := range min(h, mc-i) {
				at := (i0+i+r)*g.ldc + jc + j
				g.store(g.c[at:at+cols], acc[r*w:r*w+cols], first)
			}
		}
	}
}

// store adds one row of a finished tile to C; the first block over k applies beta.
func (g *gemm[T]) store(c, acc []T, first bool) {
	switch {
	case first && g.beta == 0 && g.alpha == 1:
		copy(c, acc)
	case first && g.beta == 0:
		for j, v := range acc {
			c[j] = g.alpha * v
		}
	case first && g.beta != 1:
		for j, v := range acc {
			c[j] = g.alpha*v + g.beta*c[j]
		}
	default:
		for j, v := range acc {
			c[j] += g.alpha * v
		}
	}
}

// packRows interleaves rows (contiguous along k): dst[p*w+r] = src[r*ld+p].
func packRows[T, S Float](dst []T, src []S, ld, rows, kc, w int) {
	for r := range w {
		if r >= rows {
			for p := range kc {
				dst[p*w+r] = 0
			}
			continue
		}
		for p, v := range src[r*ld : r*ld+kc] {
			dst[p*w+r] = T(v)
		}
	}
}

// packCols copies strips of rows that run along the panel: dst[p*w+r] = src[p*ld+r].
func packCols[T, S Float](dst []T, src []S, ld, cols, kc, w int) {
	for p := range kc {
		d := dst[p*w : p*w+w]
		widenRun(d[:cols], src[p*ld:p*ld+cols])
		for r := cols; r < w; r++ {
			d[r] = 0
		}
	}
}

// gemmFlat is the product for very few rows, where packing B would cost as much as the arithmetic.
func gemmFlat[T Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b matrix[T], beta T, c []T, ldc int) {
	if n*k < 1<<16 {
		threads = 1
	}
	at := func(i, p int) T {
		if transA {
			return a[p*lda+i]
		}
		return a[i*lda+p]
	}
	Parallel(threads, n, grainN, func(lo, hi int) {
		room, decoded := borrow[T](m*k), borrow[float32](max(k, hi-lo))
		defer giveBack(room)
		defer giveBack(decoded)
		rows := *room
		var stored []float32
		for i := range m {
			for p := range k {
				rows[i*k+p] = at(i, p)
			}
			if !transB {
				scale(1, hi-lo, beta, c[i*ldc+lo:], ldc)
			}
		}
		// B is what is large, so it is read once, for all rows.
		if !transB {
			for p := range k {
				for i := range m {
					out, v := c[i*ldc+lo:i*ldc+hi], alpha*rows[i*k+p]
					if b.own != nil {
						axpy(v, b.own[p*b.ld+lo:p*b.ld+hi], out)
					} else {
						if i == 0 {
							stored = b.narrow(*decoded, p*b.ld+lo, hi-lo)
						}
						axpy(v, stored, out)
					}
				}
			}
			return
		}
		for j := lo; j < hi; j++ {
			if b.own == nil {
				stored = b.narrow(*decoded, j*b.ld, k)
			}
			for i := range m {
				var s T
				if b.own != nil {
					s = alpha * dot(rows[i*k:(i+1)*k], b.own[j*b.ld:j*b.ld+k])
				} else {
					s = alpha * dot(rows[i*k:(i+1)*k], stored)
				}
				if beta != 0 {
					s += beta * c[i*ldc+j]
				}
				c[i*ldc+j] = s
			}
		}
	})
}

// dot sums in four interleaved accumulators, always in the same order.
func dot[T, S Float](a []T, b []S) T {
	var s0, s1, s2, s3 T
	b = b[:len(a)]
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * T(b[0])
		s1 += a[1] * T(b[1])
		s2 += a[2] * T(b[2])
		s3 += a[3] * T(b[3])
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += v * T(b[i])
	}
	return (s0 + s2) + (s1 + s3)
}

func axpy[T, S Float](alpha T, x []S, y []T) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += alpha * T(v)
	}
}

func scale[T Float](m, n int, beta T, c []T, ldc int) {
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		switch beta {
		case 0:
			clear(row)
		case 1:
		default:
			for j := range row {
				row[j] *= beta
			}
		}
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// pools hold scratch slices whose capacities are powers of two, each its own: in one pool, small ones would push large ones out.
var pools32, pools64 [bits.UintSize]sync.Pool

func poolOf[T Float](class int) *sync.Pool {
	var z T
	if _, ok := any(z).(float64); ok {
		return &pools64[class]
	}
	return &pools32[class]
}

// borrow returns a scratch slice of n elements with arbitrary contents.
func borrow[T Float](n int) *[]T {
	class := bits.Len(uint(max(n, 1) - 1))
	if s, ok := poolOf[T](class).Get().(*[]T); ok {
		*s = (*s)[:n]
		return s
	}
	s := make([]T, n, 1<<class)
	return &s
}

func giveBack[T Float](s *[]T) { poolOf[T](bits.Len(uint(max(cap(*s), 1) - 1))).Put(s) }
