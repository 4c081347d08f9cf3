package axes

import (
	"fmt"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
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

// leaves lists the leaves below n, in order, repeats included.
func (n *node) leaves() []*node {
	n = n.find()
	if n.kind == Leaf {
		return []*node{n}
	}
	var out []*node
	for _, a := range n.args {
		out = append(out, a.leaves()...)
	}
	return out
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
		n.why = append(n.why, why)
	}
}

// has reports whether any leaf below n has one of the flags.
func (n *node) has(f Flag) bool {
	for _, l := range n.leaves() {
		if l.flags&f != 0 {
			return true
		}
	}
	return false
}

// run reports whether the size of n depends on a run-time dimension.
func (n *node) run() bool { return n.has(FlagRun) }

func (n *node) String() string {
	n = n.find()
	switch n.kind {
	case Leaf:
		if n.name != "" {
			return fmt.Sprintf("%s=%d", n.name, n.size)
		}
		return fmt.Sprintf("%d", n.size)
	}
	sep := "x"
	if n.kind == Sum {
		sep = "+"
	}
	parts := make([]string, len(n.args))
	for i, a := range n.args {
		parts[i] = a.String()
	}
	return "(" + strings.Join(parts, sep) + ")"
}

// leaf makes a new width variable.
func (s *state) leaf(size int64) *node {
	s.nodes++
	return &node{id: s.nodes, size: size, one: size == 1}
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
			size *= a.size
			if a.kind == Leaf && a.one && a.born == nil {
				continue
			}
		} else {
			size += a.size
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

// unify makes two axes one: data flow says that their coordinates are the same. A disagreement is recorded as a conflict and the
// atoms of both sides are frozen.
func (s *state) unify(a, b *node, at *graph.Node, why string) bool {
	a, b = a.find(), b.find()
	if a == b {
		return true
	}
	if a.size != b.size {
		s.conflict(at, a, b, why)
		return false
	}
	switch {
	case a.kind == Leaf && b.kind == Leaf:
		s.link(a, b)
		return true
	case a.kind == Leaf:
		return s.bind(a, b, at, why)
	case b.kind == Leaf:
		return s.bind(b, a, at, why)
	case a.kind == Product && b.kind == Product:
		return s.unifyProducts(a, b, at, why)
	case a.kind == Sum && b.kind == Sum:
		return s.unifySums(a, b, at, why)
	case a.kind == Sum:
		return s.unifyProductSum(b, a, at, why)
	default:
		return s.unifyProductSum(a, b, at, why)
	}
}

// link joins two leaves; the older one stays.
func (s *state) link(a, b *node) {
	if b.id < a.id {
		a, b = b, a
	}
	b.parent = a
	a.flags |= b.flags
	a.why = append(a.why, b.why...)
	a.one = a.one && b.one
	a.computed = a.computed && b.computed
	a.repeat = a.repeat || b.repeat
	if a.name == "" {
		a.name = b.name
	}
	a.born = append(a.born, b.born...)
}

// bind makes a leaf stand for a composite axis; its flags go to the atoms.
func (s *state) bind(leaf, comp *node, at *graph.Node, why string) bool {
	for _, l := range comp.leaves() {
		if l == leaf {
			s.conflict(at, leaf, comp, why+" (an axis inside itself)")
			return false
		}
	}
	leaf.parent = comp
	flags, reasons := leaf.flags, leaf.why
	if leaf.computed && comp.run() {
		// the run-time part of the size is in comp already
		flags, reasons = flags&^FlagRun, nil
	}
	for _, l := range comp.leaves() {
		l.flags |= flags
		l.why = append(l.why, reasons...)
	}
	return true
}

// split replaces a leaf by a composite of fresh leaves of the given sizes.
func (s *state) split(leaf *node, kind Kind, sizes ...int64) []*node {
	parts := make([]*node, len(sizes))
	for i, n := range sizes {
		parts[i] = s.leaf(n)
		parts[i].one = false
		parts[i].flags, parts[i].why = leaf.flags, leaf.why
	}
	leaf.kind, leaf.args = kind, parts
	return parts
}

func (n *node) flat(kind Kind) []*node {
	n = n.find()
	if n.kind != kind {
		return []*node{n}
	}
	var out []*node
	for _, a := range n.args {
		out = append(out, a.flat(kind)...)
	}
	return out
}

// unifyProducts refines two products factor by factor from the outermost: equal sizes unify, a larger leaf splits by a smaller
// factor.
func (s *state) unifyProducts(a, b *node, at *graph.Node, why string) bool {
	as, bs := a.flat(Product), b.flat(Product)
	ok := true
	for len(as) > 0 && len(bs) > 0 {
		x, y := as[0].find(), bs[0].find()
		if x.kind == Product || y.kind == Product { // became a product meanwhile
			as = append(x.flat(Product), as[1:]...)
			bs = append(y.flat(Product), bs[1:]...)
			continue
		}
		switch {
		case x == y || x.size == y.size:
			// a width of 1 stands beside a factor of any size: it must meet a 1
			ok = s.unify(x, y, at, why) && ok
			as, bs = as[1:], bs[1:]
		case x.size == 1:
			as = as[1:]
		case y.size == 1:
			bs = bs[1:]
		case x.size > y.size && x.kind == Leaf && x.size%y.size == 0:
			parts := s.split(x, Product, y.size, x.size/y.size)
			as = append(parts, as[1:]...)
		case y.size > x.size && y.kind == Leaf && y.size%x.size == 0:
			parts := s.split(y, Product, x.size, y.size/x.size)
			bs = append(parts, bs[1:]...)
		default:
			// a sum on one side against several factors on the other
			if x.size > y.size {
				if n := prefix(bs, x.size); n > 0 {
					ok = s.unify(x, s.product(bs[:n]...), at, why) && ok
					as, bs = as[1:], bs[n:]
					continue
				}
			} else if n := prefix(as, y.size); n > 0 {
				ok = s.unify(y, s.product(as[:n]...), at, why) && ok
				as, bs = as[n:], bs[1:]
				continue
			}
			s.conflict(at, a, b, why)
			return false
		}
	}
	if a, b = a.find(), b.find(); a != b && a.kind != Leaf && b.kind != Leaf {
		b.parent = a
	}
	return ok
}

// prefix is the number of leading factors whose product is size; 0 when there is none.
func prefix(ns []*node, size int64) int {
	p := int64(1)
	for i, n := range ns {
		if p *= n.find().size; p == size {
			return i + 1
		} else if p > size {
			return 0
		}
	}
	return 0
}

// unifySums refines two sums segment by segment: equal sizes unify, a larger segment is cut at the boundary.
func (s *state) unifySums(a, b *node, at *graph.Node, why string) bool {
	as, bs := a.flat(Sum), b.flat(Sum)
	ok := true
	for len(as) > 0 && len(bs) > 0 {
		x, y := as[0].find(), bs[0].find()
		if x.kind == Sum || y.kind == Sum {
			as = append(x.flat(Sum), as[1:]...)
			bs = append(y.flat(Sum), bs[1:]...)
			continue
		}
		switch {
		case x == y || x.size == y.size:
			ok = s.unify(x, y, at, why) && ok
			as, bs = as[1:], bs[1:]
		case x.size > y.size:
			parts, good := s.cut(x, []int64{y.size, x.size - y.size}, at, why)
			if !good {
				return false
			}
			as = append(parts, as[1:]...)
		default:
			parts, good := s.cut(y, []int64{x.size, y.size - x.size}, at, why)
			if !good {
				return false
			}
			bs = append(parts, bs[1:]...)
		}
	}
	if a, b = a.find(), b.find(); a != b && a.kind != Leaf && b.kind != Leaf {
		b.parent = a
	}
	return ok
}

// cut divides an axis into consecutive segments of the given sizes and returns them. A leaf becomes a sum; a sum is refined; a
// product is cut at multiples of its trailing factors.
func (s *state) cut(n *node, sizes []int64, at *graph.Node, why string) ([]*node, bool) {
	n = n.find()
	if len(sizes) == 1 {
		return []*node{n}, true
	}
	if n.kind == Leaf {
		return s.split(n, Sum, sizes...), true
	}
	parts := make([]*node, len(sizes))
	for i, z := range sizes {
		parts[i] = s.leaf(z)
		parts[i].one = false
	}
	if !s.unify(n, s.rawSum(parts), at, why) {
		return nil, false
	}
	return parts, true
}

// rawSum makes a sum of the given parts without dropping any.
func (s *state) rawSum(parts []*node) *node {
	size := int64(0)
	for _, p := range parts {
		size += p.size
	}
	n := s.leaf(size)
	n.one = false
	n.kind, n.args = Sum, parts
	return n
}

// unifyProductSum reconciles a product with a sum: when the boundaries of the sum fall on multiples of the product's trailing
// factors, each segment is a multiple of those, and the leading factors count the segments (the 3 of a fused qkv).
func (s *state) unifyProductSum(p, sum *node, at *graph.Node, why string) bool {
	factors := p.flat(Product)
	segs := sum.flat(Sum)
	for n := 1; n < len(factors); n++ {
		rest := int64(1)
		for _, f := range factors[n:] {
			rest *= f.find().size
		}
		fits := true
		for _, g := range segs {
			fits = fits && g.find().size%rest == 0
		}
		if !fits {
			continue
		}
		lead, tail := factors[:n], s.product(factors[n:]...)
		lead[len(lead)-1].flag(FlagFactor, "")
		for _, f := range lead {
			f.flag(FlagFactor, fmt.Sprintf("%s: counts the segments of a fused axis", at))
		}
		ok := true
		for _, g := range segs {
			g = g.find()
			if k := g.size / rest; k == 1 {
				ok = s.unify(g, tail, at, why) && ok
			} else {
				f := s.leaf(k)
				f.one = false
				f.set(FlagFactor, fmt.Sprintf("%s: counts the segments of a fused axis", at))
				ok = s.unify(g, s.product(f, tail), at, why) && ok
			}
		}
		if p, sum = p.find(), sum.find(); p != sum {
			p.parent = sum
		}
		return ok
	}
	// one leading leaf that is larger than the number of segments may still be split by it
	s.conflict(at, p, sum, why)
	return false
}

// conflict records a disagreement and freezes the atoms of both sides.
func (s *state) conflict(at *graph.Node, a, b *node, why string) {
	reason := fmt.Sprintf("%s: %s against %s", why, a, b)
	s.conflicts = append(s.conflicts, Conflict{at, reason})
	text := fmt.Sprintf("%s: %s", at, reason)
	a.flag(FlagConflict, text)
	b.flag(FlagConflict, text)
}
