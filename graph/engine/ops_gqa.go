package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	register(microsoft, "GroupQueryAttention", 1, 17, groupQueryAttention)
}

// groupQueryAttention is causal attention with grouped heads, rotation and a cache. The lengths of the sequences must be known.
func groupQueryAttention(c *compiler, s *step, in []*value) ([]*value, error) {
	heads, kv := int(s.int("num_heads", 0)), int(s.int("kv_num_heads", 0))
	for _, name := range []string{"smooth_softmax", "sliding_window_cache", "kv_cache_bit_width", "qk_output"} {
		if s.int(name, 0) > 0 {
			return nil, fmt.Errorf("%s is not supported", name)
		}
	}
	for i := 11; i < len(in); i++ {
		if in[i] != nil {
			return nil, fmt.Errorf("operand %d is not supported", i)
		}
	}
	if len(in) < 7 || in[5] == nil || in[6] == nil {
		return nil, errors.New("seqlens_k or total_sequence_length is missing")
	}
	q, k, v := in[0], in[1], in[2]
	if heads <= 0 || kv <= 0 || q.rank() != 3 {
		return nil, fmt.Errorf("%d heads, %d heads of keys, queries of shape %v", heads, kv, q.shape)
	}
	for _, t := range []*value{k, v} {
		if t != nil && t.rank() != 3 {
			return nil, fmt.Errorf("keys or values of shape %v", t.shape)
		}
	}
	packed := k == nil && v == nil
	if !packed && (k == nil || v == nil) {
		return nil, errors.New("keys or values are missing")
	}
	lens, err := in[5].ints()
	if err != nil {
		return nil, err
	}
	total, err := in[6].ints()
	if err != nil {
		return nil, err
	}
	batch, queries := q.shape[0], q.shape[1]
	if len(lens) != batch || len(total) != 1 || total[0] < 0 {
		return nil, fmt.Errorf("%d lengths for %d sequences", len(lens), batch)
	}
	op := &attentionOp{heads: heads, kvHeads: kv, scale: s.float("scale", 0), softcap: s.float("softcap", 0), causal: s.flag("causal", true), left: -1, right: -1}
	if w := s.int("local_window_size", -1); w > 0 {
		op.left = int(w) - 1
	}
	past := make([]int64, batch)
	for b, l := range lens {
		op.lengths = append(op.lengths, int(l)+1)
		if total[0] != int64(queries) { // else this is the first step, and what is short is padded on the right
			past[b] = max(0, l+1-int64(queries))
		}
		op.offsets = append(op.offsets, int(past[b]))
	}
	if q, k, err = c.rotateGrouped(s, in, q, k, past, int(total[0]), heads, kv); err != nil {
		return nil, err
	}
	bias := operand(in, 10)
	empty := func(past *value) bool { return past == nil || past.size() == 0 }
	cached := !empty(operand(in, 3)) || !empty(operand(in, 4)) || s.wants(1) || s.wants(2)
	if packed && (cached || int(total[0]) != queries) {
		packed = false
		if q, k, v, err = c.unpackGrouped(s, q, heads, kv); err != nil {
			return nil, err
		}
	}
	if packed {
		op.packed = byKind
	}
	if !cached && (packed || int(total[0]) == k.shape[1]) {
		y, err := c.one(s.label, op, q, k, v, bias)
		return []*value{y}, err
	}
	if k, v, err = c.splitHeads(s, k, kv, v); err != nil {
		return nil, err
	}
	where := c.fixed(int64s([]int{batch}, past...))
	if k, err = c.appendCache(s, operand(in, 3), k, where, int(total[0])); err != nil {
		return nil, err
	}
	if v, err = c.appendCache(s, operand(in, 4), v, where, int(total[0])); err != nil {
		return nil, err
	}
	if bias != nil && bias.rank() == 4 && bias.shape[3] < k.shape[2] {
		// Keys past the total are out of sight; their bias is never read.
		zero, err := c.number(bias.dt, 0)
		if err != nil {
			return nil, err
		}
		if bias, err = c.one(s.label, &padOp{mode: "constant", lo: make([]int, 4), hi: []int{0, 0, 0, k.shape[2] - bias.shape[3]}}, bias, zero); err != nil {
			return nil, err
		}
	}
	y, err := c.one(s.label, op, q, k, v, bias)
	return []*value{y, k, v}, err
}

// rotateGrouped rotates queries and keys, which may be one packed operand, where the node asks for it.
func (c *compiler) rotateGrouped(s *step, in []*value, q, k *value, past []int64, total, heads, kv int) (newQ, newK *value, err error) {
	if !s.flag("do_rotary", false) {
		return q, k, nil
	}
	batch, queries := q.shape[0], q.shape[1]
	positions := operand(in, 9)
	if positions == nil {
		at := make(buf[int64], batch*queries)
		for i := range at {
			at[i] = past[i/queries] + int64(i%queries)
		}
		positions = c.fixed(&tensor{spec{onnxio.Int64, []int{batch, queries}}, at})
	}
	if total == queries && positions.size() > 1 && operand(in, 9) != nil {
		// By the operator's definition, the first step uses only the first position and counts on from it.
		flat, err := c.reshape(s.label, positions, []int{positions.size()})
		if err != nil {
			return nil, nil, err
		}
		if positions, err = c.cut(s.label, flat, 0, 0, 1); err != nil {
			return nil, nil, err
		}
	}
	cos, sin := operand(in, 7), operand(in, 8)
	if cos == nil || sin == nil || cos.rank() == 0 {
		return nil, nil, errors.New("do_rotary without angles")
	}
	dim, inter := 2*cos.shape[cos.rank()-1], s.flag("rotary_interleaved", false)
	if k == nil {
		q, err = c.rotate(s, q, positions, cos, sin, heads+kv, kv, dim, inter)
		return q, nil, err
	}
	if q, err = c.rotate(s, q, positions, cos, sin, heads, 0, dim, inter); err != nil {
		return nil, nil, err
	}
	k, err = c.rotate(s, k, positions, cos, sin, kv, 0, dim, inter)
	return q, k, err
}

// unpackGrouped cuts queries, keys and values out of one operand.
func (c *compiler) unpackGrouped(s *step, packed *value, heads, kv int) (q, k, v *value, err error) {
	size, at := packed.shape[2]/(heads+2*kv), 0
	for _, part := range []struct {
		to **value
		n  int
	}{{&q, heads}, {&k, kv}, {&v, kv}} {
		if *part.to, err = c.cut(s.label, packed, 2, at, part.n*size); err != nil {
			return nil, nil, nil, err
		}
		at += part.n * size
	}
	return q, k, v, nil
}

// appendCache writes new keys or values [batch, heads, length, size] behind each sequence's old ones, in a cache of at least total.
func (c *compiler) appendCache(s *step, past, t, where *value, total int) (*value, error) {
	if past == nil || past.size() == 0 {
		if total == t.shape[2] {
			return t, nil
		}
		zero, err := c.number(t.dt, 0)
		if err != nil {
			return nil, err
		}
		shape := slices.Clone(t.shape)
		shape[2] = max(total, shape[2])
		if past, err = c.one(s.label, &expandOp{shape: shape}, zero); err != nil {
			return nil, err
		}
	}
	if past.rank() != 4 {
		return nil, fmt.Errorf("past of shape %v", past.shape)
	}
	if past.shape[2] < total {
		zero, err := c.number(t.dt, 0)
		if err != nil {
			return nil, err
		}
		if past, err = c.one(s.label, &padOp{mode: "constant", lo: make([]int, 4), hi: []int{0, 0, total - past.shape[2], 0}}, past, zero); err != nil {
			return nil, err
		}
	}
	return c.one(s.label, &tensorScatterOp{axis: 2}, past, t, where)
}
