package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func init() {
	simple("", "Gather", 2, 2, func(s *step) (operator, error) { return &gatherOp{axis: s.int("axis", 0)}, nil })
	simple("", "GatherElements", 2, 2, func(s *step) (operator, error) { return &gatherElementsOp{axis: s.int("axis", 0)}, nil })
	simple("", "GatherND", 2, 2, func(s *step) (operator, error) { return &gatherNDOp{batch: int(s.int("batch_dims", 0))}, nil })
	simple("", "ScatterND", 3, 3, func(s *step) (operator, error) { return newScatter(s, &scatterOp{nd: true}) })
	for _, name := range []string{"ScatterElements", "Scatter"} {
		simple("", name, 3, 3, func(s *step) (operator, error) { return newScatter(s, &scatterOp{axis: s.int("axis", 0)}) })
	}
	simple("", "OneHot", 3, 3, func(s *step) (operator, error) { return &oneHotOp{axis: s.int("axis", -1)}, nil })
	simple("", "Compress", 2, 2, func(s *step) (operator, error) {
		if !s.has("axis") {
			return &compressOp{flat: true}, nil
		}
		return &compressOp{axis: s.int("axis", 0)}, nil
	})
}

// position checks an index against a dimension and resolves a negative one.
func position(i int64, n int) (int, error) {
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i >= int64(n) {
		return 0, fmt.Errorf("index %d is outside a dimension of %d", i, n)
	}
	return int(i), nil
}

func wantInts(v *value, what string) error {
	if !v.dt.Integer() {
		return fmt.Errorf("%s of type %v", what, v.dt)
	}
	return nil
}

// gatherOp takes slices of an axis by index.
type gatherOp struct {
	axis int64
	at   int
}

func (o *gatherOp) infer(in []*value) ([]spec, error) {
	if err := wantInts(in[1], "indices"); err != nil {
		return nil, err
	}
	axis, err := axisOf(o.axis, in[0].rank())
	if err != nil {
		return nil, err
	}
	o.at = axis
	return []spec{in[0].with(slices.Concat(in[0].shape[:axis], in[1].shape, in[0].shape[axis+1:]))}, nil
}

func (o *gatherOp) forward(x *exec, in, out []*tensor) error {
	idx, err := in[1].ints()
	if err != nil {
		return err
	}
	n := in[0].shape[o.at]
	outer, inner := product(in[0].shape[:o.at]), product(in[0].shape[o.at+1:])
	one := []int{1}
	row := kernel.NewWalk([]int{inner}, one, one)
	weight, isStored := in[0].buf.(*stored)
	for a := range outer {
		for k, i := range idx {
			p, err := position(i, n)
			if err != nil {
				return err
			}
			if isStored {
				at := (a*len(idx) + k) * inner
				weight.widenTo(x, out[0].buf.slice(at, at+inner), (a*n+p)*inner)
				continue
			}
			if inner == 1 {
				out[0].buf.set(a*len(idx)+k, in[0].buf, a*n+p)
				continue
			}
			out[0].buf.move(x.threads, row, (a*len(idx)+k)*inner, in[0].buf, (a*n+p)*inner)
		}
	}
	return nil
}

func (*gatherOp) readsStored(operand int) bool { return operand == 0 }

// gatherElementsOp takes, for every position of the index tensor, the element at that index of the axis.
type gatherElementsOp struct {
	axis int64
	at   int
}

func (o *gatherElementsOp) infer(in []*value) ([]spec, error) {
	if err := wantInts(in[1], "indices"); err != nil {
		return nil, err
	}
	axis, err := axisOf(o.axis, in[0].rank())
	if err != nil {
		return nil, err
	}
	o.at = axis
	return []spec{in[0].with(in[1].shape)}, elementsFit(in[0].spec, in[1].spec, axis)
}

// elementsFit refuses indices that reach outside the data in another axis than the indexed one.
func elementsFit(data, idx spec, axis int) error {
	if data.rank() != idx.rank() {
		return fmt.Errorf("indices of rank %d for data of rank %d", idx.rank(), data.rank())
	}
	for d := range data.shape {
		if d != axis && idx.shape[d] > data.shape[d] {
			return fmt.Errorf("indices of shape %v for data of shape %v along axis %d", idx.shape, data.shape, axis)
		}
	}
	return nil
}

func (o *gatherElementsOp) forward(_ *exec, in, out []*tensor) error {
	return eachElement(in[0].shape, in[1], o.at, func(i, at int) { out[0].buf.set(i, in[0].buf, at) })
}

// eachElement calls f with every position of an index tensor and the offset in data that it means.
func eachElement(data []int, index *tensor, axis int, f func(i, at int)) error {
	idx, err := index.ints()
	if err != nil {
		return err
	}
	own := kernel.Strides(data)
	pos := make([]int, len(data))
	for i, v := range idx {
		p, err := position(v, data[axis])
		if err != nil {
			return err
		}
		at := p * own[axis]
		for d, k := range pos {
			if d != axis {
				at += k * own[d]
			}
		}
		f(i, at)
		for d := len(pos) - 1; d >= 0; d-- {
			if pos[d]++; pos[d] < index.shape[d] {
				break
			}
			pos[d] = 0
		}
	}
	return nil
}

// gatherNDOp takes slices by index tuples.
type gatherNDOp struct{ batch int }

func (o *gatherNDOp) infer(in []*value) ([]spec, error) {
	if err := wantInts(in[1], "indices"); err != nil {
		return nil, err
	}
	data, idx := in[0].shape, in[1].shape
	if len(idx) == 0 || o.batch < 0 || o.batch >= len(idx) || o.batch > len(data) || !slices.Equal(data[:o.batch], idx[:o.batch]) {
		return nil, fmt.Errorf("indices of shape %v for data of shape %v with %d batch dimensions", idx, data, o.batch)
	}
	k := idx[len(idx)-1]
	if o.batch+k > len(data) {
		return nil, fmt.Errorf("index tuples of %d for data of shape %v", k, data)
	}
	return []spec{in[0].with(slices.Concat(idx[:len(idx)-1], data[o.batch+k:]))}, nil
}

func (o *gatherNDOp) forward(x *exec, in, out []*tensor) error {
	at, n, err := o.places(in[0].shape, in[1])
	if err != nil {
		return err
	}
	one := []int{1}
	walk := kernel.NewWalk([]int{n}, one, one)
	for r, p := range at {
		out[0].buf.move(x.threads, walk, r*n, in[0].buf, p)
	}
	return nil
}

// newScatter reads the reduction of a scatter operator.
func newScatter(s *step, o *scatterOp) (operator, error) {
	o.reduction = s.str("reduction", "none")
	if _, ok := scatterOps[o.reduction]; !ok && o.reduction != "none" {
		return nil, fmt.Errorf("unknown reduction %q", o.reduction)
	}
	return o, nil
}

var scatterOps = map[string]kernel.BinaryOp{"add": kernel.Add, "mul": kernel.Mul, "min": kernel.Min, "max": kernel.Max}

// scatterOp copies data and writes updates at indices, in order: elements along an axis, or slices by index tuples.
type scatterOp struct {
	nd        bool
	axis      int64
	at        int
	reduction string
}

func (o *scatterOp) infer(in []*value) ([]spec, error) {
	if err := wantInts(in[1], "indices"); err != nil {
		return nil, err
	}
	data, idx, upd := in[0], in[1], in[2]
	if upd.dt != data.dt {
		return nil, fmt.Errorf("updates of type %v for data of type %v", upd.dt, data.dt)
	}
	out := []spec{data.spec}
	if !o.nd {
		axis, err := axisOf(o.axis, data.rank())
		if err != nil {
			return nil, err
		}
		o.at = axis
		if !slices.Equal(upd.shape, idx.shape) {
			return nil, fmt.Errorf("updates of shape %v for indices of shape %v", upd.shape, idx.shape)
		}
		return out, elementsFit(data.spec, idx.spec, axis)
	}
	if idx.rank() == 0 {
		return nil, errors.New("indices of rank 0")
	}
	k := idx.shape[idx.rank()-1]
	if k > data.rank() || !slices.Equal(upd.shape, slices.Concat(idx.shape[:idx.rank()-1], data.shape[k:])) {
		return nil, fmt.Errorf("updates of shape %v for indices of shape %v and data of shape %v", upd.shape, idx.shape, data.shape)
	}
	return out, nil
}

func (o *scatterOp) forward(x *exec, in, out []*tensor) error {
	one := []int{1}
	d := out[0].buf
	d.move(x.threads, kernel.NewWalk([]int{d.size()}, one, one), 0, in[0].buf, 0)
	write := func(at, n, from int) error {
		if o.reduction == "none" {
			d.move(1, kernel.NewWalk([]int{n}, one, one), at, in[2].buf, from)
			return nil
		}
		w := kernel.NewWalk([]int{n}, one, one, one)
		part := d.slice(at, at+n)
		op := &binaryOp{op: scatterOps[o.reduction], walk: w}
		t := &tensor{spec{out[0].dt, []int{n}}, part}
		return op.forward(&exec{threads: 1}, []*tensor{t, {t.spec, in[2].buf.slice(from, from+n)}}, []*tensor{t})
	}
	places, n, err := o.places(in[0].shape, in[1])
	if err != nil {
		return err
	}
	for r, at := range places {
		if err := write(at, n, r*n); err != nil {
			return err
		}
	}
	return nil
}

// oneHotOp writes values[1] where the index equals the position along a new axis, values[0] elsewhere.
type oneHotOp struct {
	axis      int64
	at, depth int
}

func (o *oneHotOp) infer(in []*value) ([]spec, error) {
	depth, err := in[1].content()
	if err != nil {
		return nil, err
	}
	n := make(buf[int64], 1)
	if depth.size() != 1 {
		return nil, fmt.Errorf("a depth of %d elements", depth.size())
	}
	if err := convertBuffer(n, depth.buf); err != nil {
		return nil, err
	}
	if in[2].size() != 2 || n[0] < 0 {
		return nil, fmt.Errorf("depth %d and %d values", n[0], in[2].size())
	}
	o.depth = int(n[0])
	if o.at, err = axisOf(o.axis, in[0].rank()+1); err != nil {
		return nil, err
	}
	return []spec{{in[2].dt, slices.Insert(slices.Clone(in[0].shape), o.at, o.depth)}}, nil
}

func (o *oneHotOp) forward(_ *exec, in, out []*tensor) error {
	out[0].buf.fill(in[2].buf)
	return o.each(in[0], func(at int) { out[0].buf.set(at, in[2].buf, 1) })
}

// each calls f with the offset of every position in the output that is on.
func (o *oneHotOp) each(index *tensor, f func(at int)) error {
	idx := make(buf[int64], index.size())
	if err := convertBuffer(idx, index.buf); err != nil {
		return err
	}
	inner := product(index.shape[o.at:])
	for i, v := range idx {
		if v < 0 {
			v += int64(o.depth)
		}
		if v >= 0 && v < int64(o.depth) {
			f((i/inner*o.depth+int(v))*inner + i%inner)
		}
	}
	return nil
}

// compressOp keeps the positions of an axis (or of the flattened tensor) where a condition, which must be known, holds.
type compressOp struct {
	axis int64
	flat bool
	at   int
	keep []int
}

func (o *compressOp) infer(in []*value) ([]spec, error) {
	cond, err := in[1].ints()
	if err != nil {
		return nil, err
	}
	shape := []int{in[0].size()}
	if !o.flat {
		if o.at, err = axisOf(o.axis, in[0].rank()); err != nil {
			return nil, err
		}
		shape = slices.Clone(in[0].shape)
	}
	o.keep = nil
	for i, v := range cond {
		if v != 0 {
			if i >= shape[o.at] {
				return nil, fmt.Errorf("a condition of %d elements for a dimension of %d", len(cond), shape[o.at])
			}
			o.keep = append(o.keep, i)
		}
	}
	shape[o.at] = len(o.keep)
	return []spec{in[0].with(shape)}, nil
}

func (o *compressOp) forward(_ *exec, in, out []*tensor) error {
	n, inner := in[0].size(), 1
	if !o.flat {
		n, inner = in[0].shape[o.at], product(in[0].shape[o.at+1:])
	}
	for i := range out[0].buf.size() {
		r := i / inner
		out[0].buf.set(i, in[0].buf, (r/len(o.keep)*n+o.keep[r%len(o.keep)])*inner+i%inner)
	}
	return nil
}
