package ligo

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
)

// A slot is one axis of one weight, or one segment of an axis that is a direct sum (the q, k and v of a fused projection). Slots that
// have one key share a matrix. Analytic operators make it from the axes' matrices; a learned operator has one for every key.

// Tie says which slots share a matrix.
type Tie string

// The tie sets.
const (
	// TieNone has, for an axis that the whole model shares (the residual stream), one matrix for each way in which weights use it: one R
	// for what writes to it, one L for what reads it, and its own for gains and biases of norms, which the exact rules scale. An axis
	// inside a layer has a matrix for every weight that uses it; a bias goes with its weight.
	TieNone Tie = "none"
	// TiePaper is LiGO's (Wang et al. 2023, §3.3): one B for the whole stream, one for each of Q, K, V and fc1 in every layer, and
	// L = Rᵀ: what reads an axis takes the matrix of what writes it.
	TiePaper Tie = "paper"
)

// slotKey names the matrices of slots. Kind is the variant's letter.
type slotKey struct {
	kind  variant
	expr  string
	place string // of a post-norm stream
	owner string // the weight, for axes inside a layer; "" for shared ones
	part  int    // the segment among those of the owner's axis with the same expression
}

func (k slotKey) String() string {
	s := fmt.Sprintf("%v/%s", k.kind, k.expr)
	if k.place != "" {
		s += k.place[len(atomOf(k.place)):]
	}
	if k.owner != "" {
		s += "@" + k.owner
	}
	if k.part > 0 {
		s += fmt.Sprintf("#%d", k.part)
	}
	return s
}

// atomOf is the axis of a place NAME@N.
func atomOf(place string) string {
	for i := range place {
		if place[i] == '@' {
			return place[:i]
		}
	}
	return place
}

// segment is a part of a weight's axis that has a matrix of its own.
type segment struct {
	expr *axes.Expr
	key  slotKey
}

// segments cuts axis i of a weight.
func (p *Plan) segments(wp *weightPlan, i int) []segment {
	e := wp.axes[i]
	parts := []*axes.Expr{e}
	switch {
	case e.Kind == axes.Sum:
		parts = e.Args
	case e.Kind == axes.Product && e.Args[0].Kind == axes.Leaf && e.Args[0].Atom.Has(axes.FlagFactor):
		// The 3 of a fused projection, outermost: a direct sum of equal parts.
		rest := &axes.Expr{Kind: axes.Product, Args: e.Args[1:], Size: e.Size / e.Args[0].Size}
		if len(rest.Args) == 1 {
			rest = rest.Args[0]
		}
		parts = slices.Repeat([]*axes.Expr{rest}, int(e.Args[0].Size))
	}
	seen := map[string]int{}
	out := make([]segment, len(parts))
	for j, x := range parts {
		k := slotKey{kind: wp.slots[i], expr: x.String()}
		if p.shared(x) {
			if x.Kind == axes.Leaf && wp.place != "" && atomOf(wp.place) == x.Atom.Name && k.kind == variantR {
				k.place = wp.place
			}
		} else {
			k.owner, k.part = p.owner(wp).Name, seen[k.expr]
			seen[k.expr]++
		}
		out[j] = segment{x, k}
	}
	return out
}

// shared reports whether an expression is an axis of the whole model rather than of one layer: the residual stream.
func (p *Plan) shared(e *axes.Expr) bool {
	return e.Kind == axes.Leaf && (e.Atom.Has(axes.UseLayerNorm) || e.Atom.Has(axes.UseRMSNorm))
}

// owner is the weight whose matrices a weight takes: a bias goes with what it is added to, a norm's bias with the norm's gain.
func (p *Plan) owner(wp *weightPlan) *graph.Value {
	if wp.norm != nil && wp.norm.norm.Gain != nil {
		return wp.norm.norm.Gain
	}
	if len(wp.axes) != 1 {
		return wp.value
	}
	for _, u := range wp.value.Uses {
		var x *graph.Value
		switch n := u.Node; {
		case n.Op == "Add" && len(n.In) == 2 && u.Index >= 0:
			x = n.In[1-u.Index]
		case (n.Op == "Gemm" || n.Op == "Conv") && u.Index == 2:
			if w := behind(n.In[1]); p.byValue[w] != nil {
				return w
			}
		}
		if consts, ok := sources(x); ok {
			for _, c := range consts {
				if other := p.byValue[c]; other != nil && len(other.axes) > 1 && slices.ContainsFunc(other.axes, func(e *axes.Expr) bool { return e.String() == wp.axes[0].String() }) {
					return c
				}
			}
		}
	}
	return wp.value
}

// slotMatrix is the map of axis i of a weight: the operator's own of its segments, or made of the axes' matrices.
func (p *Plan) slotMatrix(op *Operator, wp *weightPlan, i int) linmap.Matrix {
	if len(op.Slots) == 0 {
		return p.matrix(op, wp.axes[i], wp.slots[i], wp.place)
	}
	segs := p.segments(wp, i)
	parts := make([]linmap.Matrix, len(segs))
	own := false
	for j, s := range segs {
		own = own || op.Slots[s.key.String()] != nil
		if parts[j] = p.segmentMatrix(op, wp, i, s); parts[j] == nil {
			parts[j] = linmap.Identity(int(s.expr.Size))
		}
	}
	switch {
	case !own:
		return p.matrix(op, wp.axes[i], wp.slots[i], wp.place)
	case len(parts) == 1:
		return parts[0]
	}
	return linmap.DirectSum(parts...)
}

// segmentMatrix is the map of one segment of axis i; nil means that nothing changes.
func (p *Plan) segmentMatrix(op *Operator, wp *weightPlan, i int, s segment) linmap.Matrix {
	if m := op.Slots[s.key.String()]; m != nil {
		return m
	}
	return p.matrix(op, s.expr, wp.slots[i], wp.place)
}

// linear reports whether a weight is a linear map from one axis that has growth to another.
func (wp *weightPlan) linear() bool {
	writes := slices.Contains(wp.slots, variantR)
	reads := slices.ContainsFunc(wp.slots, func(v variant) bool { return v == variantL || v == variantF })
	return writes && reads
}
