package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

// rotaryDim makes the head-size axis of grouped-query attention; with rotary embedding inside the operator it is two halves (and
// a rest), each as long as a row of the cosine cache.
func (s *state) rotaryDim(n *graph.Node, size int64) *node {
	if n.Int("do_rotary", 0) == 0 || arg(n, 7) == nil || len(s.axes[n.In[7]]) != 2 {
		return s.width(size)
	}
	for _, v := range []*graph.Value{arg(n, 7), arg(n, 8)} {
		if v != nil && len(s.axes[v]) == 2 {
			s.axes[v][0].flag(FlagVocab, fmt.Sprintf("%s: rows looked up by position", n))
		}
	}
	return s.halves(n, s.axes[n.In[7]][1], arg(n, 8), size)
}

// halves makes c + c (+ rest), c being the axis of the rotary tables.
func (s *state) halves(n *graph.Node, c *node, sin *graph.Value, size int64) *node {
	if sin != nil {
		if sx := s.axes[sin]; len(sx) > 0 {
			s.unify(sx[len(sx)-1], c, n, "rotary tables")
		}
	}
	for _, v := range n.In {
		if v == nil || !s.weightOnly[v] {
			continue
		}
		for i, a := range s.axes[v] {
			if a.find() == c.find() {
				for _, o := range s.originsOf(v, i) {
					s.gains[o] = true
				}
			}
		}
	}
	z := c.find().size
	parts := []*node{c, c}
	if rest := size - times(2, z); rest > 0 {
		parts = append(parts, s.width(rest))
	} else if rest < 0 {
		return s.width(size)
	}
	return s.rawSum(parts)
}

// rotary is RotaryEmbedding of ai.onnx (X, cos, sin, positions) and of com.microsoft (X, positions, cos, sin).
func rotary(s *state, n *graph.Node) string {
	x := s.axes[n.In[0]]
	ci := 1
	if n.Domain == ms {
		ci = 2
	}
	cos, sin := arg(n, ci), arg(n, ci+1)
	if cos == nil || sin == nil || len(s.axes[cos]) == 0 {
		return "needs cosine and sine tables"
	}
	c := s.axes[cos][len(s.axes[cos])-1]
	if n.Int("interleaved", 0) != 0 {
		return "interleaved rotary pairs"
	}
	for _, v := range []*graph.Value{cos, sin} {
		if vx := s.axes[v]; len(vx) == 2 && (arg(n, 3) != nil || n.Domain == ms) {
			vx[0].flag(FlagVocab, fmt.Sprintf("%s: rows looked up by position", n))
		}
	}
	switch len(x) {
	case 4:
		s.unify(x[3], s.halves(n, c, sin, x[3].find().size), n, "rotary halves")
	case 3:
		h, ok := headCount(n, "num_heads")
		if ok = ok && x[2].find().size%h == 0; !ok {
			pair := times(2, c.find().size)
			if n.Domain != ms || pair == 0 || x[2].find().size%pair != 0 {
				return "needs num_heads"
			}
			h = max(1, x[2].find().size/pair)
		}
		heads := s.width(h)
		if ok {
			s.requireAttr(n, "num_heads", 0, h, heads)
		}
		s.headsOf(n, x[2], heads, s.halves(n, c, sin, x[2].find().size/h), "rotary halves")
	default:
		return "input of unknown rank"
	}
	if d := n.Int("rotary_embedding_dim", 0); d > 0 {
		s.requireAttr(n, "rotary_embedding_dim", 0, d, s.rawSum([]*node{c, c}))
	}
	s.setAxes(n.Out[0], x)
	s.setWeightOnly(n, n.In[0])
	return ""
}
