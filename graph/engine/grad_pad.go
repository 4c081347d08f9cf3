package engine

import (
	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func (o *padOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	x, d := k.in[0], dy[0]
	if o.mode != "constant" {
		var dx *value
		var err error
		if b.wants(x) {
			dx, err = b.call(&padGradOp{padOp: *o, shape: x.shape}, d)
		}
		return []*value{dx, nil}, err
	}
	// What the padding kept is a slice of either side.
	kept := make([]int, x.rank())
	own, out := kernel.Strides(x.shape), kernel.Strides(d.shape)
	from, to := 0, 0
	for i, n := range x.shape {
		kept[i] = max(0, n+min(0, o.lo[i])+min(0, o.hi[i]))
		from += max(0, o.lo[i]) * out[i]
		to += max(0, -o.lo[i]) * own[i]
	}
	if product(kept) == 0 {
		fill, err := b.sumTo(d, nil)
		if err == nil {
			fill, err = b.view(fill, k.in[1].shape)
		}
		return []*value{nil, fill}, err
	}
	piece, err := b.call(&stridedOp{shape: kept, strides: out, offset: from}, d)
	if err != nil {
		return nil, err
	}
	grads := make([]*value, 2)
	if b.wants(x) {
		if grads[0], err = b.call(&placeOp{shape: x.shape, parts: []*stridedOp{{shape: kept, strides: own, offset: to}}}, piece); err != nil {
			return nil, err
		}
	}
	if b.wants(k.in[1]) {
		// The fill is everything else.
		if piece, err = b.call(&placeOp{shape: d.shape, parts: []*stridedOp{{shape: kept, strides: out, offset: from}}}, piece); err != nil {
			return nil, err
		}
		rest, err := b.call(&binaryOp{op: kernel.Sub}, d, piece)
		if err != nil {
			return nil, err
		}
		if rest, err = b.sumTo(rest, nil); err != nil {
			return nil, err
		}
		grads[1], err = b.view(rest, k.in[1].shape)
		return grads, err
	}
	return grads, nil
}

// padGradOp adds every position of a padded tensor to the one that it repeats in a tensor of that shape.
type padGradOp struct {
	padOp
	shape []int
}

func (o *padGradOp) infer(in []*value) ([]spec, error) { return []spec{in[0].with(o.shape)}, nil }

func (o *padGradOp) forward(_ *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		padGrad(o, d, in[0].buf.(buf[float32]), in[0].shape)
	case buf[float64]:
		padGrad(o, d, in[0].buf.(buf[float64]), in[0].shape)
	default:
		return errType(in[0])
	}
	return nil
}

func padGrad[T kernel.Float](o *padGradOp, dx, dy []T, padded []int) {
	clear(dx)
	o.each(o.shape, padded, func(i, at int, _ bool) { dx[at] += dy[i] })
}
