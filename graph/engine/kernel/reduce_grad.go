package kernel

import "math"

// ReduceGrad is the gradient of a reduction that is not a sum or mean: dx [outer, n, inner] from dy and y [outer, inner], and x like dx,
// which is read as the operation needs; y only for the extremes, ReduceL2, ReduceLogSum and ReduceLogSumExp, x for all but ReduceLogSum.
// Extremes that are reached several times share their gradient. A norm of zeros has the gradient zero.
func ReduceGrad[T Float](threads int, op ReduceOp, dx, dy, x, y []T, outer, n, inner int) {
	if outer*n*inner < walkGrain {
		threads = 1
	}
	Parallel(threads, outer*inner, max(1, walkGrain/max(n, 1)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			reduceGradRun(op, dx, dy, x, y, r, r/inner*n*inner+r%inner, n, inner)
		}
	})
}

// reduceGradRun is one reduction, number r, of n elements from at on.
func reduceGradRun[T Float](op ReduceOp, dx, dy, x, y []T, r, at, n, step int) {
	d, end := float64(dy[r]), at+n*step
	switch op {
	case ReduceMax, ReduceMin:
		share := 0
		for i := at; i < end; i += step {
			if x[i] == y[r] {
				share++
			}
		}
		for i := at; i < end; i += step {
			dx[i] = 0
			if x[i] == y[r] {
				dx[i] = T(d / float64(share))
			}
		}
	case ReduceProd:
		prodGrad(d, dx, x, at, end, step)
	case ReduceL1:
		for i := at; i < end; i += step {
			dx[i] = T(d * sign(float64(x[i])))
		}
	case ReduceL2:
		if y[r] != 0 {
			d /= float64(y[r])
		}
		for i := at; i < end; i += step {
			dx[i] = T(d * float64(x[i]))
		}
	case ReduceSumSquare:
		for i := at; i < end; i += step {
			dx[i] = T(2 * d * float64(x[i]))
		}
	case ReduceLogSum:
		v := T(d * math.Exp(-float64(y[r])))
		for i := at; i < end; i += step {
			dx[i] = v
		}
	case ReduceLogSumExp:
		for i := at; i < end; i += step {
			dx[i] = T(d * math.Exp(float64(x[i])-float64(y[r])))
		}
	}
}

// prodGrad gives every element d times the product of the others, which is not the quotient of the whole where there are zeros.
func prodGrad[T Float](d float64, dx, x []T, at, end, step int) {
	zeros, rest := 0, d
	for i := at; i < end; i += step {
		if x[i] == 0 {
			zeros++
		} else {
			rest *= float64(x[i])
		}
	}
	for i := at; i < end; i += step {
		switch {
		case zeros == 0:
			dx[i] = T(rest / float64(x[i]))
		case zeros == 1 && x[i] == 0:
			dx[i] = T(rest)
		default:
			dx[i] = 0
		}
	}
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}
