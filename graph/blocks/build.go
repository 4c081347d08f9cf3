package blocks

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
)

// builder makes a stage from the cuts that bound its blocks.
type builder struct {
	f      *flow
	bounds []*cut
	beside []*graph.Value
	units  [][]int // by block: its part of the flow
	blocks []*Block
	in     []map[*graph.Node]bool // by block: Block.Nodes as a set

	modules []*Module
	module  map[*graph.Value]*Module // by the first block's constant
	tuples  [][]string               // names of corresponding things, by block, for finding the model's own numbering
}

func (f *flow) newBuilder(bounds []*cut, beside []*graph.Value) *builder {
	b := &builder{f: f, bounds: bounds, beside: beside, module: map[*graph.Value]*Module{}}
	pos := positions(f.r.Graph)
	ends := b.ends()
	for i := 1; i < len(bounds); i++ {
		units := f.segment(bounds[i-1], bounds[i], beside)
		set := b.copySet(units, bounds[i-1], bounds[i], ends)
		bl := &Block{In: bounds[i-1].vals, Out: bounds[i].vals}
		for n := range set {
			bl.Nodes = append(bl.Nodes, n)
		}
		slices.SortFunc(bl.Nodes, func(a, b *graph.Node) int { return pos[a] - pos[b] })
		b.units, b.in, b.blocks = append(b.units, units), append(b.in, set), append(b.blocks, bl)
	}
	return b
}

// ends marks the nodes that lead to graph outputs other than the main one, and nowhere else.
func (b *builder) ends() map[*graph.Node]bool {
	g := b.f.r.Graph
	toMain := map[*graph.Node]bool{}
	if b.f.main.Producer != nil {
		toMain[b.f.main.Producer] = true
	}
	ends := map[*graph.Node]bool{}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		if !toMain[n] {
			ends[n] = true
			continue
		}
		for _, v := range operands(n) {
			if v != nil && v.Producer != nil {
				toMain[v.Producer] = true
			}
		}
	}
	return ends
}

// copySet is what a copy of a block must copy: the nodes on the way from start to end, what only they use (per-layer masks, shape
// arithmetic), and what follows from them without leading anywhere else (caches).
func (b *builder) copySet(units []int, from, to *cut, ends map[*graph.Node]bool) map[*graph.Node]bool {
	boundary := map[*graph.Value]bool{}
	for _, v := range slices.Concat(from.vals, b.beside) {
		boundary[v] = true
	}
	set := map[*graph.Node]bool{}
	for _, i := range units {
		n := b.f.units[i].node
		if n == nil {
			continue
		}
		for _, v := range operands(n) {
			if v != nil && (boundary[v] || set[v.Producer]) {
				set[n] = true
				break
			}
		}
	}
	out := map[*graph.Value]bool{}
	for _, v := range to.vals {
		out[v] = true
	}
	fixed := map[*graph.Node]bool{} // what gives the boundary values belongs to what came before
	for v := range boundary {
		if v.Producer != nil {
			fixed[v.Producer] = true
		}
	}
	grow(set, func(n *graph.Node) []*graph.Node {
		var next []*graph.Node
		for _, o := range n.Out {
			if o == nil || out[o] {
				continue
			}
			for _, u := range o.Uses {
				if ends[u.Node] && !b.readsOther(u.Node, set, out) {
					next = append(next, u.Node)
				}
			}
		}
		return next
	})
	grow(set, func(n *graph.Node) []*graph.Node {
		var next []*graph.Node
		for _, v := range operands(n) {
			if v != nil && v.Producer != nil && !fixed[v.Producer] && b.onlyUsedBy(v.Producer, set) {
				next = append(next, v.Producer)
			}
		}
		return next
	})
	return set
}

// grow adds to a set what its members lead to, until nothing is new. A node that is not led to yet is asked for again when
// another of its neighbours has joined.
func grow(set map[*graph.Node]bool, next func(*graph.Node) []*graph.Node) {
	var stack []*graph.Node
	for n := range set {
		stack = append(stack, n)
	}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, m := range next(n) {
			if !set[m] {
				set[m] = true
				stack = append(stack, m)
			}
		}
	}
}

// readsOther reports whether a node reads live values that do not come from inside the set.
func (b *builder) readsOther(n *graph.Node, set map[*graph.Node]bool, out map[*graph.Value]bool) bool {
	return slices.ContainsFunc(operands(n), func(v *graph.Value) bool {
		return v != nil && b.f.live[v] && (out[v] || !set[v.Producer])
	})
}

func (b *builder) onlyUsedBy(n *graph.Node, set map[*graph.Node]bool) bool {
	used := false
	for _, o := range n.Out {
		if o == nil {
			continue
		}
		for _, u := range o.Uses {
			if !set[u.Node] {
				return false
			}
			used = true
		}
	}
	return used && !slices.ContainsFunc(n.Out, func(o *graph.Value) bool { return o != nil && b.f.r.Graph.IsOutput(o) })
}

// stage makes the stage: correspondence, interface, and how a copy is made inert.
func (b *builder) stage(s *signer) *Stage {
	st := &Stage{Blocks: b.blocks}
	b.findOutputs()
	b.correspond(s)
	st.numbering = findNumbering(b.tuples, len(b.blocks))
	b.nameModules(st.numbering)
	st.Modules = b.modules
	b.inert(st)
	return st
}

// findOutputs finds the graph outputs that every block gives: caches, attention maps, hidden states. An output that only some
// blocks give (a tap for distillation, the model's own output) is no matter of layers.
func (b *builder) findOutputs() {
	g := b.f.r.Graph
	found := make([][]*graph.Value, len(b.blocks))
	for i, bl := range b.blocks {
		for _, o := range g.Outputs {
			if o != b.f.main && o.Producer != nil && b.in[i][o.Producer] && !slices.Contains(bl.Out, o) {
				found[i] = append(found[i], o)
			}
		}
	}
	for i := range b.blocks {
		if len(found[i]) != len(found[0]) {
			return
		}
	}
	states := true // the stream itself is given after every block, but perhaps the last (which a final norm follows)
	for i, bl := range b.blocks {
		if i < len(b.blocks)-1 || len(b.blocks) == 1 {
			states = states && g.IsOutput(bl.Out[0]) && bl.Out[0] != b.f.main
		}
	}
	for i, bl := range b.blocks {
		bl.Outputs = found[i]
		if states && i < len(b.blocks)-1 {
			bl.Outputs = append(bl.Outputs, bl.Out[0])
		}
	}
}
