package engine

import (
	"errors"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func (o *attentionOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	if len(dy) > 2 && dy[2] != nil {
		return nil, errors.New("has no gradient through its scores: a value that is trained goes through them")
	}
	in := k.in
	for len(in) < 4 {
		in = append(in[:len(in):len(in)], nil)
	}
	op := &attentionGradOp{of: o, packed: o.packed != apart, bias: b.wants(in[3])}
	d, err := b.apply("gradient of "+b.label, op, in[0], in[1], in[2], in[3], k.out[0], k.out[1], dy[0])
	if err != nil {
		return nil, err
	}
	out := make([]*value, len(k.in))
	n := copy(out, d[:1])
	if !op.packed {
		n = copy(out, d[:3])
	}
	if op.bias {
		out[3] = d[n]
	}
	return out, nil
}

// attentionGradOp is the gradient of an attention. Operands: its operands (four of them), its output and statistics, and the gradient
// by the output. Outputs: the gradients by its operands, of which one by the bias is only there if bias is set.
type attentionGradOp struct {
	of     *attentionOp
	packed bool
	bias   bool
}

func (*attentionGradOp) heavy() {}

func (o *attentionGradOp) infer(in []*value) ([]spec, error) {
	out := []spec{in[0].spec}
	if !o.packed {
		out = append(out, in[1].spec, in[2].spec)
	}
	if o.bias {
		out = append(out, in[3].spec)
	}
	return out, nil
}

func (o *attentionGradOp) forward(x *exec, in, out []*tensor) error {
	switch out[0].buf.(type) {
	case buf[float32]:
		return attendBackward[float32](x, o, in, out)
	case buf[float64]:
		return attendBackward[float64](x, o, in, out)
	}
	return errType(in[0])
}

func attendBackward[T kernel.Float](x *exec, o *attentionGradOp, in, out []*tensor) error {
	p, err := readAttention[T](o.of, in[:4])
	if err != nil {
		return err
	}
	g := &kernel.AttentionGrads[T]{Q: p.q, K: p.k, V: p.v, Bias: p.bias}
	for i, to := range []*[]T{&g.Y, &g.Stats, &g.DY} {
		if *to, err = floatsOf[T](in[4+i]); err != nil {
			return err
		}
	}
	at := o.of.at
	g.DQ = out[0].buf.(buf[T])
	rest := out[1:]
	if o.packed {
		g.DK, g.DV = g.DQ[at[1]:], g.DQ[at[2]:]
	} else {
		for i, to := range []*[]T{&g.DK, &g.DV} {
			if rest[i] != nil {
				*to = rest[i].buf.(buf[T])
			}
		}
		rest = rest[2:]
	}
	kernel.AttentionGrad(x.threads, &o.of.p, g)
	if o.bias && rest[0] != nil {
		kernel.AttentionBiasGrad(x.threads, &o.of.p, g, rest[0].buf.(buf[T]))
	}
	return nil
}
