package ligo

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
)

// The start of LiGO's released code (Wang et al. 2023): every width matrix is B = [I; S], with S uniform and its rows normalised to sum
// 1; what reads an axis takes the transposed matrix of what writes it; the layers are stacked, with a little of every other layer.
// Heads play no part: B_Q, B_K and B_V act on the rows of all heads.

// paper reports whether the plan's start is the paper's.
func (p *Plan) paper() bool {
	width, _ := p.Method.rules()
	return width == widthPaper
}

// paperMatrix is [I; S].
func (p *Plan) paperMatrix(to, from int, name string) linmap.Matrix {
	rng := newRand(p.Seed, "paper", name)
	x := make([]float64, to*from)
	for i := range to {
		row := x[i*from : (i+1)*from]
		if i < from {
			row[i] = 1
			continue
		}
		sum := 0.0
		for j := range row {
			row[j] = rng.Float64()
			sum += row[j]
		}
		for j := range row {
			row[j] /= sum
		}
	}
	return linmap.Dense(to, from, x)
}

// paperNoise is how much of the other layers stackbert_noisy mixes in, before normalisation.
const paperNoise = 0.03

// paperBlend makes the blend of one layer of a module: its source's weight is 1, that of the others up to paperNoise; normalised.
func (p *Plan) paperBlend(row []float64, module string, layer int) {
	rng := newRand(p.Seed, "blend", fmt.Sprintf("%s/%d", module, layer))
	sum := 0.0
	for i, w := range row {
		noise := paperNoise * rng.Float64()
		if w == 0 {
			row[i] = noise
		}
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
}

// paperSlots gives the projections of attention matrices over all their rows. Where the head size grows, the matrices stay those of
// heads and of head sizes, as the rows of a head would be torn apart.
func (p *Plan) paperSlots(op *Operator) {
	if !p.paper() {
		return
	}
	op.Slots = map[string]linmap.Matrix{}
	writers := p.writers()
	for _, wp := range p.weights {
		for i := range wp.axes {
			for _, s := range p.segments(wp, i) {
				key, ok := p.writerOf(s, writers)
				to, from := int(p.sizes.Eval(s.expr)), int(s.expr.Size)
				if !ok || s.expr.Kind != axes.Product || to == from || !p.flat(s.expr) {
					continue
				}
				if op.Slots[key.String()] == nil {
					op.Slots[key.String()] = p.paperMatrix(to, from, key.String())
				}
				op.Slots[s.key.String()] = op.Slots[key.String()]
			}
		}
	}
}

// flat reports whether only the number of heads of a product grows.
func (p *Plan) flat(e *axes.Expr) bool {
	ok := true
	e.Atoms(func(a *axes.Atom) {
		ok = ok && (!p.rules[a].grows() || !a.Has(axes.UseScoreInner) && !a.Has(axes.UseValueDim))
	})
	return ok
}

// writers finds, for every axis inside a layer, the first slot that writes it.
func (p *Plan) writers() map[string]slotKey {
	out := map[string]slotKey{}
	for _, wp := range p.weights {
		for i := range wp.axes {
			for _, s := range p.segments(wp, i) {
				if _, have := out[s.key.expr]; !have && s.key.kind == variantR && s.key.owner != "" {
					out[s.key.expr] = s.key
				}
			}
		}
	}
	return out
}

// writerOf is the slot whose matrix a slot takes under the paper's tie: its own, where it writes, and that of what writes its axis,
// where it reads. ok is false for axes that the whole model shares and for gains.
func (p *Plan) writerOf(s segment, writers map[string]slotKey) (slotKey, bool) {
	switch {
	case s.key.owner == "":
		return slotKey{}, false
	case s.key.kind == variantR:
		return s.key, true
	case s.key.kind == variantL || s.key.kind == variantF:
		k, ok := writers[s.key.expr]
		return k, ok
	}
	return slotKey{}, false
}
