package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

// dims gives the elements of a shape operand or, where it is absent, an attribute of the same meaning; nil when not known.
func (s *state) dims(n *graph.Node, input int, attr string) []*sym {
	if v := arg(n, input); v != nil {
		return s.ints(v)
	}
	if attr != "" {
		return attrInts(n, attr)
	}
	return nil
}

// sized gives the axis for a size of the form dim(run-time axis): that axis itself; otherwise a fresh one.
func (s *state) sized(y *sym, at *graph.Node) *node {
	if y.dim != nil && y.dim.run() {
		return y.dim
	}
	if y.run() {
		l := s.runLeaf(y.ival, fmt.Sprintf("%s: a size computed at run time", at))
		l.one, l.computed = y.ival == 1, true
		return l
	}
	return s.leaf(y.ival)
}

func expand(s *state, n *graph.Node) string {
	shape := s.dims(n, 1, "")
	if shape == nil {
		if v := arg(n, 1); v == nil || s.vals[v] == nil {
			return "the target shape is not known without running the model"
		}
	}
	in := s.axes[n.In[0]]
	rank := max(len(in), len(shape))
	out := make([]*node, rank)
	org := make([][]constAxis, rank)
	for i := range rank {
		var a *node
		var y *sym
		if k := i - (rank - len(in)); k >= 0 {
			a = in[k]
			org[i] = s.originsOf(n.In[0], k)
		}
		if k := i - (rank - len(shape)); k >= 0 {
			y = shape[k]
		}
		switch {
		case y != nil && y.ival < 0:
			return fmt.Sprintf("a size of %d", y.ival)
		case a == nil:
			out[i] = s.sized(y, n)
			s.requireSize(y, out[i], n)
		case y == nil || y.ival == 1 || y.ival == a.find().size:
			out[i] = a
			if y != nil && y.ival == a.find().size && (y.ival != 1 || !a.find().one) {
				if y.dim != nil && y.dim.run() && a.run() {
					s.unify(a, y.dim, n, "expand")
				} else {
					s.requireSize(y, a, n)
				}
			}
		case a.find().size == 1:
			out[i] = s.sized(y, n)
			if out[i].flags&FlagRun == 0 {
				out[i].repeat = true
			}
			org[i] = nil
			s.requireSize(y, out[i], n)
		default:
			return fmt.Sprintf("cannot expand size %d to %d", a.find().size, y.ival)
		}
	}
	s.setAxes(n.Out[0], out)
	s.origins[n.Out[0]] = org
	s.setWeightOnly(n, n.In[0])
	if st := s.vals[n.In[0]]; st != nil {
		r := &static{shape: shapeOfAxes(out)}
		total := volume(r.shape)
		for i := range int(min(total, maxStatic)) {
			k := st.meeting(r.shape, i)
			if k < 0 {
				return ""
			}
			r.elems = append(r.elems, st.elems[k])
		}
		if int64(len(r.elems)) == total {
			s.vals[n.Out[0]] = r
		}
	}
	return ""
}

// requireSize records a size requirement unless the size is a run-time one.
func (s *state) requireSize(y *sym, a *node, at *graph.Node) {
	if y.dim == nil || !y.dim.run() {
		s.require(y, a, at, "target size")
	}
}

func tile(s *state, n *graph.Node) string {
	reps := s.dims(n, 1, "")
	in := s.axes[n.In[0]]
	if len(reps) != len(in) {
		return "the repeats are not known without running the model"
	}
	out := make([]*node, len(in))
	org := make([][]constAxis, len(in))
	for i, y := range reps {
		switch {
		case y.ival < 0:
			return fmt.Sprintf("%d repeats", y.ival)
		case y.ival == 1:
			out[i], org[i] = in[i], s.originsOf(n.In[0], i)
		case in[i].find().size == 1:
			out[i] = s.sized(y, n)
			if out[i].flags&FlagRun == 0 {
				out[i].repeat = true
			}
			s.requireSize(y, out[i], n)
		default:
			r := s.sized(y, n)
			if r.flags&FlagRun == 0 {
				r.repeat = true
			}
			s.requireSize(y, r, n)
			out[i] = s.product(r, in[i])
		}
	}
	s.setAxes(n.Out[0], out)
	s.origins[n.Out[0]] = org
	s.setWeightOnly(n, n.In[0])
	return ""
}

func constantOfShape(s *state, n *graph.Node) string {
	shape := s.ints(n.In[0])
	if shape == nil && s.vals[n.In[0]] == nil {
		return "the shape is not known without running the model"
	}
	out := make([]*node, len(shape))
	total := int64(1)
	for i, y := range shape {
		if y.ival < 0 {
			return fmt.Sprintf("a size of %d", y.ival)
		}
		out[i] = s.sized(y, n)
		s.requireSize(y, out[i], n)
		total = times(total, y.ival)
	}
	s.setAxes(n.Out[0], out)
	s.weightOnly[n.Out[0]] = true
	if a := n.Attr("value"); a != nil && a.T != nil && (a.T.DType.Integer() || a.T.DType.Bits() == 8) && total <= maxStatic {
		if v, err := a.T.Int64s(); err == nil && len(v) == 1 {
			st := &static{shape: shapeOfAxes(out)}
			for range total {
				st.elems = append(st.elems, intSym(v[0]))
			}
			s.vals[n.Out[0]] = st
		}
	} else if total == 1 { // a scalar that exporters add a factor to
		x := 0.0
		if a != nil && a.T != nil {
			v, err := a.T.Float64s()
			if err != nil || len(v) != 1 {
				return ""
			}
			x = v[0]
		}
		s.vals[n.Out[0]] = &static{shape: shapeOfAxes(out), elems: []*sym{{val: x, ival: int64(x)}}}
	}
	return ""
}

func rangeOp(s *state, n *graph.Node) string {
	if len(n.In) != 3 {
		return "needs start, limit and delta"
	}
	var v [3]*sym
	for i := range v {
		st := s.ints(n.In[i])
		if len(st) != 1 {
			// a length known only at run time: positions, counters
			l := s.runLeaf(s.bindTo(s.runCount, ""), fmt.Sprintf("%s: a length computed from data", n))
			s.runCount++
			l.one = false
			s.setAxes(n.Out[0], []*node{l})
			return ""
		}
		v[i] = st[0]
	}
	start, limit, delta := v[0], v[1], v[2]
	if delta.val == 0 {
		return "a step of 0"
	}
	size := int64(0)
	if q := (limit.val - start.val) / delta.val; q > 1<<53 {
		return fmt.Sprintf("a range of %g elements", q)
	} else if q > 0 {
		size = int64(q)
		if float64(size) < q {
			size++
		}
	}
	var l *node
	switch {
	case start.val == 0 && delta.val == 1 && limit.dim != nil && limit.dim.run():
		l = limit.dim
	case start.run() || limit.run() || delta.run():
		l = s.runLeaf(size, fmt.Sprintf("%s: a length computed at run time", n))
		l.one = false
	default:
		l = s.leaf(size)
		l.set(FlagFixed, fmt.Sprintf("%s counts it", n))
		if start.val == 0 && delta.val == 1 {
			s.require(limit, l, n, "range limit")
		}
	}
	s.setAxes(n.Out[0], []*node{l})
	s.weightOnly[n.Out[0]] = true
	return ""
}

func pad(s *state, n *graph.Node) string {
	in := s.axes[n.In[0]]
	pads := s.dims(n, 1, "pads")
	if len(pads) != 2*len(in) {
		return "the padding is not known without running the model"
	}
	out := make([]*node, len(in))
	for i, a := range in {
		lo, hi := pads[i].ival, pads[i+len(in)].ival
		if lo == 0 && hi == 0 {
			out[i] = a
			continue
		}
		why := fmt.Sprintf("%s: padded", n)
		a.flag(FlagIndex, why)
		const most = 1 << 40
		z := a.find().size + lo + hi
		if max(lo, hi, -lo, -hi, a.find().size) > most || z < 0 {
			return fmt.Sprintf("padding a size of %d by %d and %d", a.find().size, lo, hi)
		}
		if a.run() || pads[i].run() || pads[i+len(in)].run() {
			out[i] = s.runLeaf(z, why)
		} else {
			out[i] = s.leaf(z)
			out[i].set(FlagIndex, why)
		}
	}
	s.setAxes(n.Out[0], out)
	return ""
}

func nonZero(s *state, n *graph.Node) string {
	in := s.axes[n.In[0]]
	r := s.leaf(int64(len(in)))
	r.set(FlagFixed, fmt.Sprintf("%s: the rank", n))
	l := s.runLeaf(s.bindTo(s.runCount, ""), fmt.Sprintf("%s: a length computed from data", n))
	l.one = false
	for _, a := range in {
		a.flag(FlagIndex, fmt.Sprintf("%s: addressed by data", n))
	}
	// a value made of known elements has a known number of non-zeros: exporters write arange that way
	if st := s.vals[n.In[0]]; st != nil {
		count := int64(0)
		for _, y := range st.elems {
			if y.val != 0 {
				count++
			}
		}
		l.size = count
	} else {
		l.size = volumeOf(in)
		if len(in) == 1 && in[0].run() {
			l = in[0]
		}
	}
	s.setAxes(n.Out[0], []*node{r, l})
	return ""
}

func oneHot(s *state, n *graph.Node) string {
	in := s.axes[n.In[0]]
	depth := s.ints(arg(n, 1))
	if len(depth) != 1 || depth[0].ival < 0 {
		return "the depth is not known without running the model"
	}
	axis, ok := normAxis(n.Int("axis", -1), len(in)+1)
	if !ok {
		return "axis out of range"
	}
	d := s.sized(depth[0], n)
	d.flag(FlagVocab, fmt.Sprintf("%s: rows looked up by data", n))
	out := append(append(append([]*node(nil), in[:axis]...), d), in[axis:]...)
	s.setAxes(n.Out[0], out)
	return ""
}
