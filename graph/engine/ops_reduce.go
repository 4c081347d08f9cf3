package engine

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	for name, op := range map[string]kernel.ReduceOp{
		"ReduceSum": kernel.ReduceSum, "ReduceMean": kernel.ReduceMean, "ReduceMax": kernel.ReduceMax, "ReduceMin": kernel.ReduceMin,
		"ReduceProd": kernel.ReduceProd, "ReduceL1": kernel.ReduceL1, "ReduceL2": kernel.ReduceL2,
		"ReduceSumSquare": kernel.ReduceSumSquare, "ReduceLogSum": kernel.ReduceLogSum, "ReduceLogSumExp": kernel.ReduceLogSumExp,
	} {
		register("", name, 1, 2, func(c *compiler, s *step, in []*value) ([]*value, error) { return reduceNode(c, s, op, in) })
	}
}

// reduceNode reduces and restores the dimensions.
func reduceNode(c *compiler, s *step, op kernel.ReduceOp, in []*value) ([]*value, error) {
	v := in[0]
	if v.dt == onnxio.Bool && (op == kernel.ReduceMax || op == kernel.ReduceMin) {
		// Any and all: the extremes of zeros and ones.
		n, err := c.one(s.label, castOp{onnxio.Uint8}, v)
		if err != nil {
			return nil, err
		}
		out, err := reduceNode(c, s, op, append([]*value{n}, in[1:]...))
		if err != nil {
			return nil, err
		}
		return c.apply(s.label, castOp{onnxio.Bool}, out[0])
	}
	list, err := axesOperand(s, in, 1)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 && s.flag("noop_with_empty_axes", false) {
		return in[:1], nil
	}
	axes, err := axesOf(list, v.rank())
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		for i := range v.rank() {
			axes = append(axes, i)
		}
	}
	shape := reducedShape(v.shape, axes, s.flag("keepdims", true))
	if v, err = c.reduce(s.label, op, v, axes); err != nil {
		return nil, err
	}
	v, err = c.reshape(s.label, v, shape)
	return []*value{v}, err
}

// inSteps reports whether a reduction over several axes is one after the other.
func inSteps(op kernel.ReduceOp, v *value) bool {
	switch op {
	case kernel.ReduceSum, kernel.ReduceProd, kernel.ReduceMax, kernel.ReduceMin:
		return true
	case kernel.ReduceMean:
		return isFloat(v.dt)
	}
	return false
}

// reduce reduces axes, which are sorted; they are gone from the result. Where it cannot go from run to run of neighbouring axes, it
// brings them together first.
func (c *compiler) reduce(label string, op kernel.ReduceOp, v *value, axes []int) (*value, error) {
	var err error
	if len(axes) == 0 {
		axes = []int{0} // a scalar reduces to itself, but not for every operation
		if v, err = c.reshape(label, v, []int{1}); err != nil {
			return nil, err
		}
	}
	for inSteps(op, v) {
		// The last run of neighbouring axes first: nothing has to be moved.
		i := len(axes) - 1
		for i > 0 && axes[i-1] == axes[i]-1 {
			i--
		}
		if i == 0 {
			break
		}
		if v, err = c.one(label, &reduceOp{op: op, first: axes[i], last: axes[len(axes)-1]}, v); err != nil {
			return nil, err
		}
		axes = axes[:i]
	}
	if last := axes[len(axes)-1]; last-axes[0]+1 != len(axes) {
		var perm []int64
		for i := range v.rank() {
			if !slices.Contains(axes, i) {
				perm = append(perm, int64(i))
			}
		}
		kept := len(perm)
		for _, a := range axes {
			perm = append(perm, int64(a))
		}
		if v, err = c.transpose(label, v, perm...); err != nil {
			return nil, err
		}
		axes = []int{kept, v.rank() - 1}
	}
	return c.one(label, &reduceOp{op: op, first: axes[0], last: axes[len(axes)-1]}, v)
}

func reducedShape(shape, axes []int, keep bool) []int {
	out := []int{}
	for i, d := range shape {
		switch {
		case !slices.Contains(axes, i):
			out = append(out, d)
		case keep:
			out = append(out, 1)
		}
	}
	return out
}

// reduceOp reduces the consecutive axes first to last.
type reduceOp struct {
	op          kernel.ReduceOp
	first, last int
}

func (o *reduceOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) && !in[0].dt.Integer() {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	if !isFloat(in[0].dt) && (o.op == kernel.ReduceLogSum || o.op == kernel.ReduceLogSumExp) {
		return nil, fmt.Errorf("logarithm of type %v", in[0].dt)
	}
	s := in[0].shape
	return []spec{in[0].with(slices.Concat(s[:o.first], s[o.last+1:]))}, nil
}

func (o *reduceOp) forward(x *exec, in, out []*tensor) error {
	s := in[0].shape
	outer, n, inner := product(s[:o.first]), product(s[o.first:o.last+1]), product(s[o.last+1:])
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.Reduce(x.threads, o.op, d, in[0].buf.(buf[float32]), outer, n, inner)
	case buf[float64]:
		kernel.Reduce(x.threads, o.op, d, in[0].buf.(buf[float64]), outer, n, inner)
	case buf[int64]:
		kernel.Reduce(x.threads, o.op, d, in[0].buf.(buf[int64]), outer, n, inner)
	case buf[int32]:
		kernel.Reduce(x.threads, o.op, d, in[0].buf.(buf[int32]), outer, n, inner)
	case buf[int8]:
		kernel.Reduce(x.threads, o.op, d, in[0].buf.(buf[int8]), outer, n, inner)
	case buf[uint64]:
		kernel.Reduce(x.threads, o.op, d, in[0].buf.(buf[uint64]), outer, n, inner)
	case buf[uint32]:
		kernel.Reduce(x.threads, o.op, d, in[0].buf.(buf[uint32]), outer, n, inner)
	case buf[uint8]:
		kernel.Reduce(x.threads, o.op, d, in[0].buf.(buf[uint8]), outer, n, inner)
	default:
		return errType(in[0])
	}
	return nil
}
