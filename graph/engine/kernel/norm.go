package kernel

import "math"

// rowGrain is how many rows of n elements one unit of parallel work has.
func rowGrain(n int) int { return max(1, walkGrain/4/max(n, 1)) }

// parallelRows calls f for ranges of rows of n elements, on one goroutine where there are few: a machine that is busy takes longer to
// give a goroutine its turn than they take.
func parallelRows(threads, rows, n int, f func(lo, hi int)) {
	if rows*n < walkGrain {
		threads = 1
	}
	Parallel(threads, rows, rowGrain(n), f)
}

// Softmax writes e^(x-max) / sum over each row of n elements; with log set, the logarithm of that. A row of -Inf alone gives NaN,
// as the definition does. dst may be src.
func Softmax[T Float](threads int, dst, src []T, n int, log bool) {
	rows := 0
	if n > 0 {
		rows = len(src) / n
	}
	parallelRows(threads, rows, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			if log {
				logSoftmaxRow(dst[r*n:r*n+n], src[r*n:r*n+n])
			} else {
				SoftmaxRow(dst[r*n:r*n+n], src[r*n:r*n+n])
			}
		}
	})
}

// SoftmaxRow is Softmax of one row.
func SoftmaxRow[T Float](dst, src []T) {
	s := vecExpSum(dst, src, vecMax(src))
	vecScale(dst, dst, T(1/s))
}

func logSoftmaxRow[T Float](dst, src []T) {
	room := borrow[T](min(len(src), lossChunk))
	defer giveBack(room)
	z := logSumExpRow(src, *room)
	for i, v := range src {
		dst[i] = T(float64(v) - z)
	}
}

// LayerNorm normalises each row of n elements to mean 0 and variance 1 (two passes: the variance is taken of the centred values),
// then multiplies by gain and adds bias where they are not nil. mean and invStd, where not nil, receive the rows' statistics.
func LayerNorm[T Float](threads int, dst, src, gain, bias, mean, invStd []T, n int, eps float64) {
	parallelRows(threads, len(src)/n, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			x, y := src[r*n:r*n+n], dst[r*n:r*n+n]
			mu := vecSum(x) / float64(n)
			inv := 1 / math.Sqrt(vecSumSqAbout(x, mu)/float64(n)+eps)
			vecNormalize(y, x, mu, inv)
			affine(y, gain, bias)
			if mean != nil {
				mean[r] = T(mu)
			}
			if invStd != nil {
				invStd[r] = T(inv)
			}
		}
	})
}

// RMSNorm divides each row of n elements by the root of its mean square, then multiplies by gain where it is not nil.
func RMSNorm[T Float](threads int, dst, src, gain, invStd []T, n int, eps float64) {
	parallelRows(threads, len(src)/n, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			x, y := src[r*n:r*n+n], dst[r*n:r*n+n]
			inv := 1 / math.Sqrt(vecSumSq(x)/float64(n)+eps)
			vecScale(y, x, T(inv))
			affine(y, gain, nil)
			if invStd != nil {
				invStd[r] = T(inv)
			}
		}
	})
}

func affine[T Float](y, gain, bias []T) {
	switch {
	case gain != nil && bias != nil:
		vecMulAdd(y, y, gain, bias)
	case gain != nil:
		vecMul(y, y, gain)
	case bias != nil:
		vecAdd(y, y, bias)
	}
}
