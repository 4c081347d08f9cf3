package engine

import "github.com/ligoonnx/ligoonnx/graph/engine/kernel"

func (o *rotaryOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	out := make([]*value, 3)
	var err error
	if b.wants(k.in[0]) {
		back := &rotaryOp{heads: o.heads, still: o.still, dim: o.dim, interleaved: o.interleaved, back: !o.back}
		if out[0], err = b.call(back, dy[0], k.in[1], k.in[2]); err != nil {
			return nil, err
		}
	}
	if !b.wants(k.in[1]) && !b.wants(k.in[2]) {
		return out, nil
	}
	d, err := b.apply("gradient of "+b.label, &rotaryTableGradOp{o}, k.in[0], dy[0])
	if err != nil {
		return nil, err
	}
	for i, t := range d {
		if out[1+i], err = b.sumTo(t, k.in[1+i].shape); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rotaryTableGradOp is the gradient of a rotation by its cosines and sines: operands are what was rotated and the gradient by the
// result.
type rotaryTableGradOp struct{ of *rotaryOp }

func (o *rotaryTableGradOp) infer(in []*value) ([]spec, error) {
	p := &o.of.p
	t := in[0].with([]int{p.Batch, p.Length, p.Dim / 2})
	return []spec{t, t}, nil
}

func (o *rotaryTableGradOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, rotaryTableBackward[float32], rotaryTableBackward[float64])
}

func rotaryTableBackward[T kernel.Float](x *exec, o *rotaryTableGradOp, in, out []*tensor) error {
	p, err := floatLists[T](in, out)
	if err != nil {
		return err
	}
	for i := 2; i < 4; i++ {
		if p[i] == nil { // nobody wants it
			p[i] = make([]T, out[0].size())
		}
	}
	kernel.RotaryTableGrad(x.threads, &o.of.p, p[2], p[3], p[0], p[1])
	return nil
}

func (o *tensorScatterOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	out := make([]*value, len(k.in))
	where := operand(k.in, 2)
	var err error
	if b.wants(k.in[1]) {
		if out[1], err = b.call(&tensorPickOp{of: o, shape: k.in[1].shape}, dy[0], where); err != nil {
			return nil, err
		}
	}
	if b.wants(k.in[0]) {
		zero, err := b.number(k.in[1].dt, 0)
		if err != nil {
			return nil, err
		}
		if zero, err = b.call(&expandOp{shape: k.in[1].shape}, zero); err != nil {
			return nil, err
		}
		over := &tensorScatterOp{axis: o.axis, circular: o.circular}
		in := []*value{dy[0], zero}
		if where != nil {
			in = append(in, where)
		}
		if out[0], err = b.call(over, in...); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tensorPickOp reads what a tensorScatterOp writes: operands are a tensor of the cache's shape and the positions (optional).
type tensorPickOp struct {
	of    *tensorScatterOp
	shape []int // of the update
}

func (o *tensorPickOp) infer(in []*value) ([]spec, error) { return []spec{in[0].with(o.shape)}, nil }

func (o *tensorPickOp) forward(_ *exec, in, out []*tensor) error {
	return o.of.each(in[0].shape, o.shape[o.of.at], operandTensor(in, 1), func(w *kernel.Walk, cache, update int) {
		out[0].buf.move(1, w, update, in[0].buf, cache)
	})
}

// operandTensor returns in[i], or nil where it is left out.
func operandTensor(in []*tensor, i int) *tensor {
	if i < len(in) {
		return in[i]
	}
	return nil
}
