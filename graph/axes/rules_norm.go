package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

func layerNorm(s *state, n *graph.Node) string {
	x := s.axes[n.In[0]]
	axis, ok := normAxis(n.Int("axis", -1), len(x))
	if !ok {
		return fmt.Sprintf("axis %d of a value of rank %d", n.Int("axis", -1), len(x))
	}
	f := fusedNorm{kind: LayerNorm, node: n, in: n.In[0], out: n.Out[0], axis: x[len(x)-1], epsDefault: 1e-5}
	if n.Op != "LayerNormalization" {
		f.kind = RMSNorm
	}
	if axis != len(x)-1 {
		for _, a := range x[axis:] {
			a.flag(FlagNoRule, fmt.Sprintf("%s: normalises several axes together", n))
		}
	}
	for i := 1; i < len(n.In) && i < 3; i++ {
		if n.In[i] != nil {
			s.along(n, n.In[i], x, i == 1)
		}
	}
	f.gain, f.bias = arg(n, 1), arg(n, 2)
	for i, o := range n.Out {
		if i == 0 {
			s.setAxes(o, x)
			continue
		}
		stat := append([]*node(nil), x...)
		for j := axis; j < len(x); j++ {
			stat[j] = s.leaf(1)
		}
		s.setAxes(o, stat)
	}
	s.fused = append(s.fused, f)
	return ""
}

// along unifies a gain or bias vector with the trailing axes of x.
func (s *state) along(n *graph.Node, v *graph.Value, x []*node, gain bool) {
	vx := s.axes[v]
	if len(vx) > len(x) {
		s.noRule(n, fmt.Sprintf("%s has more axes than the value it applies to", v.Name))
		return
	}
	for i := range vx {
		a, b := vx[len(vx)-1-i], x[len(x)-1-i]
		if a.find().size == 1 && b.find().size != 1 {
			continue
		}
		s.unify(a, b, n, "gain or bias")
		if gain {
			for _, o := range s.originsOf(v, len(vx)-1-i) {
				s.gains[o] = true
			}
		}
	}
}

func skipNorm(s *state, n *graph.Node) string {
	if s.unknown(n.In[1]) {
		return fmt.Sprintf("the rank of %s is not known", n.In[1].Name)
	}
	x := s.broadcast([][]*node{s.axes[n.In[0]], s.axes[n.In[1]]}, n, "residual")
	if len(x) == 0 {
		return "a scalar input"
	}
	f := fusedNorm{kind: RMSNorm, node: n, in: nil, out: n.Out[0], gain: n.In[2], axis: x[len(x)-1], epsDefault: 1e-12}
	biasAt := 3
	if n.Op == "SkipLayerNormalization" {
		f.kind, f.bias, biasAt = LayerNorm, arg(n, 3), 4
		if f.bias != nil {
			s.along(n, f.bias, x, false)
		}
	}
	s.along(n, n.In[2], x, true)
	if b := arg(n, biasAt); b != nil {
		s.along(n, b, x, false)
	}
	f.in = n.In[0]
	for i, o := range n.Out {
		if i == 1 || i == 2 {
			s.setAxes(o, append(append([]*node(nil), x[:len(x)-1]...), s.leaf(1)))
			continue
		}
		s.setAxes(o, x)
	}
	s.fused = append(s.fused, f)
	return ""
}

func embedNorm(s *state, n *graph.Node) string {
	if len(n.In) < 7 {
		return "needs ids, tables, gamma and beta"
	}
	ids := s.axes[n.In[0]]
	if len(ids) != 2 {
		return "ids that are not batch x sequence"
	}
	word := s.axes[n.In[2]]
	if len(word) != 2 {
		return "a word table that is no matrix"
	}
	d := word[1]
	for i := 2; i <= 4; i++ {
		t := n.In[i]
		if t == nil {
			continue
		}
		tx := s.axes[t]
		if len(tx) != 2 {
			return fmt.Sprintf("table %s is no matrix", t.Name)
		}
		tx[0].flag(FlagVocab, fmt.Sprintf("%s: rows looked up by data", n))
		s.unify(tx[1], d, n, "embedding tables")
	}
	x := []*node{ids[0], ids[1], d}
	f := fusedNorm{kind: LayerNorm, node: n, in: nil, out: n.Out[0], gain: n.In[5], bias: n.In[6], axis: d, epsDefault: 1e-12}
	if n.In[5] != nil {
		s.along(n, n.In[5], x, true)
	}
	if n.In[6] != nil {
		s.along(n, n.In[6], x, false)
	}
	s.setAxes(n.Out[0], x)
	if len(n.Out) > 1 {
		s.setAxes(n.Out[1], []*node{ids[0]})
	}
	if len(n.Out) > 2 {
		s.setAxes(n.Out[2], x)
	}
	s.fused = append(s.fused, f)
	return ""
}

func batchNorm(s *state, n *graph.Node) string {
	x := s.axes[n.In[0]]
	if len(x) < 2 || len(n.In) < 5 {
		return "needs a channel axis and four vectors"
	}
	for i := 1; i < 5; i++ {
		v := n.In[i]
		if v == nil || len(s.axes[v]) != 1 {
			return "statistics that are not vectors"
		}
		s.unify(s.axes[v][0], x[1], n, "channel statistics")
		if i == 1 || i == 4 { // scale and variance are copied, not mixed
			for _, o := range s.originsOf(v, 0) {
				s.gains[o] = true
			}
		}
	}
	s.fused = append(s.fused, fusedNorm{kind: BatchNorm, node: n, in: n.In[0], out: n.Out[0], gain: n.In[1], bias: n.In[2], axis: x[1], epsDefault: 1e-5})
	s.setAxes(n.Out[0], x)
	for _, o := range n.Out[1:] {
		s.setAxes(o, []*node{x[1]})
	}
	return ""
}
