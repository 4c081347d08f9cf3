package engine

import "github.com/ligoonnx/ligoonnx/graph/engine/kernel"

// kernelCall is the form of an operator for one element type.
type kernelCall[O any] func(x *exec, o O, in, out []*tensor) error

// inFloats runs the form of an operator for the element type of its first output.
func inFloats[O any](x *exec, o O, in, out []*tensor, f32, f64 kernelCall[O]) error {
	switch out[0].buf.(type) {
	case buf[float32]:
		return f32(x, o, in, out)
	case buf[float64]:
		return f64(x, o, in, out)
	}
	return errType(out[0])
}

func (o *softmaxOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.call(&softmaxGradOp{*o}, k.out[0], dy[0])
	return []*value{d}, err
}

// softmaxGradOp is the gradient of a softmax: operands are its result and the gradient by it.
type softmaxGradOp struct{ of softmaxOp }

func (o *softmaxGradOp) infer(in []*value) ([]spec, error) { return []spec{in[0].spec}, nil }

func (*softmaxGradOp) inPlace(operand int) bool { return operand == 1 }

func (o *softmaxGradOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, softmaxBackward[float32], softmaxBackward[float64])
}

func softmaxBackward[T kernel.Float](x *exec, o *softmaxGradOp, in, out []*tensor) error {
	p, err := floatLists[T](in, out)
	if err != nil {
		return err
	}
	kernel.SoftmaxGrad(x.threads, p[2], p[0], p[1], product(in[0].shape[o.of.axis:]), o.of.log)
	return nil
}
