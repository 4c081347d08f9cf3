package kernel

// Loops over slices of one length: what the other kernels are made of. Lengths are those of the first slice. Results may overlap an
// operand only if they are the same slice. An element's result depends on that element alone, wherever it is in the slice.
//
// Sums over float32 accumulate in float64: several partial sums, in an order that depends on the length alone. The machine decides
// how many partial sums there are, so the last bit of a sum may differ between processors.

// vecAdd computes dst = a + b.
func vecAdd[T Float](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	if fast3(simd.add, dst, a, b) {
		return
	}
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

// vecSub computes dst = a - b.
func vecSub[T Float](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	if fast3(simd.sub, dst, a, b) {
		return
	}
	for i := range dst {
		dst[i] = a[i] - b[i]
	}
}

// vecMul computes dst = a * b.
func vecMul[T Float](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	if fast3(simd.mul, dst, a, b) {
		return
	}
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

// vecDiv computes dst = a / b.
func vecDiv[T Float](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	if fast3(simd.div, dst, a, b) {
		return
	}
	for i := range dst {
		dst[i] = a[i] / b[i]
	}
}

// vecMulAdd computes dst = a * b + c, rounding twice. dst may be c.
func vecMulAdd[T Float](dst, a, b, c []T) {
	a, b, c = a[:len(dst)], b[:len(dst)], c[:len(dst)]
	if d, ok := fast(simd.mulAdd != nil, dst); ok {
		simd.mulAdd(&d[0], first(a), first(b), first(c), len(d))
		return
	}
	for i := range dst {
		dst[i] = T(a[i]*b[i]) + c[i]
	}
}

// vecAxpy computes y += alpha * x, rounding twice.
func vecAxpy[T Float](alpha T, x, y []T) {
	x = x[:len(y)]
	if fastScalar(simd.axpy, y, x, alpha) {
		return
	}
	for i := range y {
		y[i] += T(alpha * x[i])
	}
}

// vecScale computes dst = x * alpha.
func vecScale[T Float](dst, x []T, alpha T) {
	x = x[:len(dst)]
	if fastScalar(simd.scale, dst, x, alpha) {
		return
	}
	for i := range dst {
		dst[i] = x[i] * alpha
	}
}

// vecAddScalar computes dst = x + alpha.
func vecAddScalar[T Float](dst, x []T, alpha T) {
	x = x[:len(dst)]
	if fastScalar(simd.addScalar, dst, x, alpha) {
		return
	}
	for i := range dst {
		dst[i] = x[i] + alpha
	}
}

// vecDivScalar computes dst = x / alpha.
func vecDivScalar[T Float](dst, x []T, alpha T) {
	x = x[:len(dst)]
	if fastScalar(simd.divScalar, dst, x, alpha) {
		return
	}
	for i := range dst {
		dst[i] = x[i] / alpha
	}
}

// vecScalarSub computes dst = alpha - x.
func vecScalarSub[T Float](dst, x []T, alpha T) {
	x = x[:len(dst)]
	if fastScalar(simd.scalarSub, dst, x, alpha) {
		return
	}
	for i := range dst {
		dst[i] = alpha - x[i]
	}
}

// vecScalarDiv computes dst = alpha / x.
func vecScalarDiv[T Float](dst, x []T, alpha T) {
	x = x[:len(dst)]
	if fastScalar(simd.scalarDiv, dst, x, alpha) {
		return
	}
	for i := range dst {
		dst[i] = alpha / x[i]
	}
}

// vecMulDiff computes dst = a * (b - alpha).
func vecMulDiff[T Float](dst, a, b []T, alpha T) {
	a, b = a[:len(dst)], b[:len(dst)]
	if d, ok := fast(simd.mulDiff != nil, dst); ok {
		simd.mulDiff(&d[0], first(a), first(b), len(d), float32(alpha))
		return
	}
	for i := range dst {
		dst[i] = a[i] * (b[i] - alpha)
	}
}

// vecNormGrad computes dst = scale * (a - shift - b * slope), rounding after each operation.
func vecNormGrad[T Float](dst, a, b []T, scale, shift, slope T) {
	a, b = a[:len(dst)], b[:len(dst)]
	if d, ok := fast(simd.normGrad != nil, dst); ok {
		simd.normGrad(&d[0], first(a), first(b), len(d), float32(scale), float32(shift), float32(slope))
		return
	}
	for i := range dst {
		dst[i] = scale * ((a[i] - shift) - T(b[i]*slope))
	}
}

// vecNormalize computes dst = (x - mean) * scale in float64, rounded once.
func vecNormalize[T Float](dst, x []T, mean, scale float64) {
	x = x[:len(dst)]
	if d, ok := fast(simd.normalize != nil, dst); ok {
		simd.normalize(&d[0], first(x), len(d), mean, scale)
		return
	}
	for i, v := range x {
		dst[i] = T((float64(v) - mean) * scale)
	}
}
