package engine

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// partials are the derivatives of an operation by its operands, in the order of the operands.
var partials = map[kernel.BinaryOp][2]kernel.BinaryGradOp{
	kernel.Pow: {kernel.PowByFirst, kernel.PowBySecond}, kernel.Min: {kernel.MinByFirst, kernel.MinBySecond},
	kernel.Max: {kernel.MaxByFirst, kernel.MaxBySecond},
}

func (o *binaryOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	out := make([]*value, 2)
	for i, v := range k.in {
		if !b.wants(v) {
			continue
		}
		d, err := o.partial(b, k, dy[0], i)
		if err != nil {
			return nil, err
		}
		if d, err = b.relabel(d, v.dt); err != nil {
			return nil, err
		}
		if out[i], err = b.sumTo(d, v.shape); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// partial is dy times the derivative by operand i, in the shape and type of dy.
func (o *binaryOp) partial(b *backward, k *call, d *value, i int) (*value, error) {
	x, y := k.in[0], k.in[1]
	switch o.op {
	case kernel.Add:
		return d, nil
	case kernel.Sub:
		if i == 1 {
			return b.call(signOp{negate}, d)
		}
		return d, nil
	case kernel.Mul:
		return b.call(&binaryOp{op: kernel.Mul}, d, k.in[1-i])
	case kernel.Div:
		if i == 0 {
			return b.call(&binaryOp{op: kernel.Div}, d, y)
		}
		return b.call(&binaryGradOp{op: kernel.DivBySecond}, d, x, y)
	case kernel.Mod, kernel.Fmod:
		if i == 0 {
			return d, nil
		}
		if o.op == kernel.Mod {
			return b.call(&binaryGradOp{op: kernel.ModBySecond}, d, x, y)
		}
		return b.call(&binaryGradOp{op: kernel.FmodBySecond}, d, x, y)
	}
	if o.bound && i == 0 {
		op := kernel.MinFirst
		if o.op == kernel.Max {
			op = kernel.MaxFirst
		}
		return b.call(&binaryGradOp{op: op}, d, x, y)
	}
	if o.op == kernel.Pow && i == 0 && y.size() == 1 && y.known != nil && isFloat(y.dt) && slices.Equal(d.shape, x.shape) {
		return b.call(unaryGradOp{kernel.PowerGrad(y.known.float(0))}, d, x, nil)
	}
	// The exponent of a power may have a type of its own.
	y, err := b.relabel(y, x.dt)
	if err != nil {
		return nil, err
	}
	return b.call(&binaryGradOp{op: partials[o.op][i]}, d, x, y)
}

// relabel gives a value another type without rounding floating values to a narrower one: gradients are not rounded.
func (b *backward) relabel(v *value, dt onnxio.DType) (*value, error) {
	if v.dt == dt {
		return v, nil
	}
	return b.call(widenOp{dt}, v)
}

// widenOp is a cast between numeric types that rounds to nothing narrower than what the engine computes the type in.
type widenOp struct{ to onnxio.DType }

func (o widenOp) infer(in []*value) ([]spec, error) { return []spec{in[0].as(o.to)}, nil }

func (o widenOp) forward(_ *exec, in, out []*tensor) error {
	return convertBuffer(out[0].buf, in[0].buf)
}

// A cast passes gradients on: the rounding of the value is not differentiated. Those of integers are zero.
func (o castOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.relabel(dy[0], k.in[0].dt)
	return []*value{d}, err
}

// binaryGradOp is dy times a partial derivative at two operands that broadcast to it: operands dy, x and y.
type binaryGradOp struct {
	op   kernel.BinaryGradOp
	walk *kernel.Walk
}

func (o *binaryGradOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) || in[1].dt != in[0].dt || in[2].dt != in[0].dt {
		return nil, fmt.Errorf("operands of types %v, %v and %v", in[0].dt, in[1].dt, in[2].dt)
	}
	shape, walk, err := walkOver(in[0].spec, in[1].spec, in[2].spec)
	o.walk = walk
	return []spec{in[0].with(shape)}, err
}

func (o *binaryGradOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.BinaryGrad(x.threads, o.op, o.walk, d, in[0].buf.(buf[float32]), in[1].buf.(buf[float32]), in[2].buf.(buf[float32]))
	case buf[float64]:
		kernel.BinaryGrad(x.threads, o.op, o.walk, d, in[0].buf.(buf[float64]), in[1].buf.(buf[float64]), in[2].buf.(buf[float64]))
	default:
		return errType(in[0])
	}
	return nil
}

func (*binaryGradOp) inPlace(int) bool { return true }

func (o *preluOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	out := make([]*value, 2)
	for i, op := range []kernel.BinaryGradOp{kernel.PReluByFirst, kernel.PReluBySecond} {
		if !b.wants(k.in[i]) {
			continue
		}
		d, err := b.call(&binaryGradOp{op: op}, dy[0], k.in[0], k.in[1])
		if err != nil {
			return nil, err
		}
		if out[i], err = b.sumTo(d, k.in[i].shape); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (o *whereOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	zero, err := b.number(dy[0].dt, 0)
	if err != nil {
		return nil, err
	}
	out := make([]*value, 3)
	for i := 1; i < 3; i++ {
		if !b.wants(k.in[i]) {
			continue
		}
		in := []*value{k.in[0], zero, zero}
		in[i] = dy[0]
		d, err := b.call(&whereOp{}, in...)
		if err != nil {
			return nil, err
		}
		if out[i], err = b.sumTo(d, k.in[i].shape); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (*compareOp) constant()  {}
func (*logicOp) constant()    {}
func (notOp) constant()       {}
func (*classifyOp) constant() {}
