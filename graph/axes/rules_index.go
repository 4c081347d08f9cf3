package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

func gather(s *state, n *graph.Node) string {
	data, idx := n.In[0], n.In[1]
	dx, ix := s.axes[data], s.axes[idx]
	if s.unknown(idx) {
		return fmt.Sprintf("the rank of %s is not known", idx.Name)
	}
	axis, ok := normAxis(n.Int("axis", 0), len(dx))
	if !ok {
		return fmt.Sprintf("axis %d of a value of rank %d", n.Int("axis", 0), len(dx))
	}
	var out []*node
	var org [][]constAxis
	for i := range axis {
		out, org = append(out, dx[i]), append(org, s.originsOf(data, i))
	}
	out = append(out, ix...)
	org = append(org, make([][]constAxis, len(ix))...)
	for i := axis + 1; i < len(dx); i++ {
		out, org = append(out, dx[i]), append(org, s.originsOf(data, i))
	}
	s.setAxes(n.Out[0], out)
	s.origins[n.Out[0]] = org
	s.setWeightOnly(n, data, idx)
	st, it := s.vals[data], s.vals[idx]
	if st != nil && len(st.shape) == 1 {
		if it == nil {
			return ""
		}
		r := &static{shape: it.shape}
		for _, y := range it.elems {
			k := y.ival
			if k < 0 {
				k += int64(len(st.elems))
			}
			if k < 0 || k >= int64(len(st.elems)) {
				return fmt.Sprintf("index %d of %d elements", y.ival, len(st.elems))
			}
			r.elems = append(r.elems, st.elems[k])
		}
		s.vals[n.Out[0]] = r
		return ""
	}
	if it != nil && len(it.elems) == 1 {
		dx[axis].flag(FlagIndex, fmt.Sprintf("%s: addressed by a constant index", n))
	} else {
		dx[axis].flag(FlagVocab, fmt.Sprintf("%s: rows looked up by data", n))
	}
	return ""
}

func gatherElements(s *state, n *graph.Node) string {
	dx, ix := s.axes[n.In[0]], s.axes[n.In[1]]
	if len(dx) != len(ix) {
		return "index of another rank"
	}
	axis, ok := normAxis(n.Int("axis", 0), len(dx))
	if !ok {
		return "axis out of range"
	}
	why := fmt.Sprintf("%s: looked up by data", n)
	dx[axis].flag(FlagVocab, why)
	out := make([]*node, len(ix))
	org := make([][]constAxis, len(ix))
	for i := range ix {
		out[i] = ix[i]
		if i != axis && dx[i].find().size == ix[i].find().size {
			s.unify(dx[i], ix[i], n, "gathered axes")
			org[i] = s.originsOf(n.In[0], i)
		} else if i != axis {
			dx[i].flag(FlagVocab, why)
		}
	}
	s.setAxes(n.Out[0], out)
	s.origins[n.Out[0]] = org
	s.setWeightOnly(n, n.In...)
	return ""
}

// gatherND looks up what lies at the leading axes; the axes after them are kept.
func gatherND(s *state, n *graph.Node) string {
	dx, ix := s.axes[n.In[0]], s.axes[n.In[1]]
	if s.unknown(n.In[1]) || len(ix) == 0 || ix[len(ix)-1].run() {
		return "how many axes are looked up is not known without running the model"
	}
	batch, depth := n.Int("batch_dims", 0), ix[len(ix)-1].find().size
	if batch < 0 || batch >= int64(len(ix)) || depth < 1 || depth > int64(len(dx))-batch {
		return fmt.Sprintf("%d axes of a value of rank %d", depth, len(dx))
	}
	for i := range batch {
		s.unify(dx[i], ix[i], n, "batch axes")
	}
	kept := int(batch + depth)
	for _, a := range dx[batch:kept] {
		a.flag(FlagVocab, fmt.Sprintf("%s: looked up by data", n))
	}
	out := append([]*node(nil), ix[:len(ix)-1]...)
	org := make([][]constAxis, len(out), len(out)+len(dx)-kept)
	for i := kept; i < len(dx); i++ {
		out, org = append(out, dx[i]), append(org, s.originsOf(n.In[0], i))
	}
	s.setAxes(n.Out[0], out)
	s.origins[n.Out[0]] = org
	s.setWeightOnly(n, n.In...)
	return ""
}

// scatterElements covers the operators that write updates into a copy of their first operand.
func scatterElements(s *state, n *graph.Node) string {
	dx := s.axes[n.In[0]]
	s.setAxes(n.Out[0], dx)
	switch n.Op {
	case "TensorScatter":
		ux := s.axes[n.In[1]]
		axis, ok := normAxis(n.Int("axis", -2), len(dx))
		if !ok || len(ux) != len(dx) {
			return "update of another rank"
		}
		for i := range dx {
			if i != axis {
				s.unify(dx[i], ux[i], n, "cache and update")
			}
		}
		dx[axis].flag(FlagIndex, fmt.Sprintf("%s: written at a position", n))
	default:
		for _, v := range n.In {
			for _, a := range s.axes[v] {
				a.flag(FlagIndex, fmt.Sprintf("%s: written at positions given by data", n))
			}
		}
	}
	return ""
}
