package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	register(microsoft, "Attention", 2, 7, packedAttention)
	register(microsoft, "MultiHeadAttention", 1, 10, multiHeadAttention)
	register(microsoft, "EmbedLayerNormalization", 1, 9, embedLayerNorm)
}

// maskedScore is what ONNX Runtime adds to masked scores by default.
const maskedScore = -10000

// packedAttention is the fused attention block: one projection for queries, keys and values, and attention on them.
func packedAttention(c *compiler, s *step, in []*value) ([]*value, error) {
	x, weights := in[0], in[1]
	heads := int(s.int("num_heads", 0))
	if s.flag("do_rotary", false) || s.flag("past_present_share_buffer", false) || operand(in, 6) != nil {
		return nil, errors.New("do_rotary and shared cache buffers are not supported")
	}
	if x.rank() != 3 || weights.rank() != 2 || heads <= 0 {
		return nil, fmt.Errorf("input of shape %v, weights of shape %v and %d heads", x.shape, weights.shape, heads)
	}
	sizes := toInts(s.ints("qkv_hidden_sizes"))
	if len(sizes) == 0 {
		n := weights.shape[1] / 3
		sizes = []int{n, n, n}
	}
	if len(sizes) != 3 || sizes[0]+sizes[1]+sizes[2] != weights.shape[1] {
		return nil, fmt.Errorf("sizes %v of weights of shape %v", sizes, weights.shape)
	}
	qkv, err := c.one(s.label, &matmulOp{alpha: 1}, x, weights)
	if err != nil {
		return nil, err
	}
	if b := operand(in, 2); b != nil {
		if qkv, err = c.one(s.label, &binaryOp{op: kernel.Add}, qkv, b); err != nil {
			return nil, err
		}
	}
	op := &attentionOp{heads: heads, kvHeads: heads, scale: s.float("scale", 0), causal: s.flag("unidirectional", false), left: -1, right: -1}
	if operand(in, 4) == nil && !s.wants(1) && sizes[0] == sizes[1] && sizes[1] == sizes[2] {
		op.packed = byKind
		bias, err := c.scoreBias(s, operand(in, 3), operand(in, 5), x, x.shape[1], 0)
		if err != nil {
			return nil, err
		}
		y, err := c.one(s.label, op, qkv, nil, nil, bias)
		return []*value{y}, err
	}
	var part [3]*value
	at := 0
	for i, n := range sizes {
		if n < 0 {
			return nil, fmt.Errorf("sizes %v", sizes)
		}
		if part[i], err = c.cut(s.label, qkv, 2, at, n); err != nil {
			return nil, err
		}
		at += n
	}
	k, v, err := c.splitHeads(s, part[1], heads, part[2])
	if err != nil {
		return nil, err
	}
	past := 0
	if p := operand(in, 4); p != nil {
		if p.rank() != 5 || p.shape[0] != 2 {
			return nil, fmt.Errorf("past of shape %v", p.shape)
		}
		past = p.shape[3]
		pair := [2]*value{k, v}
		for i := range pair {
			old, err := c.cut(s.label, p, 0, i, 1)
			if err != nil {
				return nil, err
			}
			if old, err = c.reshape(s.label, old, p.shape[1:]); err != nil {
				return nil, err
			}
			if pair[i], err = c.one(s.label, &concatOp{axis: 2}, old, pair[i]); err != nil {
				return nil, err
			}
		}
		k, v = pair[0], pair[1]
	}
	op.offsets = slices.Repeat([]int{past}, x.shape[0])
	bias, err := c.scoreBias(s, operand(in, 3), operand(in, 5), x, k.shape[2], past)
	if err != nil {
		return nil, err
	}
	y, err := c.one(s.label, op, part[0], k, v, bias)
	if err != nil || !s.wants(1) {
		return []*value{y}, err
	}
	present, err := c.stack(s, k, v)
	return []*value{y, present}, err
}

// stack joins keys and values along a new first dimension.
func (c *compiler) stack(s *step, k, v *value) (*value, error) {
	pair := []*value{k, v}
	for i, t := range pair {
		var err error
		if pair[i], err = c.reshape(s.label, t, append([]int{1}, t.shape...)); err != nil {
			return nil, err
		}
	}
	return c.one(s.label, &concatOp{axis: 0}, pair...)
}

// scoreBias is the sum of a mask and a bias of the scores, both optional.
func (c *compiler) scoreBias(s *step, mask, bias, x *value, keys, past int) (*value, error) {
	mask, err := c.keyMask(s, mask, x, keys, past)
	if err != nil {
		return nil, err
	}
	if mask == nil || bias == nil {
		if mask == nil {
			mask = bias
		}
		return mask, nil
	}
	return c.one(s.label, &binaryOp{op: kernel.Add}, mask, bias)
}

// keyMask turns ONNX Runtime's forms of a mask into a bias for scores [batch, heads, queries, keys]: valid lengths [batch], end and
// start positions [2*batch], per key [batch, keys], per query and key [batch, queries, keys], or a square of the longest sequence
// [batch, 1, max, max].
func (c *compiler) keyMask(s *step, mask, x *value, keys, past int) (*value, error) {
	if mask == nil {
		return nil, nil
	}
	batch, queries := x.shape[0], x.shape[1]
	var err error
	switch {
	case mask.rank() == 1 && (mask.shape[0] == batch || mask.shape[0] == 2*batch):
		ramp := make(buf[int64], keys)
		for i := range ramp {
			ramp[i] = int64(i)
		}
		at, err := c.one(s.label, castOp{mask.dt}, c.fixed(&tensor{spec{onnxio.Int64, []int{1, keys}}, ramp}))
		if err != nil {
			return nil, err
		}
		bound := func(from int, op kernel.CompareOp) (*value, error) {
			b, err := c.cut(s.label, mask, 0, from, batch)
			if err != nil {
				return nil, err
			}
			if b, err = c.reshape(s.label, b, []int{batch, 1}); err != nil {
				return nil, err
			}
			return c.one(s.label, &compareOp{op: op}, at, b)
		}
		valid, err := bound(0, kernel.Less)
		if err != nil {
			return nil, err
		}
		if mask.shape[0] == 2*batch {
			after, err := bound(batch, kernel.GreaterEqual)
			if err != nil {
				return nil, err
			}
			if valid, err = c.one(s.label, &logicOp{op: kernel.And}, valid, after); err != nil {
				return nil, err
			}
		}
		if mask, err = c.reshape(s.label, valid, []int{batch, 1, 1, keys}); err != nil {
			return nil, err
		}
	case slices.Equal(mask.shape, []int{batch, keys}):
		mask, err = c.reshape(s.label, mask, []int{batch, 1, 1, keys})
	case slices.Equal(mask.shape, []int{batch, queries, keys}):
		mask, err = c.reshape(s.label, mask, []int{batch, 1, queries, keys})
	case mask.rank() == 4 && mask.shape[2] >= past+queries && mask.shape[3] >= keys:
		if mask, err = c.cut(s.label, mask, 2, past, queries); err == nil {
			mask, err = c.cut(s.label, mask, 3, 0, keys)
		}
	default:
		return nil, fmt.Errorf("a mask of shape %v for %d sequences of %d queries and %d keys", mask.shape, batch, queries, keys)
	}
	if err != nil {
		return nil, err
	}
	return c.maskBias(s, mask, x.dt, s.float("mask_filter_value", maskedScore))
}

// multiHeadAttention takes queries, keys and values that have been projected but for the bias, apart or packed.
func multiHeadAttention(c *compiler, s *step, in []*value) ([]*value, error) {
	heads := int(s.int("num_heads", 0))
	if heads <= 0 {
		return nil, errors.New("num_heads is missing")
	}
	if operand(in, 8) != nil || operand(in, 9) != nil {
		return nil, errors.New("shared cache buffers are not supported")
	}
	if in[0].rank() == 5 && operand(in, 6) == nil && !s.wants(1) && !s.wants(2) {
		return packedHeads(c, s, in, heads)
	}
	qkv := [3]*value{in[0], operand(in, 1), operand(in, 2)}
	if err := c.unpack(s, &qkv, heads); err != nil {
		return nil, err
	}
	var err error
	if b := operand(in, 3); b != nil {
		at := 0
		for i, t := range qkv {
			n := heads * t.shape[t.rank()-1]
			if t.rank() == 3 {
				n = t.shape[2]
			} else if i > 0 && operand(in, 2) != nil && in[2].rank() == 4 {
				continue // keys and values of cross-attention come with their bias
			}
			if b.rank() != 1 || at+n > b.shape[0] {
				return nil, fmt.Errorf("a bias of shape %v", b.shape)
			}
			part, err := c.cut(s.label, b, 0, at, n)
			if err != nil {
				return nil, err
			}
			if qkv[i], err = c.one(s.label, &binaryOp{op: kernel.Add}, t, part); err != nil {
				return nil, err
			}
			at += n
		}
	}
	q := qkv[0]
	k, v, past, err := c.cached(s, qkv[1], qkv[2], heads, operand(in, 6), operand(in, 7), s.wants(1) || s.wants(2))
	if err != nil {
		return nil, err
	}
	bias, err := c.scoreBias(s, operand(in, 4), operand(in, 5), q, k.shape[k.rank()-2], past)
	if err != nil {
		return nil, err
	}
	op := &attentionOp{heads: heads, kvHeads: heads, scale: s.float("scale", 0), causal: s.flag("unidirectional", false), left: -1, right: -1,
		offsets: slices.Repeat([]int{past}, q.shape[0]), scores: s.wants(3), tap: kernel.TapBiased}
	out, err := c.apply(s.label, op, q, k, v, bias)
	if err != nil {
		return nil, err
	}
	return append([]*value{out[0], k, v}, out[2:]...), nil
}

// packedHeads is multiHeadAttention of one operand [batch, length, heads, 3, size], which stays as it is.
func packedHeads(c *compiler, s *step, in []*value, heads int) ([]*value, error) {
	x := in[0]
	if x.shape[2] != heads || x.shape[3] != 3 || operand(in, 1) != nil || operand(in, 2) != nil {
		return nil, fmt.Errorf("packed operand of shape %v", x.shape)
	}
	size := x.shape[4]
	var err error
	if b := operand(in, 3); b != nil {
		if b.rank() != 1 || b.shape[0] < 3*heads*size {
			return nil, fmt.Errorf("a bias of shape %v", b.shape)
		}
		// The bias is by kind, then by head.
		if b, err = c.cut(s.label, b, 0, 0, 3*heads*size); err != nil {
			return nil, err
		}
		if b, err = c.reshape(s.label, b, []int{3, heads, size}); err != nil {
			return nil, err
		}
		if b, err = c.transpose(s.label, b, 1, 0, 2); err != nil {
			return nil, err
		}
		if x, err = c.one(s.label, &binaryOp{op: kernel.Add}, x, b); err != nil {
			return nil, err
		}
	}
	if x, err = c.reshape(s.label, x, []int{x.shape[0], x.shape[1], 3 * heads * size}); err != nil {
		return nil, err
	}
	bias, err := c.scoreBias(s, operand(in, 4), operand(in, 5), x, x.shape[1], 0)
	if err != nil {
		return nil, err
	}
	op := &attentionOp{heads: heads, kvHeads: heads, packed: byHead, scale: s.float("scale", 0), causal: s.flag("unidirectional", false), left: -1, right: -1,
		scores: s.wants(3), tap: kernel.TapBiased}
	out, err := c.apply(s.label, op, x, nil, nil, bias)
	if err != nil {
		return nil, err
	}
	return append([]*value{out[0], nil, nil}, out[2:]...), nil
}

// unpack cuts queries, keys and values out of packed operands [batch, length, heads, 3 or 2, size].
func (c *compiler) unpack(s *step, qkv *[3]*value, heads int) error {
	take := func(t *value, i int) (*value, error) {
		part, err := c.cut(s.label, t, 3, i, 1)
		if err != nil {
			return nil, err
		}
		return c.reshape(s.label, part, []int{t.shape[0], t.shape[1], heads * t.shape[4]})
	}
	from, first := qkv[0], 0
	if qkv[1] != nil && qkv[1].rank() == 5 {
		from, first = qkv[1], 1
	}
	if from.rank() == 5 {
		if from.shape[2] != heads || from.shape[3] != 3-first {
			return fmt.Errorf("packed operand of shape %v", from.shape)
		}
		for i := first; i < 3; i++ {
			var err error
			if qkv[i], err = take(from, i-first); err != nil {
				return err
			}
		}
	}
	if qkv[1] == nil || qkv[2] == nil {
		return errors.New("keys or values are missing")
	}
	if r := [2]int{qkv[1].rank(), qkv[2].rank()}; qkv[0].rank() != 3 || r != [2]int{3, 3} && r != [2]int{4, 4} {
		return fmt.Errorf("queries %v, keys %v and values %v", qkv[0].shape, qkv[1].shape, qkv[2].shape)
	}
	return nil
}

// embedLayerNorm adds up to three embeddings and normalises the sum. Output 1 counts the unmasked tokens, output 2 is the sum.
func embedLayerNorm(c *compiler, s *step, in []*value) ([]*value, error) {
	if len(in) < 7 {
		return nil, fmt.Errorf("%d operands", len(in))
	}
	ids, segments := in[0], in[1]
	words, pos, segs := in[2], in[3], in[4]
	if ids.rank() != 2 || words == nil || pos == nil || in[5] == nil || in[6] == nil {
		return nil, fmt.Errorf("ids of shape %v, or an operand is missing", ids.shape)
	}
	sum, err := c.one(s.label, &gatherOp{}, words, ids)
	if err != nil {
		return nil, err
	}
	var extra *value
	if p := operand(in, 8); p != nil {
		extra, err = c.one(s.label, &gatherOp{}, pos, p)
	} else if ids.shape[1] > pos.shape[0] {
		err = fmt.Errorf("%d positions for a sequence of %d", pos.shape[0], ids.shape[1])
	} else {
		extra, err = c.cut(s.label, pos, 0, 0, ids.shape[1])
	}
	if err != nil {
		return nil, err
	}
	if sum, err = c.one(s.label, &binaryOp{op: kernel.Add}, sum, extra); err != nil {
		return nil, err
	}
	if segs != nil && segments != nil {
		if extra, err = c.one(s.label, &gatherOp{}, segs, segments); err != nil {
			return nil, err
		}
		if sum, err = c.one(s.label, &binaryOp{op: kernel.Add}, sum, extra); err != nil {
			return nil, err
		}
	}
	norm, err := c.one(s.label, &layerNormOp{axis: -1, eps: s.float("epsilon", 1e-12)}, sum, in[5], in[6])
	if err != nil {
		return nil, err
	}
	out := []*value{norm, nil, sum}
	if s.wants(1) {
		if m := operand(in, 7); m != nil {
			if m.rank() != 2 {
				return nil, fmt.Errorf("a mask of shape %v", m.shape)
			}
			out[1], err = c.one(s.label, &reduceOp{op: kernel.ReduceSum, first: 1, last: 1}, m)
		} else {
			out[1] = c.fixed(&tensor{spec{onnxio.Int32, []int{ids.shape[0]}}, make(buf[int32], ids.shape[0])})
		}
	}
	return out, err
}
