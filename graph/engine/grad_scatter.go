package engine

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func (o *gatherElementsOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.call(&addAtOp{shape: k.in[0].shape, at: o.places}, dy[0], k.in[1])
	return []*value{d, nil}, err
}

func (o *gatherNDOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.call(&addAtOp{shape: k.in[0].shape, at: o.places}, dy[0], k.in[1])
	return []*value{d, nil}, err
}

// The gradient by the values of a TopK goes to where they were, which is the second output.
func (o *topKOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	if dy[0] == nil {
		return make([]*value, len(k.in)), nil
	}
	g := &gatherElementsOp{at: o.at}
	d, err := b.call(&addAtOp{shape: k.in[0].shape, at: g.places}, dy[0], k.out[1])
	return []*value{d, nil}[:len(k.in)], err
}

// compressOp is a lookup of the positions that it keeps.
func (o *compressOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	index := make([]int64, len(o.keep))
	for i, v := range o.keep {
		index[i] = int64(v)
	}
	shape, axis := k.in[0].shape, o.at
	if o.flat {
		shape, axis = []int{k.in[0].size()}, 0
	}
	d, err := b.call(&gatherGradOp{shape: shape, axis: axis}, dy[0], b.fixed(int64s([]int{len(index)}, index...)), nil)
	if err == nil {
		d, err = b.view(d, k.in[0].shape)
	}
	return []*value{d, nil}, err
}

// placer lists where in a tensor of a shape the runs of n elements lie that an index tensor means, in order.
type placer func(data []int, index *tensor) (at []int, n int, err error)

func (o *gatherElementsOp) places(data []int, index *tensor) ([]int, int, error) {
	at := make([]int, index.size())
	err := eachElement(data, index, o.at, func(i, p int) { at[i] = p })
	return at, 1, err
}

func (o *gatherNDOp) places(data []int, index *tensor) ([]int, int, error) {
	idx, err := index.ints()
	if err != nil {
		return nil, 0, err
	}
	k := index.shape[index.rank()-1]
	at := make([]int, product(index.shape[:index.rank()-1]))
	batches, inner, per := product(data[:o.batch]), product(data[o.batch+k:]), product(data[o.batch:])
	for r := range at {
		p := 0
		for d := range k {
			i, err := position(idx[r*k+d], data[o.batch+d])
			if err != nil {
				return nil, 0, err
			}
			p = p*data[o.batch+d] + i
		}
		at[r] = r/(len(at)/batches)*per + p*inner
	}
	return at, inner, nil
}

func (o *scatterOp) places(data []int, index *tensor) ([]int, int, error) {
	if o.nd {
		return (&gatherNDOp{}).places(data, index)
	}
	return (&gatherElementsOp{at: o.at}).places(data, index)
}

// addAtOp adds runs of elements to zeros of a shape, each where its index says: operands the runs and the indices.
type addAtOp struct {
	shape []int
	at    placer
}

func (o *addAtOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	return []spec{in[0].with(o.shape)}, nil
}

func (o *addAtOp) forward(_ *exec, in, out []*tensor) error {
	at, n, err := o.at(o.shape, in[1])
	if err != nil {
		return err
	}
	switch d := out[0].buf.(type) {
	case buf[float32]:
		addAt(d, in[0].buf.(buf[float32]), at, n)
	case buf[float64]:
		addAt(d, in[0].buf.(buf[float64]), at, n)
	default:
		return errType(in[0])
	}
	return nil
}

func addAt[T kernel.Float](d, src []T, at []int, n int) {
	clear(d)
	for r, p := range at {
		for i, v := range src[r*n : (r+1)*n] {
			d[p+i] += v
		}
	}
}

func (o *scatterOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	in := []*value{dy[0], k.in[1], nil, nil}
	if o.reduction != "none" && o.reduction != "add" {
		in[2], in[3] = k.in[0], k.in[2]
	}
	out, err := b.apply("gradient of "+b.label, &scatterGradOp{scatterOp: *o, updates: k.in[2].shape}, in...)
	if err != nil {
		return nil, err
	}
	return []*value{out[0], nil, out[1]}, nil
}

// scatterGradOp is the gradient of a scatter by the data and by the updates: operands dy, the indices and, where the reduction needs
// them, data and updates. It goes through the updates backwards, so that of several at one place each gets its own gradient.
type scatterGradOp struct {
	scatterOp
	updates []int
}

func (o *scatterGradOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	return []spec{in[0].spec, in[0].with(o.updates)}, nil
}

func (o *scatterGradOp) forward(_ *exec, in, out []*tensor) error {
	at, n, err := o.places(in[0].shape, in[1])
	if err != nil {
		return err
	}
	switch out[0].buf.(type) {
	case buf[float32]:
		scatterGrad[float32](o, in, out, at, n)
	case buf[float64]:
		scatterGrad[float64](o, in, out, at, n)
	default:
		return errType(in[0])
	}
	return nil
}

func scatterGrad[T kernel.Float](o *scatterGradOp, in, out []*tensor, at []int, n int) {
	g, data, updates := floatsOrNil[T](out[0]), floatsOrNil[T](in[2]), floatsOrNil[T](in[3])
	copy(g, floatsOrNil[T](in[0]))
	du := floatsOrNil[T](out[1]) // nil if nobody reads it
	// before is what stood at an update's place when it came; forwards, as the scatter itself runs.
	before := make([]T, len(updates))
	if updates != nil {
		now := append([]T(nil), data...)
		for i, u := range updates {
			p := at[i/n] + i%n
			before[i] = now[p]
			switch o.reduction {
			case "mul":
				now[p] *= u
			case "min":
				now[p] = min(now[p], u)
			case "max":
				now[p] = max(now[p], u)
			}
		}
	}
	for i := len(at)*n - 1; i >= 0; i-- {
		p := at[i/n] + i%n
		var d T
		switch o.reduction {
		case "none":
			d, g[p] = g[p], 0
		case "add":
			d = g[p]
		case "mul":
			d, g[p] = g[p]*before[i], g[p]*updates[i]
		case "min", "max": // at a tie, what stood there keeps the gradient
			if u := updates[i]; u != before[i] && (u > before[i]) == (o.reduction == "max") {
				d, g[p] = g[p], 0
			}
		}
		if du != nil {
			du[i] = d
		}
	}
}
