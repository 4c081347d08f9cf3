package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func init() {
	register("", "Pad", 1, 4, pad)
}

func pad(c *compiler, s *step, in []*value) ([]*value, error) {
	v := in[0]
	pads := s.ints("pads") // attributes before opset 11
	if pads == nil {
		pads = s.ints("paddings")
	}
	if k := operand(in, 1); k != nil {
		var err error
		if pads, err = k.ints(); err != nil {
			return nil, err
		}
	}
	var axes []int64
	if k := operand(in, 3); k != nil {
		var err error
		if axes, err = k.ints(); err != nil {
			return nil, err
		}
	} else {
		for i := range v.rank() {
			axes = append(axes, int64(i))
		}
	}
	if len(pads) != 2*len(axes) {
		return nil, fmt.Errorf("%d pads for %d axes", len(pads), len(axes))
	}
	op := &padOp{mode: s.str("mode", "constant"), lo: make([]int, v.rank()), hi: make([]int, v.rank())}
	if _, err := axesOf(axes, v.rank()); err != nil {
		return nil, err
	}
	for i, a := range axes {
		axis, err := axisOf(a, v.rank())
		if err != nil {
			return nil, err
		}
		for _, p := range []int64{pads[i], pads[i+len(axes)]} {
			if p > math.MaxInt32 || p < -math.MaxInt32 {
				return nil, fmt.Errorf("pads %v", pads)
			}
		}
		op.lo[axis], op.hi[axis] = int(pads[i]), int(pads[i+len(axes)])
	}
	fill := operand(in, 2)
	if fill == nil {
		var err error
		if fill, err = c.number(v.dt, s.float("value", 0)); err != nil {
			return nil, err
		}
	}
	return c.apply(s.label, op, v, fill)
}

// padOp adds (or, where negative, removes) positions at the ends of every axis.
type padOp struct {
	mode   string
	lo, hi []int
}

func (o *padOp) infer(in []*value) ([]spec, error) {
	shape := slices.Clone(in[0].shape)
	for i := range shape {
		n := shape[i]
		shape[i] += o.lo[i] + o.hi[i]
		switch o.mode {
		case "constant":
		case "reflect", "edge", "wrap":
			if n == 0 && shape[i] > 0 {
				return nil, fmt.Errorf("%s padding of an empty dimension", o.mode)
			}
		default:
			return nil, fmt.Errorf("unknown mode %q", o.mode)
		}
	}
	if in[1].dt != in[0].dt || in[1].size() != 1 {
		return nil, fmt.Errorf("a padding value %v for %v", in[1].spec, in[0].spec)
	}
	return []spec{in[0].with(shape)}, nil
}

func (o *padOp) forward(_ *exec, in, out []*tensor) error {
	d, src := out[0].buf, in[0].buf
	o.each(in[0].shape, out[0].shape, func(i, at int, inside bool) {
		if inside {
			d.set(i, src, at)
		} else {
			d.set(i, in[1].buf, 0)
		}
	})
	return nil
}

// each calls f with every position of the padded tensor and the offset that it reads; not inside is the constant.
func (o *padOp) each(shape, padded []int, f func(i, at int, inside bool)) {
	own := kernel.Strides(shape)
	idx := make([]int, len(padded))
	for i := range product(padded) {
		at, inside := 0, true
		for k, p := range idx {
			p -= o.lo[k]
			if n := shape[k]; p < 0 || p >= n {
				p, inside = o.map1(p, n), inside && o.mode != "constant"
			}
			at += p * own[k]
		}
		f(i, at, inside)
		for k := len(idx) - 1; k >= 0; k-- {
			if idx[k]++; idx[k] < padded[k] {
				break
			}
			idx[k] = 0
		}
	}
}

// map1 finds the position in [0, n) that a position outside reads.
func (o *padOp) map1(p, n int) int {
	switch o.mode {
	case "edge":
		return max(0, min(p, n-1))
	case "wrap":
		return ((p % n) + n) % n
	case "reflect":
		if n == 1 {
			return 0
		}
		period := 2 * (n - 1)
		p = ((p % period) + period) % period
		return min(p, period-p)
	}
	return 0
}
