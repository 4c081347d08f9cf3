package engine

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func (o viewOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.view(dy[0], k.in[0].shape)
	return []*value{d}, err
}

func (o *binaryOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	x, y, d := k.in[0], k.in[1], dy[0]
	var dx, dz *value
	var err error
	switch o.op {
	case kernel.Add:
		dx, dz = d, d
	case kernel.Sub:
		dx = d
		if b.wants(y) {
			dz, err = b.call(signOp{negate}, d)
		}
	case kernel.Mul:
		if b.wants(x) {
			if dx, err = b.call(&binaryOp{op: kernel.Mul}, d, y); err != nil {
				return nil, err
			}
		}
		if b.wants(y) {
			dz, err = b.call(&binaryOp{op: kernel.Mul}, d, x)
		}
	default:
		return nil, errNoGradient
	}
	if err != nil {
		return nil, err
	}
	out := []*value{dx, dz}
	for i, v := range k.in {
		if !b.wants(v) {
			out[i] = nil
		} else if out[i], err = b.sumTo(out[i], v.shape); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (o *reduceOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	x, d := k.in[0], dy[0]
	n := product(x.shape[o.first : o.last+1])
	switch o.op {
	case kernel.ReduceSum:
	case kernel.ReduceMean:
		scale, err := b.number(d.dt, 1/float64(n))
		if err != nil {
			return nil, err
		}
		if d, err = b.call(&binaryOp{op: kernel.Mul}, d, scale); err != nil {
			return nil, err
		}
	default:
		return nil, errNoGradient
	}
	kept := slices.Clone(x.shape)
	for i := o.first; i <= o.last; i++ {
		kept[i] = 1
	}
	d, err := b.view(d, kept)
	if err != nil {
		return nil, err
	}
	d, err = b.call(&expandOp{shape: x.shape}, d)
	return []*value{d}, err
}

func (o *transposeOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	r := k.in[0].rank()
	back := make([]int64, r)
	for i := range r {
		from := r - 1 - i
		if o.perm != nil {
			from = int(o.perm[i])
		}
		back[from] = int64(i)
	}
	d, err := b.call(&transposeOp{perm: back}, dy[0])
	return []*value{d}, err
}
