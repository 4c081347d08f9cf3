package engine

import (
	"errors"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func init() {
	register("", "BatchNormalization", 5, 5, batchNorm)
}

func batchNorm(c *compiler, s *step, in []*value) ([]*value, error) {
	if s.version > 0 && s.version < 7 && !s.flag("is_test", false) {
		return nil, errors.New("training mode before opset 14 is not supported")
	}
	op := &batchNormOp{eps: s.float("epsilon", 1e-5)}
	if !s.flag("training_mode", false) {
		return c.apply(s.label, op, in...)
	}
	stats, err := c.apply(s.label, channelStatsOp{}, in[0])
	if err != nil {
		return nil, err
	}
	y, err := c.one(s.label, op, in[0], in[1], in[2], stats[0], stats[1])
	if err != nil {
		return nil, err
	}
	// The running statistics keep momentum of the old value.
	out := []*value{y, nil, nil}
	m := s.float("momentum", 0.9)
	for i, now := range stats {
		parts := [2]*value{in[3+i], now}
		for k, share := range []float64{m, 1 - m} {
			n, err := c.number(parts[k].dt, share)
			if err != nil {
				return nil, err
			}
			if parts[k], err = c.one(s.label, &binaryOp{op: kernel.Mul}, parts[k], n); err != nil {
				return nil, err
			}
		}
		if out[1+i], err = c.one(s.label, &binaryOp{op: kernel.Add}, parts[0], parts[1]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// channelStatsOp gives the mean and the variance of each channel of [batch, channels, ...].
type channelStatsOp struct{}

func (channelStatsOp) infer(in []*value) ([]spec, error) {
	v := in[0]
	if v.rank() < 2 || !isFloat(v.dt) || v.size() == 0 {
		return nil, fmt.Errorf("operand %v", v.spec)
	}
	return []spec{v.with(v.shape[1:2]), v.with(v.shape[1:2])}, nil
}

func (channelStatsOp) forward(x *exec, in, out []*tensor) error {
	switch s := in[0].buf.(type) {
	case buf[float32]:
		channelStats(x, in[0].shape, s, out)
	case buf[float64]:
		channelStats(x, in[0].shape, s, out)
	default:
		return errType(in[0])
	}
	return nil
}

func channelStats[T kernel.Float](x *exec, shape []int, src []T, out []*tensor) {
	channels, size := shape[1], product(shape[2:])
	mean, variance := make([]T, channels), make([]T, channels)
	kernel.ChannelStats(x.threads, mean, variance, src, channels, size)
	for i, v := range [][]T{mean, variance} {
		if out[i] != nil {
			copy(out[i].buf.(buf[T]), v)
		}
	}
}

// batchNormOp normalises channels with given statistics: operands x, gain, bias, mean and variance.
type batchNormOp struct{ eps float64 }

func (o *batchNormOp) infer(in []*value) ([]spec, error) {
	v := in[0]
	if v.rank() < 1 || !isFloat(v.dt) {
		return nil, fmt.Errorf("operand %v", v.spec)
	}
	channels := 1
	if v.rank() > 1 {
		channels = v.shape[1]
	}
	for i, p := range in[1:] {
		if p.rank() != 1 || p.shape[0] != channels {
			return nil, fmt.Errorf("operand %d is %v for %d channels", i+1, p.spec, channels)
		}
	}
	return []spec{v.spec}, nil
}

func (*batchNormOp) inPlace(operand int) bool { return operand == 0 }

func (o *batchNormOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		return batchNormForward(x, o, d, in)
	case buf[float64]:
		return batchNormForward(x, o, d, in)
	}
	return errType(in[0])
}

func batchNormForward[T kernel.Float](x *exec, o *batchNormOp, y []T, in []*tensor) error {
	p, err := floatLists[T](in)
	if err != nil {
		return err
	}
	channels, size := channelDims(in[0].shape)
	kernel.BatchNorm(x.threads, y, p[0], p[1], p[2], p[3], p[4], channels, size, o.eps)
	return nil
}

// channelDims is the channels of a shape and the elements of one; without a second dimension there is one channel.
func channelDims(s []int) (channels, size int) {
	if len(s) < 2 {
		return 1, 1
	}
	return s[1], product(s[2:])
}
