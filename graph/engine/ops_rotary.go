package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	register("", "RotaryEmbedding", 3, 4, func(c *compiler, s *step, in []*value) ([]*value, error) {
		return rotaryNode(c, s, in[0], operand(in, 3), in[1], in[2])
	})
	register(microsoft, "RotaryEmbedding", 4, 4, func(c *compiler, s *step, in []*value) ([]*value, error) {
		// is_packed_batching says only that the positions of several sequences follow each other, which the positions say too.
		if s.float("scale", 1) != 1 {
			return nil, errors.New("scale is not supported")
		}
		return rotaryNode(c, s, in[0], in[1], in[2], in[3])
	})
	simple("", "TensorScatter", 2, 3, func(s *step) (operator, error) {
		o := &tensorScatterOp{axis: s.int("axis", -2)}
		switch mode := s.str("mode", "linear"); mode {
		case "linear":
		case "circular":
			o.circular = true
		default:
			return nil, fmt.Errorf("unknown mode %q", mode)
		}
		return o, nil
	})
}

// rotaryNode looks the angles up by position where positions are given.
func rotaryNode(c *compiler, s *step, x, positions, cos, sin *value) ([]*value, error) {
	v, err := c.rotate(s, x, positions, cos, sin, int(s.int("num_heads", 0)), 0, int(s.int("rotary_embedding_dim", 0)), s.flag("interleaved", false))
	return []*value{v}, err
}

// rotate adds a rotation of x by the angles of its positions, or by those in order; still heads stay as they are.
func (c *compiler) rotate(s *step, x, positions, cos, sin *value, heads, still, dim int, interleaved bool) (*value, error) {
	var err error
	if positions != nil {
		if positions.size() == 1 && x.rank() >= 3 { // one offset for all: positions offset, offset+1, …
			n := x.shape[x.rank()-2]
			ramp := make(buf[int64], n)
			for i := range ramp {
				ramp[i] = int64(i)
			}
			first, err := c.reshape(s.label, positions, []int{1, 1})
			if err != nil {
				return nil, err
			}
			if positions, err = c.one(s.label, &binaryOp{op: kernel.Add}, first, c.fixed(&tensor{spec{onnxio.Int64, []int{1, n}}, ramp})); err != nil {
				return nil, err
			}
		}
		if cos, err = c.one(s.label, &gatherOp{}, cos, positions); err != nil {
			return nil, err
		}
		if sin, err = c.one(s.label, &gatherOp{}, sin, positions); err != nil {
			return nil, err
		}
	}
	if x.rank() == 3 && heads == 0 {
		size := 2 * cos.shape[cos.rank()-1]
		if size == 0 || x.shape[2]%size != 0 {
			return nil, fmt.Errorf("angles of shape %v for %v", cos.shape, x.shape)
		}
		heads = x.shape[2] / size
	}
	return c.one(s.label, &rotaryOp{heads: heads, still: still, dim: dim, interleaved: interleaved}, x, cos, sin)
}

// rotaryOp rotates pairs of elements of each head by position-dependent angles. Operands: x as [batch, heads, length, size] or
// [batch, length, heads*size], and cosines and sines as [batch or 1, length, dim/2].
type rotaryOp struct {
	heads, dim  int // dim 0: the whole head
	still       int // heads that follow those and stay as they are
	interleaved bool
	back        bool // by the opposite angles

	p kernel.RotaryParams
}

func (o *rotaryOp) infer(in []*value) ([]spec, error) {
	x, cos, sin := in[0], in[1], in[2]
	if !isFloat(x.dt) || cos.dt != x.dt || sin.dt != x.dt {
		return nil, fmt.Errorf("operands of types %v, %v and %v", x.dt, cos.dt, sin.dt)
	}
	d, strides, err := headDims(x, o.heads+o.still)
	if err != nil {
		return nil, err
	}
	o.p = kernel.RotaryParams{Batch: d[0], Heads: d[1] - o.still, Still: o.still, Length: d[2], HeadSize: d[3], Dim: o.dim, Interleaved: o.interleaved, Strides: strides}
	if o.dim == 0 {
		o.p.Dim = d[3]
	}
	if n := o.p.Dim; n > d[3] || n%2 != 0 || n < 0 {
		return nil, fmt.Errorf("rotating %d of %d elements", n, d[3])
	}
	want := []int{d[0], d[2], o.p.Dim / 2}
	if s, err := broadcast(cos.shape, want); err != nil || !slices.Equal(s, want) || !slices.Equal(cos.shape, sin.shape) {
		return nil, fmt.Errorf("angles of shapes %v and %v for %v", cos.shape, sin.shape, x.shape)
	}
	copy(o.p.Table[:], kernel.BroadcastStrides(cos.shape, want))
	return []spec{x.spec}, nil
}

func (*rotaryOp) inPlace(operand int) bool { return operand == 0 }

func (o *rotaryOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, rotaryForward[float32], rotaryForward[float64])
}

func rotaryForward[T kernel.Float](x *exec, o *rotaryOp, in, out []*tensor) error {
	p, err := floatLists[T](in, out)
	if err != nil {
		return err
	}
	kernel.Rotate(x.threads, &o.p, p[3], p[0], p[1], p[2], o.back)
	return nil
}

// tensorScatterOp writes an update into a cache at a position along an axis that each batch entry has of its own. Operands: cache,
// update and positions (optional: 0).
type tensorScatterOp struct {
	axis     int64
	circular bool
	at       int
}

func (o *tensorScatterOp) infer(in []*value) ([]spec, error) {
	cache, upd := in[0], in[1]
	if cache.dt != upd.dt || cache.rank() != upd.rank() {
		return nil, fmt.Errorf("an update %v of a cache %v", upd.spec, cache.spec)
	}
	axis, err := axisOf(o.axis, cache.rank())
	if err != nil {
		return nil, err
	}
	if axis == 0 {
		return nil, errors.New("axis is the batch dimension")
	}
	o.at = axis
	for d := range cache.shape {
		if d != axis && cache.shape[d] != upd.shape[d] || upd.shape[d] > cache.shape[d] {
			return nil, fmt.Errorf("an update of shape %v of a cache of shape %v", upd.shape, cache.shape)
		}
	}
	if w := operand(in, 2); w != nil && (w.rank() != 1 || w.shape[0] != cache.shape[0]) {
		return nil, fmt.Errorf("positions of shape %v for %d sequences", w.shape, cache.shape[0])
	}
	return []spec{cache.spec}, nil
}

func (o *tensorScatterOp) forward(x *exec, in, out []*tensor) error {
	one := []int{1}
	out[0].buf.move(x.threads, kernel.NewWalk([]int{out[0].size()}, one, one), 0, in[0].buf, 0)
	return o.each(in[0].shape, in[1].shape[o.at], operandTensor(in, 2), func(w *kernel.Walk, cache, update int) {
		out[0].buf.move(1, w, cache, in[1].buf, update)
	})
}

// each calls f for each of the n positions of an update, with a walk over its elements and where they begin in cache and update.
func (o *tensorScatterOp) each(cache []int, n int, positions *tensor, f func(w *kernel.Walk, cache, update int)) error {
	batch := cache[0]
	first := make([]int64, batch)
	if positions != nil {
		var err error
		if first, err = positions.ints(); err != nil {
			return err
		}
	}
	rows, length, inner := product(cache[:o.at]), cache[o.at], product(cache[o.at+1:])
	one := []int{1}
	walk := kernel.NewWalk([]int{inner}, one, one)
	for r := range rows {
		base := first[r/(rows/batch)]
		for i := range n {
			p := base + int64(i)
			if o.circular && length > 0 {
				p %= int64(length)
			}
			if p < 0 || p >= int64(length) {
				return fmt.Errorf("position %d is outside a cache of %d", p, length)
			}
			f(walk, (r*length+int(p))*inner, (r*n+i)*inner)
		}
	}
	return nil
}
