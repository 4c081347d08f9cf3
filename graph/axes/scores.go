package axes

import (
	"math"

	"github.com/ligoonnx/ligoonnx/graph"
)

// pathScale is one scalar factor found on the way of attention scores.
type pathScale struct {
	node   *graph.Node
	y      *sym
	divide bool
	attr   string
	val    float64 // attribute value
}

// scoreSites classifies the products of two activations: those that contract an axis which weights produce are scores, those
// that contract a softmaxed axis give the values.
func (s *state) scoreSites(inside map[*graph.Node]bool) []*product2 {
	var scores []*product2
	for _, p := range s.products {
		isScore := p.fused || freePart(p.inner)
		for _, b := range p.batch {
			for _, l := range b.leaves() {
				if l.flags&(FlagRun|FlagSpatial) == 0 {
					l.set(UseScoreBatch, "")
				}
			}
		}
		switch {
		case p.fused:
			p.inner.flag(UseScoreInner, "")
			p.value.flag(UseValueDim, "")
			scores = append(scores, p)
		case isScore:
			for _, l := range p.inner.leaves() {
				if l.flags&unfree == 0 {
					l.set(UseScoreInner, "")
				}
			}
			scores = append(scores, p)
		case p.cols != nil:
			for _, l := range p.cols.leaves() {
				if l.flags&unfree == 0 && !(l.size == 1 && l.one) { // neither pixels nor a place to broadcast is a head size
					l.set(UseValueDim, "")
				}
			}
		}
	}
	return scores
}

// unfree are the flags of what cannot grow whatever else is found out.
const unfree = FlagIndex | FlagRun | FlagVocab | FlagSpatial | FlagInput

// freePart reports whether weights produce an axis and some part of it can grow: copies of units would count twice in a product of two
// activations, so that this part has to grow as a head size does. The other part may turn by interleaved pairs.
func freePart(n *node) bool {
	if n.run() {
		return false
	}
	for _, l := range n.leaves() {
		if l.flags&unfree == 0 && l.flags&UseProduced != 0 {
			return true
		}
	}
	return false
}

// scalesOf looks for scalar factors along the path of a score only: forward to the softmax, backward to the projections. A search
// by value alone would take the 0.5 of a GELU for 16^(-1/4).
func (s *state) scalesOf(p *product2, inside map[*graph.Node]bool) []pathScale {
	var out []pathScale
	if p.fused {
		return nil // the scores never leave the node: what follows it are values
	}
	if p.at.Domain == ms && p.at.Op == "FusedMatMul" {
		out = append(out, pathScale{node: p.at, attr: "alpha", val: float64(p.at.Float("alpha", 1))})
	}
	take := func(n *graph.Node, operand int) bool {
		y, ok := s.scalar(other(n, operand))
		if !ok {
			return false
		}
		out = append(out, pathScale{node: n, y: y, divide: n.Op == "Div" && operand == 0})
		return true
	}
	seen := map[*graph.Node]bool{p.at: true}
	var forward func(v *graph.Value)
	forward = func(v *graph.Value) {
		if v == nil {
			return
		}
		for _, u := range v.Uses {
			n := u.Node
			if u.Index < 0 || seen[n] || n.Domain != "" {
				continue
			}
			s.spend(1)
			switch n.Op {
			case "Mul", "Div":
				seen[n] = true
				take(n, u.Index)
				forward(n.Out[0])
			case "Add", "Sub", "Cast", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Max", "Min":
				seen[n] = true
				forward(n.Out[0])
			case "Where":
				if u.Index > 0 {
					seen[n] = true
					forward(n.Out[0])
				}
			case "MatMul": // talking heads: a linear map over the heads
				if w := other(n, u.Index); w != nil && s.weightOnly[w] {
					seen[n] = true
					forward(n.Out[0])
				}
			}
		}
	}
	forward(p.at.Out[0])
	var backward func(v *graph.Value)
	backward = func(v *graph.Value) {
		if v == nil || v.Producer == nil || s.weightOnly[v] {
			return
		}
		n := v.Producer
		if seen[n] || inside[n] || n.Domain != "" {
			return
		}
		seen[n] = true
		s.spend(1)
		switch n.Op {
		case "Mul", "Div":
			for i := range 2 {
				if n.Op == "Div" && i == 1 {
					break
				}
				if take(n, i) {
					backward(n.In[i])
					return
				}
			}
			backward(n.In[0])
			if n.Op == "Mul" {
				backward(n.In[1])
			}
		case "Add", "Sub", "Concat":
			for _, x := range n.In {
				backward(x)
			}
		case "Transpose", "Reshape", "Cast", "Identity", "Squeeze", "Unsqueeze", "Slice", "Split", "Expand", "Neg", "Gather", "Tile", "RotaryEmbedding":
			backward(n.In[0])
		}
	}
	backward(p.a)
	// what both operands share counts for each of them
	seen = map[*graph.Node]bool{p.at: true}
	backward(p.b)
	return out
}

// powers are the exponents tried for a literal score factor.
var powers = []float64{-0.5, 0.5, -0.25, 0.25}

// power finds p with val = size^p to the rounding of a float32 literal; 0 when there is none.
func power(val, size float64) float64 {
	if size <= 1 {
		return 0
	}
	for _, p := range powers {
		if math.Abs(val/math.Pow(size, p)-1) < 1e-5 {
			return p
		}
	}
	return 0
}

// score builds the public form of a score site.
func (s *state) score(p *product2, inside map[*graph.Node]bool, export func(*node) *Expr) *Score {
	sc := &Score{Node: p.at, Inner: export(p.inner)}
	for _, b := range p.batch {
		if !b.run() && b.find().size > 1 || b.has(UseProduced) {
			sc.Batch = export(s.widths(b))
		}
	}
	size := float64(sc.Inner.Size)
	grown := func(z Sizes) float64 { return float64(z.Eval(sc.Inner)) }
	var ratios []func(Sizes) float64
	if p.fused {
		val := float64(p.at.Float(p.scaleAttr, 0))
		sl := Scale{Node: p.at, Attr: p.scaleAttr, Power: -0.5}
		switch {
		case val == 0:
			sl.Computed = true
		case power(val, size) == -0.5:
		default:
			sl.Power = 0
		}
		sc.Scales = append(sc.Scales, sl)
		if sl.Power != 0 {
			ratios = append(ratios, func(z Sizes) float64 { return math.Sqrt(size / grown(z)) })
		}
	}
	for _, ps := range s.scalesOf(p, inside) {
		sl := Scale{Node: ps.node, Divide: ps.divide, Attr: ps.attr}
		switch {
		case ps.attr != "":
			sl.Power = power(ps.val, size)
		case ps.y.computed:
			sl.Computed = true
			y, old := s.exportSym(ps.y, export), ps.y.val
			divide := ps.divide
			ratios = append(ratios, func(z Sizes) float64 {
				r := y.eval(z, nil).val / old
				if divide {
					r = 1 / r
				}
				return r
			})
		default:
			// a literal, or an expression of literals one of which is a power of the size
			for _, l := range ps.y.literals() {
				if p.inner.has(unfree) {
					break // part of the head cannot take the gauge that makes up for another scale: it stays as it is
				}
				q := 0.0
				if l.val == size && l != ps.y {
					q = 1
				} else {
					q = power(l.val, size)
				}
				pw := power(ps.y.val, size)
				if q == 0 || pw == 0 || l.lit.value == nil {
					continue
				}
				sl.Const, sl.Power, sl.literal = l.lit.value, pw, q
				if ps.divide {
					sl.Power = -pw
				}
				break
			}
		}
		if sl.Power != 0 && !sl.Computed {
			pw := sl.Power
			ratios = append(ratios, func(z Sizes) float64 { return math.Pow(grown(z)/size, pw) })
		}
		sc.Scales = append(sc.Scales, sl)
	}
	sc.ratio = func(z Sizes) float64 {
		r := 1.0
		for _, f := range ratios {
			r *= f(z)
		}
		return r
	}
	return sc
}

// widths is the part of an axis that run-time dimensions do not make: the heads of batch x heads.
func (s *state) widths(n *node) *node {
	var keep []*node
	for _, f := range n.flat(Product) {
		if !f.run() {
			keep = append(keep, f)
		}
	}
	if len(keep) == 0 || len(keep) == len(n.flat(Product)) {
		return n
	}
	return s.product(keep...)
}

// literals lists the literal scalars in an expression.
func (y *sym) literals() []*sym {
	if y.lit != nil {
		return []*sym{y}
	}
	var out []*sym
	for _, a := range y.args {
		out = append(out, a.literals()...)
	}
	return out
}
