package engine

import (
	"errors"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// Domain is that of this engine's own operators, which stand in graphs made in memory and in no file.
//
//	Grow(x, rows, r, cols, c) -> y    y[i, j] = r[i] * x[rows[i], cols[j]] * c[j]
//
// x is a matrix, or a vector (then without cols and c). rows and cols are known int64 vectors; left out, they are all rows or columns in
// order. r and c are vectors of x's type; left out, they are ones. It is how copies and splits of units make a large weight of a
// small one, in one pass, and its gradients by x, r and c are one pass over the large weight's.
const Domain = "ligoonnx"

func init() {
	registry[Domain] = map[string]entry{}
	register(Domain, "Grow", 1, 5, func(c *compiler, s *step, in []*value) ([]*value, error) { return c.apply(s.label, &growOp{}, in...) })
}

type growOp struct{ g *kernel.Growth }

func (*growOp) heavy() {}

func (o *growOp) infer(in []*value) ([]spec, error) {
	x := in[0]
	if !isFloat(x.dt) || x.rank() != 1 && x.rank() != 2 {
		return nil, fmt.Errorf("operand %v, expected a floating matrix or vector", x.spec)
	}
	if x.rank() == 1 && (operand(in, 3) != nil || operand(in, 4) != nil) {
		return nil, errors.New("columns for a vector")
	}
	from := [2]int{x.shape[0], 1}
	if x.rank() == 2 {
		from[1] = x.shape[1]
	}
	var index [2][]int
	for d := range index {
		list, err := growIndex(operand(in, 1+2*d), from[d])
		if err != nil {
			return nil, err
		}
		if v := operand(in, 2+2*d); v != nil && (v.dt != x.dt || v.rank() != 1 || v.shape[0] != len(list)) {
			return nil, fmt.Errorf("factors %v for %d rows or columns of %v", v.spec, len(list), x.dt)
		}
		index[d] = list
	}
	o.g = kernel.NewGrowth(from, index[0], index[1])
	shape := []int{o.g.To[0], o.g.To[1]}
	return []spec{x.with(shape[:x.rank()])}, nil
}

// growIndex reads rows or columns.
func growIndex(v *value, n int) ([]int, error) {
	if v == nil {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	list, err := v.ints()
	if err != nil {
		return nil, err
	}
	out := make([]int, len(list))
	for i, x := range list {
		if x < 0 || x >= int64(n) {
			return nil, fmt.Errorf("index %d of %d", x, n)
		}
		out[i] = int(x)
	}
	return out, nil
}

func (o *growOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, grow[float32], grow[float64])
}

func grow[T kernel.Float](x *exec, o *growOp, in, out []*tensor) error {
	p, err := growLists[T](in)
	if err != nil {
		return err
	}
	kernel.Grow(x.threads, o.g, out[0].buf.(buf[T]), p[0], p[1], p[2])
	return nil
}

// growLists are x, r and c of the operands of Grow.
func growLists[T kernel.Float](in []*tensor) ([][]T, error) {
	at := func(i int) *tensor {
		if i < len(in) {
			return in[i]
		}
		return nil
	}
	return floatLists[T]([]*tensor{at(0), at(2), at(4)})
}

// gradient is one call for all three: it reads the large gradient once.
func (o *growOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	x, r, c := k.in[0], operand(k.in, 2), operand(k.in, 4)
	g := &growGradOp{g: o.g, wants: [3]bool{b.wants(x), b.wants(r), b.wants(c)}}
	out, err := b.apply("gradient of "+b.label, g, dy[0], x, r, c)
	if err != nil {
		return nil, err
	}
	d := make([]*value, len(k.in))
	at := 0
	for i, operand := range []int{0, 2, 4} {
		if g.wants[i] {
			d[operand] = out[at]
			at++
		}
	}
	return d, nil
}

// growGradOp computes the gradients of Grow that are wanted, of those by x, r and c, from the gradient by its result, x, r and c.
type growGradOp struct {
	g     *kernel.Growth
	wants [3]bool
}

func (*growGradOp) heavy() {}

func (o *growGradOp) infer(in []*value) ([]spec, error) {
	var out []spec
	for i, w := range o.wants {
		if w {
			out = append(out, in[1+i].spec)
		}
	}
	return out, nil
}

func (o *growGradOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, growBackward[float32], growBackward[float64])
}

func growBackward[T kernel.Float](x *exec, o *growGradOp, in, out []*tensor) error {
	p, err := floatLists[T](in)
	if err != nil {
		return err
	}
	var d [3][]T
	at := 0
	for i, w := range o.wants {
		if !w {
			continue
		}
		if out[at] != nil {
			d[i] = out[at].buf.(buf[T])
		}
		at++
	}
	kernel.GrowGrad(x.threads, o.g, d[0], d[1], d[2], p[0], p[1], p[2], p[3])
	return nil
}
