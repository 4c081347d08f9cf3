package axes

import (
	"fmt"
	"slices"
	"strings"
)

// node is an axis during inference: a union-find node with a structure. Only leaves become atoms.
type node struct {
	parent *node // nil at the root
	id     int
	size   int64
	kind   Kind
	args   []*node
	flags  Flag
	why    []string
	// name is a dim_param, for run-time leaves.
	name string
	// one says that the size-1 axis is a place to broadcast, not a width.
	one bool
	// computed says that the run-time size is an expression (batch x heads): not all of the axis need be a run-time dimension.
	computed bool
	// repeat says that the leaf was made by repeating a size-1 axis (the query heads of one key/value head).
	repeat bool
	// born lists the Reshape output axes that made a size-1 leaf: a candidate for a width that happens to be 1.
	born []birthKey

	mark   int // of the last walk that came here
	budget *budget
}

func (n *node) find() *node {
	for n.parent != nil {
		if n.parent.parent != nil {
			n.parent = n.parent.parent
		}
		n = n.parent
	}
	return n
}

// walk visits every node of the structure below n once, n included, outermost first; it ends when f reports false.
func (n *node) walk(f func(*node) bool) bool {
	n = n.find()
	if n.kind == Leaf {
		n.budget.spend(1)
		return f(n)
	}
	n.budget.mark++
	return n.visit(n.budget.mark, f)
}

func (n *node) visit(mark int, f func(*node) bool) bool {
	if n = n.find(); n.mark == mark {
		return true
	}
	n.mark = mark
	n.budget.spend(1)
	if !f(n) {
		return false
	}
	for _, a := range n.args {
		if !a.visit(mark, f) {
			return false
		}
	}
	return true
}

// leaves lists the different leaves below n in order.
func (n *node) leaves() []*node {
	var out []*node
	n.walk(func(m *node) bool {
		if m.kind == Leaf {
			out = append(out, m)
		}
		return true
	})
	return out
}

// contains reports whether m is n or part of its structure.
func (n *node) contains(m *node) bool {
	m = m.find()
	return !n.walk(func(x *node) bool { return x != m })
}

// flag sets flags on every leaf below n; the first reason for each is kept.
func (n *node) flag(f Flag, why string) {
	for _, l := range n.leaves() {
		l.set(f, why)
	}
}

func (n *node) set(f Flag, why string) {
	if n.flags&f == f {
		return
	}
	n.flags |= f
	if f&forbid != 0 && why != "" {
		n.because(why)
	}
}

// because adds reasons that are not there yet.
func (n *node) because(why ...string) {
	const enough = 8
	for _, w := range why {
		if len(n.why) < enough && !slices.Contains(n.why, w) {
			n.why = append(slices.Clip(n.why), w) // a split shares the reasons
		}
	}
}

// has reports whether any leaf below n has one of the flags.
func (n *node) has(f Flag) bool {
	return !n.walk(func(m *node) bool { return m.kind != Leaf || m.flags&f == 0 })
}

// run reports whether the size of n depends on a run-time dimension.
func (n *node) run() bool { return n.has(FlagRun) }

// String writes the structure for messages, cut short where it is long.
func (n *node) String() string {
	var b strings.Builder
	n.write(&b)
	return b.String()
}

func (n *node) write(b *strings.Builder) {
	const enough = 120
	n = n.find()
	switch {
	case n.kind != Leaf && b.Len() > enough:
		b.WriteString("…")
		return
	case n.kind != Leaf:
	case n.name != "":
		fmt.Fprintf(b, "%s=%d", n.name, n.size)
		return
	default:
		fmt.Fprintf(b, "%d", n.size)
		return
	}
	sep := "x"
	if n.kind == Sum {
		sep = "+"
	}
	b.WriteString("(")
	for i, a := range n.args {
		if i > 0 {
			b.WriteString(sep)
		}
		if b.Len() > enough {
			b.WriteString("…")
			break
		}
		a.write(b)
	}
	b.WriteString(")")
}

// leaf makes a new width variable.
func (s *state) leaf(size int64) *node {
	s.nodes++
	return &node{id: s.nodes, size: size, one: size == 1, budget: s.budget}
}

// runLeaf makes a run-time dimension.
func (s *state) runLeaf(size int64, why string) *node {
	n := s.leaf(size)
	n.set(FlagRun, why)
	return n
}

// product makes the Kronecker product of axes, outermost first, flattening products and dropping places to broadcast.
func (s *state) product(args ...*node) *node {
	return s.compose(Product, args)
}

// sum makes the direct sum of axes in order, flattening sums.
func (s *state) sum(args ...*node) *node {
	return s.compose(Sum, args)
}

func (s *state) compose(kind Kind, args []*node) *node {
	var flat []*node
	size := int64(0)
	if kind == Product {
		size = 1
	}
	for _, a := range args {
		a = a.find()
		if kind == Product {
			size = times(size, a.size)
			if a.kind == Leaf && a.one && a.born == nil {
				continue
			}
		} else {
			size = plus(size, a.size)
			if a.size == 0 {
				continue
			}
		}
		if a.kind == kind {
			for _, b := range a.args {
				flat = append(flat, b.find())
			}
		} else {
			flat = append(flat, a)
		}
	}
	switch len(flat) {
	case 0:
		return s.leaf(size)
	case 1:
		return flat[0]
	}
	n := s.leaf(size)
	n.one = false
	n.kind, n.args = kind, flat
	return n
}

// flat lists the factors of a product or the segments of a sum in order, repeats included.
func (n *node) flat(kind Kind) []*node {
	return n.appendFlat(nil, kind)
}

func (n *node) appendFlat(out []*node, kind Kind) []*node {
	n = n.find()
	n.budget.spend(1)
	if n.kind != kind {
		if len(out) >= maxParts {
			panic(stopped{fmt.Errorf("an axis of more than %d parts", maxParts)})
		}
		return append(out, n)
	}
	for _, a := range n.args {
		out = a.appendFlat(out, kind)
	}
	return out
}
