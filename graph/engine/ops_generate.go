package engine

import (
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	register("", "Range", 3, 3, rangeNode)
	simple("", "NonZero", 1, 1, func(*step) (operator, error) { return &nonZeroOp{}, nil })
	simple("", "Trilu", 1, 2, func(s *step) (operator, error) { return &triluOp{upper: s.flag("upper", true)}, nil })
	register("", "EyeLike", 1, 1, eyeLike)
	simple("", "CumSum", 2, 2, func(s *step) (operator, error) {
		return &cumSumOp{exclusive: s.flag("exclusive", false), reverse: s.flag("reverse", false)}, nil
	})
	simple("", "TopK", 1, 2, func(s *step) (operator, error) {
		return &topKOp{k: s.int("k", -1), axis: s.int("axis", -1), smallest: !s.flag("largest", true)}, nil
	})
	for name, largest := range map[string]bool{"ArgMax": true, "ArgMin": false} {
		simple("", name, 1, 1, func(s *step) (operator, error) {
			return &argOp{largest: largest, axis: s.int("axis", 0), keep: s.flag("keepdims", true), last: s.flag("select_last_index", false)}, nil
		})
	}
}

// rangeNode makes the numbers from start to limit; all three operands must be known.
func rangeNode(c *compiler, _ *step, in []*value) ([]*value, error) {
	var k [3]float64
	var n [3]int64
	for i, v := range in {
		t, err := v.content()
		if err != nil {
			return nil, err
		}
		if t.dt != in[0].dt || t.size() != 1 {
			return nil, fmt.Errorf("operands %v, %v and %v", in[0].spec, in[1].spec, in[2].spec)
		}
		if isFloat(t.dt) {
			k[i] = t.float(0)
		} else {
			all, err := t.ints()
			if err != nil {
				return nil, err
			}
			n[i] = all[0]
			k[i] = float64(all[0])
		}
	}
	count := math.Ceil((k[1] - k[0]) / k[2])
	if k[2] == 0 || math.IsNaN(count) {
		return nil, errors.New("a step of zero")
	}
	if count > 1<<28 {
		return nil, fmt.Errorf("a range of %g numbers", count)
	}
	size := int(max(0, count))
	b, err := newBuffer(in[0].dt, c.x.shadow, size)
	if err != nil {
		return nil, err
	}
	if isFloat(in[0].dt) {
		v := make(buf[float64], size)
		for i := range v {
			v[i] = k[0] + float64(i)*k[2]
		}
		err = convertBuffer(b, v)
	} else {
		v := make(buf[int64], size)
		for i := range v {
			v[i] = n[0] + int64(i)*n[2]
		}
		err = convertBuffer(b, v)
	}
	return []*value{c.fixed(&tensor{spec{in[0].dt, []int{size}}, b})}, err
}

// nonZeroOp lists the positions that are not zero, one row per dimension. Its shape depends on its operand, which must be known.
type nonZeroOp struct{}

func (o *nonZeroOp) infer(in []*value) ([]spec, error) {
	t, err := in[0].content()
	if err != nil {
		return nil, err
	}
	mask := make(buf[bool], t.size())
	if err := convertBuffer(mask, t.buf); err != nil {
		return nil, err
	}
	n := 0
	for _, v := range mask {
		if v {
			n++
		}
	}
	return []spec{{onnxio.Int64, []int{max(1, t.rank()), n}}}, nil
}

func (o *nonZeroOp) forward(_ *exec, in, out []*tensor) error {
	mask := make(buf[bool], in[0].size())
	if err := convertBuffer(mask, in[0].buf); err != nil {
		return err
	}
	d := out[0].buf.(buf[int64])
	n, at := out[0].shape[1], 0
	own := kernel.Strides(in[0].shape)
	for i, v := range mask {
		if !v {
			continue
		}
		rest := i
		for k, s := range own {
			d[k*n+at] = int64(rest / s)
			rest %= s
		}
		at++
	}
	return nil
}

// triluOp keeps a triangle of the last two dimensions and clears the rest. The diagonal must be known.
type triluOp struct {
	upper bool
	k     int64
}

func (o *triluOp) infer(in []*value) ([]spec, error) {
	if in[0].rank() < 2 {
		return nil, fmt.Errorf("operand of rank %d", in[0].rank())
	}
	if k := operand(in, 1); k != nil {
		v, err := k.ints()
		if err != nil {
			return nil, err
		}
		if len(v) != 1 {
			return nil, fmt.Errorf("a diagonal of %d elements", len(v))
		}
		o.k = v[0]
	}
	return []spec{in[0].spec}, nil
}

func (o *triluOp) forward(x *exec, in, out []*tensor) error {
	s := in[0].shape
	rows, cols := s[len(s)-2], s[len(s)-1]
	d := out[0].buf
	zero := d.fresh(1)
	one := []int{1}
	d.move(x.threads, kernel.NewWalk([]int{d.size()}, one, one), 0, in[0].buf, 0)
	for at := 0; at < d.size(); at += cols {
		r := at / cols % rows
		edge := int(max(0, min(int64(r)+o.k, int64(cols)))) // the first kept column of the upper triangle
		if o.upper {
			d.slice(at, at+edge).fill(zero)
			continue
		}
		edge = int(max(0, min(int64(r)+o.k+1, int64(cols))))
		d.slice(at+edge, at+cols).fill(zero)
	}
	return nil
}

func eyeLike(c *compiler, s *step, in []*value) ([]*value, error) {
	if in[0].rank() != 2 {
		return nil, fmt.Errorf("operand of rank %d", in[0].rank())
	}
	dt := onnxio.DType(s.int("dtype", int64(in[0].dt)))
	b, err := newBuffer(dt, c.x.shadow, in[0].size())
	if err != nil {
		return nil, err
	}
	one, err := c.number(dt, 1)
	if err != nil {
		return nil, err
	}
	k := s.int("k", 0)
	rows, cols := in[0].shape[0], in[0].shape[1]
	for r := range rows {
		if j := int64(r) + k; j >= 0 && j < int64(cols) {
			b.set(r*cols+int(j), one.known.buf, 0)
		}
	}
	return []*value{c.fixed(&tensor{spec{dt, in[0].shape}, b})}, nil
}

// axisSplit is a shape as [outer, n, inner] around an axis.
func axisSplit(shape []int, axis int) (outer, n, inner int) {
	return product(shape[:axis]), shape[axis], product(shape[axis+1:])
}

type cumSumOp struct {
	exclusive, reverse bool
	axis               int
}

func (o *cumSumOp) infer(in []*value) ([]spec, error) {
	a, err := in[1].ints()
	if err != nil {
		return nil, err
	}
	if len(a) != 1 {
		return nil, fmt.Errorf("%d axes", len(a))
	}
	o.axis, err = axisOf(a[0], in[0].rank())
	return []spec{in[0].spec}, err
}

func (o *cumSumOp) forward(_ *exec, in, out []*tensor) error {
	outer, n, inner := axisSplit(in[0].shape, o.axis)
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.CumSum(d, in[0].buf.(buf[float32]), outer, n, inner, o.exclusive, o.reverse)
	case buf[float64]:
		kernel.CumSum(d, in[0].buf.(buf[float64]), outer, n, inner, o.exclusive, o.reverse)
	case buf[int64]:
		kernel.CumSum(d, in[0].buf.(buf[int64]), outer, n, inner, o.exclusive, o.reverse)
	case buf[int32]:
		kernel.CumSum(d, in[0].buf.(buf[int32]), outer, n, inner, o.exclusive, o.reverse)
	default:
		return errType(in[0])
	}
	return nil
}

// topKOp finds the k largest or smallest elements of an axis, in order; equals keep their order.
type topKOp struct {
	k, axis  int64
	smallest bool
	at       int
}

func (o *topKOp) infer(in []*value) ([]spec, error) {
	k := o.k // an attribute before opset 10
	if v := operand(in, 1); v != nil {
		all, err := v.ints()
		if err != nil {
			return nil, err
		}
		if len(all) != 1 {
			return nil, fmt.Errorf("k of %d elements", len(all))
		}
		k = all[0]
	}
	axis, err := axisOf(o.axis, in[0].rank())
	if err != nil {
		return nil, err
	}
	o.at = axis
	if k < 0 || k > int64(in[0].shape[axis]) {
		return nil, fmt.Errorf("k %d of a dimension of %d", k, in[0].shape[axis])
	}
	shape := append([]int(nil), in[0].shape...)
	shape[axis] = int(k)
	return []spec{in[0].with(shape), {onnxio.Int64, shape}}, nil
}

func (o *topKOp) forward(_ *exec, in, out []*tensor) error {
	outer, n, inner := axisSplit(in[0].shape, o.at)
	src := make(buf[float64], in[0].size())
	if err := convertBuffer(src, in[0].buf); err != nil {
		return err
	}
	k := out[0].shape[o.at]
	order := make([]int, n)
	for a := range outer {
		for b := range inner {
			base := a*n*inner + b
			for i := range order {
				order[i] = i
			}
			sort.SliceStable(order, func(i, j int) bool {
				p, q := src[base+order[i]*inner], src[base+order[j]*inner]
				if o.smallest {
					return p < q
				}
				return p > q
			})
			for i := range k {
				at := (a*k+i)*inner + b
				out[0].buf.set(at, in[0].buf, base+order[i]*inner)
				if out[1] != nil {
					out[1].buf.(buf[int64])[at] = int64(order[i])
				}
			}
		}
	}
	return nil
}

// argOp is the index of the largest or smallest element of an axis.
type argOp struct {
	largest, keep, last bool
	axis                int64
	at                  int
}

func (o *argOp) infer(in []*value) ([]spec, error) {
	axis, err := axisOf(o.axis, in[0].rank())
	if err != nil {
		return nil, err
	}
	if in[0].shape[axis] == 0 {
		return nil, errors.New("no largest element of an empty dimension")
	}
	o.at = axis
	return []spec{{onnxio.Int64, reducedShape(in[0].shape, []int{axis}, o.keep)}}, nil
}

func (o *argOp) forward(x *exec, in, out []*tensor) error {
	outer, n, inner := axisSplit(in[0].shape, o.at)
	d := out[0].buf.(buf[int64])
	switch s := in[0].buf.(type) {
	case buf[float32]:
		argExtreme(x, o, d, s, outer, n, inner)
	case buf[float64]:
		argExtreme(x, o, d, s, outer, n, inner)
	default:
		v, err := in[0].ints()
		if err != nil {
			return err
		}
		argExtreme(x, o, d, v, outer, n, inner)
	}
	return nil
}

// argExtreme is the kernel on several goroutines: each has rows of its own.
func argExtreme[T kernel.Number](x *exec, o *argOp, d []int64, s []T, outer, n, inner int) {
	grain := max(1, 1<<16/max(1, n*inner))
	kernel.Parallel(x.threads, outer, grain, func(lo, hi int) {
		kernel.ArgExtreme(o.largest, o.last, d[lo*inner:hi*inner], s[lo*n*inner:hi*n*inner], hi-lo, n, inner)
	})
}
