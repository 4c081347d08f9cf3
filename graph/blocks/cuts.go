package blocks

import (
	"cmp"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
)

// cut is a place where the stream can be cut: everything that the rest of the model takes from what came before is in vals,
// apart from values beside the stream that several cuts have in common (the encoder's output for a decoder, the patches for a
// class stage, position embeddings that every layer adds).
type cut struct {
	vals   []*graph.Value // one, or a normed value and the sum that it norms
	beside []*graph.Value // in the order of the flow; none for a cut of the trunk
	unit   int            // of vals[0]
}

// maxBeside is how many values may run beside the stream.
const maxBeside = 3

// cuts lists every cut of the flow in topological order.
func (f *flow) cuts() []*cut {
	var all []*cut
	for i, u := range f.units {
		for _, v := range u.outs {
			if !f.r.Carries(v, f.d) {
				continue
			}
			pass, few := f.passing(i, v)
			if !few {
				continue
			}
			if len(pass) <= maxBeside {
				all = append(all, &cut{vals: []*graph.Value{v}, unit: i, beside: pass})
			}
			for j, w := range pass {
				if f.paired(v, w) {
					all = append(all, &cut{vals: []*graph.Value{v, w}, unit: i, beside: slices.Delete(slices.Clone(pass), j, j+1)})
					break
				}
			}
		}
	}
	return all
}

// passing lists the values other than v that v's history gives to the rest of the model, in the order of the flow. It reports
// false when there are more than a cut can have.
func (f *flow) passing(i int, v *graph.Value) ([]*graph.Value, bool) {
	anc := f.units[i].anc
	var pass []*graph.Value
	anc.down(func(j int) bool {
		u := &f.units[j]
		for k, o := range slices.Backward(u.outs) {
			if o != v && slices.ContainsFunc(u.next[k], func(n int) bool { return !anc.has(n) }) {
				pass = append(pass, o)
			}
		}
		return len(pass) <= maxBeside+1
	})
	slices.Reverse(pass)
	return pass, len(pass) <= maxBeside+1
}

// paired reports whether v is a norm of the sum w: fused skip-norms hand both to the next layer.
func (f *flow) paired(v, w *graph.Value) bool {
	if !f.r.Carries(w, f.d) {
		return false
	}
	if n := f.norms[v]; n != nil && n.In == w {
		return true
	}
	return v.Producer != nil && v.Producer == w.Producer && isNormOp(v.Producer)
}

// chain is a row of cuts, each an ancestor of the next, with the same values beside them.
type chain struct {
	cuts   []*cut
	beside []*graph.Value
}

// chains sorts the cuts into chains. A chain with values beside it starts with the cuts that it grows out of and goes on with those
// that it grows into: the first layer of a decoder has not seen the encoder yet, and after the last one nothing reads it.
//
// A cut goes on with the longest chain that it can: of two norms of one sum (parallel branches) only one is on the way, and the
// other must not draw the chain aside.
func (f *flow) chains(all []*cut) []*chain {
	var out []*chain
	for _, c := range all {
		var on *chain
		for _, ch := range out {
			last := ch.cuts[len(ch.cuts)-1]
			if slices.Equal(ch.beside, c.beside) && f.follows(c, last) && (on == nil || len(ch.cuts) > len(on.cuts)) {
				on = ch
			}
		}
		if on == nil {
			on = &chain{beside: c.beside}
			out = append(out, on)
		}
		on.cuts = append(on.cuts, c)
	}
	// Every branch is a chain beside its stream. Those without a branch of their own are no stages.
	out = slices.DeleteFunc(out, func(ch *chain) bool {
		return len(ch.beside) > 0 && !slices.ContainsFunc(ch.cuts, f.isSkipSource)
	})
	for _, ch := range out {
		if len(ch.beside) == 0 {
			continue
		}
		for _, c := range slices.Backward(all) {
			if f.follows(ch.cuts[0], c) && f.freer(c, ch) && !slices.ContainsFunc(ch.beside, func(v *graph.Value) bool { return f.depends(v, c.unit) }) {
				ch.cuts = slices.Insert(ch.cuts, 0, c)
			}
		}
		for _, c := range all {
			if f.follows(c, ch.cuts[len(ch.cuts)-1]) && f.freer(c, ch) {
				ch.cuts = append(ch.cuts, c)
			}
		}
	}
	return out
}

// follows reports whether cut b comes before cut a in a's history.
func (f *flow) follows(a, b *cut) bool {
	return a.unit != b.unit && f.units[a.unit].anc.has(b.unit)
}

// freer reports whether only some of the values beside a chain run beside a cut.
func (f *flow) freer(c *cut, ch *chain) bool {
	return len(c.beside) < len(ch.beside) && !slices.ContainsFunc(c.beside, func(v *graph.Value) bool { return !slices.Contains(ch.beside, v) })
}

// segment lists the units between two cuts of a chain.
func (f *flow) segment(from, to *cut, beside []*graph.Value) []int {
	set := slices.Clone(f.units[to.unit].anc)
	for _, v := range slices.Concat(from.vals, beside) {
		for i, w := range f.units[f.unit[v]].anc {
			set[i] &^= w
		}
	}
	var out []int
	set.each(func(i int) bool { out = append(out, i); return true })
	return out
}

// isSkipSource reports whether a sum joins the cut's value with something computed from it: the start of a residual branch.
// Among all rotations of a repeating row it is the one that people call a layer.
func (f *flow) isSkipSource(c *cut) bool {
	seen := map[*graph.Value]bool{}
	stack := slices.Clone(c.vals)
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[v] {
			continue
		}
		seen[v] = true
		for _, u := range v.Uses {
			if u.Index < 0 || len(u.Node.Out) == 0 {
				continue
			}
			if isView(u.Node) && u.Index == 0 || isScaling(u) {
				stack = append(stack, u.Node.Out[0])
				continue
			}
			for _, k := range addends(u.Node) {
				w := u.Node.In[k]
				if k != u.Index && w != nil && !seen[w] && f.depends(w, c.unit) && f.unit[w] != c.unit && slices.Contains(addends(u.Node), u.Index) {
					return true
				}
			}
		}
	}
	return false
}

// repeat is a periodic run of segments in a chain: cuts[start], cuts[start+period] … bound the blocks.
type repeat struct {
	start, period, count int
	covered              int // units
	single               bool
}

// better orders repeats: the more of the graph they explain the better; then plain boundaries before pairs, then short periods.
func (r repeat) better(o repeat) bool {
	if o.count == 0 {
		return true
	}
	single := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(r.covered, o.covered), cmp.Compare(single(r.single), single(o.single)),
		cmp.Compare(o.period, r.period), cmp.Compare(o.start, r.start)) > 0
}

// bestRepeat searches cuts lo..hi (inclusive) of a chain for the best run of at least two equal blocks that start at a skip
// source. sig and size describe the segment after each cut.
func bestRepeat(cuts []*cut, sig []uint64, size []int, skip []bool, lo, hi int) repeat {
	var best repeat
	n := hi - lo // segments
	for p := 1; 2*p <= n; p++ {
		run := 0 // how many segments from a on equal the one p further on
		for a := hi - p - 1; a >= lo; a-- {
			if sig[a] == sig[a+p] {
				run++
			} else {
				run = 0
			}
			if !skip[a] || run < p {
				continue
			}
			r := repeat{start: a, period: p, count: run/p + 1, single: len(cuts[a].vals) == 1}
			for _, s := range size[a : a+r.count*p] {
				r.covered += s
			}
			if r.better(best) {
				best = r
			}
		}
	}
	return best
}
