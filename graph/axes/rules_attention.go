package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

// width makes a leaf that is a width even when its size is 1.
func (s *state) width(size int64) *node {
	l := s.leaf(size)
	l.one = false
	return l
}

// heads states that axis is heads x head size, and ties the head count to an attribute.
func (s *state) headsOf(n *graph.Node, axis *node, heads *node, dim *node, why string) {
	s.unify(axis, s.product(heads, dim), n, why)
}

// fusedAttention records a fused attention operator for the score scale.
func (s *state) fusedAttention(n *graph.Node, heads, dim, value *node) {
	dim.flag(UseContracted, "")
	value.flag(UseContracted, "")
	s.products = append(s.products, &product2{at: n, inner: dim, batch: []*node{heads}, value: value, fused: true, scaleAttr: "scale"})
}

// cache unifies a cache [batch, heads, past, head size] with the heads and head size of the layer and gives the present cache.
func (s *state) cache(n *graph.Node, v *graph.Value, heads, dim *node) string {
	if v == nil {
		return ""
	}
	x := s.axes[v]
	if len(x) != 4 {
		return fmt.Sprintf("cache %s is not batch x heads x past x head size", v.Name)
	}
	s.unify(x[1], heads, n, "heads of the cache")
	s.unify(x[3], dim, n, "head size of the cache")
	return ""
}

func (s *state) totalLen(n *graph.Node, seq *node, past *graph.Value, axis int) *node {
	if past == nil {
		return seq
	}
	p := s.axes[past][axis]
	l := s.runLeaf(seq.find().size+p.find().size, fmt.Sprintf("%s: past and present positions", n))
	l.one = false
	return l
}

// maxHeads bounds head counts, so that sums and products of a few of them do not overflow.
const maxHeads = 1 << 24

// headCount reads an attribute that counts heads; ok is false where it is absent or no count of heads.
func headCount(n *graph.Node, name string) (count int64, ok bool) {
	count = n.Int(name, 0)
	return count, count > 0 && count <= maxHeads
}

// msAttention is com.microsoft.Attention: a packed projection inside the operator, [hidden, (q, k, v) x heads x head size].
func msAttention(s *state, n *graph.Node) string {
	x, w := s.axes[n.In[0]], s.axes[n.In[1]]
	h, ok := headCount(n, "num_heads")
	if !ok || len(x) != 3 || len(w) != 2 {
		return "needs input [batch, sequence, hidden], a packed weight and num_heads"
	}
	s.unify(x[2], w[0], n, "contracted axis")
	x[2].flag(UseContracted, "")
	s.consumeOrFreeze(n, n.In[1], 0)
	heads := s.width(h)
	s.requireAttr(n, "num_heads", 0, h, heads)
	var dim, value *node
	if sizes := attrInts(n, "qkv_hidden_sizes"); len(sizes) == 3 {
		if sizes[0].ival%h != 0 || sizes[2].ival%h != 0 || sizes[0].ival != sizes[1].ival {
			return "qkv_hidden_sizes do not divide by num_heads"
		}
		dim, value = s.width(sizes[0].ival/h), s.width(sizes[2].ival/h)
		q, v := s.product(heads, dim), s.product(heads, value)
		s.unify(w[1], s.rawSum([]*node{q, q, v}), n, "packed projection")
		for i, part := range []*node{q, q, v} {
			s.require(sizes[i], part, n, "attribute qkv_hidden_sizes")
		}
	} else {
		if w[1].find().size%(3*h) != 0 {
			return "the packed weight does not divide by 3 x num_heads"
		}
		dim = s.width(w[1].find().size / (3 * h))
		value = dim
		three := s.width(3)
		three.set(FlagFactor, fmt.Sprintf("%s: counts query, key and value", n))
		s.unify(w[1], s.product(three, heads, dim), n, "packed projection")
	}
	if b := arg(n, 2); b != nil {
		if len(s.axes[b]) != 1 {
			return "a bias that is no vector"
		}
		s.unify(s.axes[b][0], w[1], n, "bias")
	}
	total := x[1]
	if past := arg(n, 4); past != nil {
		px := s.axes[past]
		if len(px) != 5 {
			return "past is not [2, batch, heads, past, head size]"
		}
		s.unify(px[2], heads, n, "heads of the cache")
		s.unify(px[4], dim, n, "head size of the cache")
		total = s.totalLen(n, x[1], past, 3)
	}
	s.setAxes(n.Out[0], []*node{x[0], x[1], s.product(heads, value)})
	if len(n.Out) > 1 && n.Out[1] != nil {
		two := s.width(2)
		two.set(FlagFactor, "")
		s.setAxes(n.Out[1], []*node{two, x[0], heads, total, dim})
	}
	s.fusedAttention(n, heads, dim, value)
	return ""
}

func multiHeadAttention(s *state, n *graph.Node) string {
	h, ok := headCount(n, "num_heads")
	q := s.axes[n.In[0]]
	if !ok {
		return "needs num_heads"
	}
	heads := s.width(h)
	s.requireAttr(n, "num_heads", 0, h, heads)
	var dim, value, seq, total *node
	key, val := arg(n, 1), arg(n, 2)
	switch {
	case len(q) == 5: // packed [batch, sequence, heads, 3, head size]
		dim, seq = q[4], q[1]
		s.unify(q[2], heads, n, "heads")
		q[3].flag(FlagFactor, fmt.Sprintf("%s: counts query, key and value", n))
		value, total = dim, seq
	case len(q) == 3:
		if q[2].find().size%h != 0 {
			return "the width does not divide by num_heads"
		}
		dim, seq = s.width(q[2].find().size/h), q[1]
		s.headsOf(n, q[2], heads, dim, "queries")
		value, total = dim, seq
		if key != nil {
			k := s.axes[key]
			switch len(k) {
			case 5:
				s.unify(k[2], heads, n, "heads")
				s.unify(k[4], dim, n, "head size")
				k[3].flag(FlagFactor, fmt.Sprintf("%s: counts key and value", n))
				total = k[1]
			case 3:
				s.headsOf(n, k[2], heads, dim, "keys")
				total = k[1]
			case 4:
				s.unify(k[1], heads, n, "heads")
				s.unify(k[3], dim, n, "head size")
				total = k[2]
			default:
				return "keys of an unknown form"
			}
		}
		if val != nil {
			v := s.axes[val]
			switch len(v) {
			case 3:
				if v[2].find().size%h != 0 {
					return "the value width does not divide by num_heads"
				}
				value = s.width(v[2].find().size / h)
				s.headsOf(n, v[2], heads, value, "values")
			case 4:
				s.unify(v[1], heads, n, "heads")
				value = v[3]
			default:
				return "values of an unknown form"
			}
		}
	default:
		return "queries of an unknown form"
	}
	if b := arg(n, 3); b != nil {
		if len(s.axes[b]) != 1 {
			return "a bias that is no vector"
		}
		qk, v := s.product(heads, dim), s.product(heads, value)
		s.unify(s.axes[b][0], s.rawSum([]*node{qk, qk, v}), n, "bias")
	}
	pastK, pastV := arg(n, 6), arg(n, 7)
	if why := s.cache(n, pastK, heads, dim); why != "" {
		return why
	}
	if why := s.cache(n, pastV, heads, value); why != "" {
		return why
	}
	if pastK != nil {
		total = s.totalLen(n, total, pastK, 2)
	}
	s.attnBias(n, arg(n, 5), heads)
	s.setAxes(n.Out[0], []*node{q[0], seq, s.product(heads, value)})
	for i, d := range []*node{dim, value} {
		if len(n.Out) > i+1 && n.Out[i+1] != nil {
			s.setAxes(n.Out[i+1], []*node{q[0], heads, total, d})
		}
	}
	s.fusedAttention(n, heads, dim, value)
	return ""
}

// attnBias unifies the head axis of an additive score bias [.., heads, query, key] where it has one.
func (s *state) attnBias(n *graph.Node, v *graph.Value, heads *node) {
	if v == nil {
		return
	}
	if x := s.axes[v]; len(x) == 4 && x[1].find().size == heads.find().size && heads.find().size > 1 {
		s.unify(x[1], heads, n, "heads of the score bias")
	}
}

// groups makes the head axes of grouped queries: kv heads, and query heads as kv x group.
func (s *state) groups(n *graph.Node, h, kv int64, hAttr, kvAttr string) (heads, kvHeads *node, why string) {
	if h <= 0 || kv <= 0 || h%kv != 0 {
		return nil, nil, fmt.Sprintf("%d query heads for %d key/value heads", h, kv)
	}
	kvHeads = s.width(kv)
	heads = kvHeads
	if h != kv {
		group := s.width(h / kv)
		group.repeat = true
		heads = s.product(kvHeads, group)
	}
	if hAttr != "" {
		s.requireAttr(n, hAttr, 0, h, heads)
	}
	if kvAttr != "" {
		s.requireAttr(n, kvAttr, 0, kv, kvHeads)
	}
	return heads, kvHeads, ""
}

func groupQueryAttention(s *state, n *graph.Node) string {
	h, ok1 := headCount(n, "num_heads")
	kv, ok2 := headCount(n, "kv_num_heads")
	q := s.axes[n.In[0]]
	if !ok1 || !ok2 || len(q) != 3 {
		return "needs queries [batch, sequence, width], num_heads and kv_num_heads"
	}
	heads, kvHeads, why := s.groups(n, h, kv, "num_heads", "kv_num_heads")
	if why != "" {
		return why
	}
	var dim *node
	key, val := arg(n, 1), arg(n, 2)
	if key == nil {
		if q[2].find().size%(h+2*kv) != 0 {
			return "the packed width does not divide by the heads"
		}
		dim = s.rotaryDim(n, q[2].find().size/(h+2*kv))
		k := s.product(kvHeads, dim)
		s.unify(q[2], s.rawSum([]*node{s.product(heads, dim), k, k}), n, "packed projection")
	} else {
		if q[2].find().size%h != 0 {
			return "the width does not divide by num_heads"
		}
		dim = s.rotaryDim(n, q[2].find().size/h)
		s.headsOf(n, q[2], heads, dim, "queries")
		for _, v := range []*graph.Value{key, val} {
			if v == nil || len(s.axes[v]) != 3 {
				return "keys or values of an unknown form"
			}
			s.headsOf(n, s.axes[v][2], kvHeads, dim, "keys and values")
		}
	}
	total := q[1]
	for _, v := range []*graph.Value{arg(n, 3), arg(n, 4)} {
		if why := s.cache(n, v, kvHeads, dim); why != "" {
			return why
		}
	}
	if past := arg(n, 3); past != nil {
		total = s.totalLen(n, q[1], past, 2)
	}
	s.setAxes(n.Out[0], []*node{q[0], q[1], s.product(heads, dim)})
	for i := 1; i < len(n.Out); i++ {
		if i < 3 {
			s.setAxes(n.Out[i], []*node{q[0], kvHeads, total, dim})
		}
	}
	s.fusedAttention(n, heads, dim, dim)
	return ""
}

// attention is ai.onnx Attention (opset 23): 4-D [batch, heads, sequence, head size] or 3-D with head-count attributes.
func attention(s *state, n *graph.Node) string {
	q, k, v := s.axes[n.In[0]], s.axes[n.In[1]], s.axes[n.In[2]]
	if len(q) != len(k) || len(q) != len(v) || (len(q) != 3 && len(q) != 4) {
		return "operands of unknown form"
	}
	var heads, kvHeads, dim, value, qs, ks *node
	if len(q) == 3 {
		h, ok1 := headCount(n, "q_num_heads")
		kv, ok2 := headCount(n, "kv_num_heads")
		if !ok1 || !ok2 {
			return "needs q_num_heads and kv_num_heads"
		}
		var why string
		if heads, kvHeads, why = s.groups(n, h, kv, "q_num_heads", "kv_num_heads"); why != "" {
			return why
		}
		if q[2].find().size%h != 0 || v[2].find().size%kv != 0 {
			return "the width does not divide by the heads"
		}
		dim, value = s.width(q[2].find().size/h), s.width(v[2].find().size/kv)
		s.headsOf(n, q[2], heads, dim, "queries")
		s.headsOf(n, k[2], kvHeads, dim, "keys")
		s.headsOf(n, v[2], kvHeads, value, "values")
		qs, ks = q[1], k[1]
	} else {
		h, kv := q[1].find().size, k[1].find().size
		var why string
		if heads, kvHeads, why = s.groups(n, h, kv, "", ""); why != "" {
			return why
		}
		s.unify(q[1], heads, n, "query heads")
		s.unify(k[1], kvHeads, n, "key heads")
		s.unify(v[1], kvHeads, n, "value heads")
		dim, value = q[3], v[3]
		s.unify(k[3], dim, n, "head size")
		qs, ks = q[2], k[2]
	}
	for i, d := range []*node{dim, value} {
		if why := s.cache(n, arg(n, 4+i), kvHeads, d); why != "" {
			return why
		}
	}
	total := ks
	if past := arg(n, 4); past != nil {
		total = s.totalLen(n, ks, past, 2)
	}
	s.attnBias(n, arg(n, 3), heads)
	if len(q) == 3 {
		s.setAxes(n.Out[0], []*node{q[0], qs, s.product(heads, value)})
	} else {
		s.setAxes(n.Out[0], []*node{q[0], heads, qs, value})
	}
	for i := 1; i < len(n.Out); i++ {
		switch i {
		case 1:
			s.setAxes(n.Out[i], []*node{q[0], kvHeads, total, dim})
		case 2:
			s.setAxes(n.Out[i], []*node{q[0], kvHeads, total, value})
		case 3:
			s.setAxes(n.Out[i], []*node{q[0], heads, qs, total})
		}
	}
	s.fusedAttention(n, heads, dim, value)
	p := s.products[len(s.products)-1]
	p.a, p.b = n.In[0], n.In[1]
	return ""
}
