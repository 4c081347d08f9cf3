package kernel

import "math"

// BinaryOp is an elementwise operation of two operands of one type.
type BinaryOp int

// Elementwise operations. Integer division truncates; a zero divisor is the caller's to refuse. Mod takes the divisor's sign,
// Fmod the dividend's. Min and Max of a NaN are NaN.
const (
	Add BinaryOp = iota
	Sub
	Mul
	Div
	Pow
	Min
	Max
	Mod
	Fmod
)

// Binary computes out = a op b; the walk's operands are out, a and b, and out is contiguous.
func Binary[T Number](threads int, op BinaryOp, w *Walk, out, a, b []T) {
	sa, sb := w.Inner[1], w.Inner[2]
	f := binaryFunc[T](op)
	w.Range(threads, func(n int, off []int) {
		o := out[off[0] : off[0]+n]
		x, y := a[off[1]:], b[off[2]:]
		if tryFloatRun(op, o, x, y, sa, sb) {
			return
		}
		i, j := 0, 0
		for k := range o {
			o[k] = f(x[i], y[j])
			i += sa
			j += sb
		}
	})
}

func binaryFunc[T Number](op BinaryOp) func(a, b T) T {
	switch op {
	case Add:
		return func(a, b T) T { return a + b }
	case Sub:
		return func(a, b T) T { return a - b }
	case Mul:
		return func(a, b T) T { return a * b }
	case Div:
		return func(a, b T) T { return a / b }
	case Pow:
		return pow[T]
	case Min:
		return func(a, b T) T {
			if a != a || a < b {
				return a
			}
			return b
		}
	case Max:
		return func(a, b T) T {
			if a != a || a > b {
				return a
			}
			return b
		}
	case Mod:
		return func(a, b T) T {
			r := fmod(a, b)
			if r != 0 && (r < 0) != (b < 0) {
				r += b
			}
			return r
		}
	case Fmod:
		return fmod[T]
	}
	return nil
}

// isFloat reports whether T has fractions.
func isFloat[T Number]() bool {
	var one T = 1
	return one/2 != 0
}

// pow handles the exponents that exported graphs are full of without the cost of math.Pow.
func pow[T Number](a, b T) T {
	switch {
	case b == 2:
		return a * a
	case b == 1:
		return a
	case b == 3:
		return a * a * a
	}
	return T(math.Pow(float64(a), float64(b)))
}

func fmod[T Number](a, b T) T {
	if isFloat[T]() {
		return T(math.Mod(float64(a), float64(b)))
	}
	return a - a/b*b
}

// CompareOp is an elementwise comparison.
type CompareOp int

// Comparisons; every one but Equal's negation is false for NaN.
const (
	Equal CompareOp = iota
	Less
	LessEqual
	Greater
	GreaterEqual
)

// Compare computes out = a op b; the walk's operands are out, a and b, and out is contiguous.
func Compare[T Number](threads int, op CompareOp, w *Walk, out []bool, a, b []T) {
	sa, sb := w.Inner[1], w.Inner[2]
	w.Range(threads, func(n int, off []int) {
		i, j := off[1], off[2]
		for k := off[0]; k < off[0]+n; k++ {
			x, y := a[i], b[j]
			var r bool
			switch op {
			case Equal:
				r = x == y
			case Less:
				r = x < y
			case LessEqual:
				r = x <= y
			case Greater:
				r = x > y
			case GreaterEqual:
				r = x >= y
			}
			out[k] = r
			i += sa
			j += sb
		}
	})
}

// LogicOp is an elementwise operation of bools.
type LogicOp int

// Logical operations.
const (
	And LogicOp = iota
	Or
	Xor
	Same
)

// Logic computes out = a op b; the walk's operands are out, a and b, and out is contiguous.
func Logic(threads int, op LogicOp, w *Walk, out, a, b []bool) {
	sa, sb := w.Inner[1], w.Inner[2]
	w.Range(threads, func(n int, off []int) {
		i, j := off[1], off[2]
		for k := off[0]; k < off[0]+n; k++ {
			switch op {
			case And:
				out[k] = a[i] && b[j]
			case Or:
				out[k] = a[i] || b[j]
			case Xor:
				out[k] = a[i] != b[j]
			case Same:
				out[k] = a[i] == b[j]
			}
			i += sa
			j += sb
		}
	})
}
