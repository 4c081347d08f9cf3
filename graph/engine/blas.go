package engine

import (
	"runtime"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
	"gorgonia.org/gorgonia"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// kernelBLAS is gonum's BLAS with this engine's matrix products.
type kernelBLAS struct{ gonum.Implementation }

// Gorgonia's own operators, in whatever graph of the program, use the engine's products from when this package is imported on. A
// program that wants another BLAS says so with gorgonia.Use.
func init() { gorgonia.Use(kernelBLAS{}) }

// Sgemm computes C = alpha op(A) op(B) + beta C. With beta 0, C is not read. Invalid arguments panic as gonum has them panic.
func (b kernelBLAS) Sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, bm []float32, ldb int, beta float32, c []float32, ldc int) {
	if !validProduct(tA, tB, m, n, k, len(a), lda, len(bm), ldb, len(c), ldc) {
		b.Implementation.Sgemm(tA, tB, m, n, k, alpha, a, lda, bm, ldb, beta, c, ldc)
		return
	}
	kernel.Gemm(runtime.GOMAXPROCS(0), tA != blas.NoTrans, tB != blas.NoTrans, m, n, k, alpha, a, lda, bm, ldb, beta, c, ldc)
}

// Dgemm is Sgemm in double precision.
func (b kernelBLAS) Dgemm(tA, tB blas.Transpose, m, n, k int, alpha float64, a []float64, lda int, bm []float64, ldb int, beta float64, c []float64, ldc int) {
	if !validProduct(tA, tB, m, n, k, len(a), lda, len(bm), ldb, len(c), ldc) {
		b.Implementation.Dgemm(tA, tB, m, n, k, alpha, a, lda, bm, ldb, beta, c, ldc)
		return
	}
	kernel.Gemm(runtime.GOMAXPROCS(0), tA != blas.NoTrans, tB != blas.NoTrans, m, n, k, alpha, a, lda, bm, ldb, beta, c, ldc)
}

// validProduct tells whether there is something to compute and every matrix is as large as its shape says.
func validProduct(tA, tB blas.Transpose, m, n, k, a, lda, b, ldb, c, ldc int) bool {
	fits := func(t blas.Transpose, rows, cols, size, ld int) bool {
		switch t {
		case blas.NoTrans:
		case blas.Trans, blas.ConjTrans:
			rows, cols = cols, rows
		default:
			return false
		}
		return ld >= cols && size >= (rows-1)*ld+cols
	}
	return m > 0 && n > 0 && k > 0 && fits(tA, m, k, a, lda) && fits(tB, k, n, b, ldb) && fits(blas.NoTrans, m, n, c, ldc)
}
