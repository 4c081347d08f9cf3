package kernel

import "sync"

// grainN is how many columns one unit of the product of few rows has.
const grainN = 256

// Gemm computes C = alpha * op(A) * op(B) + beta * C for row-major matrices: op(A) is m x k, op(B) is k x n and C is m x n, with
// row strides lda, ldb and ldc; op transposes where transA or transB is set. With beta 0, C is written without being read.
// Every element of C is summed over k in ascending order inside blocks that depend on k alone, so the result is the same for any
// number of threads.
func Gemm[T Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	gemmOf(threads, transA, transB, m, n, k, alpha, a, lda, matrix[T]{own: b, ld: ldb}, beta, nil, c, ldc)
}

// GemmBias computes C = alpha * op(A) * op(B) + beta * D, where every row of D is the bias of n elements, or D is C if the bias is nil:
// to the bit what Gemm makes of a C that was filled with it.
func GemmBias[T Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, bias, c []T, ldc int) {
	gemmOf(threads, transA, transB, m, n, k, alpha, a, lda, matrix[T]{own: b, ld: ldb}, beta, bias, c, ldc)
}

// GemmStored is GemmBias with a matrix B as it is stored, whose first element is number off. The result has the bits that GemmBias
// gives for the widened matrix, which never exists: panels are widened as they are packed.
func GemmStored[T Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b Stored, off, ldb int, beta T, bias, c []T, ldc int) {
	in := matrix[T]{stored: b, off: off, ld: ldb}
	if s, ok := any(b.F32).([]T); ok && b.F32 != nil {
		in = matrix[T]{own: s[off:], ld: ldb}
	}
	gemmOf(threads, transA, transB, m, n, k, alpha, a, lda, in, beta, bias, c, ldc)
}

// gemmOf is GemmBias.
func gemmOf[T Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b matrix[T], beta T, bias, c []T, ldc int) {
	if m <= 0 || n <= 0 {
		return
	}
	flat := m < 4 // packing B would cost as much as the arithmetic
	if bias != nil && beta != 0 {
		bias = bias[:n]
		if flat || k <= 0 || alpha == 0 {
			for i := range m {
				copy(c[i*ldc:i*ldc+n], bias)
			}
		}
	}
	if k <= 0 || alpha == 0 {
		scale(m, n, beta, c, ldc)
		return
	}
	if flat {
		gemmFlat(threads, transA, transB, m, n, k, alpha, a, lda, b, beta, c, ldc)
		return
	}
	// Attention multiplies once for every head and block: the plans of its products are used again.
	pool := planPool[T]()
	g, _ := pool.Get().(*gemm[T])
	if g == nil {
		g = new(gemm[T])
	}
	*g = gemm[T]{transA: transA, transB: transB, m: m, n: n, k: k, alpha: alpha, beta: beta, a: a, b: b, c: c, bias: bias, lda: lda, ldc: ldc, tile: pickTile[T]()}
	g.run(threads)
	*g = gemm[T]{} // holds on to no operand
	pool.Put(g)
}

var plans32, plans64 sync.Pool

func planPool[T Float]() *sync.Pool {
	var z T
	if _, ok := any(z).(float64); ok {
		return &plans64
	}
	return &plans32
}

// gemmFlat is the product for very few rows.
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
						addTimes(v, b.own[p*b.ld+lo:p*b.ld+hi], out)
					} else {
						if i == 0 {
							stored = b.narrow(*decoded, p*b.ld+lo, hi-lo)
						}
						addTimes(v, stored, out)
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

// addTimes is axpy, with vectors where the types are one.
func addTimes[T, S Float](alpha T, x []S, y []T) {
	if same, ok := any(x).([]T); ok {
		vecAxpy(alpha, same, y)
		return
	}
	axpy(alpha, x, y)
}

// dot sums float32 in float64, with vectors, and float64 in four interleaved accumulators, always in the same order.
func dot[T, S Float](a []T, b []S) T {
	b = b[:len(a)]
	if x, ok := any(a).([]float32); ok {
		if y, ok := any(b).([]float32); ok {
			return T(vecDot(x, y))
		}
	}
	var s0, s1, s2, s3 T
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
