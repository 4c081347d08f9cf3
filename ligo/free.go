package ligo

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// free makes N: the gains of 1 that layers without weights need, and what the methods add.
func (p *Plan) free(op *Operator) error {
	width, _ := p.Method.rules()
	plans := map[*graph.Value]*weightPlan{}
	for _, wp := range p.weights {
		plans[wp.value] = wp
	}
	for _, v := range p.deep.Graph.Consts {
		if !v.Const.DType.Growable() {
			continue
		}
		wp := plans[v]
		if width == widthScratch {
			p.scratch(op, v, wp)
			continue
		}
		f, err := p.unit(op, v)
		if err != nil {
			return err
		}
		if f != nil {
			op.Free[v.Name] = f
			continue
		}
		if wp == nil {
			continue
		}
		var n *onnxio.Tensor
		switch width {
		case widthStaged:
			n, err = p.second(op, wp)
		case widthNext:
			n, err = p.next(op, wp)
		}
		if err != nil {
			return err
		}
		if n != nil {
			op.Free[v.Name] = n
		}
	}
	return nil
}

// unit is what a norm's gain has beyond a grown small gain: all of it, 1, in a layer without weights; the residue's on a stream that
// GrowPostNorm grows. It is nil for anything else.
func (p *Plan) unit(op *Operator, v *graph.Value) (*onnxio.Tensor, error) {
	site := p.norms[v]
	if site == nil || site.norm.Gain != v || p.silenced(v) {
		return nil, nil
	}
	alone := p.withoutWeights(op, v)
	switch {
	case site.rest != nil:
		x := slices.Clone(site.rest)
		if !alone {
			clear(x[:p.rules[site.norm.Axis.Atom].kept])
		}
		return onnxio.FromFloats(v.Name, v.Const.DType, p.dims(v), x)
	case alone:
		return linmap.Fill(v.Const.DType, p.dims(v), site.gain-site.norm.GainOffset), nil
	}
	return nil, nil
}

// silenced says that a constant is zero because its layer shall add nothing: a norm may be the end of a branch.
func (p *Plan) silenced(v *graph.Value) bool {
	s, ok := p.slots[v]
	if !ok || p.layers[s.stage].layers == nil {
		return false
	}
	st, lp := p.small.Blocks.Stages[s.stage], p.layers[s.stage].layers[s.layer]
	m := st.Modules[s.module]
	return lp.Inert && slices.Contains(st.Zero, m) || lp.Yields && slices.Contains(st.LateZero, m)
}

// dims is the shape of a constant of the deepened graph after growth.
func (p *Plan) dims(v *graph.Value) []int64 {
	w := p.deep.Weight(v)
	if w == nil {
		return v.Const.Dims
	}
	out := make([]int64, len(w.Axes))
	for i, e := range w.Axes {
		out[i] = p.sizes.Eval(e)
	}
	return out
}

// second is staged training's free term ½[[W, -W], [-W, W]]: with the operator's ½[[W, W], [W, W]] it makes two separate models
// (Shen et al. 2022). The maps [I; -I] and ½[I -I] have it vanish on what the stream carries, which is twice the same.
func (p *Plan) second(op *Operator, wp *weightPlan) (*onnxio.Tensor, error) {
	produced, read := false, false
	maps := make([]linmap.Matrix, len(wp.axes))
	for i, e := range wp.axes {
		grows := false
		e.Atoms(func(a *axes.Atom) { grows = grows || p.rules[a].grows() })
		if !grows {
			maps[i] = p.matrix(op, e, wp.slots[i], wp.place)
			continue
		}
		sign := 1.0
		switch wp.slots[i] {
		case variantR:
			produced = true
		case variantL, variantF:
			read, sign = true, 0.5
		default:
			return nil, nil
		}
		v := wp.slots[i]
		maps[i] = mapExpr(e, func(a *axes.Atom) linmap.Matrix {
			r := p.rules[a]
			if !r.grows() {
				return p.matrix(op, &axes.Expr{Kind: axes.Leaf, Atom: a, Size: a.Size}, v, wp.place)
			}
			w := make([]float64, r.n2)
			for i := range w {
				w[i] = sign
				if i >= r.n1 {
					w[i] = -sign
				}
			}
			return linmap.Copy(r.index, w, r.n1)
		})
	}
	if !produced || !read {
		return nil, nil
	}
	t, _, err := p.base(op, wp.value)
	if err != nil {
		return nil, err
	}
	return linmap.Grow(t, maps)
}

// next is AKI's free term: the rows that R copies, taken from the next layer instead of the same one (bert2BERT, "advanced knowledge
// initialization").
func (p *Plan) next(op *Operator, wp *weightPlan) (*onnxio.Tensor, error) {
	s, ok := p.slots[wp.value]
	if !ok {
		return nil, nil
	}
	st := p.small.Blocks.Stages[s.stage]
	source := s.layer
	if ls := p.layers[s.stage].layers; ls != nil {
		source = ls[s.layer].Weights
	}
	if source < 0 || source+1 >= len(st.Blocks) {
		return nil, nil
	}
	maps := make([]linmap.Matrix, len(wp.axes))
	any := false
	for i, e := range wp.axes {
		grows := false
		e.Atoms(func(a *axes.Atom) { grows = grows || p.rules[a].grows() })
		maps[i] = p.matrix(op, e, wp.slots[i], wp.place)
		if !grows || wp.slots[i] == variantL || wp.slots[i] == variantF {
			continue
		}
		// All of R minus the rows that stay: the identity of the first units, padded.
		any = true
		head := mapExpr(e, func(a *axes.Atom) linmap.Matrix {
			r := p.rules[a]
			return linmap.Scaled(linmap.Pad(r.n2, r.n1), r.gauge)
		})
		maps[i] = difference(maps[i], head)
	}
	if !any {
		return nil, nil
	}
	m := st.Modules[s.module]
	t, err := linmap.Blend([]*onnxio.Tensor{m.Consts[source+1].Const, m.Consts[source].Const}, []float64{1, -1})
	if err != nil {
		return nil, err
	}
	return linmap.Grow(t, maps)
}

// difference is a - b for maps with short rows: [I I]·diag(a, -b)·[I; I].
func difference(a, b linmap.Matrix) linmap.Matrix {
	to, from := a.Dims()
	twice := func(n int) []int {
		index := make([]int, 2*n)
		for i := range index {
			index[i] = i % n
		}
		return index
	}
	both := linmap.DirectSum(a, linmap.Scaled(b, -1))
	return linmap.Mul(linmap.Mul(linmap.Transpose(linmap.Copy(twice(to), nil, to)), both), linmap.Copy(twice(from), nil, from))
}

// scratch makes a constant as a fresh model has it: weights and embeddings of standard deviation 0.02, gains 1, biases 0. Tables and
// masks are no weights and grow as in every method.
func (p *Plan) scratch(op *Operator, v *graph.Value, wp *weightPlan) {
	const std = 0.02
	dims := p.dims(v)
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	if n <= 1 {
		return
	}
	fill := func(x float64) {
		op.Dropped[v.Name] = true
		if x != 0 {
			op.Free[v.Name] = linmap.Fill(v.Const.DType, dims, x)
		}
	}
	draw := func() {
		op.Dropped[v.Name] = true
		// Clones of one initializer hold the same numbers.
		op.Free[v.Name] = normal(v.Origin, v.Const.DType, dims, std, p.Seed)
	}
	w := p.deep.Weight(v)
	site := p.norms[v]
	switch {
	case site != nil && site.norm.Gain == v:
		fill(1 - site.norm.GainOffset)
	case site != nil:
		fill(0)
	case w != nil && w.Matmul && len(dims) == 1:
		fill(0)
	case w != nil && w.Matmul:
		draw()
	case w != nil && !p.scored(w.Axes[len(w.Axes)-1]) && w.Sides[len(w.Sides)-1] == axes.Gain:
		mean := 0.0
		if x, err := v.Const.Float64s(); err == nil {
			for _, e := range x {
				mean += e / float64(len(x))
			}
		}
		fill(mean) // the scale of a gain is part of the architecture (layer scale), its values are not
	case w != nil:
	case len(dims) == 1 && added(v):
		fill(0)
	case len(dims) > 1 && multiplied(v):
		draw()
	}
}

// added reports whether a constant is a bias.
func added(v *graph.Value) bool {
	for _, u := range v.Uses {
		if u.Node.Op == "Add" || u.Node.Op == "Gemm" && u.Index == 2 || u.Node.Op == "Conv" && u.Index == 2 {
			return true
		}
	}
	return false
}
