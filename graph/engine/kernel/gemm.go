package kernel

import "sync"

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
	if m <= 0 || n <= 0 {
		return
	}
	if k <= 0 || alpha == 0 {
		scale(m, n, beta, c, ldc)
		return
	}
	if m < 4 {
		gemmFlat(threads, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		return
	}
	multiply(pickTile[T](), threads, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// multiply is the blocked product with a given tile.
func multiply[T Float](t tile[T], threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	g := gemm[T]{transA: transA, transB: transB, m: m, n: n, k: k, alpha: alpha, beta: beta, a: a, b: b, c: c, lda: lda, ldb: ldb, ldc: ldc, tile: t}
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
	a, b, c        []T
	lda, ldb, ldc  int
	tile           tile[T]
}

// packB copies columns [jc+lo, jc+hi) of rows [pc, pc+kc) of op(B) into panels of tile.n columns, zero-padded.
func (g *gemm[T]) packB(dst []T, pc, kc, jc, lo, hi int) {
	w := g.tile.n
	for j := lo; j < hi; j += w {
		p := dst[j*kc : (j+w)*kc]
		cols := min(w, hi-j)
		if g.transB {
			packRows(p, g.b[(jc+j)*g.ldb+pc:], g.ldb, cols, kc, w)
		} else {
			packCols(p, g.b[pc*g.ldb+jc+j:], g.ldb, cols, kc, w)
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
func packRows[T Float](dst, src []T, ld, rows, kc, w int) {
	for r := range w {
		if r >= rows {
			for p := range kc {
				dst[p*w+r] = 0
			}
			continue
		}
		for p, v := range src[r*ld : r*ld+kc] {
			dst[p*w+r] = v
		}
	}
}

// packCols copies strips of rows that run along the panel: dst[p*w+r] = src[p*ld+r].
func packCols[T Float](dst, src []T, ld, cols, kc, w int) {
	for p := range kc {
		d := dst[p*w : p*w+w]
		copy(d, src[p*ld:p*ld+cols])
		for r := cols; r < w; r++ {
			d[r] = 0
		}
	}
}

// gemmFlat is the product for very few rows, where packing B would cost as much as the arithmetic.
func gemmFlat[T Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
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
		row := borrow[T](k)
		defer giveBack(row)
		for i := range m {
			ai := (*row)[:k]
			for p := range ai {
				ai[p] = at(i, p)
			}
			out := c[i*ldc+lo : i*ldc+hi]
			if transB {
				for j := range out {
					s := alpha * dot(ai, b[(lo+j)*ldb:(lo+j)*ldb+k])
					if beta != 0 {
						s += beta * out[j]
					}
					out[j] = s
				}
				continue
			}
			scale(1, len(out), beta, out, len(out))
			for p, v := range ai {
				axpy(alpha*v, b[p*ldb+lo:p*ldb+hi], out)
			}
		}
	})
}

// dot sums in four interleaved accumulators, always in the same order.
func dot[T Float](a, b []T) T {
	var s0, s1, s2, s3 T
	b = b[:len(a)]
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += v * b[i]
	}
	return (s0 + s2) + (s1 + s3)
}

func axpy[T Float](alpha T, x, y []T) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += alpha * v
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

var pool32, pool64 sync.Pool

// borrow returns a scratch slice of at least n elements with arbitrary contents.
func borrow[T Float](n int) *[]T {
	var z T
	p := &pool32
	if _, ok := any(z).(float64); ok {
		p = &pool64
	}
	if s, ok := p.Get().(*[]T); ok && cap(*s) >= n {
		*s = (*s)[:n]
		return s
	}
	s := make([]T, n)
	return &s
}

func giveBack[T Float](s *[]T) {
	var z T
	if _, ok := any(z).(float64); ok {
		pool64.Put(s)
		return
	}
	pool32.Put(s)
}
