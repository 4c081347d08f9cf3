package ligo

import (
	"fmt"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/graph/blocks"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// variant says which matrix of an axis a slot takes.
type variant uint8

const (
	variantR variant = iota
	variantL
	variantF
	variantM
	variantZ
	// variantT is Z with every row divided by the number of copies of its unit: norms in front of a tied head.
	variantT
)

func (v variant) String() string { return [...]string{"R", "L", "F", "M", "Z", "T"}[v] }

// weightPlan is what happens to one constant of the deepened graph.
type weightPlan struct {
	value *graph.Value
	axes  []*axes.Expr
	slots []variant // by axis
	// gain says that the constant multiplies, so that a layer without weights has 1 there; bias that it is added.
	norm       *normSite
	gain, bias bool
	factor     float64 // on everything
	place      string  // the axis's key among the operator's, for weights that write to a post-norm stream
	// fold is a gain on the stream that is multiplied into the axis that is produced, and folded says that this is that gain, which
	// becomes 1.
	fold     *graph.Value
	foldAxis int
	folded   bool
}

// planWeights decides the slots of every constant that changes in width.
func (p *Plan) planWeights(u *ruler, sites []*normSite) {
	p.norms = map[*graph.Value]*normSite{}
	isGain, isBias := map[*graph.Value]bool{}, map[*graph.Value]bool{}
	for _, s := range sites {
		if s.norm.Gain != nil {
			p.norms[s.norm.Gain], isGain[s.norm.Gain] = s, true
		}
		if s.norm.Bias != nil {
			p.norms[s.norm.Bias], isBias[s.norm.Bias] = s, true
		}
	}
	tied, restored := map[*axes.Weight]bool{}, map[*axes.Weight]float64{}
	for _, t := range p.ties {
		tied[t.head] = true
		for _, w := range t.others {
			if !p.paper() {
				restored[w] = float64(t.copies)
			}
		}
	}
	outs := map[*graph.Value]*axes.Norm{}
	for _, n := range u.r.Norms {
		outs[n.Out] = n
	}
	p.byValue = map[*graph.Value]*weightPlan{}
	for _, w := range u.r.Weights {
		wp := &weightPlan{value: w.Value, axes: w.Axes, factor: 1, norm: p.norms[w.Value], gain: isGain[w.Value], bias: isBias[w.Value]}
		if f := restored[w]; f != 0 {
			wp.factor = f
		}
		for i := range w.Axes {
			wp.slots = append(wp.slots, p.slotOf(w, i, wp, tied[w], outs))
		}
		if wp.norm != nil && wp.norm.norm.Kind != axes.BatchNorm {
			if wp.gain {
				wp.factor *= wp.norm.gain
			} else {
				wp.factor *= wp.norm.bias
			}
		}
		p.byValue[w.Value] = wp
		p.weights = append(p.weights, wp)
	}
	p.fold(u, p.byValue)
}

// slotOf chooses the matrix of one axis of a weight.
func (p *Plan) slotOf(w *axes.Weight, i int, wp *weightPlan, tied bool, outs map[*graph.Value]*axes.Norm) variant {
	switch {
	case wp.norm != nil && wp.norm.norm.Kind == axes.BatchNorm:
		return variantM
	case wp.norm != nil && wp.norm.tie != nil && !p.paper():
		return variantT
	case wp.gain:
		return variantM
	case wp.bias && wp.norm.norm.Post:
		return variantR // the output is the stream again, whose residue holds the mean
	case wp.bias:
		return variantZ
	case w.Sides[i] == axes.Gain:
		return variantM
	case w.Sides[i] == axes.Producer:
		if !w.Matmul && p.scored(w.Axes[i]) {
			return variantM // tables that turn queries and keys
		}
		return variantR
	case tied:
		return variantR // the head is the table
	}
	_, x := reader(w.Value)
	if n := outs[behind(x)]; n != nil && !n.Post && n.Kind != axes.BatchNorm && n.Axis.Kind == axes.Leaf {
		return variantF
	}
	return variantL
}

// scored reports whether an axis takes part in the contraction of attention scores.
func (p *Plan) scored(e *axes.Expr) bool {
	found := false
	e.Atoms(func(a *axes.Atom) { found = found || a.Has(axes.UseScoreInner) })
	return found
}

// fold moves gains on the residual stream into the weights in front of them where the residue is a mean: the mean of products is not
// the product of means.
func (p *Plan) fold(u *ruler, plans map[*graph.Value]*weightPlan) {
	for _, w := range u.r.Weights {
		wp := plans[w.Value]
		if wp.norm != nil || len(w.Axes) == 0 {
			continue
		}
		last := len(w.Axes) - 1
		e := w.Axes[last]
		if w.Sides[last] != axes.Gain || e.Kind != axes.Leaf {
			continue
		}
		r := p.rules[e.Atom]
		if r.form != formMean || r.residue() == 0 || r.gauge != 1 || p.scored(e) {
			continue
		}
		if p.foldInto(w, e.Atom, plans) {
			wp.folded = true
			continue
		}
		re := Reason{Code: CodeStreamGain, Tensor: w.Value.Origin, Text: fmt.Sprintf("%s multiplies %s, which grows from %d to %d", w.Value.Origin, e.Atom.Name, r.n1, r.n2)}
		if len(w.Value.Uses) > 0 {
			re.Node = w.Value.Uses[0].Node.String()
		}
		u.reasons = append(u.reasons, re)
	}
}

func (p *Plan) foldInto(gain *axes.Weight, a *axes.Atom, plans map[*graph.Value]*weightPlan) bool {
	if len(gain.Value.Uses) != 1 || gain.Value.Const.NumElements() != a.Size {
		return false
	}
	use := gain.Value.Uses[0]
	if use.Node.Op != "Mul" || len(use.Node.In) != 2 {
		return false
	}
	consts, ok := sources(use.Node.In[1-use.Index])
	if !ok {
		return false
	}
	axis := make([]int, len(consts))
	for i, c := range consts {
		wp := plans[c]
		if wp == nil || wp.fold != nil || wp.norm != nil {
			return false
		}
		axis[i] = -1
		for k, e := range wp.axes {
			if e.Kind == axes.Leaf && e.Atom == a && wp.slots[k] == variantR {
				axis[i] = k
			}
		}
		if axis[i] < 0 {
			return false
		}
	}
	for i, c := range consts {
		plans[c].fold, plans[c].foldAxis = gain.Value, axis[i]
	}
	return true
}

// matrix is the map of an expression for one variant: Kronecker products and direct sums of the maps of its atoms. It acts from the
// small to the large axis, for readers too. Nil means that nothing changes. place is where a post-norm stream is written to, if it is.
func (p *Plan) matrix(op *Operator, e *axes.Expr, v variant, place string) linmap.Matrix {
	return mapExpr(e, func(a *axes.Atom) linmap.Matrix {
		name := a.Name
		if strings.HasPrefix(place, name+"@") {
			name = place
		}
		m, ok := op.Axes[name]
		if !ok {
			return nil
		}
		switch v {
		case variantL:
			return linmap.Transpose(m.L)
		case variantF:
			return linmap.Transpose(m.F)
		case variantM:
			return m.M
		case variantZ:
			return m.Z
		case variantT:
			return p.divided(a)
		}
		return m.R
	})
}

// divided is Z with rows divided by the number of copies of their unit.
func (p *Plan) divided(a *axes.Atom) linmap.Matrix {
	r := p.rules[a]
	count := make([]float64, r.n1)
	for _, j := range r.index[:r.kept] {
		count[j]++
	}
	index, w := append([]int(nil), r.index...), make([]float64, r.n2)
	for i := range index {
		if i >= r.kept {
			index[i] = -1
			continue
		}
		w[i] = 1 / count[index[i]]
	}
	return linmap.Copy(index, w, r.n1)
}

func mapExpr(e *axes.Expr, leaf func(*axes.Atom) linmap.Matrix) linmap.Matrix {
	if e.Kind == axes.Leaf {
		return leaf(e.Atom)
	}
	parts := make([]linmap.Matrix, len(e.Args))
	any := false
	for i, a := range e.Args {
		parts[i] = mapExpr(a, leaf)
		any = any || parts[i] != nil
	}
	if !any {
		return nil
	}
	for i, a := range e.Args {
		if parts[i] == nil {
			parts[i] = linmap.Identity(int(a.Size))
		}
	}
	if e.Kind == axes.Product {
		return linmap.Kron(parts...)
	}
	return linmap.DirectSum(parts...)
}

// moduleKey names a module among all stages.
func moduleKey(stage int, st *blocks.Stage, module int) string {
	return fmt.Sprintf("%d/%s", stage, st.Modules[module].Name)
}

// shiftIndex is the place of a module among the gains and among the biases of the norms on the stream; -1 for none.
func shiftIndex(st *blocks.Stage, m *blocks.Module) (gain, bias int) {
	gain, bias = -1, -1
	for i, n := range st.Shift {
		if n.Gain == m {
			gain = i
		}
		if n.Bias == m {
			bias = i
		}
	}
	return
}

func inTrail(st *blocks.Stage, m *blocks.Module) bool {
	for _, n := range st.Trail {
		if n.Gain == m || n.Bias == m {
			return true
		}
	}
	return false
}

// base is a constant at the small width: the blend of the small layers. The recipe tells constants of one origin apart.
func (p *Plan) base(op *Operator, v *graph.Value) (*onnxio.Tensor, string, error) {
	s, ok := p.slots[v]
	if !ok || p.layers[s.stage].layers == nil || !v.Const.DType.Growable() {
		return v.Const, "", nil
	}
	st := p.small.Blocks.Stages[s.stage]
	m := st.Modules[s.module]
	w := op.Blends[moduleKey(s.stage, st, s.module)][s.layer]
	srcs := make([]*onnxio.Tensor, len(m.Consts))
	var recipe strings.Builder
	for j, c := range m.Consts {
		srcs[j] = c.Const
		if w[j] != 0 {
			fmt.Fprintf(&recipe, "%+g*%s", w[j], c.Origin)
		}
	}
	t, err := linmap.Blend(srcs, w)
	return t, recipe.String(), err
}
