package engine

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func init() {
	simple("", "LpNormalization", 1, 1, func(s *step) (operator, error) {
		o := &lpNormOp{axis: s.int("axis", -1), p: int(s.int("p", 2))}
		if o.p != 1 && o.p != 2 {
			return nil, fmt.Errorf("p is %d, expected 1 or 2", o.p)
		}
		return o, nil
	})
	register("", "MeanVarianceNormalization", 1, 1, meanVarianceNorm)
}

// lpNormOp divides along an axis by the 1-norm or 2-norm. Outputs: the quotient and the norms, without the axis.
type lpNormOp struct {
	axis int64
	p    int
	at   int
}

func (o *lpNormOp) infer(in []*value) ([]spec, error) {
	v := in[0]
	if !isFloat(v.dt) {
		return nil, fmt.Errorf("operand of type %v", v.dt)
	}
	axis, err := axisOf(o.axis, v.rank())
	if err != nil {
		return nil, err
	}
	if v.shape[axis] == 0 {
		return nil, fmt.Errorf("nothing to normalise in shape %v along axis %d", v.shape, axis)
	}
	o.at = axis
	return []spec{v.spec, v.with(append(append([]int{}, v.shape[:axis]...), v.shape[axis+1:]...))}, nil
}

func (*lpNormOp) inPlace(int) bool { return true }

func (o *lpNormOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, lpForward[float32], lpForward[float64])
}

func lpForward[T kernel.Float](x *exec, o *lpNormOp, in, out []*tensor) error {
	p, err := floatLists[T](in, out)
	if err != nil {
		return err
	}
	s := in[0].shape
	kernel.LpNorm(x.threads, p[1], p[0], p[2], s[o.at], product(s[o.at+1:]), o.p)
	return nil
}

func (o *lpNormOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.call(&lpNormGradOp{o}, k.out[0], k.out[1], dy[0])
	return []*value{d}, err
}

// lpNormGradOp is the gradient of an lpNormOp: operands are its outputs and the gradient by the first.
type lpNormGradOp struct{ of *lpNormOp }

func (o *lpNormGradOp) infer(in []*value) ([]spec, error) { return []spec{in[0].spec}, nil }

func (*lpNormGradOp) inPlace(operand int) bool { return operand != 1 }

func (o *lpNormGradOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, lpBackward[float32], lpBackward[float64])
}

func lpBackward[T kernel.Float](x *exec, o *lpNormGradOp, in, out []*tensor) error {
	p, err := floatLists[T](in, out)
	if err != nil {
		return err
	}
	s, at := in[0].shape, o.of.at
	kernel.LpNormGrad(x.threads, p[3], p[0], p[1], p[2], s[at], product(s[at+1:]), o.of.p)
	return nil
}

// meanVarianceNorm is (x - mean) / (deviation + 1e-9) over the axes, as the operator's function in the standard has it.
func meanVarianceNorm(c *compiler, s *step, in []*value) ([]*value, error) {
	x := in[0]
	if !isFloat(x.dt) {
		return nil, fmt.Errorf("operand of type %v", x.dt)
	}
	list := s.ints("axes")
	if list == nil {
		list = []int64{0, 2, 3}
	}
	axes, err := axesOf(list, x.rank())
	if err != nil {
		return nil, err
	}
	mean := func(v *value) (*value, error) {
		m, err := c.reduce(s.label, kernel.ReduceMean, v, axes)
		if err != nil {
			return nil, err
		}
		return c.reshape(s.label, m, reducedShape(x.shape, axes, true))
	}
	m, err := mean(x)
	if err != nil {
		return nil, err
	}
	d, err := c.one(s.label, &binaryOp{op: kernel.Sub}, x, m)
	if err != nil {
		return nil, err
	}
	sq, err := c.one(s.label, &binaryOp{op: kernel.Mul}, d, d)
	if err != nil {
		return nil, err
	}
	if sq, err = mean(sq); err != nil {
		return nil, err
	}
	if sq, err = c.one(s.label, unaryOp{f: kernel.Sqrt, name: "Sqrt"}, sq); err != nil {
		return nil, err
	}
	eps, err := c.number(x.dt, 1e-9)
	if err != nil {
		return nil, err
	}
	if sq, err = c.one(s.label, &binaryOp{op: kernel.Add}, sq, eps); err != nil {
		return nil, err
	}
	return c.apply(s.label, &binaryOp{op: kernel.Div}, d, sq)
}
