package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	register("", "Softmax", 1, 1, func(c *compiler, s *step, in []*value) ([]*value, error) { return softmaxNode(c, s, in, false) })
	register("", "LogSoftmax", 1, 1, func(c *compiler, s *step, in []*value) ([]*value, error) { return softmaxNode(c, s, in, true) })
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
	simple("", "GroupNormalization", 3, 3, func(s *step) (operator, error) {
		return &groupNormOp{groups: int(s.int("num_groups", 0)), eps: s.float("epsilon", 1e-5), perGroup: s.version > 0 && s.version < 21}, nil
	})
	simple("", "InstanceNormalization", 3, 3, func(s *step) (operator, error) {
		return &groupNormOp{eps: s.float("epsilon", 1e-5)}, nil
	})
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
		if len(v) != n {
			full := make(buf[T], n)
			full.move(1, kernel.NewWalk(rowShape, kernel.Strides(rowShape), kernel.BroadcastStrides(in[i].shape, rowShape)), 0, buf[T](v), 0)
			v = full
		}
		affine[i-1] = v
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

// floatsOf is the content of a tensor whose buffer holds T; mixed precisions (a float32 gain for a double operand) are refused.
func floatsOf[T kernel.Float](t *tensor) ([]T, error) {
	b, ok := t.buf.(buf[T])
	if !ok {
		return nil, fmt.Errorf("operands mix element types (%v)", t.dt)
	}
	return b, nil
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

// groupNormOp normalises groups of channels; with groups 0, every channel by itself.
type groupNormOp struct {
	groups   int
	eps      float64
	perGroup bool // gain and bias are per group (opset 18), not per channel
}

func (o *groupNormOp) infer(in []*value) ([]spec, error) {
	v := in[0]
	if v.rank() < 2 || !isFloat(v.dt) {
		return nil, fmt.Errorf("operand %v", v.spec)
	}
	channels := v.shape[1]
	groups := o.groups
	if groups == 0 {
		groups = channels
	}
	want := channels
	if o.perGroup {
		want = groups
	}
	if groups <= 0 || channels%groups != 0 {
		return nil, fmt.Errorf("%d groups of %d channels", groups, channels)
	}
	for i, p := range in[1:] {
		if p.rank() != 1 || p.shape[0] != want || p.dt != v.dt {
			return nil, fmt.Errorf("operand %d is %v for %d channels", i+1, p.spec, want)
		}
	}
	return []spec{v.spec}, nil
}

func (o *groupNormOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		return groupNorm(x, o, d, in)
	case buf[float64]:
		return groupNorm(x, o, d, in)
	}
	return errType(in[0])
}

func groupNorm[T kernel.Float](x *exec, o *groupNormOp, y []T, in []*tensor) error {
	s := in[0].shape
	batch, channels, size := s[0], s[1], product(s[2:])
	groups := o.groups
	if groups == 0 {
		groups = channels
	}
	var p [3][]T
	for i := range p {
		v, err := floatsOf[T](in[i])
		if err != nil {
			return err
		}
		if i > 0 && len(v) != channels {
			full := make([]T, channels)
			for c := range full {
				full[c] = v[c/(channels/groups)]
			}
			v = full
		}
		p[i] = v
	}
	kernel.GroupNorm(x.threads, y, p[0], p[1], p[2], batch, channels, size, groups, o.eps)
	return nil
}
