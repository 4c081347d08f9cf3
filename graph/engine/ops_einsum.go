package engine

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func init() {
	register("", "Einsum", 1, -1, einsum)
}

// einsum contracts the operands from left to right, each pair by one product of stacked matrices. Its gradient is that of the products,
// transpositions and sums which it becomes.
func einsum(c *compiler, s *step, in []*value) ([]*value, error) {
	ranks := make([]int, len(in))
	for i, v := range in {
		if v == nil {
			return nil, fmt.Errorf("operand %d is missing", i)
		}
		ranks[i] = v.rank()
	}
	e, err := parseEquation(s.str("equation", ""), ranks)
	if err != nil {
		return nil, err
	}
	var result labelled
	for i, v := range in {
		next, err := c.diagonal(s.label, v, e.in[i])
		if err != nil {
			return nil, err
		}
		if i == 0 {
			result = next
		} else if result, err = c.contract(s.label, result, next, e.needed(i+1)); err != nil {
			return nil, err
		}
	}
	if result, err = c.sumOut(s.label, result, e.out); err != nil {
		return nil, err
	}
	out, err := c.arrange(s.label, result, e.out)
	return []*value{out}, err
}

// needed lists the labels of the output and of the operands from the i-th on.
func (e *equation) needed(i int) []rune {
	return append(slices.Concat(e.in[i:]...), e.out...)
}

// diagonal labels a value's dimensions; of those with one label it takes the diagonal.
func (c *compiler) diagonal(label string, v *value, labels []rune) (labelled, error) {
	own := kernel.Strides(v.shape)
	op := &stridedOp{}
	var names []rune
	for i, l := range labels {
		at := slices.Index(names, l)
		if at < 0 {
			names, op.shape, op.strides = append(names, l), append(op.shape, v.shape[i]), append(op.strides, own[i])
			continue
		}
		if op.shape[at] != v.shape[i] {
			return labelled{}, errEquation
		}
		op.strides[at] += own[i]
	}
	if len(names) == len(labels) {
		return labelled{v, labels}, nil
	}
	d, err := c.one(label, op, v)
	return labelled{d, names}, err
}

// sumOut sums over the dimensions whose labels are not kept.
func (c *compiler) sumOut(label string, x labelled, keep []rune) (labelled, error) {
	var axes []int
	var left []rune
	for i, l := range x.labels {
		if slices.Contains(keep, l) {
			left = append(left, l)
		} else {
			axes = append(axes, i)
		}
	}
	if len(axes) == 0 {
		return x, nil
	}
	v, err := c.reduce(label, kernel.ReduceSum, x.v, axes)
	return labelled{v, left}, err
}

// arrange is the value with its dimensions in the order of labels, of which it may lack some: those have size 1.
func (c *compiler) arrange(label string, x labelled, labels []rune) (*value, error) {
	var perm []int64
	sorted := true
	for _, l := range labels {
		if at := slices.Index(x.labels, l); at >= 0 {
			sorted = sorted && at == len(perm)
			perm = append(perm, int64(at))
		}
	}
	v := x.v
	if !sorted {
		var err error
		if v, err = c.transpose(label, v, perm...); err != nil {
			return nil, err
		}
	}
	return c.reshape(label, v, x.shape(labels))
}

// contract multiplies two values over what they share and sums over the labels that are not kept.
func (c *compiler) contract(label string, a, b labelled, keep []rune) (labelled, error) {
	a, err := c.sumOut(label, a, slices.Concat(keep, b.labels))
	if err != nil {
		return labelled{}, err
	}
	if b, err = c.sumOut(label, b, slices.Concat(keep, a.labels)); err != nil {
		return labelled{}, err
	}
	if a, b, err = c.level(label, a, b); err != nil {
		return labelled{}, err
	}
	var batch, rows, inner, cols []rune
	for _, l := range a.labels {
		switch {
		case !slices.Contains(b.labels, l):
			rows = append(rows, l)
		case slices.Contains(keep, l):
			batch = append(batch, l)
		default:
			inner = append(inner, l)
		}
	}
	for _, l := range b.labels {
		if !slices.Contains(a.labels, l) {
			cols = append(cols, l)
		}
	}
	x, err := c.matrices(label, a, batch, rows, inner)
	if err != nil {
		return labelled{}, err
	}
	// Where the columns come first in memory, the product reads them transposed instead of a copy.
	transposed := len(inner) > 0 && len(cols) > 0 && slices.Equal(b.labels, slices.Concat(batch, cols, inner))
	first, second := inner, cols
	if transposed {
		first, second = cols, inner
	}
	y, err := c.matrices(label, b, batch, first, second)
	if err != nil {
		return labelled{}, err
	}
	var op operator = &matmulOp{alpha: 1, transB: transposed}
	if len(inner) == 0 {
		op = &binaryOp{op: kernel.Mul} // rows of one column times columns of one row, by broadcasting
	}
	v, err := c.one(label, op, x, y)
	if err != nil {
		return labelled{}, err
	}
	labels := slices.Concat(batch, rows, cols)
	shape := slices.Concat(a.shape(batch), a.shape(rows), b.shape(cols))
	if v, err = c.reshape(label, v, shape); err != nil {
		return labelled{}, err
	}
	return labelled{v, labels}, nil
}

// matrices is x as a stack of matrices.
func (c *compiler) matrices(label string, x labelled, batch, rows, cols []rune) (*value, error) {
	v, err := c.arrange(label, x, slices.Concat(batch, rows, cols))
	if err != nil {
		return nil, err
	}
	return c.reshape(label, v, []int{product(x.shape(batch)), product(x.shape(rows)), product(x.shape(cols))})
}

// level repeats dimensions of size 1 whose label has another size in the other operand.
func (c *compiler) level(label string, a, b labelled) (labelled, labelled, error) {
	grow := func(x, other labelled) (labelled, error) {
		shape := slices.Clone(x.v.shape)
		for i, l := range x.labels {
			if n := other.size(l); shape[i] == 1 {
				shape[i] = n
			} else if n != 1 && n != shape[i] {
				return x, errEquation
			}
		}
		if slices.Equal(shape, x.v.shape) {
			return x, nil
		}
		v, err := c.one(label, &expandOp{shape: shape}, x.v)
		return labelled{v, x.labels}, err
	}
	x, err := grow(a, b)
	if err != nil {
		return a, b, err
	}
	y, err := grow(b, a)
	return x, y, err
}
