package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestGemmBatch: every product of a stack is that of Gemm, wherever its matrices lie.
func TestGemmBatch(t *testing.T) {
	t.Run("float32", testGemmBatch[float32])
	t.Run("float64", testGemmBatch[float64])
}

func testGemmBatch[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	const m, n, k = 33, 40, 21
	for name, sizes := range map[string][]int{"none": {2, 0}, "one": {}, "row": {5}, "many": {9, 4}, "deep": {2, 3, 2}} {
		for mode := range 8 {
			ta, tb, shared := mode&1 != 0, mode&2 != 0, mode&4 != 0
			// Heads of [stack, rows, heads, columns], as attention has them: rows of a matrix are as far apart as those of all heads.
			heads := 1
			if len(sizes) > 0 {
				heads = sizes[len(sizes)-1]
			}
			layout := func(rows, cols int) (strides []int, ld, size int) {
				ld, size = heads*cols, rows*heads*cols
				strides = make([]int, len(sizes))
				for d := len(sizes) - 2; d >= 0; d-- {
					strides[d] = size
					size *= sizes[d]
				}
				if len(sizes) > 0 {
					strides[len(sizes)-1] = cols
				}
				return strides, ld, max(size, rows*cols)
			}
			swap := func(t bool, x, y int) (int, int) {
				if t {
					return y, x
				}
				return x, y
			}
			sa, lda, na := layout(swap(ta, m, k))
			sb, ldb, nb := layout(swap(tb, k, n))
			sc, ldc, nc := layout(m, n)
			if shared && len(sb) > 0 {
				sb[0] = 0
			}
			a, b, c := randoms[T](r, na), randoms[T](r, nb), randoms[T](r, nc)
			stack := &Batch{Sizes: sizes, A: sa, B: sb, C: sc}
			want := append([]T(nil), c...)
			count := 1
			for _, s := range sizes {
				count *= s
			}
			for s := range count {
				pa, pb, pc := stack.offsets(s)
				Gemm(1, ta, tb, m, n, k, 2, a[pa:], lda, b[pb:], ldb, 0.5, want[pc:], ldc)
			}
			for _, threads := range []int{1, 2, 3, 5} {
				got := append([]T(nil), c...)
				GemmBatch(threads, stack, ta, tb, m, n, k, 2, a, lda, b, ldb, 0.5, got, ldc)
				for i, v := range got {
					if v != want[i] {
						t.Fatalf("%s mode %d, %d threads: element %d is %g, want %g", name, mode, threads, i, v, want[i])
					}
				}
			}
		}
	}
}

// TestGemmBatchRows: products that share B and lie behind each other become one, and are still what they were to rounding.
func TestGemmBatchRows(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	const count, m, n, k = 6, 2, 50, 30
	p := newCase[float32](r, false, true, count*m, n, k, 1, 0)
	got := append([]float32(nil), p.c...)
	stack := NewBatch([]int{2, count / 2}, []int{count / 2, 1}, m*p.lda, []int{0, 0}, n*p.ldb, m*p.ldc)
	GemmBatch(2, stack, false, true, m, n, k, 1, p.a, p.lda, p.b, p.ldb, 0, got, p.ldc)
	p.check(t, "stack", got)
	for i, v := range p.gemm(1) {
		if got[i] != v {
			t.Fatalf("element %d is %g, %g as one product", i, got[i], v)
		}
	}
}
