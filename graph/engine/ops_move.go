package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func init() {
	simple("", "Transpose", 1, 1, func(s *step) (operator, error) { return &transposeOp{perm: s.ints("perm")}, nil })
	register("", "Concat", 1, -1, concat)
	register("", "Split", 1, 2, split)
	register("", "Slice", 1, 5, sliceNode)
	register("", "Expand", 2, 2, func(c *compiler, s *step, in []*value) ([]*value, error) {
		dims, err := in[1].ints()
		if err != nil {
			return nil, err
		}
		target := toInts(dims)
		if err := checkShape(target); err != nil {
			return nil, err
		}
		shape, err := broadcast(in[0].shape, target)
		if err != nil {
			return nil, err
		}
		if slices.Equal(shape, in[0].shape) {
			return in[:1], nil
		}
		return c.apply(s.label, &expandOp{shape: shape}, in[0])
	})
	register("", "Tile", 2, 3, tile)
}

// stridedOp reads its operand with other strides: transposition, slicing, repetition and reversal are all this.
type stridedOp struct {
	shape, strides []int
	offset         int
	walk           *kernel.Walk
}

func (o *stridedOp) infer(in []*value) ([]spec, error) {
	o.walk = kernel.NewWalk(o.shape, kernel.Strides(o.shape), o.strides)
	return []spec{in[0].with(o.shape)}, nil
}

func (o *stridedOp) forward(x *exec, in, out []*tensor) error {
	out[0].buf.move(x.threads, o.walk, 0, in[0].buf, o.offset)
	return nil
}

type transposeOp struct {
	perm []int64 // nil: reverse
	stridedOp
}

func (o *transposeOp) infer(in []*value) ([]spec, error) {
	r := in[0].rank()
	perm := make([]int, 0, r)
	if o.perm == nil {
		for i := range r {
			perm = append(perm, r-1-i)
		}
	}
	for _, p := range o.perm {
		if p < 0 || p >= int64(r) || slices.Contains(perm, int(p)) {
			return nil, fmt.Errorf("perm %v is no permutation of rank %d", o.perm, r)
		}
		perm = append(perm, int(p))
	}
	if len(perm) != r {
		return nil, fmt.Errorf("perm %v for rank %d", o.perm, r)
	}
	own := kernel.Strides(in[0].shape)
	o.shape, o.strides = make([]int, r), make([]int, r)
	for i, p := range perm {
		o.shape[i], o.strides[i] = in[0].shape[p], own[p]
	}
	return o.stridedOp.infer(in)
}

// transpose permutes v's dimensions.
func (c *compiler) transpose(label string, v *value, perm ...int64) (*value, error) {
	return c.one(label, &transposeOp{perm: perm}, v)
}

// expandOp repeats its operand to a shape that it broadcasts to.
type expandOp struct {
	shape []int
	stridedOp
}

func (o *expandOp) infer(in []*value) ([]spec, error) {
	if err := checkShape(o.shape); err != nil {
		return nil, err
	}
	o.stridedOp = stridedOp{shape: o.shape, strides: kernel.BroadcastStrides(in[0].shape, o.shape)}
	return o.stridedOp.infer(in)
}

func concat(c *compiler, s *step, in []*value) ([]*value, error) {
	var parts []*value
	for _, v := range in {
		if v == nil {
			continue
		}
		if v.rank() == 0 { // seen in exported files: a scalar where a list of one is meant
			var err error
			if v, err = c.reshape(s.label, v, []int{1}); err != nil {
				return nil, err
			}
		}
		parts = append(parts, v)
	}
	if len(parts) == 1 {
		return parts, nil
	}
	return c.apply(s.label, &concatOp{axis: s.int("axis", 1)}, parts...)
}

// concatOp joins tensors along one axis.
type concatOp struct {
	axis int64
	walk []*kernel.Walk
	step []int // offsets in the output
}

func (o *concatOp) infer(in []*value) ([]spec, error) {
	first := in[0]
	axis, err := axisOf(o.axis, first.rank())
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(first.shape)
	shape[axis] = 0
	for i, v := range in {
		if v.dt != first.dt || v.rank() != first.rank() {
			return nil, fmt.Errorf("operand %d is %v, operand 0 %v", i, v.spec, first.spec)
		}
		for d, n := range v.shape {
			if d != axis && n != shape[d] {
				return nil, fmt.Errorf("operand %d has shape %v, operand 0 %v, joined along axis %d", i, v.shape, first.shape, axis)
			}
		}
		shape[axis] += v.shape[axis]
	}
	strides := kernel.Strides(shape)
	at := 0
	o.walk, o.step = nil, nil
	for _, v := range in {
		o.step = append(o.step, at*strides[axis])
		o.walk = append(o.walk, kernel.NewWalk(v.shape, strides, kernel.Strides(v.shape)))
		at += v.shape[axis]
	}
	return []spec{first.with(shape)}, nil
}

func (o *concatOp) forward(x *exec, in, out []*tensor) error {
	for i, t := range in {
		out[0].buf.move(x.threads, o.walk[i], o.step[i], t.buf, 0)
	}
	return nil
}

// split cuts along an axis: one slice per output, so that each has its own gradient.
func split(c *compiler, s *step, in []*value) ([]*value, error) {
	v := in[0]
	axis, err := axisOf(s.int("axis", 0), v.rank())
	if err != nil {
		return nil, err
	}
	sizes := s.ints("split") // an attribute before opset 13
	if k := operand(in, 1); k != nil {
		if sizes, err = k.ints(); err != nil {
			return nil, err
		}
	}
	n := v.shape[axis]
	if sizes == nil {
		parts := len(s.out)
		if k := s.int("num_outputs", 0); k > 0 {
			parts = int(k)
		}
		if parts == 0 || parts > 1<<20 {
			return nil, fmt.Errorf("%d parts", parts)
		}
		size := (n + parts - 1) / parts
		for left := n; len(sizes) < parts; left -= size {
			sizes = append(sizes, int64(max(0, min(size, left))))
		}
	}
	total := int64(0)
	for _, k := range sizes {
		if k < 0 || k > int64(n) {
			return nil, fmt.Errorf("split sizes %v of dimension %d", sizes, n)
		}
		total += k
	}
	if total != int64(n) || len(sizes) < len(s.out) {
		return nil, fmt.Errorf("split sizes %v of dimension %d into %d outputs", sizes, n, len(s.out))
	}
	var outs []*value
	at := 0
	for i := range s.out {
		o, err := c.cut(s.label, v, axis, at, int(sizes[i]))
		if err != nil {
			return nil, err
		}
		outs = append(outs, o)
		at += int(sizes[i])
	}
	return outs, nil
}

// cut takes n positions from lo along an axis.
func (c *compiler) cut(label string, v *value, axis, lo, n int) (*value, error) {
	if lo == 0 && n == v.shape[axis] {
		return v, nil
	}
	shape, strides := slices.Clone(v.shape), kernel.Strides(v.shape)
	shape[axis] = n
	return c.one(label, &stridedOp{shape: shape, strides: strides, offset: lo * strides[axis]}, v)
}

func sliceNode(c *compiler, s *step, in []*value) ([]*value, error) {
	v := in[0]
	lists := [4][]int64{s.ints("starts"), s.ints("ends"), s.ints("axes"), nil} // attributes before opset 10
	for i := range lists {
		if k := operand(in, i+1); k != nil {
			var err error
			if lists[i], err = k.ints(); err != nil {
				return nil, err
			}
		}
	}
	starts, ends, axes, steps := lists[0], lists[1], lists[2], lists[3]
	if axes == nil {
		for i := range starts {
			axes = append(axes, int64(i))
		}
	}
	if len(starts) != len(ends) || len(axes) != len(starts) || steps != nil && len(steps) != len(starts) {
		return nil, fmt.Errorf("%d starts, %d ends, %d axes and %d steps", len(starts), len(ends), len(axes), len(steps))
	}
	if _, err := axesOf(axes, v.rank()); err != nil {
		return nil, err
	}
	op := &stridedOp{shape: slices.Clone(v.shape), strides: kernel.Strides(v.shape)}
	for i, a := range axes {
		axis, err := axisOf(a, v.rank())
		if err != nil {
			return nil, err
		}
		by := int64(1)
		if steps != nil {
			by = steps[i]
		}
		lo, n, err := sliceRange(int64(v.shape[axis]), starts[i], ends[i], by)
		if err != nil {
			return nil, err
		}
		op.offset += lo * op.strides[axis]
		op.shape[axis] = n
		op.strides[axis] *= int(by)
	}
	if slices.Equal(op.shape, v.shape) && op.offset == 0 && slices.Equal(op.strides, kernel.Strides(v.shape)) {
		return in[:1], nil
	}
	return c.apply(s.label, op, v)
}

// sliceRange is the first position and the length of a slice of a dimension.
func sliceRange(n, start, end, by int64) (lo, count int, err error) {
	if by == 0 || by == math.MinInt64 {
		return 0, 0, errors.New("a step of zero")
	}
	if start < 0 {
		start += n
	}
	if end < 0 && end > math.MinInt64+n {
		end += n
	}
	if by > 0 {
		start, end = max(0, min(start, n)), max(0, min(end, n))
		return int(start), int(max(0, (end-start+by-1)/by)), nil
	}
	start, end = max(0, min(start, n-1)), max(-1, min(end, n-1))
	if n == 0 || start <= end {
		return 0, 0, nil
	}
	return int(start), int((start - end - by - 1) / -by), nil
}

// tile repeats along every axis: the operand seen with a repeated dimension before each of its own.
func tile(c *compiler, s *step, in []*value) ([]*value, error) {
	reps, err := in[1].ints()
	if err != nil {
		return nil, err
	}
	v := in[0]
	if s.version < 6 && s.version > 0 && len(in) == 3 {
		axis, err := in[2].ints()
		if err != nil {
			return nil, err
		}
		if len(axis) != 1 || axis[0] < 0 || axis[0] >= int64(v.rank()) || len(reps) != 1 {
			return nil, fmt.Errorf("tiles %v along %v", reps, axis)
		}
		all := make([]int64, v.rank())
		for i := range all {
			all[i] = 1
		}
		all[axis[0]] = reps[0]
		reps = all
	}
	if len(reps) != v.rank() {
		return nil, fmt.Errorf("%d repeats for rank %d", len(reps), v.rank())
	}
	own := kernel.Strides(v.shape)
	var shape, strides, out []int
	for i, r := range reps {
		if r < 0 || r > math.MaxInt32 {
			return nil, fmt.Errorf("repeats %v", reps)
		}
		shape = append(shape, int(r), v.shape[i])
		strides = append(strides, 0, own[i])
		out = append(out, int(r)*v.shape[i])
	}
	if err := checkShape(out); err != nil {
		return nil, err
	}
	t, err := c.one(s.label, &stridedOp{shape: shape, strides: strides}, v)
	if err != nil {
		return nil, err
	}
	t, err = c.reshape(s.label, t, out)
	return []*value{t}, err
}
