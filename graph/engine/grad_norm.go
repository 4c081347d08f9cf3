package engine

import (
	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func (o *layerNormOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	x := k.in[0]
	gain := operand(k.in, 1)
	op := &layerNormGradOp{of: o, affine: [2]onnxio.DType{b.typeOf(gain), b.typeOf(operand(k.in, 2))}}
	mean, invStd, dmean, dinv := (*value)(nil), k.out[1], (*value)(nil), dy[1]
	if !o.rms {
		mean, invStd, dmean, dinv = k.out[1], k.out[2], dy[1], dy[2]
	}
	d := dy[0]
	if d == nil { // only the statistics matter
		zero, err := b.number(x.dt, 0)
		if err != nil {
			return nil, err
		}
		if d, err = b.call(&expandOp{shape: x.shape}, zero); err != nil {
			return nil, err
		}
	}
	dx, err := b.apply("gradient of "+b.label, op, x, gain, mean, invStd, d, dmean, dinv)
	if err != nil {
		return nil, err
	}
	out := make([]*value, len(k.in))
	out[0] = dx[0]
	for i, full := range dx[1:] {
		if b.wants(operand(k.in, i+1)) {
			if out[i+1], err = b.sumTo(full, k.in[i+1].shape); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// typeOf is the type of an operand whose gradient is needed, and none of others.
func (b *backward) typeOf(v *value) onnxio.DType {
	if !b.wants(v) {
		return onnxio.Undefined
	}
	return v.dt
}

// orLike is a type, or v's if it is none.
func orLike(dt onnxio.DType, v *value) onnxio.DType {
	if dt == onnxio.Undefined {
		return v.dt
	}
	return dt
}

// layerNormGradOp is the gradient of a layer norm. Operands: x, gain, the means, the inverse deviations, and the gradients by the
// three outputs (of which all but that by y may be missing). Outputs: the gradients by x and, of the shape of a row, by gain and bias.
type layerNormGradOp struct {
	of     *layerNormOp
	affine [2]onnxio.DType // of gain and bias; Undefined: not computed
}

func (o *layerNormGradOp) infer(in []*value) ([]spec, error) {
	row := in[0].with(in[0].shape[o.of.at:])
	return []spec{in[0].spec, row.as(orLike(o.affine[0], in[0])), row.as(orLike(o.affine[1], in[0]))}, nil
}

func (*layerNormGradOp) inPlace(operand int) bool { return operand == 0 || operand == 4 }

func (o *layerNormGradOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, layerNormBackward[float32], layerNormBackward[float64])
}

func layerNormBackward[T kernel.Float](x *exec, o *layerNormGradOp, in, out []*tensor) error {
	p, err := floatLists[T](in, out)
	if err != nil {
		return err
	}
	row := in[0].shape[o.of.at:]
	if in[1] != nil {
		p[1] = repeated(p[1], in[1].shape, row)
	}
	g := &kernel.NormGrads[T]{X: p[0], Gain: p[1], Mean: p[2], InvStd: p[3], DY: p[4], DMean: p[5], DInvStd: p[6], DX: p[7]}
	if o.affine[0] != onnxio.Undefined {
		g.DGain = p[8]
	}
	if o.affine[1] != onnxio.Undefined {
		g.DBias = p[9]
	}
	kernel.LayerNormGrad(x.threads, g, product(row))
	return nil
}

func (o *groupNormOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	op := &groupNormGradOp{of: o, gain: b.wants(k.in[1]), bias: b.wants(k.in[2])}
	return b.apply("gradient of "+b.label, op, k.in[0], k.in[1], k.out[1], k.out[2], dy[0])
}

// groupNormGradOp is the gradient of a group norm. Operands: x, gain, the groups' means and inverse deviations, and the gradient by
// the output. Outputs: the gradients by x, gain and bias; the last two are not computed unless asked for.
type groupNormGradOp struct {
	of         *groupNormOp
	gain, bias bool
}

func (o *groupNormGradOp) infer(in []*value) ([]spec, error) {
	return []spec{in[0].spec, in[1].spec, in[1].spec}, nil
}

func (*groupNormGradOp) inPlace(operand int) bool { return operand == 0 || operand == 4 }

func (o *groupNormGradOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, groupNormBackward[float32], groupNormBackward[float64])
}

func groupNormBackward[T kernel.Float](x *exec, o *groupNormGradOp, in, out []*tensor) error {
	p, err := floatLists[T](in, out)
	if err != nil {
		return err
	}
	g := &kernel.NormGrads[T]{X: p[0], Gain: p[1], Mean: p[2], InvStd: p[3], DY: p[4], DX: p[5]}
	if o.gain {
		g.DGain = p[6]
	}
	if o.bias {
		g.DBias = p[7]
	}
	batch, channels, size, groups := o.of.dims(in[0].shape)
	kernel.GroupNormGrad(x.threads, g, batch, channels, size, groups)
	return nil
}

func (o *batchNormOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	op := &batchNormGradOp{of: o}
	for i := range op.wanted {
		op.wanted[i] = b.typeOf(k.in[1+i])
	}
	return b.apply("gradient of "+b.label, op, k.in[0], k.in[1], k.in[3], k.in[4], dy[0])
}

// batchNormGradOp is the gradient of a batch norm by all its operands. Operands: x, gain, means, variances and the gradient by the
// output. Outputs: the gradients by x and, where wanted, by gain, bias, means and variances.
type batchNormGradOp struct {
	of     *batchNormOp
	wanted [4]onnxio.DType // Undefined: not computed
}

func (o *batchNormGradOp) infer(in []*value) ([]spec, error) {
	out := []spec{in[0].spec}
	for _, dt := range o.wanted {
		out = append(out, in[1].as(orLike(dt, in[0])))
	}
	return out, nil
}

func (*batchNormGradOp) inPlace(operand int) bool { return operand == 0 || operand == 4 }

func (o *batchNormGradOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, batchNormBackward[float32], batchNormBackward[float64])
}

func batchNormBackward[T kernel.Float](x *exec, o *batchNormGradOp, in, out []*tensor) error {
	p, err := floatLists[T](in, out)
	if err != nil {
		return err
	}
	for i, dt := range o.wanted {
		if dt == onnxio.Undefined {
			p[6+i] = nil
		}
	}
	g := &kernel.BatchNormGrads[T]{X: p[0], Gain: p[1], Mean: p[2], Variance: p[3], DY: p[4], DX: p[5], DGain: p[6], DBias: p[7], DMean: p[8], DVariance: p[9]}
	channels, size := channelDims(in[0].shape)
	kernel.BatchNormGrad(x.threads, g, channels, size, o.of.eps)
	return nil
}

func (o channelStatsOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	d, err := b.call(channelStatsGradOp{}, k.in[0], k.out[0], dy[0], dy[1])
	return []*value{d}, err
}

// channelStatsGradOp is the gradient of the channels' statistics. Operands: x, the means, and the gradients by means and variances, either of
// which may be missing.
type channelStatsGradOp struct{}

func (channelStatsGradOp) infer(in []*value) ([]spec, error) { return []spec{in[0].spec}, nil }

func (channelStatsGradOp) inPlace(operand int) bool { return operand == 0 }

func (o channelStatsGradOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, channelStatsBackward[float32], channelStatsBackward[float64])
}

func channelStatsBackward[T kernel.Float](x *exec, _ channelStatsGradOp, in, out []*tensor) error {
	p, err := floatLists[T](in, out)
	if err != nil {
		return err
	}
	channels, size := channelDims(in[0].shape)
	kernel.ChannelStatsGrad(x.threads, p[4], p[0], p[1], p[2], p[3], channels, size)
	return nil
}
