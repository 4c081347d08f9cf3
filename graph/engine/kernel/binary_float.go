package kernel

// floatRun computes o = x op y for runs of floating numbers that have a loop of their own, and reports whether this one has. Strides are
// 1, or 0 for a number that repeats.
func floatRun[T Float](op BinaryOp, o, x, y []T, sx, sy int) bool {
	switch {
	case sx == 1 && sy == 1:
		return pairRun(op, o, x[:len(o)], y[:len(o)])
	case sx == 1 && sy == 0:
		return scalarRun(op, o, x[:len(o)], y[0])
	case sx == 0 && sy == 1 && (op == Add || op == Mul):
		return scalarRun(op, o, y[:len(o)], x[0])
	case sx == 0 && sy == 1 && op == Sub:
		vecScalarSub(o, y, x[0])
		return true
	case sx == 0 && sy == 1 && op == Div:
		vecScalarDiv(o, y, x[0])
		return true
	}
	return false
}

func pairRun[T Float](op BinaryOp, o, x, y []T) bool {
	switch op {
	case Add:
		vecAdd(o, x, y)
	case Sub:
		vecSub(o, x, y)
	case Mul:
		vecMul(o, x, y)
	case Div:
		vecDiv(o, x, y)
	default:
		return false
	}
	return true
}

func scalarRun[T Float](op BinaryOp, o, x []T, v T) bool {
	switch {
	case op == Add:
		vecAddScalar(o, x, v)
	case op == Sub:
		vecAddScalar(o, x, -v)
	case op == Mul:
		vecScale(o, x, v)
	case op == Div:
		vecDivScalar(o, x, v)
	case op == Pow && v == 2:
		vecMul(o, x, x)
	case op == Pow && v == 3:
		for i := range o {
			o[i] = x[i] * x[i] * x[i]
		}
	default:
		return false
	}
	return true
}

// floats is a slice of numbers as floats, if they are.
func floats[F Float, T Number](x []T) ([]F, bool) {
	f, ok := any(x).([]F)
	return f, ok
}

// tryFloatRun is floatRun for any type of number.
func tryFloatRun[T Number](op BinaryOp, o, x, y []T, sx, sy int) bool {
	if f, ok := floats[float32](o); ok {
		a, _ := floats[float32](x)
		b, _ := floats[float32](y)
		return floatRun(op, f, a, b, sx, sy)
	}
	if f, ok := floats[float64](o); ok {
		a, _ := floats[float64](x)
		b, _ := floats[float64](y)
		return floatRun(op, f, a, b, sx, sy)
	}
	return false
}
