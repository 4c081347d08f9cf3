package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	register("", "Attention", 3, 7, attentionNode)
}

// attentionOp is scaled dot-product attention: y = softmax(scale * q kT + bias) v for every head, with memory linear in the length
// (but for the scores, where they are read).
//
// Operands: queries, keys, values and an additive bias (optional). Each of the first three is [batch, heads, length, size] or
// [batch, length, heads*size], whatever the others are; keys are not transposed. A tensor [batch, length, heads, size] is the
// second form with a view. The bias is of a shape that broadcasts to [batch, heads, queries, keys]; -Inf hides a key, and a query that sees
// no key gives zeros (with undefined set, NaN). With packed set, operand 0 holds all three and 1 and 2 are nil.
//
// Outputs: y; statistics of the softmax that the gradient needs, [batch, heads, queries, 2]; with scores set, the scores at
// the stage tap, [batch, heads, queries, keys], through which there is no gradient.
type attentionOp struct {
	// heads and kvHeads are needed for operands of the second form; consecutive heads/kvHeads heads of queries share one of keys.
	heads, kvHeads int
	packed         packing
	layout         headLayout // of y
	scale          float64    // 0: one over the root of the head size
	softcap        float64    // above 0: scores s become softcap * tanh(s / softcap), before the bias
	scores         bool
	tap            kernel.Stage
	// hidden is the score of keys that a query does not see (with replacesBias set, of those whose bias is -Inf), which have none
	// but if replaces or replacesBias is set.
	hidden                 float64
	replaces, replacesBias bool

	undefined bool // a query that sees no key gives NaN, as a softmax over nothing does
	causal    bool // query i sees keys up to i, counted from its sequence's offset
	// left and right bound how far a query sees to either side of itself, -1: no bound.
	left, right int
	// offsets is the position of the first query among the keys, per batch entry; nil: 0.
	offsets []int
	// lengths is the number of valid keys per batch entry; nil: all.
	lengths []int

	p kernel.AttentionParams
	// at is where the queries, keys and values begin in their operands: 0 if they are not packed.
	at [3]int
}

// packing says how one operand holds queries, keys and values.
type packing int

const (
	apart packing = iota
	// byKind is [batch, length, (heads + 2*kvHeads)*size]: all heads of queries, then of keys, then of values.
	byKind
	// byHead is [batch, length, heads*3*size]: each head's query, key and value together.
	byHead
)

// headLayout is a form of a tensor with heads.
type headLayout int

const (
	asQueries  headLayout = iota // as operand 0; headsLast if that is packed
	headsFirst                   // [batch, heads, length, size]
	headsLast                    // [batch, length, heads*size]
)

func (*attentionOp) heavy() {}

// headDims reads an operand's batch, heads, length and head size, and its strides for batch, head and position.
func headDims(v *value, heads int) (dims [4]int, strides [3]int, err error) {
	switch v.rank() {
	case 4:
		copy(dims[:], v.shape)
		n := dims[2] * dims[3]
		return dims, [3]int{dims[1] * n, n, dims[3]}, nil
	case 3:
		if heads <= 0 || v.shape[2]%heads != 0 {
			return dims, strides, fmt.Errorf("%d heads for shape %v", heads, v.shape)
		}
		size := v.shape[2] / heads
		return [4]int{v.shape[0], heads, v.shape[1], size}, [3]int{v.shape[1] * v.shape[2], size, v.shape[2]}, nil
	}
	return dims, strides, fmt.Errorf("operand of shape %v", v.shape)
}

func (o *attentionOp) infer(in []*value) ([]spec, error) {
	if !isFloat(in[0].dt) {
		return nil, fmt.Errorf("operand of type %v", in[0].dt)
	}
	if err := o.place(in); err != nil {
		return nil, err
	}
	p := &o.p
	for _, l := range [][]int{o.offsets, o.lengths} {
		if l != nil && len(l) != p.Batch {
			return nil, fmt.Errorf("%d lengths for %d sequences", len(l), p.Batch)
		}
	}
	p.Scale, p.Softcap, p.Tap, p.Undefined = o.scale, o.softcap, o.tap, o.undefined
	p.Replaces, p.ReplacesBias, p.Hidden = o.replaces, o.replacesBias, o.hidden
	if o.scale == 0 {
		p.Scale = 1 / math.Sqrt(float64(p.HeadSize))
	}
	scores := []int{p.Batch, p.Heads, p.Queries, p.Keys}
	if b := operand(in, 3); b != nil {
		if s, err := broadcast(b.shape, scores); err != nil || !slices.Equal(s, scores) {
			return nil, fmt.Errorf("a bias of shape %v for scores of shape %v", b.shape, scores)
		}
		copy(p.Bias[:], kernel.BroadcastStrides(b.shape, scores))
	}
	if o.causal || o.left >= 0 || o.right >= 0 || o.lengths != nil {
		p.Visible = o.visible
	}
	n := p.Queries * p.ValueSize
	y := []int{p.Batch, p.Heads, p.Queries, p.ValueSize}
	p.Y = [3]int{p.Heads * n, n, p.ValueSize}
	if o.layout == headsLast || o.layout == asQueries && in[0].rank() == 3 {
		y = []int{p.Batch, p.Queries, p.Heads * p.ValueSize}
		p.Y = [3]int{p.Heads * n, p.ValueSize, p.Heads * p.ValueSize}
	}
	out := []spec{in[0].with(y), in[0].with([]int{p.Batch, p.Heads, p.Queries, 2})}
	if o.scores {
		out = append(out, in[0].with(scores))
	}
	return out, nil
}

// place finds the sizes, and the places of queries, keys and values in the operands.
func (o *attentionOp) place(in []*value) error {
	if o.packed != apart {
		return o.placePacked(in)
	}
	if in[1] == nil || in[2] == nil {
		return errors.New("keys or values are missing")
	}
	q, qs, err := headDims(in[0], o.heads)
	if err != nil {
		return err
	}
	k, ks, err := headDims(in[1], o.kvHeads)
	if err != nil {
		return err
	}
	v, vs, err := headDims(in[2], o.kvHeads)
	if err != nil {
		return err
	}
	if q[0] != k[0] || k[0] != v[0] || k[1] != v[1] || k[1] == 0 || q[1]%k[1] != 0 || k[2] != v[2] || q[3] != k[3] {
		return fmt.Errorf("queries %v, keys %v and values %v do not fit", in[0].shape, in[1].shape, in[2].shape)
	}
	o.p = kernel.AttentionParams{Batch: q[0], Heads: q[1], KVHeads: k[1], Queries: q[2], Keys: k[2], HeadSize: q[3], ValueSize: v[3],
		Q: qs, K: ks, V: vs}
	return nil
}

func (o *attentionOp) placePacked(in []*value) error {
	v, n := in[0], o.heads+2*o.kvHeads
	if operand(in, 1) != nil || operand(in, 2) != nil {
		return errors.New("keys or values beside a packed operand")
	}
	if v.rank() != 3 || o.heads <= 0 || o.kvHeads <= 0 || o.heads%o.kvHeads != 0 || v.shape[2]%n != 0 || o.packed == byHead && o.heads != o.kvHeads {
		return fmt.Errorf("%d heads and %d heads of keys packed in shape %v", o.heads, o.kvHeads, v.shape)
	}
	length, size := v.shape[1], v.shape[2]/n
	s := [3]int{length * v.shape[2], size, v.shape[2]}
	o.at = [3]int{0, o.heads * size, (o.heads + o.kvHeads) * size}
	if o.packed == byHead {
		s[1], o.at = 3*size, [3]int{0, size, 2 * size}
	}
	o.p = kernel.AttentionParams{Batch: v.shape[0], Heads: o.heads, KVHeads: o.kvHeads, Queries: length, Keys: length, HeadSize: size, ValueSize: size,
		Q: s, K: s, V: s}
	return nil
}

// visible is the range of keys that query i of sequence b sees.
func (o *attentionOp) visible(b, i int) (lo, hi int) {
	hi = o.p.Keys
	if o.lengths != nil {
		hi = min(hi, o.lengths[b])
	}
	at := i
	if o.offsets != nil {
		at += o.offsets[b]
	}
	if o.causal {
		hi = min(hi, at+1)
	}
	if o.right >= 0 {
		hi = min(hi, at+o.right+1)
	}
	if o.left >= 0 {
		lo = at - o.left
	}
	return lo, hi
}

func (o *attentionOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		return attend(x, o, d, in, out)
	case buf[float64]:
		return attend(x, o, d, in, out)
	}
	return errType(in[0])
}

func attend[T kernel.Float](x *exec, o *attentionOp, y []T, in, out []*tensor) error {
	p, err := readAttention[T](o, in)
	if err != nil {
		return err
	}
	var stats []T
	if out[1] != nil {
		stats = out[1].buf.(buf[T])
	}
	kernel.Attention(x.threads, &o.p, y, p.q, p.k, p.v, p.bias, stats)
	if o.scores && out[2] != nil {
		kernel.AttentionScores(x.threads, &o.p, out[2].buf.(buf[T]), p.q, p.k, p.bias)
	}
	return nil
}

// attentionOperands are the operands of a call, each from its first element.
type attentionOperands[T kernel.Float] struct{ q, k, v, bias []T }

func readAttention[T kernel.Float](o *attentionOp, in []*tensor) (p attentionOperands[T], err error) {
	for i, to := range []*[]T{&p.q, &p.k, &p.v, &p.bias} {
		from := i
		if i < 3 && o.packed != apart {
			from = 0
		}
		if from >= len(in) || in[from] == nil {
			continue
		}
		if *to, err = floatsOf[T](in[from]); err != nil {
			return p, err
		}
		if i < 3 {
			*to = (*to)[o.at[i]:]
		}
	}
	return p, nil
}

// attentionNode is ai.onnx Attention: optional mask, cache of keys and values, grouped heads.
func attentionNode(c *compiler, s *step, in []*value) ([]*value, error) {
	q, k, v := in[0], in[1], in[2]
	op := &attentionOp{heads: int(s.int("q_num_heads", 0)), kvHeads: int(s.int("kv_num_heads", 0)), scale: s.float("scale", 0),
		softcap: s.float("softcap", 0), scores: s.wants(3), tap: kernel.Stage(s.int("qk_matmul_output_mode", 0)), causal: s.flag("is_causal", false),
		left: int(s.int("left_window_size", -1)), right: int(s.int("right_window_size", -1))}
	if op.tap > kernel.TapWeights || op.tap < 0 {
		return nil, fmt.Errorf("qk_matmul_output_mode %d", op.tap)
	}
	if q.rank() == 3 && (op.heads <= 0 || op.kvHeads <= 0) {
		return nil, errors.New("q_num_heads and kv_num_heads are needed for operands of rank 3")
	}
	for _, t := range []*value{q, k, v} {
		if t.rank() != q.rank() || t.rank() != 3 && t.rank() != 4 {
			return nil, fmt.Errorf("queries %v, keys %v and values %v do not fit", q.shape, k.shape, v.shape)
		}
	}
	pastK, pastV := operand(in, 4), operand(in, 5)
	k, v, past, err := c.cached(s, k, v, op.kvHeads, pastK, pastV, s.wants(1) || s.wants(2))
	if err != nil {
		return nil, err
	}
	keys := k.shape[k.rank()-2]
	batch := q.shape[0]
	op.offsets = slices.Repeat([]int{past}, batch)
	if n := operand(in, 6); n != nil {
		lengths, err := n.ints()
		if err != nil {
			return nil, err
		}
		op.lengths = toInts(lengths)
		if pastK == nil {
			queries := q.shape[q.rank()-2]
			op.offsets = nil
			for _, l := range op.lengths {
				op.offsets = append(op.offsets, l-queries)
			}
		}
	}
	bias := operand(in, 3)
	if bias != nil {
		if bias, err = c.maskBias(s, bias, q.dt, math.Inf(-1)); err != nil {
			return nil, err
		}
		if bias.rank() == 0 {
			return nil, errors.New("a mask of rank 0")
		}
		if missing := keys - bias.shape[bias.rank()-1]; missing > 0 && bias.shape[bias.rank()-1] != 1 {
			hi := make([]int, bias.rank())
			hi[bias.rank()-1] = missing
			inf, err := c.number(bias.dt, math.Inf(-1))
			if err != nil {
				return nil, err
			}
			if bias, err = c.one(s.label, &padOp{mode: "constant", lo: make([]int, bias.rank()), hi: hi}, bias, inf); err != nil {
				return nil, err
			}
		}
	}
	out, err := c.apply(s.label, op, q, k, v, bias)
	if err != nil {
		return nil, err
	}
	return append([]*value{out[0], k, v}, out[2:]...), nil
}

// cached puts keys and values behind those of a cache, if there is one, and into a cache's form if that or the result is wanted. It gives
// the length of the cache as well.
func (c *compiler) cached(s *step, k, v *value, heads int, pastK, pastV *value, wanted bool) (newK, newV *value, past int, err error) {
	used := pastK != nil && pastV != nil
	if used || wanted {
		if k, v, err = c.splitHeads(s, k, heads, v); err != nil {
			return nil, nil, 0, err
		}
	}
	if !used {
		return k, v, 0, nil
	}
	if pastK.rank() != 4 {
		return nil, nil, 0, fmt.Errorf("past of shape %v", pastK.shape)
	}
	if k, err = c.one(s.label, &concatOp{axis: 2}, pastK, k); err != nil {
		return nil, nil, 0, err
	}
	v, err = c.one(s.label, &concatOp{axis: 2}, pastV, v)
	return k, v, pastK.shape[2], err
}

// splitHeads brings keys and values of rank 3 into the form [batch, heads, length, size] of a cache; those of rank 4 have it.
func (c *compiler) splitHeads(s *step, k *value, heads int, v *value) (*value, *value, error) {
	pair := [2]*value{k, v}
	for i, t := range pair {
		if t.rank() == 4 {
			continue
		}
		if t.rank() != 3 {
			return nil, nil, fmt.Errorf("keys or values of shape %v", t.shape)
		}
		if heads <= 0 || t.shape[2]%heads != 0 {
			return nil, nil, fmt.Errorf("%d heads for shape %v", heads, t.shape)
		}
		r, err := c.reshape(s.label, t, []int{t.shape[0], t.shape[1], heads, t.shape[2] / heads})
		if err != nil {
			return nil, nil, err
		}
		if pair[i], err = c.transpose(s.label, r, 0, 2, 1, 3); err != nil {
			return nil, nil, err
		}
	}
	return pair[0], pair[1], nil
}

// maskBias turns a mask of bools or integers (0: masked) into numbers to add to the scores. Floating masks are that already.
func (c *compiler) maskBias(s *step, mask *value, dt onnxio.DType, masked float64) (*value, error) {
	if isFloat(mask.dt) {
		return mask, nil
	}
	var err error
	if mask.dt != onnxio.Bool {
		zero, err := c.number(mask.dt, 0)
		if err != nil {
			return nil, err
		}
		if mask, err = c.one(s.label, &compareOp{op: kernel.Greater}, mask, zero); err != nil {
			return nil, err
		}
	}
	open, err := c.number(dt, 0)
	if err != nil {
		return nil, err
	}
	shut, err := c.number(dt, masked)
	if err != nil {
		return nil, err
	}
	return c.one(s.label, &whereOp{}, mask, open, shut)
}
