package kernel

import "math"

// BinaryGradOp is a partial derivative of an elementwise operation of x and y, where it is more than an operation itself.
type BinaryGradOp int

// Partial derivatives, named after the operation and the operand. Where a minimum or maximum is reached by both operands, each gets
// half; with First, the first gets it all. The derivative of a power by its exponent is that of exp(y log x), which is 0 at x = 0, y >= 0.
const (
	DivBySecond BinaryGradOp = iota
	PowByFirst
	PowBySecond
	MinByFirst
	MinBySecond
	MaxByFirst
	MaxBySecond
	MinFirst
	MaxFirst
	ModBySecond
	FmodBySecond
	PReluByFirst
	PReluBySecond
)

// BinaryGrad computes out = d * (the derivative at x, y); the walk's operands are out, d, x and y, and out is contiguous.
func BinaryGrad[T Float](threads int, op BinaryGradOp, w *Walk, out, d, x, y []T) {
	f := binaryGradFunc[T](op)
	sd, sx, sy := w.Inner[1], w.Inner[2], w.Inner[3]
	w.Range(threads, func(n int, off []int) {
		o := out[off[0] : off[0]+n]
		h, i, j := off[1], off[2], off[3]
		for k := range o {
			o[k] = f(d[h], x[i], y[j])
			h += sd
			i += sx
			j += sy
		}
	})
}

func binaryGradFunc[T Float](op BinaryGradOp) func(d, x, y T) T {
	switch op {
	case DivBySecond:
		return func(d, x, y T) T { return -d / y * (x / y) }
	case PowByFirst:
		return powByFirst[T]
	case PowBySecond:
		return func(d, x, y T) T {
			if x == 0 && y >= 0 {
				return 0
			}
			return T(float64(d) * math.Pow(float64(x), float64(y)) * math.Log(float64(x)))
		}
	case MinByFirst, MaxBySecond:
		return func(d, x, y T) T { return share(d, y, x) }
	case MinBySecond, MaxByFirst:
		return func(d, x, y T) T { return share(d, x, y) }
	case MinFirst:
		return func(d, x, y T) T {
			if x > y {
				return 0
			}
			return d
		}
	case MaxFirst:
		return func(d, x, y T) T {
			if x < y {
				return 0
			}
			return d
		}
	case ModBySecond:
		return func(d, x, y T) T { return -d * T(math.Floor(float64(x)/float64(y))) }
	case FmodBySecond:
		return func(d, x, y T) T { return -d * T(math.Trunc(float64(x)/float64(y))) }
	case PReluByFirst:
		return func(d, x, y T) T {
			if x < 0 {
				return d * y
			}
			return d
		}
	}
	return func(d, x, _ T) T { // PReluBySecond
		if x < 0 {
			return d * x
		}
		return 0
	}
}

// share is what the operand a gets of the gradient of max(a, b).
func share[T Float](d, a, b T) T {
	switch {
	case a > b:
		return d
	case a < b:
		return 0
	}
	return d / 2
}

// powByFirst handles the exponents that exported graphs are full of without the cost of math.Pow.
func powByFirst[T Float](d, x, y T) T {
	switch y {
	case 0:
		return 0
	case 1:
		return d
	case 2:
		return d * (2 * x)
	case 3:
		return d * (3 * x * x)
	}
	return T(float64(d) * float64(y) * math.Pow(float64(x), float64(y)-1))
}

// PowerGrad is the derivative of x to a fixed power.
func PowerGrad(p float64) Derivative {
	switch p {
	case 2:
		return Derivative{ReadsX: true, F32: squareGradRun[float32], F64: squareGradRun[float64]}
	case 3:
		return Derivative{ReadsX: true, F32: cubeGradRun[float32], F64: cubeGradRun[float64]}
	}
	return bySlopeX(func(x float64) float64 { return powByFirst(1, x, p) })
}

func squareGradRun[T Float](dx, dy, x, _ []T) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	for i := range dx {
		dx[i] = dy[i] * (2 * x[i])
	}
}

func cubeGradRun[T Float](dx, dy, x, _ []T) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	for i := range dx {
		dx[i] = dy[i] * (3 * x[i] * x[i])
	}
}
