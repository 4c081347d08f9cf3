package engine

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	simple("", "LayerNormalization", 2, 3, func(s *step) (operator, error) {
		return &layerNormOp{axis: s.int("axis", -1), eps: s.float("epsilon", 1e-5)}, nil
	})
	simple("", "RMSNormalization", 2, 2, func(s *step) (operator, error) {
		return &layerNormOp{rms: true, axis: s.int("axis", -1), eps: s.float("epsilon", 1e-5)}, nil
	})
	for _, domain := range []string{"", microsoft} {
		simple(domain, "SimplifiedLayerNormalization", 2, 2, func(s *step) (operator, error) {
			return &layerNormOp{rms: true, axis: s.int("axis", -1), eps: s.float("epsilon", 1e-5)}, nil
		})
	}
	for name, rms := range map[string]bool{"SkipLayerNormalization": false, "SkipSimplifiedLayerNormalization": true} {
		register(microsoft, name, 3, 5, func(c *compiler, s *step, in []*value) ([]*value, error) { return skipNorm(c, s, in, rms) })
	}
}

// layerNormOp normalises over everything from axis on: operands x, gain and bias (optional); outputs y, and where they are read
// the mean and the inverse standard deviation. With rms set, the mean is not subtracted and there are two outputs.
type layerNormOp struct {
	rms  bool
	axis int64
	eps  float64
	at   int
}

func (o *layerNormOp) infer(in []*value) ([]spec, error) {
	v := in[0]
	if !isFloat(v.dt) {
		return nil, fmt.Errorf("operand of type %v", v.dt)
	}
	axis, err := axisOf(o.axis, v.rank())
	if err != nil {
		return nil, err
	}
	o.at = axis
	if product(v.shape[axis:]) == 0 {
		return nil, fmt.Errorf("nothing to normalise in shape %v from axis %d", v.shape, axis)
	}
	for i, p := range in[1:] {
		if p == nil {
			continue
		}
		// Scale and bias may broadcast, within the normalised dimensions.
		if s, err := broadcast(p.shape, v.shape[axis:]); err != nil || !slices.Equal(s, v.shape[axis:]) {
			return nil, fmt.Errorf("operand %d of shape %v for rows of shape %v", i+1, p.shape, v.shape[axis:])
		}
	}
	rows := slices.Clone(v.shape)
	for i := axis; i < len(rows); i++ {
		rows[i] = 1
	}
	out := []spec{v.spec, {onnxio.Float, rows}, {onnxio.Float, rows}}
	if v.dt == onnxio.Double {
		out[1].dt, out[2].dt = v.dt, v.dt
	}
	if o.rms {
		out = out[:2]
	}
	return out, nil
}

func (*layerNormOp) inPlace(operand int) bool { return operand == 0 }

func (o *layerNormOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		return layerNorm(x, o, d, in, out)
	case buf[float64]:
		return layerNorm(x, o, d, in, out)
	}
	return errType(in[0])
}

func layerNorm[T kernel.Float](x *exec, o *layerNormOp, y []T, in, out []*tensor) error {
	rowShape := in[0].shape[o.at:]
	n := product(rowShape)
	src, err := floatsOf[T](in[0])
	if err != nil {
		return err
	}
	var affine, stats [2][]T // gain, bias; mean, inverse deviation
	for i := 1; i < len(in); i++ {
		if in[i] == nil {
			continue
		}
		v, err := floatsOf[T](in[i])
		if err != nil {
			return err
		}
		affine[i-1] = repeated(v, in[i].shape, rowShape)
	}
	for i := 1; i < len(out); i++ {
		if out[i] != nil {
			if stats[i-1], err = floatsOf[T](out[i]); err != nil {
				return err
			}
		}
	}
	if o.rms {
		kernel.RMSNorm(x.threads, y, src, affine[0], stats[0], n, o.eps)
		return nil
	}
	kernel.LayerNorm(x.threads, y, src, affine[0], affine[1], stats[0], stats[1], n, o.eps)
	return nil
}

// repeated is a gain or bias of that shape, broadcast to a row.
func repeated[T kernel.Float](v []T, shape, row []int) []T {
	n := product(row)
	if len(v) == n {
		return v
	}
	full := make(buf[T], n)
	full.move(1, kernel.NewWalk(row, kernel.Strides(row), kernel.BroadcastStrides(shape, row)), 0, buf[T](v), 0)
	return full
}

// floatsOf is the content of a tensor whose buffer holds T; mixed precisions (a float32 gain for a double operand) are refused.
func floatsOf[T kernel.Float](t *tensor) ([]T, error) {
	b, ok := t.buf.(buf[T])
	if !ok {
		return nil, fmt.Errorf("operands mix element types (%v)", t.dt)
	}
	return b, nil
}

// floatLists are the contents of tensors in the order given; nil for those left out.
func floatLists[T kernel.Float](lists ...[]*tensor) (out [][]T, err error) {
	for _, list := range lists {
		for _, t := range list {
			var v []T
			if t != nil {
				if v, err = floatsOf[T](t); err != nil {
					return nil, err
				}
			}
			out = append(out, v)
		}
	}
	return out, nil
}

// skipNorm adds input, skip and bias, and normalises the sum, which is output 3.
func skipNorm(c *compiler, s *step, in []*value, rms bool) ([]*value, error) {
	var norm []*value
	bias := operand(in, 4)
	if rms {
		norm, bias = in[2:3], operand(in, 3)
	} else {
		norm = []*value{in[2], operand(in, 3)}
	}
	sum, err := c.one(s.label, &binaryOp{op: kernel.Add}, in[0], in[1])
	if err != nil {
		return nil, err
	}
	if bias != nil {
		if sum, err = c.one(s.label, &binaryOp{op: kernel.Add}, sum, bias); err != nil {
			return nil, err
		}
	}
	out, err := c.apply(s.label, &layerNormOp{rms: rms, axis: -1, eps: s.float("epsilon", 1e-12)}, append([]*value{sum}, norm...)...)
	if err != nil {
		return nil, err
	}
	res := []*value{out[0], nil, nil, sum}
	copy(res[1:3], out[1:])
	return res, nil
}
