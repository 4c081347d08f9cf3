package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

func transpose(s *state, n *graph.Node) string {
	axes := s.axes[n.In[0]]
	perm := n.Ints("perm")
	if perm == nil {
		for i := len(axes) - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	if len(perm) != len(axes) {
		return fmt.Sprintf("perm of %d entries for a value of rank %d", len(perm), len(axes))
	}
	out := make([]*node, len(axes))
	org := make([][]constAxis, len(axes))
	seen := make([]bool, len(axes))
	for i, p := range perm {
		k, ok := normAxis(p, len(axes))
		if !ok || seen[k] {
			return fmt.Sprintf("perm %v is no permutation", perm)
		}
		seen[k] = true
		out[i], org[i] = axes[k], s.originsOf(n.In[0], k)
	}
	s.setAxes(n.Out[0], out)
	s.origins[n.Out[0]] = org
	s.setWeightOnly(n, n.In[0])
	if st := s.vals[n.In[0]]; st != nil && len(axes) <= 1 {
		s.vals[n.Out[0]] = st
	}
	return ""
}

// axesArg reads the axes of Squeeze and Unsqueeze: an attribute before opset 13, an input from then on.
func (s *state) axesArg(n *graph.Node) ([]int64, bool) {
	if a := n.Ints("axes"); a != nil {
		return a, true
	}
	if len(n.In) > 1 && n.In[1] != nil {
		st := s.vals[n.In[1]]
		if st == nil {
			return nil, false
		}
		var out []int64
		for _, y := range st.elems {
			out = append(out, y.ival)
		}
		return out, true
	}
	return nil, true
}

func squeeze(s *state, n *graph.Node) string {
	axes := s.axes[n.In[0]]
	list, ok := s.axesArg(n)
	if !ok {
		return "the axes are not constant"
	}
	gone := make([]bool, len(axes))
	for _, a := range list {
		i, ok := normAxis(a, len(axes))
		if !ok {
			return fmt.Sprintf("axis %d of a value of rank %d", a, len(axes))
		}
		gone[i] = true
	}
	var out []*node
	var org [][]constAxis
	for i, a := range axes {
		if gone[i] || (len(list) == 0 && a.find().size == 1) {
			if !a.find().one {
				a.flag(FlagIndex, fmt.Sprintf("%s: removed as an axis of size 1", n))
			}
			continue
		}
		out = append(out, a)
		org = append(org, s.originsOf(n.In[0], i))
	}
	s.view(n, out, org)
	return ""
}

// view stores the result of a node that only renames axes: origins and values pass.
func (s *state) view(n *graph.Node, out []*node, org [][]constAxis) {
	s.setAxes(n.Out[0], out)
	s.origins[n.Out[0]] = org
	s.setWeightOnly(n, n.In[0])
	if st := s.vals[n.In[0]]; st != nil {
		if shape := shapeOfAxes(out); volume(shape) == int64(len(st.elems)) {
			s.vals[n.Out[0]] = &static{shape: shape, elems: st.elems}
		}
	}
}

func unsqueeze(s *state, n *graph.Node) string {
	axes := s.axes[n.In[0]]
	list, ok := s.axesArg(n)
	if !ok || len(list) == 0 {
		return "the axes are not constant"
	}
	rank := len(axes) + len(list)
	isNew := make([]bool, rank)
	for _, a := range list {
		i, ok := normAxis(a, rank)
		if !ok || isNew[i] {
			return fmt.Sprintf("axes %v of a result of rank %d", list, rank)
		}
		isNew[i] = true
	}
	out := make([]*node, 0, rank)
	org := make([][]constAxis, 0, rank)
	k := 0
	for i := range rank {
		if isNew[i] {
			out, org = append(out, s.leaf(1)), append(org, nil)
			continue
		}
		out, org = append(out, axes[k]), append(org, s.originsOf(n.In[0], k))
		k++
	}
	s.view(n, out, org)
	return ""
}
