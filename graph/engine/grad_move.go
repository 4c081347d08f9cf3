package engine

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func (o viewOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.view(dy[0], k.in[0].shape)
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

func (o *expandOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.sumTo(dy[0], k.in[0].shape)
	return []*value{d}, err
}

func (o *concatOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	out := make([]*value, len(k.in))
	axis, err := axisOf(o.axis, k.out[0].rank())
	if err != nil {
		return nil, err
	}
	at := 0
	for i, v := range k.in {
		if b.wants(v) {
			if out[i], err = b.cut("gradient of "+b.label, dy[0], axis, at, v.shape[axis]); err != nil {
				return nil, err
			}
		}
		at += v.shape[axis]
	}
	return out, nil
}

// gradient: repeated elements are summed, and what is left goes back to where it was read from.
func (o *stridedOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	x, d := k.in[0], dy[0]
	var repeated, shape, strides []int
	for i, n := range o.shape {
		switch {
		case o.strides[i] == 0 && n > 1:
			repeated = append(repeated, i)
		case o.strides[i] != 0:
			shape, strides = append(shape, n), append(strides, o.strides[i])
		}
	}
	var err error
	if len(repeated) > 0 {
		if d, err = b.reduce("gradient of "+b.label, kernel.ReduceSum, d, repeated); err != nil {
			return nil, err
		}
	}
	if product(shape) == x.size() && o.offset == 0 && slices.Equal(strides, kernel.Strides(shape)) {
		d, err = b.view(d, x.shape)
		return []*value{d}, err
	}
	if d, err = b.view(d, shape); err != nil {
		return nil, err
	}
	d, err = b.call(&placeOp{shape: x.shape, parts: []*stridedOp{{shape: shape, strides: strides, offset: o.offset}}}, d)
	return []*value{d}, err
}

// placeOp writes its operands into a tensor of zeros, each to the places that a strided read of that tensor would take it from. No
// place belongs to two of them.
type placeOp struct {
	shape []int
	parts []*stridedOp
	full  bool // nothing is left of the zeros
}

func (o *placeOp) infer(in []*value) ([]spec, error) {
	n := 0
	for _, p := range o.parts {
		p.walk = kernel.NewWalk(p.shape, p.strides, kernel.Strides(p.shape))
		n += product(p.shape)
	}
	o.full = n == product(o.shape)
	return []spec{in[0].with(o.shape)}, nil
}

func (o *placeOp) forward(x *exec, in, out []*tensor) error {
	d := out[0].buf
	if !o.full {
		zero := d.fresh(1)
		d.move(x.threads, kernel.NewWalk([]int{d.size()}, []int{1}, []int{0}), 0, zero, 0)
	}
	for i, p := range o.parts {
		d.move(x.threads, p.walk, p.offset, in[i].buf, 0)
	}
	return nil
}

// span is the positions of a slice along one axis: n of them, step apart, from lo on.
type span struct{ lo, n, step int }

// disjoint reports whether two spans have no position in common, where that is seen at a glance.
func (s span) disjoint(t span) bool {
	if s.lo+(s.n-1)*s.step < t.lo || t.lo+(t.n-1)*t.step < s.lo {
		return true
	}
	return s.step == t.step && (s.lo-t.lo)%s.step != 0
}

// spans describes a strided read of a tensor of that shape as a slice of every axis; nil where it is none. The number of axes may
// differ by those of size 1.
func (o *stridedOp) spans(shape []int) []span {
	out := make([]span, 0, len(shape))
	own, rest, j := kernel.Strides(shape), o.offset, 0
	for i, n := range shape {
		s := span{lo: rest / own[i], n: 1, step: 1}
		rest %= own[i]
		for j < len(o.shape) && o.shape[j] == 1 {
			j++
		}
		if j < len(o.shape) && o.strides[j] != 0 && o.strides[j]%own[i] == 0 {
			s.n, s.step = o.shape[j], o.strides[j]/own[i]
			j++
		}
		if s.step < 0 {
			s.lo, s.step = s.lo+(s.n-1)*s.step, -s.step
		}
		if s.lo < 0 || s.lo+(s.n-1)*s.step >= n {
			return nil
		}
		out = append(out, s)
	}
	for ; j < len(o.shape); j++ {
		if o.shape[j] != 1 {
			return nil
		}
	}
	return out
}

// disjointReads reports whether two strided reads of a tensor of that shape have no element in common.
func disjointReads(shape []int, p, q *stridedOp) bool {
	s, t := p.spans(shape), q.spans(shape)
	if s == nil || t == nil {
		return false
	}
	for i := range s {
		if s[i].disjoint(t[i]) {
			return true
		}
	}
	return false
}

// placeTogether replaces contributions that each fill a part of a tensor with zeros around it by one, if no two parts overlap: the
// gradients by the slices of a Split are the pieces of the whole's, not three sums over it.
func (b *backward) placeTogether(parts []*value) ([]*value, error) {
	var rest, pieces []*value
	var all []*stridedOp
	var shape []int
	for _, v := range parts {
		op, fits := v.op().(*placeOp)
		for _, p := range all {
			fits = fits && !slices.ContainsFunc(op.parts, func(q *stridedOp) bool { return !disjointReads(v.shape, p, q) })
		}
		if !fits {
			rest = append(rest, v)
			continue
		}
		pieces, all, shape = append(pieces, v.from.in...), append(all, op.parts...), v.shape
	}
	if len(rest)+1 >= len(parts) {
		return parts, nil
	}
	copies := make([]*stridedOp, len(all))
	for i, p := range all {
		copies[i] = &stridedOp{shape: p.shape, strides: p.strides, offset: p.offset}
	}
	whole, err := b.call(&placeOp{shape: shape, parts: copies}, pieces...)
	return append(rest, whole), err
}
