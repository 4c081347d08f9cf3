package engine

import (
	"errors"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func init() {
	register("", "Softmax", 1, 1, func(c *compiler, s *step, in []*value) ([]*value, error) { return softmaxNode(c, s, in, false) })
	register("", "LogSoftmax", 1, 1, func(c *compiler, s *step, in []*value) ([]*value, error) { return softmaxNode(c, s, in, true) })
}

// softmaxNode moves the axis to the end; before opset 13 everything from the axis on is one row.
func softmaxNode(c *compiler, s *step, in []*value, log bool) ([]*value, error) {
	v := in[0]
	if !isFloat(v.dt) {
		return nil, fmt.Errorf("operand of type %v", v.dt)
	}
	if v.rank() == 0 {
		return nil, errors.New("operand of rank 0")
	}
	if s.version > 0 && s.version < 13 {
		a := s.int("axis", 1)
		if a == int64(v.rank()) { // legal there: rows of one element
			return c.apply(s.label, &softmaxOp{log: log, axis: v.rank()}, v)
		}
		axis, err := axisOf(a, v.rank())
		if err != nil {
			return nil, err
		}
		return c.apply(s.label, &softmaxOp{log: log, axis: axis}, v)
	}
	axis, err := axisOf(s.int("axis", -1), v.rank())
	if err != nil {
		return nil, err
	}
	last := v.rank() - 1
	if axis == last || product(v.shape[axis+1:]) == 1 {
		return c.apply(s.label, &softmaxOp{log: log, axis: axis}, v)
	}
	perm := make([]int64, v.rank())
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[axis], perm[last] = perm[last], perm[axis]
	if v, err = c.transpose(s.label, v, perm...); err != nil {
		return nil, err
	}
	if v, err = c.one(s.label, &softmaxOp{log: log, axis: last}, v); err != nil {
		return nil, err
	}
	v, err = c.transpose(s.label, v, perm...)
	return []*value{v}, err
}

// softmaxOp is softmax (or its logarithm) over everything from axis on.
type softmaxOp struct {
	log  bool
	axis int
}

func (o *softmaxOp) infer(in []*value) ([]spec, error) { return []spec{in[0].spec}, nil }

func (*softmaxOp) inPlace(int) bool { return true }

func (o *softmaxOp) forward(x *exec, in, out []*tensor) error {
	n := product(in[0].shape[o.axis:])
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.Softmax(x.threads, d, in[0].buf.(buf[float32]), n, o.log)
	case buf[float64]:
		kernel.Softmax(x.threads, d, in[0].buf.(buf[float64]), n, o.log)
	default:
		return errType(in[0])
	}
	return nil
}
