package axes

import (
	"math"

	"github.com/ligoonnx/ligoonnx/graph"
)

// site is a place in the file that holds a number: an element of a constant, or of a node's attribute.
type site struct {
	value *graph.Value // a constant …
	node  *graph.Node  // … or a node
	attr  string       // attribute of node
	index int
}

// sym is a scalar whose value is known under the present binding, with the expression that gives it.
type sym struct {
	val   float64
	ival  int64 // exact value where isInt
	isInt bool
	lit   *site // a literal of the file
	dim   *node // the size of an axis
	op    string
	args  []*sym

	computed bool // depends on the size of an axis
	terms    int  // operations in the expression, repeats included
}

func intSym(v int64) *sym { return &sym{val: float64(v), ival: v, isInt: true} }

func litInt(v int64, at *site) *sym { return &sym{val: float64(v), ival: v, isInt: true, lit: at} }

func litFloat(v float64, at *site) *sym { return &sym{val: v, ival: int64(v), lit: at} }

func dimSym(n *node) *sym {
	z := n.find().size
	return &sym{val: float64(z), ival: z, isInt: true, dim: n, computed: true}
}

// run reports whether the value depends on a run-time dimension.
func (y *sym) run() bool {
	if y.dim != nil {
		return y.dim.run()
	}
	for _, a := range y.args {
		if a.computed && a.run() {
			return true
		}
	}
	return false
}

// literal reports whether the value is a constant of the file itself.
func (y *sym) literal() bool { return y.lit != nil }

// opSym applies an operator to scalars; nil when the operator is not one the evaluator knows, or the expression gets too long.
func opSym(op string, isInt bool, args ...*sym) *sym {
	y := &sym{isInt: isInt, op: op, args: args, terms: 1}
	in := make([]float64, len(args))
	for i, a := range args {
		in[i] = a.val
		y.computed = y.computed || a.computed
		if y.terms += a.terms; y.terms > maxTerms {
			return nil
		}
	}
	var ok bool
	if isInt {
		ints := make([]int64, len(args))
		for i, a := range args {
			ints[i] = a.ival
		}
		y.ival, ok = evalInt(op, ints)
		y.val = float64(y.ival)
	} else {
		y.val, ok = evalFloat(op, in)
		y.ival = int64(y.val)
	}
	if !ok {
		return nil
	}
	return y
}

func evalInt(op string, a []int64) (int64, bool) {
	b2i := func(b bool) int64 {
		if b {
			return 1
		}
		return 0
	}
	if len(a) < operands(op) {
		return 0, false
	}
	switch op {
	case "Neg":
		return -a[0], true
	case "Abs":
		if a[0] < 0 {
			return -a[0], true
		}
		return a[0], true
	case "Not":
		return b2i(a[0] == 0), true
	case "Identity", "Cast", "Floor", "Ceil":
		return a[0], true
	case "Sign":
		return b2i(a[0] > 0) - b2i(a[0] < 0), true
	case "Where":
		if a[0] != 0 {
			return a[1], true
		}
		return a[2], true
	case "Sqrt", "Pow", "Reciprocal":
		f := make([]float64, len(a))
		for i, x := range a {
			f[i] = float64(x)
		}
		v, ok := evalFloat(op, f)
		return int64(v), ok
	}
	acc := a[0]
	if len(a) == 1 {
		switch op {
		case "Max", "Min", "Sum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceSum":
			return acc, true
		}
		return 0, false
	}
	for _, x := range a[1:] {
		switch op {
		case "Add", "Sum", "ReduceSum":
			acc += x
		case "Sub":
			acc -= x
		case "Mul", "ReduceProd":
			acc *= x
		case "Div":
			if x == 0 {
				return 0, false
			}
			acc /= x // ONNX integer division truncates, as Go's does
		case "Mod":
			if x == 0 {
				return 0, false
			}
			if acc %= x; acc != 0 && (acc < 0) != (x < 0) {
				acc += x
			}
		case "Max", "ReduceMax":
			acc = max(acc, x)
		case "Min", "ReduceMin":
			acc = min(acc, x)
		case "Equal":
			acc = b2i(acc == x)
		case "Less":
			acc = b2i(acc < x)
		case "Greater":
			acc = b2i(acc > x)
		case "LessOrEqual":
			acc = b2i(acc <= x)
		case "GreaterOrEqual":
			acc = b2i(acc >= x)
		case "And":
			acc = b2i(acc != 0 && x != 0)
		case "Or":
			acc = b2i(acc != 0 || x != 0)
		case "Xor":
			acc = b2i((acc != 0) != (x != 0))
		default:
			return 0, false
		}
	}
	return acc, true
}

// operands is how many operands evaluating an operator takes at least.
func operands(op string) int {
	switch op {
	case "Where":
		return 3
	case "Pow":
		return 2
	}
	return 1
}

func evalFloat(op string, a []float64) (float64, bool) {
	if len(a) < operands(op) {
		return 0, false
	}
	switch op {
	case "Neg":
		return -a[0], true
	case "Abs":
		return math.Abs(a[0]), true
	case "Identity", "Cast":
		return a[0], true
	case "Sqrt":
		return math.Sqrt(a[0]), true
	case "Reciprocal":
		return 1 / a[0], true
	case "Floor":
		return math.Floor(a[0]), true
	case "Ceil":
		return math.Ceil(a[0]), true
	case "Exp":
		return math.Exp(a[0]), true
	case "Log":
		return math.Log(a[0]), true
	case "Where":
		if a[0] != 0 {
			return a[1], true
		}
		return a[2], true
	}
	if len(a) < 2 {
		return 0, false
	}
	acc := a[0]
	for _, x := range a[1:] {
		switch op {
		case "Add", "Sum":
			acc += x
		case "Sub":
			acc -= x
		case "Mul":
			acc *= x
		case "Div":
			acc /= x
		case "Pow":
			acc = math.Pow(acc, x)
		case "Max":
			acc = math.Max(acc, x)
		case "Min":
			acc = math.Min(acc, x)
		default:
			return 0, false
		}
	}
	return acc, true
}

// static is a tensor whose elements are known scalars.
type static struct {
	shape []int64
	elems []*sym
}

// maxStatic bounds the elements of tensors whose values are followed; shapes and scalars are small, tables are data.
const maxStatic = 128
