package kernel

import "math"

// Loops over slices of one length: what the other kernels are made of. Lengths are those of the first slice. Results may overlap an
// operand only if they are the same slice. An element's result depends on that element alone, wherever it is in the slice.
//
// Sums over float32 accumulate in float64: several partial sums, in an order that depends on the length alone. The machine decides
// how many partial sums there are, so the last bit of a sum may differ between processors.

// vecAdd computes dst = a + b.
func vecAdd[T Float](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

// vecSub computes dst = a - b.
func vecSub[T Float](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] - b[i]
	}
}

// vecMul computes dst = a * b.
func vecMul[T Float](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

// vecDiv computes dst = a / b.
func vecDiv[T Float](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] / b[i]
	}
}

// vecMulAdd computes dst = a * b + c, rounding twice. dst may be c.
func vecMulAdd[T Float](dst, a, b, c []T) {
	a, b, c = a[:len(dst)], b[:len(dst)], c[:len(dst)]
	for i := range dst {
		dst[i] = T(a[i]*b[i]) + c[i]
	}
}

// vecAxpy computes y += alpha * x, rounding twice.
func vecAxpy[T Float](alpha T, x, y []T) {
	x = x[:len(y)]
	for i := range y {
		y[i] += T(alpha * x[i])
	}
}

// vecScale computes dst = x * alpha.
func vecScale[T Float](dst, x []T, alpha T) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = x[i] * alpha
	}
}

// vecAddScalar computes dst = x + alpha.
func vecAddScalar[T Float](dst, x []T, alpha T) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = x[i] + alpha
	}
}

// vecDot is the inner product, summed in float64.
func vecDot[T Float](a, b []T) float64 {
	var s float64
	b = b[:len(a)]
	for i, v := range a {
		s += float64(v) * float64(b[i])
	}
	return s
}

// vecSum is the sum in float64.
func vecSum[T Float](x []T) float64 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return s
}

// vecSumSq is the sum of squares in float64.
func vecSumSq[T Float](x []T) float64 {
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return s
}

// vecMax is the largest element, NaNs apart; -Inf if there is none.
func vecMax[T Float](x []T) T {
	top := T(math.Inf(-1))
	for _, v := range x {
		if v > top {
			top = v
		}
	}
	return top
}

// vecExpSum computes dst = e^(src - top) and returns the sum.
func vecExpSum[T Float](dst, src []T, top T) (sum float64) {
	return expRow(dst, src, top)
}
