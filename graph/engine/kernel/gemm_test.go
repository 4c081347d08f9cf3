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

// gemmCase is the operands of one call of Gemm.
type gemmCase[T Float] struct {
	transA, transB bool
	m, n, k        int
	alpha, beta    T
	a, b, c        []T
	lda, ldb, ldc  int
}

// newCase draws operands; rows of every matrix are further apart than they are long.
func newCase[T Float](r *rand.Rand, transA, transB bool, m, n, k int, alpha, beta T) *gemmCase[T] {
	p := &gemmCase[T]{transA: transA, transB: transB, m: m, n: n, k: k, alpha: alpha, beta: beta, lda: k + 3, ldb: n + 1, ldc: n + 2}
	ra, rb := m, k
	if transA {
		p.lda, ra = m+3, k
	}
	if transB {
		p.ldb, rb = k+1, n
	}
	p.a, p.b, p.c = randoms[T](r, ra*p.lda), randoms[T](r, rb*p.ldb), randoms[T](r, m*p.ldc)
	return p
}

func (p *gemmCase[T]) String() string {
	return fmt.Sprintf("%dx%dx%d trans %v,%v alpha %g beta %g", p.m, p.n, p.k, p.transA, p.transB, p.alpha, p.beta)
}

// at is op(A)[i,q] and op(B)[q,j].
func (p *gemmCase[T]) at(i, j, q int) (a, b float64) {
	x, y := i*p.lda+q, q*p.ldb+j
	if p.transA {
		x = q*p.lda + i
	}
	if p.transB {
		y = j*p.ldb + q
	}
	return float64(p.a[x]), float64(p.b[y])
}

// check compares C with the definition in float64. The bound on the rounding errors of a sum of n terms is n u times the sum of
// the magnitudes, or lambda sqrt(n) u for all but an exp(-lambda^2/2) of the sums (Higham and Mary, "A New Approach to Probabilistic
// Rounding Error Analysis", 2019); it holds for the expected float64 as well. What is between the rows of C must be as it was.
func (p *gemmCase[T]) check(t *testing.T, what string, got []T) {
	t.Helper()
	const lambda = 5
	u, n := 0x1p-24, float64(p.k)+3
	if _, ok := any(p.alpha).(float64); ok {
		u = 2 * 0x1p-53
	}
	bound := u * min(n, lambda*math.Sqrt(n))
	for i := range p.m {
		for j := range p.n {
			var sum, size float64
			for q := range p.k {
				a, b := p.at(i, j, q)
				sum += a * b
				size += math.Abs(a * b)
			}
			sum, size = float64(p.alpha)*sum, math.Abs(float64(p.alpha))*size
			if p.beta != 0 {
				sum += float64(p.beta) * float64(p.c[i*p.ldc+j])
				size += math.Abs(float64(p.beta) * float64(p.c[i*p.ldc+j]))
			}
			if d := math.Abs(float64(got[i*p.ldc+j]) - sum); !(d <= bound*size) {
				t.Fatalf("%s %v: [%d,%d] = %g, want %g", what, p, i, j, got[i*p.ldc+j], sum)
			}
		}
		for j := p.n; j < p.ldc; j++ {
			if same := got[i*p.ldc+j] == p.c[i*p.ldc+j]; !same {
				t.Fatalf("%s %v: element %d after row %d was written", what, p, j-p.n, i)
			}
		}
	}
}

// gemm is the result by Gemm.
func (p *gemmCase[T]) gemm(threads int) []T {
	c := append([]T(nil), p.c...)
	Gemm(threads, p.transA, p.transB, p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb, p.beta, c, p.ldc)
	return c
}

// blocked is the result of the blocked product with a tile, also for shapes that Gemm takes another way.
func (p *gemmCase[T]) blocked(tl tile[T], threads int) []T {
	c := append([]T(nil), p.c...)
	g := gemm[T]{transA: p.transA, transB: p.transB, m: p.m, n: p.n, k: p.k, alpha: p.alpha, beta: p.beta, a: p.a, b: matrix[T]{own: p.b, ld: p.ldb}, c: c, lda: p.lda, ldc: p.ldc, tile: tl}
	g.run(threads)
	return c
}

// sizes draws a size near an edge of tiles or vectors, or any.
func sizes(r *rand.Rand) int {
	if r.IntN(3) == 0 {
		return 1 + r.IntN(70)
	}
	edges := []int{4, 6, 8, 12, 14, 16, 24, 28, 32, 36, 64}
	return max(1, edges[r.IntN(len(edges))]+r.IntN(3)-1)
}

func testGemm[T Float](t *testing.T, tiles []tile[T]) {
	r := rand.New(rand.NewPCG(1, 2))
	shapes := [][3]int{{1, 1, 1}, {1, 300, 257}, {2, 513, 3}, {3, 7, 300}, {97, 259, 300}, {130, 2100, 40}, {200, 90, blockK + 1},
		{29, 31, 2*blockK - 1}, {5, 300, groupK + 5}, {blockM + 1, 3, 9}, {64, 64, 2 * blockK}, {61, 1000, 600}}
	drawn := 50
	if testing.Short() {
		drawn = 15
	}
	for range drawn {
		shapes = append(shapes, [3]int{sizes(r), sizes(r), sizes(r)})
	}
	scales := []T{0, 1, -0.5}
	for i, d := range shapes {
		if testing.Short() && d[0]*d[1]*d[2] > 1<<19 {
			continue
		}
		for mode := range 4 {
			p := newCase(r, mode&1 != 0, mode&2 != 0, d[0], d[1], d[2], scales[(i+mode)%3], scales[(i/3+mode/2)%3])
			p.check(t, "Gemm", p.gemm(1))
			for _, tl := range tiles {
				p.check(t, tl.name, p.blocked(tl, 1))
			}
		}
	}
}

func TestGemm(t *testing.T) {
	t.Run("float32", func(t *testing.T) { testGemm(t, tiles32()) })
	t.Run("float64", func(t *testing.T) { testGemm(t, tiles64()) })
}

// TestGemmRows: every number of rows, at every distance, gives what the definition does, and no element of A is read that is not one of
// op(A)'s: what is between them is not a number, and after the last there is nothing.
func TestGemmRows(t *testing.T) {
	t.Run("float32", func(t *testing.T) { testGemmRows(t, tiles32()) })
	t.Run("float64", func(t *testing.T) { testGemmRows(t, tiles64()) })
}

func testGemmRows[T Float](t *testing.T, tiles []tile[T]) {
	r := rand.New(rand.NewPCG(11, 12))
	for m := 1; m <= 60; m++ {
		for i, ld := range []int{0, 5, 1024, 3 * 1024} { // 0: the rows follow upon each other
			for mode := range 4 {
				n, k := 1+r.IntN(70), 1+r.IntN(40)
				if (m+i+mode)%16 == 0 {
					k = blockK + 1 + r.IntN(20)
				}
				p := newCase[T](r, mode&1 != 0, mode&2 != 0, m, n, k, 1, T(m%2))
				rows, cols := m, k
				if p.transA {
					rows, cols = k, m
				}
				p.lda = max(ld, cols)
				p.a = randoms[T](r, (rows-1)*p.lda+cols)
				for x := range p.a {
					if x%p.lda >= cols {
						p.a[x] = T(math.NaN())
					}
				}
				p.check(t, "Gemm", p.gemm(1))
				for _, tl := range tiles {
					p.check(t, fmt.Sprintf("%s lda %d", tl.name, p.lda), p.blocked(tl, 1+m%2))
				}
			}
		}
	}
}

// TestGemmBias: a bias gives the bits of a C that is filled with it, and C is not read.
func TestGemmBias(t *testing.T) {
	t.Run("float32", func(t *testing.T) { testGemmBias(t, tiles32()) })
	t.Run("float64", func(t *testing.T) { testGemmBias(t, tiles64()) })
}

func testGemmBias[T Float](t *testing.T, tiles []tile[T]) {
	r := rand.New(rand.NewPCG(13, 14))
	for _, d := range [][3]int{{1, 300, 40}, {3, 17, 300}, {4, 33, 5}, {5, 16, 0}, {29, 70, 2*blockK + 1}, {61, 45, 33}, {130, 256, 64}, {30, 40, groupK + 3}} {
		for mode := range 4 {
			for i, ab := range [][2]T{{1, 1}, {-0.5, 2}, {0, 0.5}, {2, 0}} {
				p := newCase(r, mode&1 != 0, mode&2 != 0, d[0], d[1], d[2], ab[0], ab[1])
				bias, filled := randoms[T](r, p.n), *p
				filled.c = append([]T(nil), p.c...)
				for x := range p.c {
					if j := x % p.ldc; j < p.n {
						filled.c[x], p.c[x] = bias[j], T(math.NaN())
					}
				}
				threads := 1 + i%3
				want := filled.gemm(1)
				filled.check(t, "Gemm", want)
				same := func(what string, got []T) {
					for x, v := range got {
						if v != want[x] {
							t.Fatalf("%s %v: element %d is %g, %g with a filled C", what, p, x, v, want[x])
						}
					}
				}
				c := append([]T(nil), p.c...)
				GemmBias(threads, p.transA, p.transB, p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb, p.beta, bias, c, p.ldc)
				same("GemmBias", c)
				if p.m < 4 || p.k == 0 || p.alpha == 0 {
					continue
				}
				for _, tl := range tiles {
					c := append([]T(nil), p.c...)
					g := gemm[T]{transA: p.transA, transB: p.transB, m: p.m, n: p.n, k: p.k, alpha: p.alpha, beta: p.beta, a: p.a, b: matrix[T]{own: p.b, ld: p.ldb}, bias: bias, c: c, lda: p.lda, ldc: p.ldc, tile: tl}
					g.run(threads)
					want = filled.blocked(tl, 1)
					same(tl.name, c)
				}
				narrow := Stored{F32: make([]float32, 2+len(p.b))}
				for x := range p.b {
					p.b[x] = T(float32(p.b[x]))
					narrow.F32[2+x] = float32(p.b[x])
				}
				filled.b = p.b
				want, c = filled.gemm(1), append([]T(nil), p.c...)
				GemmStored(threads, p.transA, p.transB, p.m, p.n, p.k, p.alpha, p.a, p.lda, narrow, 2, p.ldb, p.beta, bias, c, p.ldc)
				same("GemmStored", c)
			}
		}
	}
}

// TestGemmThreads: the bits are those of one goroutine, whatever the cut.
func TestGemmThreads(t *testing.T) {
	t.Run("float32", func(t *testing.T) { testGemmThreads(t, tiles32()) })
	t.Run("float64", func(t *testing.T) { testGemmThreads(t, tiles64()) })
}

func testGemmThreads[T Float](t *testing.T, tiles []tile[T]) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, d := range [][3]int{{3, 1000, 300}, {4, 1200, 150}, {28, 777, 100}, {333, 70, 80}, {40, 40, groupK + 1}, {150, 300, 2*blockK + 1}, {70, 600, groupK + 1}} {
		if testing.Short() && d[0]*d[1]*d[2] > 5<<20 {
			continue
		}
		for mode := range 4 {
			p := newCase[T](r, mode&1 != 0, mode&2 != 0, d[0], d[1], d[2], 1.5, -0.5)
			same := func(what string, f func(threads int) []T) {
				want := f(1)
				for _, threads := range []int{2, 3, 5} {
					for i, v := range f(threads) {
						if v != want[i] {
							t.Fatalf("%s %v: element %d is %g, %g with %d threads", what, p, i, want[i], v, threads)
						}
					}
				}
			}
			same("Gemm", p.gemm)
			for _, tl := range tiles {
				same(tl.name, func(threads int) []T { return p.blocked(tl, threads) })
			}
		}
	}
}

// TestGemmSpecial: beta 0 does not read C, and what is not a number in A or B arrives where it belongs, and nowhere else.
func TestGemmSpecial(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, tl := range tiles32() {
		for mode := range 4 {
			p := newCase[float32](r, mode&1 != 0, mode&2 != 0, 31, 45, 50, 1, 0)
			for i := range p.c {
				p.c[i] = nan
			}
			const row, col = 30, 44 // in the last, padded panels
			ia, ib := row*p.lda+7, 9*p.ldb+col
			if p.transA {
				ia = 7*p.lda + row
			}
			if p.transB {
				ib = col*p.ldb + 9
			}
			p.a[ia], p.b[ib] = nan, inf
			got := p.blocked(tl, 1)
			for i := range p.m {
				for j := range p.n {
					v := float64(got[i*p.ldc+j])
					switch {
					case i == row:
						if !math.IsNaN(v) {
							t.Fatalf("%s %v: [%d,%d] = %g beside a NaN in A", tl.name, p, i, j, v)
						}
					case j == col:
						if !math.IsInf(v, 0) {
							t.Fatalf("%s %v: [%d,%d] = %g beside an infinity in B", tl.name, p, i, j, v)
						}
					case math.IsNaN(v) || math.IsInf(v, 0):
						t.Fatalf("%s %v: [%d,%d] = %g", tl.name, p, i, j, v)
					}
				}
			}
		}
	}
}

// TestGemmPanic: an operand that is too short is a panic in the caller's goroutine, and no goroutine waits for ever.
func TestGemmPanic(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d threads: no panic", threads)
				}
			}()
			c := make([]float32, 200*600)
			Gemm(threads, false, false, 200, 600, 2*groupK, 1, make([]float32, 200*2*groupK), 2*groupK, make([]float32, 2*groupK*600-1), 600, 0, c, 600)
		}()
	}
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
					GemmStored(2, ta, tb, m, n, k, ab[0], a, lda, s, off, ldb, ab[1], nil, got, n)
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
