package engine

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func (o *gatherOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	if !b.wants(k.in[0]) {
		return []*value{nil, nil}, nil
	}
	d, err := b.taken(o.at, k.in[0], k.in[1], dy[0])
	return []*value{d, nil}, err
}

// taken is the gradient by x of the slices of an axis that were taken at some indices. One slice is like one of a Split.
func (b *backward) taken(axis int, x, index, dy *value) (*value, error) {
	if index.known == nil || index.size() != 1 {
		return b.call(&gatherGradOp{shape: x.shape, axis: axis}, dy, index, nil)
	}
	v, err := index.known.ints()
	if err != nil {
		return nil, err
	}
	at, err := position(v[0], x.shape[axis])
	if err != nil {
		return nil, err
	}
	shape, strides := slices.Clone(x.shape), kernel.Strides(x.shape)
	shape[axis] = 1
	if dy, err = b.view(dy, shape); err != nil || x.shape[axis] == 1 {
		return dy, err
	}
	return b.call(&placeOp{shape: x.shape, parts: []*stridedOp{{shape: shape, strides: strides, offset: at * strides[axis]}}}, dy)
}

// gatherGradOp adds slices up at their indices in an axis of a tensor of that shape: operands the slices, the indices, and what they
// are added to, zeros where it is left out.
type gatherGradOp struct {
	shape []int
	axis  int
}

func (o *gatherGradOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	return []spec{in[0].with(o.shape)}, nil
}

func (o *gatherGradOp) inPlace(operand int) bool { return operand == 2 }

func (o *gatherGradOp) adding(k *call) (operator, bool) {
	return &gatherGradOp{shape: o.shape, axis: o.axis}, k.in[2] == nil
}

func (o *gatherGradOp) forward(x *exec, in, out []*tensor) error {
	index, err := in[1].ints()
	if err != nil {
		return err
	}
	rows := make([]int, len(index))
	for i, v := range index {
		if rows[i], err = position(v, o.shape[o.axis]); err != nil {
			return err
		}
	}
	startWith(x, out[0].buf, in[2])
	switch d := out[0].buf.(type) {
	case buf[float32]:
		addSlices(x, o, d, in[0].buf.(buf[float32]), rows)
	case buf[float64]:
		addSlices(x, o, d, in[0].buf.(buf[float64]), rows)
	default:
		return errType(in[0])
	}
	return nil
}

func addSlices[T kernel.Float](x *exec, o *gatherGradOp, dx, dy []T, rows []int) {
	outer, n, inner := axisSplit(o.shape, o.axis)
	for a := range outer {
		kernel.AddRows(x.threads, dx[a*n*inner:][:n*inner], dy[a*len(rows)*inner:][:len(rows)*inner], rows, n, inner)
	}
}

// startWith sets a buffer to an operand's content, or to zeros where it is left out.
func startWith(x *exec, d buffer, from *tensor) {
	one, zero := []int{1}, []int{0}
	n := []int{d.size()}
	switch {
	case from == nil:
		d.move(x.threads, kernel.NewWalk(n, one, zero), 0, d.fresh(1), 0)
	case !d.same(from.buf):
		d.move(x.threads, kernel.NewWalk(n, one, one), 0, from.buf, 0)
	}
}
