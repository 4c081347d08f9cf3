package engine

import "fmt"

func (o *triluOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	out := make([]*value, len(k.in))
	in := append([]*value{dy[0]}, k.in[1:]...)
	var err error
	out[0], err = b.call(&triluOp{upper: o.upper}, in...)
	return out, err
}

// The gradient of running sums is running sums from the other end.
func (o *cumSumOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.call(&cumSumOp{exclusive: o.exclusive, reverse: !o.reverse}, dy[0], k.in[1])
	return []*value{d, nil}, err
}

// oneHotOp repeats two values.
func (o *oneHotOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.call(&oneHotGradOp{oneHotOp: *o, values: k.in[2].shape}, dy[0], k.in[0])
	return []*value{nil, nil, d}, err
}

// oneHotGradOp sums the gradients of the off and of the on positions: operands dy and the indices.
type oneHotGradOp struct {
	oneHotOp
	values []int
}

func (o *oneHotGradOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	return []spec{in[0].with(o.values)}, nil
}

func (o *oneHotGradOp) forward(_ *exec, in, out []*tensor) error {
	hot := make([]bool, in[0].size())
	if err := o.each(in[1], func(at int) { hot[at] = true }); err != nil {
		return err
	}
	var sums [2]float64
	for i, on := range hot {
		if on {
			sums[1] += in[0].float(i)
		} else {
			sums[0] += in[0].float(i)
		}
	}
	return convertBuffer(out[0].buf, buf[float64](sums[:]))
}

func (*nonZeroOp) constant() {}
func (*argOp) constant()     {}
