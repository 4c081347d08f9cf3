package ligo

import (
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// chooser gives every atom of a graph its new size.
type chooser struct {
	r         *axes.Result
	equations []axes.Equation
	// from gives the atom by whose name Target.Axes may ask for an atom: that of the small graph.
	from     map[*axes.Atom]*axes.Atom
	whole    bool // sizes must be whole multiples
	doubling bool // exactly 2
}

// choice is the outcome: sizes for the atoms that change, and what is wrong with them.
type choice struct {
	sizes axes.Sizes
	// asked marks the atoms whose size was asked for by role or name; equations do not change them.
	asked    map[*axes.Atom]bool
	problems []Problem
}

func (c *choice) refuse(p Problem) { c.problems = append(c.problems, p) }

// choose resolves a target. Roles come first, then single axes, then the equations of the graph.
func (ch *chooser) choose(t Target) choice {
	out := ch.propose(t)
	if len(out.problems) > 0 {
		return out
	}
	// Before anything is multiplied as integers.
	for _, a := range ch.r.Atoms {
		if n := out.sizes.Of(a); n > maxAtom && n > a.Size || n < 0 {
			out.refuse(Problem{Code: CodeTooLarge, Text: fmt.Sprintf("%s cannot be as large as %d", a.Name, n)})
		}
	}
	ch.large(&out)
	if len(out.problems) > 0 {
		return out
	}
	ch.repair(&out)
	ch.large(&out)
	for _, a := range ch.r.Atoms {
		n := out.sizes.Of(a)
		switch {
		case n < a.Size:
			out.refuse(Problem{Code: CodeShrink, Text: fmt.Sprintf("%s cannot shrink from %d to %d", a.Name, a.Size, n), Nearest: []int64{a.Size}})
		case n > a.Size && !a.Growable():
			p := Problem{Code: CodeFrozen, Text: fmt.Sprintf("%s (size %d) cannot grow to %d", a.Name, a.Size, n), Nearest: []int64{a.Size}}
			if len(a.Why) > 0 {
				p.Text += ": " + a.Why[0]
			}
			out.refuse(p)
		case ch.doubling && n != a.Size && n != 2*a.Size:
			out.refuse(Problem{Code: CodeNotMultiple, Text: fmt.Sprintf("the method only doubles, %s would go from %d to %d", a.Name, a.Size, n), Nearest: []int64{2 * a.Size}})
		case ch.whole && n%a.Size != 0:
			k := n / a.Size
			out.refuse(Problem{Code: CodeNotMultiple, Text: fmt.Sprintf("the method needs a whole multiple, %s would go from %d to %d", a.Name, a.Size, n),
				Nearest: []int64{k * a.Size, (k + 1) * a.Size}})
		}
	}
	return out
}

// Bounds on what a target may ask for. The maps of an axis take some dozen bytes for each of its units while a model is planned.
const (
	maxAtom     = 1 << 22
	maxAxis     = 1 << 26
	maxElements = 1 << 48
)

// large refuses weights with an axis, or a number of elements, out of bounds.
func (ch *chooser) large(out *choice) {
	for _, w := range ch.r.Weights {
		n := 1.0
		for _, e := range w.Axes {
			size := measure(e, out.sizes)
			n *= size
			if size > maxAxis && size > float64(e.Size) || n > maxElements {
				out.refuse(Problem{Code: CodeTooLarge, Tensor: w.Value.Origin, Text: fmt.Sprintf("%s would have an axis of %.3g, %.3g elements so far", w.Value.Origin, size, n)})
				return
			}
		}
	}
}

// measure is the size of an expression without overflow.
func measure(e *axes.Expr, s axes.Sizes) float64 {
	switch e.Kind {
	case axes.Leaf:
		return float64(s.Of(e.Atom))
	case axes.Product:
		n := 1.0
		for _, a := range e.Args {
			n *= measure(a, s)
		}
		return n
	default:
		n := 0.0
		for _, a := range e.Args {
			n += measure(a, s)
		}
		return n
	}
}

// shape is what the roles of a model measure.
type shape struct {
	hidden, heads, kv, dim int64 // heads counts query heads
	grouped                bool
	merged                 bool // hidden = heads · dim holds now
}

func (ch *chooser) shape() shape {
	s := sizesOf(ch.r, axes.Sizes{}, nil)
	sh := shape{hidden: s.Hidden, heads: s.Heads, kv: s.KVHeads, dim: s.HeadDim}
	sh.merged = s.Heads > 0 && s.HeadDim > 0 && s.Hidden == s.Heads*s.HeadDim
	sh.grouped = first(ch.r, axes.RoleKVHeads) != nil
	return sh
}

// propose sets the roles to what is asked for, and the rest in the model's own ratios.
func (ch *chooser) propose(t Target) choice {
	out := choice{sizes: axes.Sizes{}, asked: map[*axes.Atom]bool{}}
	now := ch.shape()
	for _, role := range []struct {
		asked, has int64
		name       string
	}{{t.Hidden, now.hidden, "hidden width"}, {t.Heads, now.heads, "heads"}, {t.KVHeads, now.kv, "key/value heads"}, {t.HeadDim, now.dim, "head size"}} {
		if role.asked > 0 && role.has == 0 {
			out.refuse(Problem{Code: CodeNoSuchRole, Text: "the model has no " + role.name + " that can grow"})
		}
	}
	if t.FFN > 0 && first(ch.r, axes.RoleFFN) == nil {
		out.refuse(Problem{Code: CodeNoSuchRole, Text: "the model has no feed-forward width that can grow"})
	}
	if len(out.problems) > 0 {
		return out
	}
	if t.Like != nil {
		ch.like(t.Like, &out)
		return out
	}
	if t.replay != nil {
		ch.replay(t.replay, &out)
		return out
	}
	want, problem := now.grow(t)
	if problem != nil {
		out.refuse(*problem)
		return out
	}
	ch.apply(t, now, want, &out)
	ch.byName(t, &out)
	return out
}

// grow works out the role sizes of a target.
func (now shape) grow(t Target) (shape, *Problem) {
	want := now
	factor := t.Width
	if t.zero() {
		factor = 2
	}
	if factor == 0 {
		factor = 1
	}
	scaled := func(n int64) int64 { return int64(math.Round(float64(n) * factor)) }
	if t.HeadDim > 0 {
		want.dim = t.HeadDim
	}
	switch {
	case t.Hidden > 0:
		want.hidden = t.Hidden
	case now.merged && t.Heads == 0 && factor != 1:
		want.hidden = scaled(now.heads) * want.dim // as near as whole heads allow
	case factor != 1:
		want.hidden = scaled(now.hidden)
	}
	switch {
	case t.Heads > 0:
		want.heads = t.Heads
		if now.merged && t.Hidden > 0 && t.HeadDim == 0 && t.Hidden%t.Heads == 0 && t.Hidden/t.Heads >= now.dim {
			want.dim = t.Hidden / t.Heads
		}
	case t.KVHeads > 0 && t.Hidden == 0 && now.kv > 0:
		want.heads = now.heads / now.kv * t.KVHeads
	case now.merged && want.hidden != now.hidden:
		want.heads = max(now.heads, want.hidden/want.dim)
	case want.hidden != now.hidden && now.hidden > 0:
		want.heads = max(now.heads, int64(math.Round(float64(now.heads)*float64(want.hidden)/float64(now.hidden))))
	case factor != 1:
		want.heads = scaled(now.heads)
	}
	if !now.grouped {
		if t.KVHeads > 0 && t.KVHeads != want.heads {
			return want, &Problem{Code: CodeSizeEquation, Nearest: []int64{want.heads},
				Text: fmt.Sprintf("every query head has a key/value head of its own here: %d heads need %d of them, not %d", want.heads, want.heads, t.KVHeads)}
		}
		want.kv = want.heads
		return want, nil
	}
	group := now.heads / now.kv
	switch {
	case t.KVHeads > 0:
		want.kv = t.KVHeads
	case want.heads%group == 0:
		want.kv = want.heads / group
	case want.heads%now.kv == 0:
		want.kv = now.kv
	case t.Heads == 0:
		want.heads = max(now.heads, want.heads/group*group)
		want.kv = want.heads / group
	default:
		want.kv = now.kv
	}
	if want.heads%want.kv != 0 || want.heads/want.kv < group {
		k := max(want.heads/want.kv, group)
		return want, &Problem{Code: CodeSizeEquation, Nearest: []int64{k * want.kv, (k + 1) * want.kv},
			Text: fmt.Sprintf("%d query heads cannot share %d key/value heads (now %d share %d)", want.heads, want.kv, now.heads, now.kv)}
	}
	return want, nil
}

// apply gives the sizes of the roles to their atoms. An atom whose size is not its role's first keeps its ratio to it.
func (ch *chooser) apply(t Target, now, want shape, out *choice) {
	set := func(a *axes.Atom, from, to int64, asked bool) {
		if from == 0 || (!a.Growable() && !asked) {
			return
		}
		if asked && a.Size == from {
			out.asked[a] = true
		}
		if from == to {
			return
		}
		n := to
		if a.Size != from {
			n = int64(math.Round(float64(a.Size) * float64(to) / float64(from)))
		}
		out.sizes[a] = n
	}
	ffnFrom, ffnTo, ffnAsked := now.hidden, want.hidden, false
	if f := first(ch.r, axes.RoleFFN); f != nil && t.FFN > 0 {
		ffnFrom, ffnTo, ffnAsked = f.Size, t.FFN, true
	}
	group := func(s shape) int64 {
		if s.kv == 0 {
			return 1
		}
		return s.heads / s.kv
	}
	if t.sized() && t.Hidden == 0 && t.Width == 0 {
		// Whoever asks for heads does not ask for a wider stream: an equation that needs one is a problem to report.
		for _, a := range ch.r.Atoms {
			out.asked[a] = out.asked[a] || a.Role == axes.RoleHidden
		}
	}
	inner, grouped := map[*axes.Atom]bool{}, map[*axes.Atom]bool{}
	for _, s := range ch.r.Scores {
		s.Inner.Atoms(func(a *axes.Atom) { inner[a] = true })
		if s.Batch != nil && s.Batch.Kind == axes.Product {
			s.Batch.Atoms(func(a *axes.Atom) { grouped[a] = a.Role == axes.RoleHeads })
		}
	}
	for _, a := range ch.r.Atoms {
		switch {
		case inner[a]:
		case a.Role == axes.RoleHidden:
			set(a, now.hidden, want.hidden, t.Hidden > 0 && a == ch.r.Hidden)
		case a.Role == axes.RoleHeads && (a.Groups != nil || grouped[a]):
			set(a, group(now), group(want), t.Heads > 0)
		case a.Role == axes.RoleHeads:
			set(a, now.heads, want.heads, t.Heads > 0)
		case a.Role == axes.RoleKVHeads:
			set(a, now.kv, want.kv, t.KVHeads > 0)
		case a.Role == axes.RoleHeadDim:
			set(a, now.dim, want.dim, t.HeadDim > 0)
		case a.Role == axes.RoleFFN:
			set(a, ffnFrom, ffnTo, ffnAsked)
		default:
			set(a, now.hidden, want.hidden, false)
		}
	}
	if want.dim == now.dim {
		for a := range inner {
			out.asked[a] = t.HeadDim > 0
		}
		return
	}
	done := map[*axes.Expr]bool{}
	for _, s := range ch.r.Scores {
		if !done[s.Inner] {
			done[s.Inner] = true
			ch.headDim(s.Inner, now.dim, want.dim, t.HeadDim > 0, out)
		}
	}
}

// headDim sets the parts of a contracted head axis so that it measures to. A part that occurs once takes all that is added: where
// rotary embeddings turn only some of the head, that is the rest. Otherwise all parts keep their ratio (the two halves of a rotation).
func (ch *chooser) headDim(e *axes.Expr, from, to int64, asked bool, out *choice) {
	if e.Size != from {
		to = int64(math.Round(float64(e.Size) * float64(to) / float64(from)))
	}
	if e.Kind == axes.Leaf {
		if e.Atom.Growable() || asked {
			out.sizes[e.Atom] = to
			out.asked[e.Atom] = asked
		}
		return
	}
	times := map[*axes.Atom]int64{}
	e.Atoms(func(a *axes.Atom) { times[a]++ })
	var single *axes.Atom
	many := false
	e.Atoms(func(a *axes.Atom) {
		switch {
		case times[a] > 1:
			many = true
		case single == nil || a.Size > single.Size:
			single = a
		}
	})
	if e.Kind == axes.Sum && single != nil && many && single.Growable() {
		out.sizes[single] = single.Size + to - e.Size
		out.asked[single] = asked
		return
	}
	trial := axes.Sizes{}
	e.Atoms(func(a *axes.Atom) { trial[a] = a.Size * to / e.Size })
	if trial.Eval(e) != to {
		step := int64(0) // the least that all parts can grow by together
		for n := e.Size; step == 0; n++ {
			even := n > e.Size
			e.Atoms(func(a *axes.Atom) { even = even && a.Size*n%e.Size == 0 })
			if even {
				step = n - e.Size
			}
		}
		low := e.Size + (to-e.Size)/step*step
		out.refuse(Problem{Code: CodeSizeEquation, Text: fmt.Sprintf("a head of %s cannot measure %d", e, to), Nearest: []int64{low, low + step}})
		return
	}
	for a, n := range trial {
		out.sizes[a] = n
		out.asked[a] = asked
	}
}

// byName sets the axes that the target names. Layers are not axes, but are named alike.
func (ch *chooser) byName(t Target, out *choice) {
	names := make([]string, 0, len(t.Axes))
	for name := range t.Axes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		found := false
		for _, a := range ch.r.Atoms {
			small := a
			if ch.from != nil {
				small = ch.from[a]
			}
			if small == nil || small.Name != name {
				continue
			}
			found = true
			out.sizes[a] = t.Axes[name]
			out.asked[a] = true
		}
		var i int
		if _, err := fmt.Sscanf(name, "layers.%d", &i); !found && err != nil {
			out.refuse(Problem{Code: CodeNoSuchAxis, Text: fmt.Sprintf("there is no axis %q; inspect lists those there are", name)})
		}
	}
}
