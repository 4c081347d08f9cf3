package kernel

import "math"

// lossChunk is how much of a row is worked on at a time: it stays in the first-level cache.
const lossChunk = 1024

// LogSumExp writes the logarithm of the sum of e^x for each row of n elements, in one pass: the sum is kept relative to the highest
// element so far (Milakov & Gimelshein 2018).
func LogSumExp[T Float](threads int, dst, src []T, n int) {
	parallelRows(threads, len(src)/n, n, func(lo, hi int) {
		room := borrow[T](min(n, lossChunk))
		defer giveBack(room)
		for r := lo; r < hi; r++ {
			dst[r] = T(logSumExpRow(src[r*n:r*n+n], *room))
		}
	})
}

func logSumExpRow[T Float](row, room []T) float64 {
	top, sum := T(math.Inf(-1)), 0.0
	for at := 0; at < len(row); at += lossChunk {
		x := row[at:min(at+lossChunk, len(row))]
		high := max(top, vecMax(x))
		if hidden(x, high) {
			continue
		}
		if high > top {
			sum *= math.Exp(float64(top) - float64(high))
		}
		top = high
		sum += vecExpSum(room[:len(x)], x, top)
	}
	return float64(top) + math.Log(sum)
}

// CrossEntropyGrad writes by[r] * (e^(x - lse[r]) - [the element is label[r]]) for the elements of each row of n: the gradient by the
// scores of the negative logarithm of the label's share of e^x, times by. Rows with by 0 are 0 whatever they hold. dx may be x.
func CrossEntropyGrad[T Float](threads int, dx, x, lse, by []T, label []int64, n int) {
	parallelRows(threads, len(x)/n, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			d := dx[r*n : r*n+n]
			k := by[r]
			if k == 0 {
				clear(d)
				continue
			}
			for at := 0; at < n; at += lossChunk {
				part := d[at:min(at+lossChunk, n)]
				vecExpSum(part, x[r*n+at:r*n+at+len(part)], lse[r])
				vecScale(part, part, k)
			}
			d[label[r]] -= k
		}
	})
}

// PickGrad writes -by[r] to element label[r] of each row of n, and 0 to the others. Rows with by 0 are 0 whatever their label.
func PickGrad[T Float](threads int, dx, by []T, label []int64, n int) {
	parallelRows(threads, len(by), n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			d := dx[r*n : r*n+n]
			clear(d)
			if by[r] != 0 {
				d[label[r]] = -by[r]
			}
		}
	})
}
