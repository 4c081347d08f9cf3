package kernel

import "math"

// ReduceOp is a reduction.
type ReduceOp int

// Reductions by their ONNX names.
const (
	ReduceSum ReduceOp = iota
	ReduceMean
	ReduceMax
	ReduceMin
	ReduceProd
	ReduceL1
	ReduceL2
	ReduceSumSquare
	ReduceLogSum
	ReduceLogSumExp
)

// Reduce reduces the middle axis of a [outer, n, inner] tensor into out [outer, inner]. Floating sums accumulate in float64, in an
// order that the shape decides. The empty reduction gives the operation's neutral element.
func Reduce[T Number](threads int, op ReduceOp, out, in []T, outer, n, inner int) {
	if outer*n*inner < walkGrain {
		threads = 1
	}
	if op == ReduceSum || op == ReduceMean {
		div := 1.0
		if op == ReduceMean {
			div = float64(n)
		}
		switch d := any(out).(type) {
		case []float32:
			reduceSum(threads, div, d, any(in).([]float32), outer, n, inner)
			return
		case []float64:
			reduceSum(threads, div, d, any(in).([]float64), outer, n, inner)
			return
		}
	}
	Parallel(threads, outer*inner, max(1, walkGrain/max(n, 1)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			base := r/inner*n*inner + r%inner
			out[r] = reduceRun(op, in, base, n, inner)
		}
	})
}

func reduceRun[T Number](op ReduceOp, in []T, at, n, step int) T {
	if op == ReduceMax || op == ReduceMin {
		return extreme(op == ReduceMax, in, at, n, step)
	}
	if !isFloat[T]() {
		return reduceInts(op, in, at, n, step)
	}
	var s float64
	top := math.Inf(-1)
	switch op {
	case ReduceProd:
		s = 1
	case ReduceLogSumExp:
		for i := range n {
			top = max(top, float64(in[at+i*step]))
		}
		if math.IsInf(top, 0) {
			return T(top)
		}
	}
	for i := range n {
		v := float64(in[at+i*step])
		switch op {
		case ReduceProd:
			s *= v
		case ReduceL1:
			s += math.Abs(v)
		case ReduceL2, ReduceSumSquare:
			s += v * v
		case ReduceLogSumExp:
			s += math.Exp(v - top)
		default:
			s += v
		}
	}
	switch op {
	case ReduceL2:
		s = math.Sqrt(s)
	case ReduceLogSum:
		s = math.Log(s)
	case ReduceLogSumExp:
		s = top + math.Log(s)
	}
	return T(s)
}

func reduceInts[T Number](op ReduceOp, in []T, at, n, step int) T {
	var s T
	if op == ReduceProd {
		s = 1
	}
	for i := range n {
		v := in[at+i*step]
		switch op {
		case ReduceProd:
			s *= v
		case ReduceL1:
			if v < 0 {
				v = -v
			}
			s += v
		case ReduceL2, ReduceSumSquare:
			s += v * v
		default:
			s += v
		}
	}
	switch op {
	case ReduceMean:
		if n > 0 {
			s /= T(n)
		}
	case ReduceL2:
		s = T(math.Sqrt(float64(s)))
	}
	return s
}

// extreme is the largest or smallest element; a NaN wins. The empty extreme is infinite for floats and the far end of the
// range for integers.
func extreme[T Number](largest bool, in []T, at, n, step int) T {
	if n == 0 {
		return emptyExtreme[T](largest)
	}
	best := in[at]
	for i := 1; i < n; i++ {
		v := in[at+i*step]
		if v != v {
			return v
		}
		if largest && v > best || !largest && v < best {
			best = v
		}
	}
	return best
}

func emptyExtreme[T Number](largest bool) T {
	if isFloat[T]() {
		if largest {
			return T(math.Inf(-1))
		}
		return T(math.Inf(1))
	}
	var lo, one T = 0, 1
	if lo-one < 0 { // signed: doubling one overflows to the smallest value
		for lo = one; lo > 0; lo *= 2 {
		}
	}
	if largest {
		return lo
	}
	return lo - one
}

// ArgExtreme writes, for each [outer, inner] position, the index of the largest (or smallest) element of the middle axis: the
// first of equals, or the last.
func ArgExtreme[T Number](largest, last bool, out []int64, in []T, outer, n, inner int) {
	for o := range outer {
		for i := range inner {
			base := o*n*inner + i
			best, at := in[base], 0
			for k := 1; k < n; k++ {
				v := in[base+k*inner]
				if largest && v > best || !largest && v < best || last && v == best {
					best, at = v, k
				}
			}
			out[o*inner+i] = int64(at)
		}
	}
}

// CumSum writes running sums along the middle axis of a [outer, n, inner] tensor.
func CumSum[T Number](out, in []T, outer, n, inner int, exclusive, reverse bool) {
	for o := range outer {
		for i := range inner {
			var s T
			for k := range n {
				if reverse {
					k = n - 1 - k
				}
				at := (o*n+k)*inner + i
				if exclusive {
					out[at] = s
					s += in[at]
				} else {
					s += in[at]
					out[at] = s
				}
			}
		}
	}
}
