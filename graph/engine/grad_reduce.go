package engine

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func (o *reduceOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	x, d := k.in[0], dy[0]
	var err error
	switch o.op {
	case kernel.ReduceSum, kernel.ReduceMean:
		if o.op == kernel.ReduceMean {
			if d, err = b.scaled(d, 1/float64(product(x.shape[o.first:o.last+1]))); err != nil {
				return nil, err
			}
		}
		kept := slices.Clone(x.shape)
		for i := o.first; i <= o.last; i++ {
			kept[i] = 1
		}
		if d, err = b.view(d, kept); err != nil {
			return nil, err
		}
		d, err = b.call(&expandOp{shape: x.shape}, d)
		return []*value{d}, err
	}
	in := []*value{d, x, nil}
	switch o.op {
	case kernel.ReduceLogSum:
		in[1], in[2] = nil, k.out[0]
	case kernel.ReduceMax, kernel.ReduceMin, kernel.ReduceL2, kernel.ReduceLogSumExp:
		in[2] = k.out[0]
	}
	d, err = b.call(&reduceGradOp{reduceOp: *o, shape: x.shape}, in...)
	return []*value{d}, err
}

// reduceGradOp is the gradient of a reduction by its operand of that shape: operands dy, and of x and y what the operation needs.
type reduceGradOp struct {
	reduceOp
	shape []int
}

func (o *reduceGradOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	return []spec{in[0].with(o.shape)}, nil
}

func (o *reduceGradOp) forward(x *exec, in, out []*tensor) error {
	s := o.shape
	outer, n, inner := product(s[:o.first]), product(s[o.first:o.last+1]), product(s[o.last+1:])
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.ReduceGrad(x.threads, o.op, d, in[0].buf.(buf[float32]), floatsOrNil[float32](in[1]), floatsOrNil[float32](in[2]), outer, n, inner)
	case buf[float64]:
		kernel.ReduceGrad(x.threads, o.op, d, in[0].buf.(buf[float64]), floatsOrNil[float64](in[1]), floatsOrNil[float64](in[2]), outer, n, inner)
	default:
		return errType(in[0])
	}
	return nil
}
