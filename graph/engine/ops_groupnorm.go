package engine

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func init() {
	simple("", "GroupNormalization", 3, 3, func(s *step) (operator, error) {
		return &groupNormOp{groups: int(s.int("num_groups", 0)), eps: s.float("epsilon", 1e-5), perGroup: s.version > 0 && s.version < 21}, nil
	})
	simple("", "InstanceNormalization", 3, 3, func(s *step) (operator, error) {
		return &groupNormOp{eps: s.float("epsilon", 1e-5)}, nil
	})
}

// groupNormOp normalises groups of channels: operands x, gain and bias; outputs y and, where they are read, the means and the inverse
// standard deviations of the groups. With groups 0, every channel is a group.
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
	stats := v.with([]int{v.shape[0], groups})
	return []spec{v.spec, stats, stats}, nil
}

func (*groupNormOp) inPlace(operand int) bool { return operand == 0 }

func (o *groupNormOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		return groupNorm(x, o, d, in, out)
	case buf[float64]:
		return groupNorm(x, o, d, in, out)
	}
	return errType(in[0])
}

// dims is the batch, channels, elements per channel and groups of an operand.
func (o *groupNormOp) dims(s []int) (batch, channels, size, groups int) {
	groups = o.groups
	if groups == 0 {
		groups = s[1]
	}
	return s[0], s[1], product(s[2:]), groups
}

func groupNorm[T kernel.Float](x *exec, o *groupNormOp, y []T, in, out []*tensor) error {
	batch, channels, size, groups := o.dims(in[0].shape)
	p, err := floatLists[T](in, out[1:])
	if err != nil {
		return err
	}
	kernel.GroupNorm(x.threads, y, p[0], p[1], p[2], p[3], p[4], batch, channels, size, groups, o.eps)
	return nil
}
