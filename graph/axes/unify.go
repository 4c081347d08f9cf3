package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

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
	case a.size == 0: // nothing to tell apart
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
	a.because(b.why...)
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
	if comp.contains(leaf) {
		s.conflict(at, leaf, comp, why+" (an axis inside itself)")
		return false
	}
	leaf.parent = comp
	flags, reasons := leaf.flags, leaf.why
	if leaf.computed && comp.run() {
		// the run-time part of the size is in comp already
		flags, reasons = flags&^FlagRun, nil
	}
	for _, l := range comp.leaves() {
		l.flags |= flags
		l.because(reasons...)
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

// join makes two composites of equal parts one, unless one is inside the other beside parts of size 1.
func (s *state) join(a, b *node) {
	if a, b = a.find(), b.find(); a != b && a.kind != Leaf && b.kind != Leaf && !a.contains(b) && !b.contains(a) {
		b.parent = a
	}
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
	s.join(a, b)
	return ok
}

// prefix is the number of leading factors whose product is size; 0 when there is none.
func prefix(ns []*node, size int64) int {
	p := int64(1)
	for i, n := range ns {
		if p = times(p, n.find().size); p == size {
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
	s.join(a, b)
	return ok
}

// cut divides an axis into consecutive segments of the given sizes and returns them. A leaf becomes a sum; a sum is refined; a
// product is cut at multiples of its trailing factors.
func (s *state) cut(n *node, sizes []int64, at *graph.Node, why string) ([]*node, bool) {
	n = n.find()
	if len(sizes) <= 1 {
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
		size = plus(size, p.find().size)
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
			rest = times(rest, f.find().size)
		}
		fits := true
		for _, g := range segs {
			fits = fits && g.find().size%rest == 0
		}
		if !fits {
			continue
		}
		lead, tail := factors[:n], s.product(factors[n:]...)
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
		s.join(sum, p)
		return ok
	}
	s.conflict(at, p, sum, why)
	return false
}

// conflict records a disagreement and freezes the atoms of both sides.
func (s *state) conflict(at *graph.Node, a, b *node, why string) {
	reason := fmt.Sprintf("%s: %s against %s", why, a, b)
	s.conflicts = append(s.conflicts, Conflict{at, reason})
	if a.size != b.size && a.run() && b.run() {
		s.clashes = append(s.clashes, [2]int64{a.find().size, b.find().size})
	}
	text := fmt.Sprintf("%s: %s", at, reason)
	a.flag(FlagConflict, text)
	b.flag(FlagConflict, text)
}
