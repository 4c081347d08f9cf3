package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

func slice(s *state, n *graph.Node) string {
	in := s.axes[n.In[0]]
	starts, ends := s.dims(n, 1, "starts"), s.dims(n, 2, "ends")
	axes, steps := s.dims(n, 3, "axes"), s.dims(n, 4, "steps")
	out := append([]*node(nil), in...)
	org := append([][]constAxis(nil), s.origins[n.In[0]]...)
	s.setWeightOnly(n, n.In[0])
	if len(starts) == 0 || len(starts) != len(ends) {
		// bounds that depend on data: the sliced axes are not known either, unless they are named
		if axes == nil || (arg(n, 3) == nil && n.Attr("axes") == nil) {
			return "the bounds are not known without running the model"
		}
		for _, a := range axes {
			i, ok := normAxis(a.ival, len(in))
			if !ok {
				return "axis out of range"
			}
			why := fmt.Sprintf("%s: sliced at bounds computed from data", n)
			in[i].flag(FlagIndex, why)
			out[i] = s.runLeaf(in[i].find().size, why)
			out[i].one = false
		}
		s.setAxes(n.Out[0], out)
		s.origins[n.Out[0]] = org
		return ""
	}
	if len(axes) == 0 {
		for i := range starts {
			axes = append(axes, intSym(int64(i)))
		}
	}
	if len(axes) != len(starts) {
		return "as many axes as bounds are needed"
	}
	for j, ay := range axes {
		i, ok := normAxis(ay.ival, len(in))
		if !ok {
			return "axis out of range"
		}
		step := int64(1)
		if j < len(steps) {
			step = steps[j].ival
		}
		a := in[i].find()
		if step != 1 {
			why := fmt.Sprintf("%s: strided slice", n)
			if step == 0 {
				return "a step of 0"
			}
			a.flag(FlagIndex, why)
			if _, count := strided(starts[j].ival, ends[j].ival, step, a.size); count != a.size {
				if i < len(org) {
					org[i] = nil
				}
				if out[i] = s.leaf(count); a.run() {
					out[i].set(FlagRun, why)
				}
			}
			continue
		}
		out[i] = s.sliceAxis(n, a, starts[j], ends[j])
	}
	s.setAxes(n.Out[0], out)
	s.origins[n.Out[0]] = org
	if st := s.vals[n.In[0]]; st != nil && len(st.shape) == 1 && len(axes) == 1 {
		step := int64(1)
		if len(steps) > 0 {
			step = steps[0].ival
		}
		first, count := strided(starts[0].ival, ends[0].ival, step, int64(len(st.elems)))
		r := &static{shape: []int64{count}, elems: make([]*sym, count)}
		for k := range count {
			r.elems[k] = st.elems[first+k*step]
		}
		s.vals[n.Out[0]] = r
	}
	return ""
}

// strided gives the first index and the number of elements of a slice of n elements, for any step but 0.
func strided(lo, hi, step, n int64) (first, count int64) {
	if step > 0 {
		if lo, hi = clampRange(lo, hi, n); lo == hi {
			return lo, 0
		}
		return lo, (hi-lo-1)/step + 1
	}
	if lo < 0 {
		lo += n
	}
	if hi < 0 {
		hi += n
	}
	lo, hi = min(lo, n-1), max(hi, -1)
	if lo <= hi || lo < 0 {
		return 0, 0
	}
	if step < -n {
		return lo, 1
	}
	return lo, (lo-hi-1)/-step + 1
}

// sliceAxis gives the axis that a slice with step 1 leaves of a.
func (s *state) sliceAxis(n *graph.Node, a *node, start, end *sym) *node {
	lo, hi := clampRange(start.ival, end.ival, a.size)
	whole := lo == 0 && hi == a.size
	runBound := start.run() || end.run()
	switch {
	case whole && !runBound:
		if end.ival == a.size {
			s.require(end, a, n, "slice end")
		}
		return a
	case runBound || a.run():
		why := fmt.Sprintf("%s: sliced at run-time bounds", n)
		if !a.run() {
			a.flag(FlagIndex, why)
		}
		if whole && a.run() && runBound {
			return a
		}
		if lo == 0 && end.dim != nil && end.dim.run() && end.dim.find().size == hi {
			return end.dim
		}
		if !runBound && hi-lo == 1 { // one position of a run-time axis
			return s.leaf(1)
		}
		l := s.runLeaf(hi-lo, why)
		l.one = !runBound && hi-lo == 1
		return l
	case hi <= lo:
		return s.leaf(0)
	case hi-lo == 1 && start.literal() && a.kind == Leaf:
		a.flag(FlagIndex, fmt.Sprintf("%s: addressed by a constant index", n))
		return s.leaf(1)
	}
	var sizes []int64
	at := -1
	for _, z := range []int64{lo, hi - lo, a.size - hi} {
		if z > 0 {
			if z == hi-lo && at < 0 && (len(sizes) == 1) == (lo > 0) {
				at = len(sizes)
			}
			sizes = append(sizes, z)
		}
	}
	parts, ok := s.cut(a, sizes, n, "slice")
	if !ok {
		return s.leaf(hi - lo)
	}
	if lo > 0 {
		if start.ival >= 0 {
			s.require(start, parts[0], n, "slice start")
		} else {
			s.requireNeg(start, s.sum(parts[at:]...), n, "slice start")
		}
	}
	if hi < a.size {
		if end.ival >= 0 {
			s.require(end, s.sum(parts[:at+1]...), n, "slice end")
		} else {
			s.requireNeg(end, parts[at+1], n, "slice end")
		}
	} else if end.ival == a.size {
		s.require(end, a, n, "slice end")
	}
	return parts[at]
}

func (s *state) requireNeg(y *sym, axis *node, at *graph.Node, why string) {
	s.reqs = append(s.reqs, req{y: y, axis: axis, at: at, neg: true, why: why})
}

func split(s *state, n *graph.Node) string {
	in := s.axes[n.In[0]]
	axis, ok := normAxis(n.Int("axis", 0), len(in))
	if !ok {
		return fmt.Sprintf("axis %d of a value of rank %d", n.Int("axis", 0), len(in))
	}
	a := in[axis].find()
	sizes := s.dims(n, 1, "split")
	k := int64(len(n.Out))
	equal := len(sizes) == 0
	if arg(n, 1) != nil && equal {
		return "the sizes are not known without running the model"
	}
	if equal {
		if k == 0 || (a.size%k != 0 && a.run()) {
			return "uneven split of a run-time axis"
		}
		chunk := (a.size + k - 1) / k
		for i := range k {
			sizes = append(sizes, intSym(min(chunk, a.size-i*chunk)))
		}
	}
	if k > maxParts {
		return fmt.Sprintf("more than %d parts", maxParts)
	}
	if int64(len(sizes)) != k {
		return fmt.Sprintf("%d sizes for %d outputs", len(sizes), k)
	}
	total := int64(0)
	ints := make([]int64, k)
	for i, y := range sizes {
		if y.ival < 0 || y.ival > a.size-total {
			return fmt.Sprintf("a size of %d", y.ival)
		}
		ints[i] = y.ival
		total += y.ival
	}
	if total != a.size {
		return fmt.Sprintf("sizes add up to %d, the axis has %d", total, a.size)
	}
	var parts []*node
	if st := s.vals[n.In[0]]; st != nil || a.run() {
		for _, z := range ints {
			l := s.leaf(z)
			if a.run() {
				l.set(FlagRun, fmt.Sprintf("%s: part of a run-time axis", n))
			}
			parts = append(parts, l)
		}
	} else {
		var nonzero []int64
		for _, z := range ints {
			if z > 0 {
				nonzero = append(nonzero, z)
			}
		}
		cut, ok := s.cut(a, nonzero, n, "split")
		if !ok {
			for _, z := range ints {
				cut = append(cut, s.leaf(z))
			}
			nonzero = ints
		}
		j := 0
		for _, z := range ints {
			if z > 0 || len(nonzero) == len(ints) {
				parts = append(parts, cut[j])
				j++
			} else {
				parts = append(parts, s.leaf(0))
			}
		}
		for i, y := range sizes {
			if equal {
				if i > 0 && ints[i] == ints[0] {
					s.equal = append(s.equal, equality{parts[i], parts[0], n})
				}
			} else if !y.run() {
				s.require(y, parts[i], n, "split size")
			}
		}
	}
	st := s.vals[n.In[0]]
	off := int64(0)
	for i, o := range n.Out {
		if o != nil {
			out := append([]*node(nil), in...)
			out[axis] = parts[i]
			s.setAxes(o, out)
			s.origins[o] = s.origins[n.In[0]]
			if st != nil && len(st.shape) == 1 && int64(len(st.elems)) == a.size {
				s.vals[o] = &static{shape: []int64{ints[i]}, elems: st.elems[off : off+ints[i]]}
			}
		}
		off += ints[i]
	}
	s.setWeightOnly(n, n.In[0])
	return ""
}

func concat(s *state, n *graph.Node) string {
	first := s.axes[n.In[0]]
	rank := len(first)
	if rank == 0 { // illegal but seen: scalars
		rank = 1
	}
	axis, ok := normAxis(n.Int("axis", 0), rank)
	if !ok {
		return fmt.Sprintf("axis %d of a value of rank %d", n.Int("axis", 0), rank)
	}
	out := make([]*node, rank)
	org := make([][]constAxis, rank)
	var parts []*node
	st := &static{}
	for _, v := range n.In {
		if v == nil || s.unknown(v) {
			return "an operand of unknown rank"
		}
		x := s.axes[v]
		if len(x) == 0 {
			x = []*node{s.leaf(1)}
		}
		if len(x) != rank {
			return fmt.Sprintf("operands of rank %d and %d", rank, len(x))
		}
		for i, a := range x {
			if i == axis {
				parts = append(parts, a)
				continue
			}
			if out[i] == nil {
				out[i] = a
			} else {
				s.unify(out[i], a, n, "concatenated values") // nothing broadcasts here
				out[i] = out[i].find()
			}
		}
		for i := range x {
			org[i] = mergeOrigins(org[i], s.originsOf(v, i))
		}
		if vs := s.vals[v]; vs != nil && st != nil && rank == 1 {
			st.elems = append(st.elems, vs.elems...)
		} else {
			st = nil
		}
	}
	if len(parts) == 1 {
		out[axis] = parts[0]
	} else {
		out[axis] = s.concatAxis(n, parts)
	}
	s.setAxes(n.Out[0], out)
	s.setWeightOnly(n, n.In...)
	if s.weightOnly[n.Out[0]] {
		s.origins[n.Out[0]] = org
	}
	if st != nil && len(st.elems) <= maxStatic {
		st.shape = []int64{int64(len(st.elems))}
		s.vals[n.Out[0]] = st
	}
	return ""
}

// concatAxis joins the parts of a concatenated axis. Run-time parts (a cache and the new positions) make a run-time axis.
func (s *state) concatAxis(n *graph.Node, parts []*node) *node {
	total, run := int64(0), false
	for _, p := range parts {
		total = plus(total, p.find().size)
		run = run || p.run()
	}
	if run {
		for _, p := range parts {
			if !p.run() {
				p.flag(FlagIndex, fmt.Sprintf("%s: joined with a run-time axis", n))
			}
		}
		l := s.runLeaf(total, fmt.Sprintf("%s: joins run-time axes", n))
		l.one = false
		return l
	}
	var full []*node
	count := 0
	for _, p := range parts {
		if p = p.find(); p.size > 0 {
			full = append(full, p)
			count += len(p.flat(Sum))
		}
	}
	switch {
	case len(full) == 0:
		return s.leaf(0)
	case len(full) == 1:
		return full[0]
	case count > maxParts:
		why := fmt.Sprintf("%s: joins more than %d parts", n, maxParts)
		for _, p := range full {
			p.flag(FlagNoRule, why)
		}
		l := s.width(total)
		l.set(FlagNoRule, why)
		return l
	}
	return s.rawSum(full)
}
