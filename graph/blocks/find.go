package blocks

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// maxStreams bounds how many widths are tried as a residual stream; hierarchical models have one for each resolution.
const maxStreams = 8

func find(r *axes.Result) (*Structure, error) {
	if r == nil || r.Graph == nil {
		return nil, fmt.Errorf("blocks: no inferred graph")
	}
	s := &Structure{}
	covered := map[*graph.Node]bool{}
	for _, d := range streams(r) {
		f := newFlow(r, d)
		if f == nil {
			continue
		}
		// What is left after the runs of equal layers may be layers that differ in the masks they read.
		for _, loose := range []bool{false, true} {
			s.Stages = append(s.Stages, f.stages(newSigner(f, loose), covered)...)
		}
	}
	pos := positions(r.Graph)
	slices.SortStableFunc(s.Stages, func(a, b *Stage) int {
		return cmp.Compare(pos[a.Blocks[0].Out[0].Producer], pos[b.Blocks[0].Out[0].Producer])
	})
	for i, st := range s.Stages {
		if st.Why != "" {
			s.Notes = append(s.Notes, fmt.Sprintf("stage %d (%d layers): %s", i, len(st.Blocks), st.Why))
		}
	}
	return s, nil
}

func positions(g *graph.Graph) map[*graph.Node]int {
	pos := make(map[*graph.Node]int, len(g.Nodes))
	for i, n := range g.Nodes {
		pos[n] = i
	}
	return pos
}

// streams lists the widths that can be a residual stream: those that are normalised at least twice, the most normalised first. A
// model without norms has the widths that most weights contract.
func streams(r *axes.Result) []*axes.Atom {
	count := map[*axes.Atom]int{}
	for _, n := range r.Norms {
		for _, a := range atomsOf(n.Axis) {
			count[a]++
		}
	}
	if len(count) == 0 {
		for _, w := range r.Weights {
			for i, e := range w.Axes {
				if w.Sides[i] != axes.Consumer {
					continue
				}
				for _, a := range atomsOf(e) {
					count[a]++
				}
			}
		}
	}
	var out []*axes.Atom
	for _, a := range r.Atoms {
		if a != r.Hidden && count[a] >= 2 {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b *axes.Atom) int { return cmp.Compare(count[b], count[a]) })
	if r.Hidden != nil {
		out = slices.Insert(out, 0, r.Hidden)
	}
	return out[:min(len(out), maxStreams)]
}

func atomsOf(e *axes.Expr) []*axes.Atom {
	if e == nil {
		return nil
	}
	var out []*axes.Atom
	e.Atoms(func(a *axes.Atom) {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	})
	return out
}

// span is a part of a chain that is still to be searched.
type span struct {
	*chain
	sig    []uint64 // of the segment after each cut
	size   []int
	skip   []bool
	lo, hi int
}

// stages finds the periodic runs of the flow, the one that explains most first, and marks their nodes as covered.
func (f *flow) stages(s *signer, covered map[*graph.Node]bool) []*Stage {
	var spans []*span
	for _, ch := range f.chains(f.cuts()) {
		if len(ch.cuts) < 3 {
			continue
		}
		sp := &span{chain: ch, hi: len(ch.cuts) - 1}
		for i, c := range ch.cuts {
			sp.skip = append(sp.skip, f.isSkipSource(c))
			if i == 0 {
				continue
			}
			units := f.segment(ch.cuts[i-1], c, ch.beside)
			sp.sig = append(sp.sig, s.segment(units, ch.cuts[i-1], ch.beside)[c.vals[0]])
			sp.size = append(sp.size, len(units))
		}
		spans = append(spans, sp)
	}
	var out []*Stage
	for {
		var best repeat
		var on *span
		for _, sp := range spans {
			if r := bestRepeat(sp.cuts, sp.sig, sp.size, sp.skip, sp.lo, sp.hi); r.count > 0 && (on == nil || r.better(best)) {
				best, on = r, sp
			}
		}
		if on == nil {
			return out
		}
		end := best.start + best.period*best.count
		before, after := *on, *on
		before.hi, after.lo = best.start, end
		*on = before
		spans = append(spans, &after)

		var bounds []*cut
		for i := best.start; i <= end; i += best.period {
			bounds = append(bounds, on.cuts[i])
		}
		taken := slices.ContainsFunc(f.segment(bounds[0], bounds[len(bounds)-1], on.beside), func(i int) bool {
			return f.units[i].node != nil && covered[f.units[i].node]
		})
		if taken {
			continue
		}
		b := f.newBuilder(bounds, on.beside)
		for _, bl := range b.blocks {
			for _, n := range bl.Nodes {
				covered[n] = true
			}
		}
		out = append(out, b.stage(s))
	}
}
