package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

func randoms[T Float](r *rand.Rand, n int) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = T(r.NormFloat64())
	}
	return s
}

// naive is the float64 reference.
func naive[T Float](transA, transB bool, m, n, k int, alpha float64, a []T, lda int, b []T, ldb int, beta float64, c []T, ldc int) []float64 {
	out := make([]float64, m*n)
	for i := range m {
		for j := range n {
			var s float64
			for p := range k {
				x, y := i*lda+p, p*ldb+j
				if transA {
					x = p*lda + i
				}
				if transB {
					y = j*ldb + p
				}
				s += float64(a[x]) * float64(b[y])
			}
			out[i*n+j] = alpha * s
			if beta != 0 {
				out[i*n+j] += beta * float64(c[i*ldc+j])
			}
		}
	}
	return out
}

func testGemm[T Float](t *testing.T, tiles []tile[T], tol float64) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, d := range [][3]int{{1, 1, 1}, {1, 300, 257}, {2, 513, 3}, {3, 7, 300}, {4, 2, 8}, {5, 9, 11}, {17, 33, 257}, {97, 259, 300}, {256, 256, 256}, {130, 2100, 40}} {
		m, n, k := d[0], d[1], d[2]
		if testing.Short() && m*n*k > 1<<20 {
			continue
		}
		for mode := range 4 {
			ta, tb := mode&1 != 0, mode&2 != 0
			lda, ldb, ldc := k+3, n+1, n+2
			ra, rb := m, k
			if ta {
				lda, ra = m+3, k
			}
			if tb {
				ldb, rb = k+1, n
			}
			a, b := randoms[T](r, ra*lda), randoms[T](r, rb*ldb)
			for _, ab := range [][2]float64{{1, 0}, {0.5, 1}, {2, -0.5}} {
				c := randoms[T](r, m*ldc)
				if ab[1] == 0 {
					c[0] = T(math.NaN()) // beta 0 must not read C
				}
				want := naive(ta, tb, m, n, k, ab[0], a, lda, b, ldb, ab[1], c, ldc)
				c2, fresh := append([]T(nil), c...), append([]T(nil), c...)
				Gemm(1, ta, tb, m, n, k, T(ab[0]), a, lda, b, ldb, T(ab[1]), c, ldc)
				Gemm(2, ta, tb, m, n, k, T(ab[0]), a, lda, b, ldb, T(ab[1]), c2, ldc)
				for i := range m {
					for j := range n {
						got := float64(c[i*ldc+j])
						if d := math.Abs(got - want[i*n+j]); !(d <= tol*math.Sqrt(float64(k)+1)) {
							t.Fatalf("%v mode %d alpha,beta %v: [%d,%d] = %g, want %g", d, mode, ab, i, j, got, want[i*n+j])
						}
						if c[i*ldc+j] != c2[i*ldc+j] {
							t.Fatalf("%v mode %d: result depends on the number of threads", d, mode)
						}
					}
				}
				// The blocked path, with every tile and also for shapes that Gemm takes another way.
				for _, tl := range tiles {
					c3 := append([]T(nil), fresh...)
					multiply(tl, 2, ta, tb, m, n, k, T(ab[0]), a, lda, matrix[T]{own: b, ld: ldb}, T(ab[1]), c3, ldc)
					for i := range m {
						for j := range n {
							if d := math.Abs(float64(c3[i*ldc+j]) - want[i*n+j]); !(d <= tol*math.Sqrt(float64(k)+1)) {
								t.Fatalf("%s %v mode %d: [%d,%d] = %g, want %g", tl.name, d, mode, i, j, c3[i*ldc+j], want[i*n+j])
							}
						}
					}
				}
			}
		}
	}
}

func TestGemm(t *testing.T) {
	t.Run("float32", func(t *testing.T) { testGemm(t, tiles32(), 6e-6) })
	t.Run("float64", func(t *testing.T) { testGemm(t, tiles64(), 1e-14) })
}

func testGemmStored[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, d := range [][3]int{{1, 300, 257}, {3, 7, 300}, {4, 2, 8}, {17, 333, 257}, {9, 2100, 40}} {
		m, n, k := d[0], d[1], d[2]
		for mode := range 4 {
			ta, tb := mode&1 != 0, mode&2 != 0
			lda, ldb, off := k, n+1, 5
			rows := k
			if ta {
				lda = m
			}
			if tb {
				ldb, rows = k+1, n
			}
			a, narrow := randoms[T](r, m*k), randoms[float32](r, off+rows*ldb)
			b := make([]T, len(narrow))
			Widen(2, b, Stored{F32: narrow}, 0)
			for _, ab := range [][2]T{{1, 0}, {0.5, -2}} {
				want := randoms[T](r, m*n)
				for name, s := range map[string]Stored{
					"float32": {F32: narrow}, "decoded": {Decode: func(dst []float32, off int) { copy(dst, narrow[off:off+len(dst)]) }},
				} {
					got, ref := append([]T(nil), want...), append([]T(nil), want...)
					Gemm(2, ta, tb, m, n, k, ab[0], a, lda, b[off:], ldb, ab[1], ref, n)
					GemmStored(2, ta, tb, m, n, k, ab[0], a, lda, s, off, ldb, ab[1], got, n)
					for i := range got {
						if got[i] != ref[i] {
							t.Fatalf("%s %v mode %d: element %d is %g, %g with the widened matrix", name, d, mode, i, got[i], ref[i])
						}
					}
				}
			}
		}
	}
}

func TestGemmStored(t *testing.T) {
	t.Run("float32", testGemmStored[float32])
	t.Run("float64", testGemmStored[float64])
}

func TestWiden(t *testing.T) {
	src := randoms[float32](rand.New(rand.NewPCG(5, 6)), 3*walkGrain)
	for name, s := range map[string]Stored{
		"float32": {F32: src}, "decoded": {Decode: func(dst []float32, off int) { copy(dst, src[off:off+len(dst)]) }},
	} {
		const off = 11
		narrow, wide := make([]float32, len(src)-off), make([]float64, len(src)-off)
		Widen(2, narrow, s, off)
		Widen(2, wide, s, off)
		for i := range wide {
			if narrow[i] != src[off+i] || wide[i] != float64(src[off+i]) {
				t.Fatalf("%s: element %d", name, i)
			}
		}
	}
}

func BenchmarkGemm(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, d := range [][3]int{{512, 512, 512}, {512, 3072, 768}, {128, 768, 768}} {
		m, n, k := d[0], d[1], d[2]
		x, y, z := randoms[float32](r, m*k), randoms[float32](r, k*n), make([]float32, m*n)
		name := fmt.Sprintf("%dx%dx%d", m, n, k)
		report := func(b *testing.B) {
			b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		}
		for threads := 1; threads <= 2; threads++ {
			b.Run(fmt.Sprintf("%s/threads%d", name, threads), func(b *testing.B) {
				for b.Loop() {
					Gemm(threads, false, false, m, n, k, 1, x, k, y, n, 0, z, n)
				}
				report(b)
			})
		}
		b.Run(name+"/gonum", func(b *testing.B) {
			for b.Loop() {
				blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, blas32.General{Rows: m, Cols: k, Stride: k, Data: x},
					blas32.General{Rows: k, Cols: n, Stride: n, Data: y}, 0, blas32.General{Rows: m, Cols: n, Stride: n, Data: z})
			}
			report(b)
		})
	}
}
