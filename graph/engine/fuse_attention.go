package engine

import (
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// fuseAttention finds softmax(scale * q kT + masks) v, from the product with the values upwards. Heads are split off and scales
// applied anywhere; scores that something else reads are left alone, and so is whatever lies between scores and weights and is no
// mask.
func fuseAttention(f *fuser, k *call) (*value, error) {
	m, ok := k.op.(*matmulOp)
	if !ok || m.alpha != 1 || m.transA || m.total {
		return nil, nil
	}
	s := &scores{scale: 1}
	w := f.weights(s, k.in[0])
	if w == nil || !s.peel(f, w, 10) {
		return nil, nil
	}
	p := s.product.from
	qk := p.op.(*matmulOp)
	if qk.transA || qk.total || !s.sizes(k.out[0]) {
		return nil, nil
	}
	s.scale *= qk.alpha
	return f.attention(k, s, attended{p.in[0], false}, attended{p.in[1], !qk.transB}, attended{k.in[1], m.transB})
}

// attended is an operand of one of the two products; swapped says that its last two dimensions are [size, length].
type attended struct {
	v       *value
	swapped bool
}

// scores is what the pass has read of a computation of scores.
type scores struct {
	scale   float64
	softcap float64
	product *value  // q kT
	terms   []*term // the last one first
	rank4   []int   // the shape [batch, heads, queries, keys]; nil if no value on the way has it
	guarded bool    // weights that are NaN become 0
	mask    *value  // the bias that stands for a selection
}

// term is a mask: a bias that is added, or a number that takes the scores' place where cond is hidden.
type term struct {
	bias   *value
	cond   *value
	hidden bool // the value of cond where the number is taken
	number float64
	rank   int   // of the scores
	shape  []int // as it broadcasts to [batch, heads, queries, keys]
}

// weights looks through the guard against rows without keys, and gives the operand of the softmax.
func (f *fuser) weights(s *scores, v *value) *value {
	for range 6 {
		if v == nil || v.known != nil || v.from == nil || v.index != 0 {
			return nil
		}
		switch op := v.from.op.(type) {
		case viewOp:
			if !f.sole(v) {
				return nil
			}
			v = v.from.in[0]
		case *whereOp:
			cond, zero, p := v.from.in[0], v.from.in[1], v.from.in[2]
			if n, ok := floatScalar(zero); !ok || n != 0 || s.guarded || !f.sole(v) || !f.sole(cond) || f.readers[p] != 2 {
				return nil
			}
			c, ok := produced[*classifyOp](cond)
			if !ok || !c.nan || c.pos || c.neg || cond.from.in[0] != p || !slices.Equal(v.shape, p.shape) {
				return nil
			}
			sm, ok := produced[*softmaxOp](p)
			if !ok || sm.log || product(p.shape[sm.axis:]) != p.shape[p.rank()-1] {
				return nil
			}
			s.guarded = true
			s.see(p)
			return p.from.in[0]
		case *softmaxOp:
			if op.log || !f.sole(v) || v.rank() < 2 || product(v.shape[op.axis:]) != v.shape[v.rank()-1] {
				return nil
			}
			s.see(v)
			return v.from.in[0]
		default:
			return nil
		}
	}
	return nil
}

// see notes the shape of scores with a dimension for the heads.
func (s *scores) see(v *value) {
	if v.rank() == 4 && s.rank4 == nil {
		s.rank4 = v.shape
	}
}

// peel goes from masked scores up to the product. It looks depth calls far, which are read by nothing else.
func (s *scores) peel(f *fuser, v *value, depth int) bool {
	if depth == 0 || v.known != nil || v.from == nil || v.index != 0 || !f.sole(v) {
		return false
	}
	s.see(v)
	in := v.from.in
	switch op := v.from.op.(type) {
	case *matmulOp:
		s.product = v
		return v.rank() >= 3
	case viewOp:
		return v.shape[v.rank()-1] == in[0].shape[in[0].rank()-1] && s.peel(f, in[0], depth-1)
	case *whereOp:
		for i, o := range in[1:] {
			n, ok := floatScalar(in[2-i])
			if !ok || !(n <= replacing) || !slices.Equal(o.shape, v.shape) {
				continue
			}
			before := *s
			s.terms = append(slices.Clip(s.terms), &term{cond: in[0], hidden: i == 1, number: n, rank: v.rank()})
			if s.peel(f, o, depth-1) {
				return true
			}
			*s = before
		}
	case *binaryOp:
		switch op.op {
		case kernel.Add:
			for i, o := range in {
				before := *s
				s.terms = append(slices.Clip(s.terms), &term{bias: in[1-i], rank: v.rank()})
				if slices.Equal(o.shape, v.shape) && o.dt == in[1-i].dt && s.peel(f, o, depth-1) {
					return true
				}
				*s = before
			}
		case kernel.Mul, kernel.Div:
			return s.scaled(f, v, depth)
		}
	}
	return false
}

// replacing is a number that is worth treating as a mask where it takes the place of scores.
const replacing = -1e3

// hiding is a number that hides a key where it is added: e to its power is zero, whatever reasonable scores it is compared with.
const hiding = -1e9

// scaled reads a multiplication of the bare scores with a number, which may be the end of a soft cap.
func (s *scores) scaled(f *fuser, v *value, depth int) bool {
	o := movedOperand(v.from, true)
	if o == nil {
		return false
	}
	a := &access{scale: 1}
	a.through(v.from)
	if fn, ok := produced[unaryOp](o); ok && fn.name == "Tanh" && s.softcap == 0 && s.scale == 1 && f.sole(o) && a.scale > 0 {
		s.softcap, s.scale = a.scale, a.scale
		return s.bare(f, o.from.in[0], depth-1)
	}
	s.scale *= a.scale
	return s.bare(f, o, depth-1)
}

// bare is peel for scores before all masks.
func (s *scores) bare(f *fuser, v *value, depth int) bool {
	n := len(s.terms)
	return s.peel(f, v, depth) && len(s.terms) == n
}

// sizes completes the shape of the scores, whose leading dimensions are those of y.
func (s *scores) sizes(y *value) bool {
	p := s.product.shape
	if s.rank4 == nil {
		switch len(p) {
		case 3:
			s.rank4 = []int{p[0], 1, p[1], p[2]}
		default:
			return false
		}
	}
	lead := product(p[:len(p)-2])
	n := len(p)
	return s.rank4[0]*s.rank4[1] == lead && s.rank4[2] == p[n-2] && s.rank4[3] == p[n-1] && product(y.shape[:y.rank()-2]) == lead && lead > 0
}

// attention adds the fused call.
func (f *fuser) attention(k *call, s *scores, q, key, val attended) (*value, error) {
	heads := s.rank4[1]
	ops := [3]*headAccess{f.heads(q, s.rank4[0], heads, true), f.heads(key, s.rank4[0], heads, true), f.heads(val, s.rank4[0], heads, false)}
	if ops[0] == nil || ops[1] == nil || ops[2] == nil {
		return nil, nil
	}
	op := &attentionOp{heads: heads, kvHeads: heads, left: -1, right: -1, layout: headsFirst, softcap: s.softcap}
	in, err := f.place(k, op, &ops)
	if err != nil || in == nil {
		return nil, err
	}
	op.scale = s.scale * ops[0].scale * ops[1].scale
	if op.scale == 0 || math.IsNaN(op.scale) || math.IsInf(op.scale, 0) {
		return nil, nil
	}
	bias, ok, err := f.masks(k, op, s)
	if err != nil || !ok {
		return nil, err
	}
	if bias != nil {
		in = append(in, bias)
	}
	out, err := f.apply(k.label, op, in...)
	if err != nil {
		return nil, err
	}
	return f.reshape(k.label, out[0], k.out[0].shape)
}

// fuseMergedHeads lets an attention write its heads side by side, where they are brought there next.
func fuseMergedHeads(f *fuser, k *call) (*value, error) {
	t, ok := k.op.(*transposeOp)
	if !ok || !slices.Equal(t.perm, []int64{0, 2, 1, 3}) {
		return nil, nil
	}
	v := k.in[0]
	for { // [batch * heads, length, size] becomes [batch, heads, length, size]
		if v.from == nil || !f.alone(v) {
			return nil, nil
		}
		if _, ok := v.from.op.(viewOp); !ok {
			break
		}
		v = v.from.in[0]
	}
	op, ok := v.from.op.(*attentionOp)
	if !ok || op.layout != headsFirst || op.scores || !slices.Equal(v.shape, k.in[0].shape) {
		return nil, nil
	}
	n := *op
	n.layout = headsLast
	out, err := f.apply(v.from.label, &n, v.from.in...)
	if err != nil {
		return nil, err
	}
	return f.reshape(k.label, out[0], k.out[0].shape)
}
