package engine

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func (o unaryOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	return b.slope(o.f.Grad, k, dy[0])
}

// gradient of negation is negation; the sign has none.
func (o signOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	switch o.kind {
	case negate:
		d, err := b.call(signOp{negate}, dy[0])
		return []*value{d}, err
	case absolute:
		return b.slope(kernel.Absolute, k, dy[0])
	}
	return []*value{nil}, nil
}

// slope adds dy * f'(x) for an elementwise call of a floating operand.
func (b *backward) slope(f kernel.Derivative, k *call, dy *value) ([]*value, error) {
	if f.Zero() {
		return []*value{nil}, nil
	}
	in := []*value{dy, nil, nil}
	if f.ReadsX {
		in[1] = k.in[0]
	}
	if f.ReadsY {
		in[2] = k.out[0]
	}
	d, err := b.call(unaryGradOp{f}, in...)
	return []*value{d}, err
}

// unaryGradOp is the gradient of an elementwise function: operands dy, and of x and y = f(x) what the derivative reads.
type unaryGradOp struct{ f kernel.Derivative }

func (o unaryGradOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	return []spec{in[0].spec}, nil
}

func (o unaryGradOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.MapGrad(x.threads, d, in[0].buf.(buf[float32]), floatsOrNil[float32](in[1]), floatsOrNil[float32](in[2]), o.f.F32)
	case buf[float64]:
		kernel.MapGrad(x.threads, d, in[0].buf.(buf[float64]), floatsOrNil[float64](in[1]), floatsOrNil[float64](in[2]), o.f.F64)
	default:
		return errType(in[0])
	}
	return nil
}

func (unaryGradOp) inPlace(int) bool { return true }

// floatsOrNil is the elements of an operand that may be left out.
func floatsOrNil[T kernel.Float](t *tensor) []T {
	if t == nil {
		return nil
	}
	return t.buf.(buf[T])
}
