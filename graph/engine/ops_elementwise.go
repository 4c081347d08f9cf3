package engine

import (
	"errors"
	"fmt"
	"math"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	arith := map[string]kernel.BinaryOp{"Add": kernel.Add, "Sub": kernel.Sub, "Mul": kernel.Mul, "Div": kernel.Div}
	for name, op := range arith {
		register("", name, 2, 2, func(c *compiler, s *step, in []*value) ([]*value, error) {
			a, b := in[0], in[1]
			if s.version < 7 && s.version > 0 {
				var err error
				if b, err = legacyBroadcast(c, s, a, b); err != nil {
					return nil, err
				}
			}
			return c.apply(s.label, &binaryOp{op: op}, a, b)
		})
	}
	simple("", "Pow", 2, 2, func(*step) (operator, error) { return &binaryOp{op: kernel.Pow, mixed: true}, nil })
	simple("", "Mod", 2, 2, func(s *step) (operator, error) {
		if s.flag("fmod", false) {
			return &binaryOp{op: kernel.Fmod}, nil
		}
		return &binaryOp{op: kernel.Mod}, nil
	})
	for name, op := range map[string]kernel.BinaryOp{"Min": kernel.Min, "Max": kernel.Max, "Sum": kernel.Add} {
		register("", name, 1, -1, func(c *compiler, s *step, in []*value) ([]*value, error) {
			v, err := chain(c, s, op, in)
			return []*value{v}, err
		})
	}
	register("", "Mean", 1, -1, func(c *compiler, s *step, in []*value) ([]*value, error) {
		v, err := chain(c, s, kernel.Add, in)
		if err != nil {
			return nil, err
		}
		n, err := c.number(v.dt, float64(len(in)))
		if err != nil {
			return nil, err
		}
		return c.apply(s.label, &binaryOp{op: kernel.Div}, v, n)
	})
	compare := map[string]kernel.CompareOp{"Equal": kernel.Equal, "Less": kernel.Less, "LessOrEqual": kernel.LessEqual,
		"Greater": kernel.Greater, "GreaterOrEqual": kernel.GreaterEqual}
	for name, op := range compare {
		simple("", name, 2, 2, func(*step) (operator, error) { return &compareOp{op: op}, nil })
	}
	for name, op := range map[string]kernel.LogicOp{"And": kernel.And, "Or": kernel.Or, "Xor": kernel.Xor} {
		simple("", name, 2, 2, func(*step) (operator, error) { return &logicOp{op: op}, nil })
	}
	simple("", "Not", 1, 1, func(*step) (operator, error) { return notOp{}, nil })
	simple("", "Where", 3, 3, func(*step) (operator, error) { return &whereOp{}, nil })
	register("", "Clip", 1, 3, clip)
	simple("", "PRelu", 2, 2, func(*step) (operator, error) { return &preluOp{}, nil })
	simple("", "IsNaN", 1, 1, func(*step) (operator, error) { return &classifyOp{nan: true}, nil })
	simple("", "IsInf", 1, 1, func(s *step) (operator, error) {
		return &classifyOp{pos: s.flag("detect_positive", true), neg: s.flag("detect_negative", true)}, nil
	})
}

// legacyBroadcast reads the axis attribute of opset 6 and older: b's dimensions match a's from axis on.
func legacyBroadcast(c *compiler, s *step, a, b *value) (*value, error) {
	if !s.flag("broadcast", false) || !s.has("axis") {
		return b, nil
	}
	axis, err := axisOf(s.int("axis", 0), a.rank())
	if err != nil {
		return nil, err
	}
	shape := append([]int(nil), b.shape...)
	for len(shape) < a.rank()-axis {
		shape = append(shape, 1)
	}
	return c.reshape(s.label, b, shape)
}

// number makes a scalar constant of a type.
func (c *compiler) number(dt onnxio.DType, x float64) (*value, error) {
	b, err := newBuffer(dt, c.x.shadow, 1)
	if err != nil {
		return nil, err
	}
	if err := convertBuffer(b, buf[float64]{x}); err != nil {
		return nil, err
	}
	return c.fixed(&tensor{spec{dt, nil}, b}), nil
}

// chain folds an operator with any number of operands from the left.
func chain(c *compiler, s *step, op kernel.BinaryOp, in []*value) (*value, error) {
	v := in[0]
	for i, o := range in[1:] {
		if o == nil {
			return nil, fmt.Errorf("operand %d is missing", i+1)
		}
		var err error
		if v, err = c.one(s.label, &binaryOp{op: op}, v, o); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// binaryOp is an arithmetic operation of two broadcast operands of one type; with mixed, the second may be of another type.
type binaryOp struct {
	op    kernel.BinaryOp
	mixed bool
	bound bool // a minimum or maximum whose second operand bounds the first
	walk  *kernel.Walk
}

func (o *binaryOp) infer(in []*value) ([]spec, error) {
	a, b := in[0], in[1]
	if a.dt != b.dt && !o.mixed {
		return nil, fmt.Errorf("operands of types %v and %v", a.dt, b.dt)
	}
	if a.dt == onnxio.Bool || b.dt == onnxio.Bool {
		return nil, errors.New("arithmetic on bools")
	}
	shape, walk, err := walkOver(a.spec, b.spec)
	o.walk = walk
	return []spec{{a.dt, shape}}, err
}

// walkOver plans a walk with a contiguous output and broadcast operands.
func walkOver(in ...spec) ([]int, *kernel.Walk, error) {
	shapes := make([][]int, len(in))
	for i, s := range in {
		shapes[i] = s.shape
	}
	shape, err := broadcast(shapes...)
	if err != nil {
		return nil, nil, err
	}
	strides := [][]int{kernel.Strides(shape)}
	for _, s := range in {
		strides = append(strides, kernel.BroadcastStrides(s.shape, shape))
	}
	return shape, kernel.NewWalk(shape, strides...), nil
}

func (o *binaryOp) forward(x *exec, in, out []*tensor) error {
	a, b := in[0].buf, in[1].buf
	if o.mixed && in[0].dt != in[1].dt {
		if isFloat(in[1].dt) && !isFloat(in[0].dt) {
			return mixedPow(x, o.walk, out[0].buf, a, b)
		}
		b = a.fresh(b.size())
		if err := convertBuffer(b, in[1].buf); err != nil {
			return err
		}
	}
	if (o.op == kernel.Div || o.op == kernel.Mod || o.op == kernel.Fmod) && !isFloat(in[0].dt) {
		d, err := in[1].ints()
		if err != nil {
			return err
		}
		for _, v := range d {
			if v == 0 {
				return errors.New("integer division by zero")
			}
		}
	}
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.Binary(x.threads, o.op, o.walk, d, a.(buf[float32]), b.(buf[float32]))
	case buf[float64]:
		kernel.Binary(x.threads, o.op, o.walk, d, a.(buf[float64]), b.(buf[float64]))
	case buf[int64]:
		kernel.Binary(x.threads, o.op, o.walk, d, a.(buf[int64]), b.(buf[int64]))
	case buf[int32]:
		kernel.Binary(x.threads, o.op, o.walk, d, a.(buf[int32]), b.(buf[int32]))
	case buf[int16]:
		kernel.Binary(x.threads, o.op, o.walk, d, a.(buf[int16]), b.(buf[int16]))
	case buf[int8]:
		kernel.Binary(x.threads, o.op, o.walk, d, a.(buf[int8]), b.(buf[int8]))
	case buf[uint64]:
		kernel.Binary(x.threads, o.op, o.walk, d, a.(buf[uint64]), b.(buf[uint64]))
	case buf[uint32]:
		kernel.Binary(x.threads, o.op, o.walk, d, a.(buf[uint32]), b.(buf[uint32]))
	case buf[uint16]:
		kernel.Binary(x.threads, o.op, o.walk, d, a.(buf[uint16]), b.(buf[uint16]))
	case buf[uint8]:
		kernel.Binary(x.threads, o.op, o.walk, d, a.(buf[uint8]), b.(buf[uint8]))
	default:
		return errType(out[0])
	}
	return nil
}

// mixedPow raises integers to floating powers: computed in float64 and truncated.
func mixedPow(x *exec, w *kernel.Walk, out, a, b buffer) error {
	base, exp, res := make(buf[float64], a.size()), make(buf[float64], b.size()), make(buf[float64], out.size())
	if err := convertBuffer(base, a); err != nil {
		return err
	}
	if err := convertBuffer(exp, b); err != nil {
		return err
	}
	kernel.Binary(x.threads, kernel.Pow, w, res, base, exp)
	return convertBuffer(out, res)
}

func errType(t *tensor) error { return fmt.Errorf("element type %v is not supported here", t.dt) }

// compareOp compares two broadcast operands.
type compareOp struct {
	op   kernel.CompareOp
	walk *kernel.Walk
}

func (o *compareOp) infer(in []*value) ([]spec, error) {
	if in[0].dt != in[1].dt {
		return nil, fmt.Errorf("operands of types %v and %v", in[0].dt, in[1].dt)
	}
	shape, walk, err := walkOver(in[0].spec, in[1].spec)
	o.walk = walk
	return []spec{{onnxio.Bool, shape}}, err
}

func (o *compareOp) forward(x *exec, in, out []*tensor) error {
	d := out[0].buf.(buf[bool])
	switch a := in[0].buf.(type) {
	case buf[float32]:
		kernel.Compare(x.threads, o.op, o.walk, d, a, in[1].buf.(buf[float32]))
	case buf[float64]:
		kernel.Compare(x.threads, o.op, o.walk, d, a, in[1].buf.(buf[float64]))
	case buf[uint64]:
		kernel.Compare(x.threads, o.op, o.walk, d, a, in[1].buf.(buf[uint64]))
	case buf[bool]:
		if o.op != kernel.Equal {
			return errType(in[0])
		}
		kernel.Logic(x.threads, kernel.Same, o.walk, d, a, in[1].buf.(buf[bool]))
	default:
		a64, err := in[0].ints()
		if err != nil {
			return err
		}
		b64, err := in[1].ints()
		if err != nil {
			return err
		}
		kernel.Compare(x.threads, o.op, o.walk, d, a64, b64)
	}
	return nil
}

type logicOp struct {
	op   kernel.LogicOp
	walk *kernel.Walk
}

func (o *logicOp) infer(in []*value) ([]spec, error) {
	if in[0].dt != onnxio.Bool || in[1].dt != onnxio.Bool {
		return nil, errors.New("logic on operands that are not bools")
	}
	shape, walk, err := walkOver(in[0].spec, in[1].spec)
	o.walk = walk
	return []spec{{onnxio.Bool, shape}}, err
}

func (o *logicOp) forward(x *exec, in, out []*tensor) error {
	kernel.Logic(x.threads, o.op, o.walk, out[0].buf.(buf[bool]), in[0].buf.(buf[bool]), in[1].buf.(buf[bool]))
	return nil
}

type notOp struct{}

func (notOp) infer(in []*value) ([]spec, error) {
	if in[0].dt != onnxio.Bool {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	return []spec{in[0].spec}, nil
}

func (notOp) forward(_ *exec, in, out []*tensor) error {
	d := out[0].buf.(buf[bool])
	for i, v := range in[0].buf.(buf[bool]) {
		d[i] = !v
	}
	return nil
}

// whereOp selects between two broadcast operands of one type.
type whereOp struct{ walk *kernel.Walk }

func (o *whereOp) infer(in []*value) ([]spec, error) {
	if in[0].dt != onnxio.Bool {
		return nil, fmt.Errorf("condition of type %v", in[0].dt)
	}
	if in[1].dt != in[2].dt {
		return nil, fmt.Errorf("operands of types %v and %v", in[1].dt, in[2].dt)
	}
	shape, walk, err := walkOver(in[0].spec, in[1].spec, in[2].spec)
	o.walk = walk
	return []spec{{in[1].dt, shape}}, err
}

func (o *whereOp) forward(x *exec, in, out []*tensor) error {
	out[0].buf.choose(x.threads, o.walk, in[0].buf.(buf[bool]), in[1].buf, in[2].buf)
	return nil
}

// clip is Max with the lower bound, then Min with the upper; the bounds are attributes before opset 11.
func clip(c *compiler, s *step, in []*value) ([]*value, error) {
	bounds := [2]*value{operand(in, 1), operand(in, 2)}
	if s.version < 11 && s.version > 0 {
		for i, name := range []string{"min", "max"} {
			if !s.has(name) {
				continue
			}
			var err error
			if bounds[i], err = c.number(in[0].dt, s.float(name, 0)); err != nil {
				return nil, err
			}
		}
	}
	v := in[0]
	var err error
	for i, op := range []kernel.BinaryOp{kernel.Max, kernel.Min} {
		if bounds[i] == nil {
			continue
		}
		if v, err = c.one(s.label, &binaryOp{op: op, bound: true}, v, bounds[i]); err != nil {
			return nil, err
		}
	}
	return []*value{v}, nil
}

// preluOp scales negative elements by a slope that broadcasts to x.
type preluOp struct{ walk *kernel.Walk }

func (o *preluOp) infer(in []*value) ([]spec, error) {
	if in[0].dt != in[1].dt {
		return nil, fmt.Errorf("operands of types %v and %v", in[0].dt, in[1].dt)
	}
	shape, walk, err := walkOver(in[0].spec, in[1].spec)
	o.walk = walk
	return []spec{{in[0].dt, shape}}, err
}

func (o *preluOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		prelu(x, o.walk, d, in[0].buf.(buf[float32]), in[1].buf.(buf[float32]))
	case buf[float64]:
		prelu(x, o.walk, d, in[0].buf.(buf[float64]), in[1].buf.(buf[float64]))
	default:
		return errType(in[0])
	}
	return nil
}

func prelu[T kernel.Float](x *exec, w *kernel.Walk, out, a, slope []T) {
	sa, ss := w.Inner[1], w.Inner[2]
	w.Range(x.threads, func(n int, off []int) {
		i, j := off[1], off[2]
		for k := off[0]; k < off[0]+n; k++ {
			v := a[i]
			if v < 0 {
				v *= slope[j]
			}
			out[k] = v
			i += sa
			j += ss
		}
	})
}

// classifyOp finds NaNs or infinities.
type classifyOp struct{ nan, pos, neg bool }

func (o *classifyOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	return []spec{in[0].as(onnxio.Bool)}, nil
}

func (o *classifyOp) forward(_ *exec, in, out []*tensor) error {
	d := out[0].buf.(buf[bool])
	for i := range d {
		v := in[0].float(i)
		d[i] = o.nan && math.IsNaN(v) || o.pos && math.IsInf(v, 1) || o.neg && math.IsInf(v, -1)
	}
	return nil
}

func (o *binaryOp) inPlace(int) bool { return !o.mixed }
