package engine

import "github.com/ligoonnx/ligoonnx/graph/engine/kernel"

func (o *convOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	out := make([]*value, len(k.in))
	if b.wants(k.in[0]) {
		d, err := b.call(&convDataGradOp{convOp: *o, shape: k.in[0].shape}, dy[0], k.in[1])
		if err != nil {
			return nil, err
		}
		out[0] = d
	}
	if b.wants(k.in[1]) {
		d, err := b.call(&convWeightGradOp{convOp: *o, shape: k.in[1].shape}, dy[0], k.in[0])
		if err != nil {
			return nil, err
		}
		out[1] = d
	}
	if c := operand(k.in, 2); b.wants(c) {
		axes := []int{0}
		for i := 2; i < dy[0].rank(); i++ {
			axes = append(axes, i)
		}
		d, err := b.reduce("gradient of "+b.label, kernel.ReduceSum, dy[0], axes)
		if err != nil {
			return nil, err
		}
		out[2] = d
	}
	return out, nil
}

// convDataGradOp is the gradient of a convolution by its input, of that shape: operands dy and the weights.
type convDataGradOp struct {
	convOp
	shape []int
}

func (o *convDataGradOp) infer(in []*value) ([]spec, error) { return []spec{in[0].with(o.shape)}, nil }

func (o *convDataGradOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.ConvDataGrad(x.threads, &o.window.Window, d, in[0].buf.(buf[float32]), in[1].buf.(buf[float32]), o.shape[0], o.group, o.cin, o.cout)
	case buf[float64]:
		kernel.ConvDataGrad(x.threads, &o.window.Window, d, in[0].buf.(buf[float64]), in[1].buf.(buf[float64]), o.shape[0], o.group, o.cin, o.cout)
	default:
		return errType(in[0])
	}
	return nil
}

// convWeightGradOp is the gradient of a convolution by its weights, of that shape: operands dy and the input.
type convWeightGradOp struct {
	convOp
	shape []int
}

func (o *convWeightGradOp) infer(in []*value) ([]spec, error) {
	return []spec{in[0].with(o.shape)}, nil
}

func (o *convWeightGradOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.ConvWeightGrad(x.threads, &o.window.Window, d, in[0].buf.(buf[float32]), in[1].buf.(buf[float32]), in[1].shape[0], o.group, o.cin, o.cout)
	case buf[float64]:
		kernel.ConvWeightGrad(x.threads, &o.window.Window, d, in[0].buf.(buf[float64]), in[1].buf.(buf[float64]), in[1].shape[0], o.group, o.cin, o.cout)
	default:
		return errType(in[0])
	}
	return nil
}

func (o *maxPoolOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	if dy[0] == nil {
		return []*value{nil}, nil
	}
	d, err := b.call(&maxPoolGradOp{*o}, dy[0], k.in[0])
	return []*value{d}, err
}

// maxPoolGradOp gives each window's gradient to the first of its largest elements: operands dy and the input.
type maxPoolGradOp struct{ maxPoolOp }

func (o *maxPoolGradOp) infer(in []*value) ([]spec, error) { return []spec{in[1].spec}, nil }

func (o *maxPoolGradOp) forward(x *exec, in, out []*tensor) error {
	planes := out[0].shape[0] * out[0].shape[1]
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.MaxPoolGrad(x.threads, &o.window.Window, d, in[0].buf.(buf[float32]), in[1].buf.(buf[float32]), planes)
	case buf[float64]:
		kernel.MaxPoolGrad(x.threads, &o.window.Window, d, in[0].buf.(buf[float64]), in[1].buf.(buf[float64]), planes)
	default:
		return errType(in[0])
	}
	return nil
}

func (o *avgPoolOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.call(&avgPoolGradOp{*o, k.in[0].shape}, dy[0])
	return []*value{d}, err
}

// avgPoolGradOp spreads each window's gradient over its elements in a tensor of that shape.
type avgPoolGradOp struct {
	avgPoolOp
	shape []int
}

func (o *avgPoolGradOp) infer(in []*value) ([]spec, error) { return []spec{in[0].with(o.shape)}, nil }

func (o *avgPoolGradOp) forward(x *exec, in, out []*tensor) error {
	planes := o.shape[0] * o.shape[1]
	switch d := out[0].buf.(type) {
	case buf[float32]:
		kernel.AveragePoolGrad(x.threads, &o.window.Window, d, in[0].buf.(buf[float32]), planes, o.countPad)
	case buf[float64]:
		kernel.AveragePoolGrad(x.threads, &o.window.Window, d, in[0].buf.(buf[float64]), planes, o.countPad)
	default:
		return errType(in[0])
	}
	return nil
}
