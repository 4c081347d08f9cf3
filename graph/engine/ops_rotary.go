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
		if s.float("scale", 1) != 1 || s.flag("is_packed_batching", false) {
			return nil, errors.New("scale and is_packed_batching are not supported")
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
	v, err := c.rotate(s, x, positions, cos, sin, int(s.int("num_heads", 0)), int(s.int("rotary_embedding_dim", 0)), s.flag("interleaved", false))
	return []*value{v}, err
}

func (c *compiler) rotate(s *step, x, positions, cos, sin *value, heads, dim int, interleaved bool) (*value, error) {
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
	return c.one(s.label, &rotaryOp{heads: heads, dim: dim, interleaved: interleaved}, x, cos, sin)
}

// rotaryOp rotates pairs of elements of each head by position-dependent angles. Operands: x as [batch, heads, length, size] or
// [batch, length, heads*size], and cosines and sines as [batch or 1, length, dim/2].
type rotaryOp struct {
	heads, dim  int // dim 0: the whole head
	interleaved bool

	x, table [4]int // batch, heads, length, head size; the table's batch and sequence strides
	strides  [3]int
}

func (o *rotaryOp) infer(in []*value) ([]spec, error) {
	x, cos, sin := in[0], in[1], in[2]
	if !isFloat(x.dt) || cos.dt != x.dt || sin.dt != x.dt {
		return nil, fmt.Errorf("operands of types %v, %v and %v", x.dt, cos.dt, sin.dt)
	}
	var err error
	if o.x, o.strides, err = headDims(x, o.heads); err != nil {
		return nil, err
	}
	if o.dim == 0 {
		o.dim = o.x[3]
	}
	if o.dim > o.x[3] || o.dim%2 != 0 || o.dim < 0 {
		return nil, fmt.Errorf("rotating %d of %d elements", o.dim, o.x[3])
	}
	want := []int{o.x[0], o.x[2], o.dim / 2}
	if s, err := broadcast(cos.shape, want); err != nil || !slices.Equal(s, want) || !slices.Equal(cos.shape, sin.shape) {
		return nil, fmt.Errorf("angles of shapes %v and %v for %v", cos.shape, sin.shape, x.shape)
	}
	st := kernel.BroadcastStrides(cos.shape, want)
	o.table = [4]int{st[0], st[1], st[2], 0}
	return []spec{x.spec}, nil
}

func (o *rotaryOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		return rotaryForward(x, o, d, in)
	case buf[float64]:
		return rotaryForward(x, o, d, in)
	}
	return errType(in[0])
}

func rotaryForward[T kernel.Float](x *exec, o *rotaryOp, y []T, in []*tensor) error {
	var p [3][]T
	for i := range p {
		v, err := floatsOf[T](in[i])
		if err != nil {
			return err
		}
		p[i] = v
	}
	src, cos, sin := p[0], p[1], p[2]
	half := o.dim / 2
	first, step := half, 1 // distance within a pair, and between pairs
	if o.interleaved {
		first, step = 1, 2
	}
	kernel.Parallel(x.threads, o.x[0]*o.x[2], 64, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			b, t := r/o.x[2], r%o.x[2]
			angle := b*o.table[0] + t*o.table[1]
			for h := range o.x[1] {
				at := b*o.strides[0] + h*o.strides[1] + t*o.strides[2]
				copy(y[at+o.dim:at+o.x[3]], src[at+o.dim:at+o.x[3]])
				for i := range half {
					c, s := cos[angle+i*o.table[2]], sin[angle+i*o.table[2]]
					u, v := src[at+i*step], src[at+i*step+first]
					y[at+i*step] = c*u - s*v
					y[at+i*step+first] = s*u + c*v
				}
			}
		}
	})
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
	batch := in[0].shape[0]
	first := make([]int64, batch)
	if len(in) > 2 && in[2] != nil {
		var err error
		if first, err = in[2].ints(); err != nil {
			return err
		}
	}
	one := []int{1}
	out[0].buf.move(x.threads, kernel.NewWalk([]int{out[0].size()}, one, one), 0, in[0].buf, 0)
	rows, n, inner := product(in[0].shape[:o.at]), in[0].shape[o.at], product(in[0].shape[o.at+1:])
	k := in[1].shape[o.at]
	walk := kernel.NewWalk([]int{inner}, one, one)
	for r := range rows {
		base := first[r/(rows/batch)]
		for i := range k {
			p := base + int64(i)
			if o.circular && n > 0 {
				p %= int64(n)
			}
			if p < 0 || p >= int64(n) {
				return fmt.Errorf("position %d is outside a cache of %d", p, n)
			}
			out[0].buf.move(1, walk, (r*n+int(p))*inner, in[1].buf, (r*k+i)*inner)
		}
	}
	return nil
}
