package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

// column picks the axis that a broadcast column gets: all sizes other than 1 are one axis; among ones, a width that happens to be
// 1 (or may be) goes before a place to broadcast.
func (s *state) column(col []*node, at *graph.Node, why string) *node {
	var out *node
	for _, a := range col {
		if a = a.find(); a.size != 1 {
			if out == nil {
				out = a
			} else {
				s.unify(out, a, at, why)
			}
		}
	}
	if out != nil {
		return out.find()
	}
	for _, a := range col {
		a = a.find()
		switch {
		case out == nil:
			out = a
		case !a.one && !out.one:
			s.unify(out, a, at, why)
		case !a.one:
			out = a
		case out.one && out.born == nil && a.born != nil:
			out = a
		}
	}
	return out.find()
}

// broadcast right-aligns the axes of several values and unifies them column by column.
func (s *state) broadcast(lists [][]*node, at *graph.Node, why string) []*node {
	rank := 0
	for _, l := range lists {
		rank = max(rank, len(l))
	}
	out := make([]*node, rank)
	for i := range rank {
		var col []*node
		for _, l := range lists {
			if k := i - (rank - len(l)); k >= 0 {
				col = append(col, l[k])
			}
		}
		out[i] = s.column(col, at, why)
	}
	return out
}

func elementwise(s *state, n *graph.Node) string {
	var lists [][]*node
	var vals []*graph.Value
	for _, v := range n.In {
		if v == nil {
			continue
		}
		if s.unknown(v) {
			return fmt.Sprintf("the rank of %s is not known", v.Name)
		}
		lists = append(lists, s.axes[v])
		vals = append(vals, v)
	}
	if len(lists) == 0 {
		return "no operands"
	}
	out := s.broadcast(lists, n, "element-wise")
	s.setAxes(n.Out[0], out)
	s.setWeightOnly(n, vals...)
	rank := len(out)
	at := func(v *graph.Value, i int) (*node, int) {
		l := s.axes[v]
		k := i - (rank - len(l))
		if k < 0 {
			return nil, -1
		}
		return l[k].find(), k
	}
	org := make([][]constAxis, rank)
	for i := range rank {
		for j, v := range vals {
			a, k := at(v, i)
			if a == nil || a.size == 1 && a.one {
				continue
			}
			os := s.originsOf(v, k)
			if len(os) == 0 {
				continue
			}
			if s.weightOnly[n.Out[0]] {
				org[i] = mergeOrigins(org[i], os)
			}
			if len(vals) != 2 || (n.Op != "Mul" && n.Op != "Div" && n.Op != "PRelu") {
				continue
			}
			other := vals[1-j]
			oa, ok := at(other, i)
			mult := false // v multiplies something that is not a constant itself
			switch {
			case s.weightOnly[v] && s.activation(other):
				mult = true
			case s.weightOnly[v] == s.weightOnly[other]:
				mult = oa != nil && len(s.originsOf(other, ok)) == 0 && oa.size == a.size && (s.weightOnly[v] || s.activation(other))
			}
			if !mult {
				continue
			}
			if n.Op == "Div" {
				if j == 1 && a.size > 1 {
					a.flag(FlagNoRule, fmt.Sprintf("%s: divides by a constant along the axis", n))
				}
				continue
			}
			for _, o := range os {
				s.gains[o] = true
			}
		}
	}
	s.origins[n.Out[0]] = org
	return ""
}

func unary(s *state, n *graph.Node) string {
	v := n.In[0]
	for _, o := range n.Out {
		s.setAxes(o, s.axes[v])
	}
	s.setWeightOnly(n, v)
	switch n.Op {
	case "Cast", "CastLike", "Identity", "Dropout":
		s.origins[n.Out[0]] = s.origins[v]
		if st := s.vals[v]; st != nil && n.Op == "Identity" {
			s.vals[n.Out[0]] = st
		}
	}
	return ""
}

func softmax(s *state, n *graph.Node) string {
	axes := s.axes[n.In[0]]
	old := s.g.Version(n) < 13
	def := int64(-1)
	if old {
		def = 1
	}
	axis, ok := normAxis(n.Int("axis", def), len(axes))
	if !ok {
		return fmt.Sprintf("axis %d of a value of rank %d", n.Int("axis", def), len(axes))
	}
	last := axis + 1
	if old {
		last = len(axes) // coerced to two dimensions: everything from axis on is normalised together
	}
	for _, a := range axes[axis:last] {
		a.flag(FlagIndex, fmt.Sprintf("%s: normalised over the axis", n))
	}
	s.setAxes(n.Out[0], axes)
	s.setWeightOnly(n, n.In[0])
	return ""
}

// reduction is one reduced axis, frozen unless a norm explains it.
type reduction struct {
	at   *graph.Node
	axes []*node
}

func reduce(s *state, n *graph.Node) string {
	axes := s.axes[n.In[0]]
	var over []int64
	if a := n.Ints("axes"); a != nil {
		over = a
	} else if len(n.In) > 1 && n.In[1] != nil {
		st := s.ints(n.In[1])
		if st == nil {
			return "the reduced axes are not constant"
		}
		for _, y := range st {
			over = append(over, y.ival)
		}
	}
	if n.Op == "ArgMax" || n.Op == "ArgMin" {
		over = []int64{n.Int("axis", 0)}
	}
	gone := make([]bool, len(axes))
	if len(over) == 0 {
		if n.Int("noop_with_empty_axes", 0) != 0 {
			s.setAxes(n.Out[0], axes)
			return ""
		}
		for i := range gone {
			gone[i] = true
		}
	}
	for _, a := range over {
		i, ok := normAxis(a, len(axes))
		if !ok {
			return fmt.Sprintf("axis %d of a value of rank %d", a, len(axes))
		}
		gone[i] = true
	}
	keep := n.Int("keepdims", 1) != 0
	var out, red []*node
	for i, a := range axes {
		switch {
		case !gone[i]:
			out = append(out, a)
		default:
			red = append(red, a)
			if keep {
				out = append(out, s.leaf(1))
			}
		}
	}
	if st := s.vals[n.In[0]]; st != nil && len(red) == len(axes) && len(st.elems) > 0 {
		if y := opSym(n.Op, st.elems[0].isInt, st.elems...); y != nil {
			s.vals[n.Out[0]] = &static{shape: shapeOfAxes(out), elems: []*sym{y}}
		}
	}
	s.reductions = append(s.reductions, reduction{n, red})
	s.setAxes(n.Out[0], out)
	s.setWeightOnly(n, n.In[0])
	return ""
}

func shapeOf(s *state, n *graph.Node) string {
	axes := s.axes[n.In[0]]
	if n.Op == "Size" {
		y := intSym(1)
		for _, a := range axes {
			y = opSym("Mul", true, y, dimSym(a))
		}
		s.setAxes(n.Out[0], nil)
		s.vals[n.Out[0]] = &static{elems: []*sym{y}}
		return ""
	}
	lo, hi := clampRange(n.Int("start", 0), n.Int("end", int64(len(axes))), int64(len(axes)))
	st := &static{shape: []int64{hi - lo}}
	for _, a := range axes[lo:hi] {
		st.elems = append(st.elems, dimSym(a))
	}
	l := s.leaf(hi - lo)
	l.one = false
	l.set(FlagFixed, "")
	s.setAxes(n.Out[0], []*node{l})
	s.vals[n.Out[0]] = st
	return ""
}

// clampRange brings the bounds of a slice of n elements with a positive step into range.
func clampRange(lo, hi, n int64) (int64, int64) {
	if lo < 0 {
		lo += n
	}
	if hi < 0 {
		hi += n
	}
	lo = min(max(lo, 0), n)
	hi = min(max(hi, lo), n)
	return lo, hi
}

// constantNode handles the Constant nodes that stay nodes (graph outputs, strings).
func constantNode(s *state, n *graph.Node) string {
	a := n.Attr("value")
	if a == nil || a.T == nil {
		return "a constant that is no dense tensor"
	}
	var out []*node
	for _, d := range a.T.Dims {
		l := s.leaf(d)
		l.set(FlagFixed, fmt.Sprintf("%s is a constant", n))
		out = append(out, l)
	}
	s.setAxes(n.Out[0], out)
	s.weightOnly[n.Out[0]] = true
	return ""
}
