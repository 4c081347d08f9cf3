// Package kernel holds the numeric kernels of the engine: matrix products, elementwise functions, reductions, normalisations,
// convolution, pooling, attention and losses on flat row-major slices, and their gradients.
//
// Kernels know no graphs, no names and no allocation policy: every slice is the caller's. They are generic over float32 and
// float64; the float32 forms of the transcendental functions evaluate in float64 and round once, so they are within one unit in
// the last place. Sums over float32 data accumulate in float64, except in matrix products.
//
// On amd64 the loops over float32 that models spend time in are assembly, with AVX-512 or AVX2 as the processor has it (gen writes it;
// the build tag noasm leaves it out). Functions give the same result for an element wherever it is. Between processors, sums and
// functions may differ in the last place; plain arithmetic does not.
//
// Results never depend on the number of threads: work is cut by shape only, and every output element is computed by one
// goroutine in one order. Shapes are the caller's contract: a slice that is too short panics with Go's bounds error, which the
// engine reports with the node's name.
package kernel

// Float is an element type of the floating kernels.
type Float interface{ ~float32 | ~float64 }

// Integer is an element type of the integer kernels.
type Integer interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Number is an element type that has arithmetic.
type Number interface{ Float | Integer }

// Elem is any element type a tensor can have.
type Elem interface{ Number | ~bool }
