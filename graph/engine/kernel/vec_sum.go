package kernel

import "math"

// vecDot is the inner product, summed in float64.
func vecDot[T Float](a, b []T) float64 {
	b = b[:len(a)]
	if x, ok := fast(simd.dot != nil, a); ok {
		return simd.dot(&x[0], first(b), len(x))
	}
	var s float64
	for i, v := range a {
		s += float64(v) * float64(b[i])
	}
	return s
}

// vecSum is the sum in float64, in four interleaved partial sums.
func vecSum[T Float](x []T) float64 {
	if x, ok := fast(simd.sum != nil, x); ok {
		return simd.sum(&x[0], len(x))
	}
	var s0, s1, s2, s3 float64
	for len(x) >= 4 {
		s0 += float64(x[0])
		s1 += float64(x[1])
		s2 += float64(x[2])
		s3 += float64(x[3])
		x = x[4:]
	}
	for _, v := range x {
		s0 += float64(v)
	}
	return (s0 + s2) + (s1 + s3)
}

// vecSumSq is the sum of squares in float64.
func vecSumSq[T Float](x []T) float64 { return vecSumSqAbout(x, 0) }

// vecSumSqAbout is the sum of (x - mean)^2 in float64.
func vecSumSqAbout[T Float](x []T, mean float64) float64 {
	if x, ok := fast(simd.sumSq != nil, x); ok {
		return simd.sumSq(&x[0], len(x), mean)
	}
	var s float64
	for _, v := range x {
		d := float64(v) - mean
		s += d * d
	}
	return s
}

// vecMax is the largest element, NaNs apart; -Inf if there is none.
func vecMax[T Float](x []T) T {
	if x, ok := fast(simd.max != nil, x); ok {
		return T(simd.max(&x[0], len(x)))
	}
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
	src = src[:len(dst)]
	if d, ok := fast(simd.expSum != nil, dst); ok {
		return simd.expSum(&d[0], first(src), len(d), float64(top))
	}
	if s, ok := any(src).([]float32); ok {
		return expSum32(any(dst).([]float32), s, float64(top))
	}
	for i, v := range src {
		e := math.Exp(float64(v) - float64(top))
		sum += e
		dst[i] = T(e)
	}
	return sum
}

func expSum32(dst, src []float32, top float64) (sum float64) {
	for len(src) >= 4 {
		x := lanes{float64(src[0]) - top, float64(src[1]) - top, float64(src[2]) - top, float64(src[3]) - top}
		exp4(&x)
		for i, e := range x {
			sum += e
			dst[i] = float32(e)
		}
		src, dst = src[4:], dst[4:]
	}
	for i, v := range src {
		e := exp32(float64(v) - top)
		sum += e
		dst[i] = float32(e)
	}
	return sum
}

// vecAddWide computes dst += x.
func vecAddWide[T Float](dst []float64, x []T) {
	x = x[:len(dst)]
	if f, ok := fast(simd.addWide != nil, x); ok {
		simd.addWide(&dst[0], &f[0], len(f))
		return
	}
	for i, v := range x {
		dst[i] += float64(v)
	}
}
