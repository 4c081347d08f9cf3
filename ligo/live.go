package ligo

import (
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// liveStd is the standard deviation of new weights that act on nothing yet: that of a fresh transformer.
const liveStd = 0.02

// live gives the queries of heads that got wider random weights in their new elements. The keys are zero there, so no score changes;
// but with zeros on both sides neither would ever have a gradient. It is left out where a norm would see the new elements, and where
// one weight makes queries and keys.
func (p *Plan) live(op *Operator) error {
	if width, _ := p.Method.rules(); width != widthExact {
		return nil
	}
	for _, s := range p.deep.Scores {
		if s.Node.Op != "MatMul" || !p.widens(s.Inner) {
			continue
		}
		queries, keys := p.makers(s.Node.In[0], s.Inner), p.makers(s.Node.In[1], s.Inner)
		for v := range queries {
			wp := p.byValue[v]
			if keys[v] || len(wp.axes) != 2 || op.Free[v.Name] != nil {
				continue
			}
			n, err := p.newRows(op, wp)
			if err != nil {
				return err
			}
			op.Free[v.Name] = n
		}
	}
	return nil
}

// widens reports whether an axis of scores gets elements that are zero and that no norm sees.
func (p *Plan) widens(e *axes.Expr) bool {
	grows, plain := false, true
	e.Atoms(func(a *axes.Atom) {
		r := p.rules[a]
		grows = grows || r.residue() > 0
		plain = plain && (r.form == formKeep || r.form == formZero)
		for _, s := range p.sites {
			plain = plain && !carries(s.norm.Axis, a)
		}
	})
	return grows && plain
}

// makers are the weights that a value is made of by linear maps, as far as they produce an atom of an axis.
func (p *Plan) makers(v *graph.Value, inner *axes.Expr) map[*graph.Value]bool {
	out, seen := map[*graph.Value]bool{}, map[*graph.Value]bool{}
	var walk func(v *graph.Value)
	walk = func(v *graph.Value) {
		if v == nil || seen[v] {
			return
		}
		seen[v] = true
		if v.Producer == nil {
			return
		}
		found := false
		for _, c := range v.Producer.In {
			for c != nil && !c.IsConst() && c.Producer != nil && view(c.Producer) && p.deep.Weight(behind(c)) != nil {
				c = behind(c)
			}
			wp := p.byValue[c]
			if w := p.deep.Weight(c); w == nil || !w.Matmul || len(wp.axes) != 2 {
				continue
			}
			for i, e := range wp.axes {
				made := false
				inner.Atoms(func(a *axes.Atom) { made = made || carries(e, a) })
				if made && wp.slots[i] == variantR {
					out[c], found = true, true
				}
			}
		}
		if found {
			return
		}
		for _, c := range v.Producer.In {
			walk(c)
		}
	}
	walk(v)
	return out
}

// newRows are random weights for the residue of the axes that a weight produces, on inputs that it reads as the grown weight does.
func (p *Plan) newRows(op *Operator, wp *weightPlan) (*onnxio.Tensor, error) {
	maps := make([]linmap.Matrix, len(wp.axes))
	for i, e := range wp.axes {
		if wp.slots[i] != variantR {
			maps[i] = p.matrix(op, e, wp.slots[i], wp.place)
			continue
		}
		maps[i] = mapExpr(e, func(a *axes.Atom) linmap.Matrix {
			r := p.rules[a]
			if !a.Has(axes.UseScoreInner) {
				return p.matrix(op, &axes.Expr{Kind: axes.Leaf, Atom: a, Size: a.Size}, variantR, "")
			}
			// A part of the head that does not grow (the one that turns) has nothing new.
			index := make([]int, r.n2)
			for i := range index {
				if index[i] = -1; r.residue() > 0 && i >= r.kept {
					index[i] = r.index[i]
				}
			}
			return linmap.Copy(index, nil, r.n1)
		})
	}
	t := wp.value.Const
	return linmap.Grow(normal(wp.value.Name, t.DType, t.Dims, liveStd, p.Seed), maps)
}
