package blocks

import (
	"math/bits"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// flow is the data flow of one residual stream: the values that carry its width d, and everything computed from them, as far as
// the main output depends on it.
//
// Exported graphs are full of edges that are not data flow (a tensor kept for its shape alone, a cache that only leaves the
// graph, masks and position ids that every layer reads). Each of them would tie all layers together and hide the places where
// one value carries everything. They are left out here: Shape cuts the edge, and what does not depend on a value of width d is a
// side value, whoever uses it.
type flow struct {
	r *axes.Result
	d *axes.Atom

	live  map[*graph.Value]bool // depends on a value of width d and, by data, on a graph input
	main  *graph.Value          // the graph output with the longest history
	units []unit                // topological order
	unit  map[*graph.Value]int  // the unit that gives a value; values outside the flow have none
	norms map[*graph.Value]*axes.Norm
}

// unit is one step of the flow: a node, or a value that enters it (node is nil).
type unit struct {
	node *graph.Node
	outs []*graph.Value
	next [][]int // by output: the units that use it
	anc  bitset  // the units it depends on, itself included
}

// maxUnits bounds the memory of the ancestor sets (maxUnits² bits, 128 MiB). The largest language models have a tenth of it.
const maxUnits = 1 << 15

// cutsData says that the operator's output holds no data of its input.
func cutsData(n *graph.Node) bool {
	return n.Domain == "" && (n.Op == "Shape" || n.Op == "Size")
}

// operands are the values that a node reads, sub-graphs included.
func operands(n *graph.Node) []*graph.Value {
	if len(n.Captures) == 0 {
		return n.In
	}
	return append(n.In[:len(n.In):len(n.In)], n.Captures...)
}

// newFlow traces width d; it gives nil where the graph has no output that depends on it.
func newFlow(r *axes.Result, d *axes.Atom) *flow {
	f := &flow{r: r, d: d, live: map[*graph.Value]bool{}, unit: map[*graph.Value]int{}, norms: map[*graph.Value]*axes.Norm{}}
	for _, n := range r.Norms {
		if n.Out != nil {
			f.norms[n.Out] = n
		}
	}
	seeds := f.findLive()
	f.main = f.findMain()
	if f.main == nil {
		return nil
	}
	toMain := f.reach(f.main)
	f.findUnits(toMain, seeds)
	if len(f.units) > maxUnits {
		return nil
	}
	f.link()
	return f
}

func (f *flow) static(v *graph.Value) bool {
	_, ok := f.r.Static(v)
	return ok
}

// findLive marks the live values and gives those that could be the seed of a stream (a class token, a table
// of queries): they carry d and come from constants alone.
func (f *flow) findLive() []*graph.Value {
	fromInput := map[*graph.Value]bool{}
	for _, v := range f.r.Graph.Inputs {
		fromInput[v] = true
		f.live[v] = f.r.Carries(v, f.d)
	}
	var seeds []*graph.Value
	for _, n := range f.r.Graph.Nodes {
		in, live := false, false
		if !cutsData(n) {
			for _, v := range operands(n) {
				in = in || fromInput[v]
				live = live || f.live[v]
			}
		}
		for _, o := range n.Out {
			if o == nil || f.static(o) {
				continue
			}
			fromInput[o] = in
			carries := f.r.Carries(o, f.d)
			switch {
			case in && (live || carries):
				f.live[o] = true
			case !in && carries:
				seeds = append(seeds, o)
			}
		}
	}
	return seeds
}

// findMain chooses the live graph output with the most live ancestors: caches and hidden states that layers give on the way have
// fewer. The first wins a tie.
func (f *flow) findMain() *graph.Value {
	nodes := f.r.Graph.Nodes
	pos := positions(f.r.Graph)
	before := make([][]int, len(nodes)) // the nodes that give a node live data
	for i, n := range nodes {
		if cutsData(n) {
			continue
		}
		for _, v := range operands(n) {
			if v != nil && v.Producer != nil && f.live[v] {
				before[i] = append(before[i], pos[v.Producer])
			}
		}
	}
	var best *graph.Value
	most := -1
	seen := make([]int, len(nodes)) // the last output that was found to depend on the node
	for k, o := range f.r.Graph.Outputs {
		if !f.live[o] {
			continue
		}
		count, stack := 0, []int(nil)
		visit := func(i int) {
			if seen[i] != k+1 {
				seen[i] = k + 1
				count++
				stack = append(stack, i)
			}
		}
		if o.Producer != nil {
			visit(pos[o.Producer])
		}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for _, j := range before[i] {
				visit(j)
			}
		}
		if count > most {
			best, most = o, count
		}
	}
	return best
}

// reach is the set of live values that v depends on, itself included.
func (f *flow) reach(v *graph.Value) map[*graph.Value]bool {
	seen := map[*graph.Value]bool{v: true}
	stack := []*graph.Value{v}
	for len(stack) > 0 {
		n := stack[len(stack)-1].Producer
		stack = stack[:len(stack)-1]
		if n == nil || cutsData(n) {
			continue
		}
		for _, w := range operands(n) {
			if w != nil && f.live[w] && !seen[w] {
				seen[w] = true
				stack = append(stack, w)
			}
		}
	}
	return seen
}

func (f *flow) findUnits(toMain map[*graph.Value]bool, seeds []*graph.Value) {
	add := func(u unit) {
		for _, o := range u.outs {
			f.unit[o] = len(f.units)
		}
		f.units = append(f.units, u)
	}
	for _, v := range f.r.Graph.Inputs {
		if toMain[v] {
			add(unit{outs: []*graph.Value{v}})
		}
	}
	for _, v := range seeds {
		if f.startsStream(v, toMain) {
			add(unit{outs: []*graph.Value{v}})
		}
	}
	for _, n := range f.r.Graph.Nodes {
		var outs []*graph.Value
		for _, o := range n.Out {
			if o != nil && toMain[o] {
				outs = append(outs, o)
			}
		}
		if len(outs) > 0 {
			add(unit{node: n, outs: outs})
		}
	}
}

// startsStream reports whether a value made of constants joins the flow as data. A weight (transposed, cast …) does not: it is
// multiplied.
func (f *flow) startsStream(v *graph.Value, toMain map[*graph.Value]bool) bool {
	for _, u := range v.Uses {
		switch u.Node.Op {
		case "Add", "Concat", "Sum":
			if len(u.Node.Out) > 0 && toMain[u.Node.Out[0]] {
				return true
			}
		}
	}
	return false
}

// link computes uses and ancestors.
func (f *flow) link() {
	for i := range f.units {
		u := &f.units[i]
		u.next = make([][]int, len(u.outs))
		u.anc = newBitset(len(f.units))
		u.anc.set(i)
		if u.node == nil {
			continue
		}
		for _, v := range operands(u.node) {
			j, ok := f.unit[v]
			if !ok {
				continue
			}
			u.anc.or(f.units[j].anc)
			for k, o := range f.units[j].outs {
				if next := f.units[j].next[k]; o == v && (len(next) == 0 || next[len(next)-1] != i) {
					f.units[j].next[k] = append(next, i)
				}
			}
		}
	}
}

// depends reports whether v depends on what unit u gives.
func (f *flow) depends(v *graph.Value, u int) bool {
	i, ok := f.unit[v]
	return ok && f.units[i].anc.has(u)
}

// bitset is a set of small integers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

func (b bitset) or(c bitset) {
	for i, w := range c {
		b[i] |= w
	}
}

// each calls f for the members, in order, until it gives false.
func (b bitset) each(f func(int) bool) {
	for i, w := range b {
		for ; w != 0; w &= w - 1 {
			if !f(i*64 + bits.TrailingZeros64(w)) {
				return
			}
		}
	}
}

// down calls f for the members, from the largest, until it gives false.
func (b bitset) down(f func(int) bool) {
	for i := len(b) - 1; i >= 0; i-- {
		for w := b[i]; w != 0; {
			k := 63 - bits.LeadingZeros64(w)
			if !f(i*64 + k) {
				return
			}
			w &^= 1 << k
		}
	}
}
