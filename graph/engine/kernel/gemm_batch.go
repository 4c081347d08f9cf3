package kernel

import "slices"

// Batch says where the matrices of a stack of products lie.
type Batch struct {
	// Sizes are the dimensions of the stack, the last the fastest.
	Sizes []int
	// A, B and C are the strides of each dimension in elements, 0 where one matrix serves all of it. The matrices of C do not
	// overlap.
	A, B, C []int
}

// offsets is where the matrices of product s begin.
func (t *Batch) offsets(s int) (a, b, c int) {
	for d := len(t.Sizes) - 1; d >= 0; d-- {
		i := s % t.Sizes[d]
		s /= t.Sizes[d]
		a += i * t.A[d]
		b += i * t.B[d]
		c += i * t.C[d]
	}
	return a, b, c
}

// GemmBatch is Gemm for every product of a stack. Each has the bits that Gemm gives, with one exception: products that share B and
// whose rows of A and C follow upon each other are one product of all rows.
func GemmBatch[T Float](threads int, t *Batch, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	sizes := t.Sizes
	for d := len(sizes) - 1; d >= 0 && !transA && t.B[d] == 0 && t.A[d] == m*lda && t.C[d] == m*ldc; d-- {
		m *= sizes[d]
		sizes = sizes[:d]
	}
	count := 1
	for _, n := range sizes {
		count *= n
	}
	if count == 0 {
		return
	}
	s := Batch{sizes, t.A, t.B, t.C}
	each := func(threads, lo, hi int) {
		for i := lo; i < hi; i++ {
			pa, pb, pc := s.offsets(i)
			gemmOf(threads, transA, transB, m, n, k, alpha, a[pa:], lda, matrix[T]{own: b[pb:], ld: ldb}, beta, nil, c[pc:], ldc)
		}
	}
	switch size := m * n * k; {
	case size*count < smallProduct:
		each(1, 0, count)
	case size < smallProduct || count >= 4*threads:
		Parallel(threads, count, max(1, count/(8*max(threads, 1))), func(lo, hi int) { each(1, lo, hi) })
	default:
		each(threads, 0, count)
	}
}

// NewBatch is the stack of sizes whose matrices of C, of sizeC elements, follow upon each other; a and b are the strides of A and B in
// matrices of as many elements as sizeA and sizeB.
func NewBatch(sizes, a []int, sizeA int, b []int, sizeB, sizeC int) *Batch {
	t := &Batch{Sizes: slices.Clone(sizes), C: Strides(sizes)}
	for d := range sizes {
		t.A = append(t.A, a[d]*sizeA)
		t.B = append(t.B, b[d]*sizeB)
		t.C[d] *= sizeC
	}
	return t
}
