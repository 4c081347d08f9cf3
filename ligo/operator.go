package ligo

import (
	"context"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// AxisMaps are the matrices of one axis of size n1 that grows to n2. Which of them a slot (an axis of a weight) takes follows from
// what the weight does there.
type AxisMaps struct {
	// R (n2 x n1) expands an axis that a weight produces.
	R linmap.Matrix
	// L (n1 x n2) contracts an axis that a weight reads; L·R = I.
	L linmap.Matrix
	// F is L for weights that read normalised values, which are zero in the residue: there its columns are free.
	F linmap.Matrix
	// M (n2 x n1) copies what multiplies along the axis: gains and tables.
	M linmap.Matrix
	// Z (n2 x n1) is M with zeros in the residue: the bias of a norm, and what a norm gives.
	Z linmap.Matrix
}

// Operator is a point of the family (R, L, w, N): everything that turns the small weights into the large ones.
type Operator struct {
	Method Method
	Seed   uint64
	// Axes holds the matrices of every axis that grows, by the axis's name. A residual stream with norms on it may have further
	// entries NAME@N for what is added before the N-th norm, and an axis between a non-linear function and a norm NAME@activated.
	Axes map[string]AxisMaps
	// Blends holds w for every module of the stages whose layers change, by the module's key: row i are the weights with which the
	// small layers make layer i.
	Blends map[string][][]float64
	// Slots holds matrices (from the small to the large axis) of single slots, by key: those that were learned. They go before what
	// Axes has. Nil for analytic operators.
	Slots map[string]linmap.Matrix
	// Learned says how the operator was learned; nil for analytic ones.
	Learned *Learned
	// Free holds N: what is added to a grown tensor, by the tensor's name in the deepened graph.
	Free map[string]*onnxio.Tensor
	// Dropped names the constants whose small tensor is not used: W = 0, as for all of a model from scratch.
	Dropped map[string]bool
	// SHA256 is that of the file that the operator is in; empty where it is in none.
	SHA256 string

	// loose says that a file's operator, though nothing of it was learned, is not the one that the method makes of the plan's model.
	loose bool
}

// Learned says how an operator was learned.
type Learned struct {
	Steps int     `json:"steps"` // updates
	LR    float64 `json:"lr"`
	Free  Free    `json:"free"`
	Tie   Tie     `json:"tie"`
	// LossBefore and LossAfter are those on held-out data; both 0 where there was none.
	LossBefore float64 `json:"loss_before,omitempty"`
	LossAfter  float64 `json:"loss_after,omitempty"`
}

// Operator makes the point of the plan's method. Nothing is computed from weights before they are written.
func (p *Plan) Operator(ctx context.Context) (*Operator, error) {
	op := &Operator{Method: p.Method, Seed: p.Seed, Axes: map[string]AxisMaps{}, Blends: map[string][][]float64{}, Free: map[string]*onnxio.Tensor{}, Dropped: map[string]bool{}}
	for _, a := range p.deep.Atoms {
		if r := p.rules[a]; !r.trivial() {
			op.Axes[a.Name] = p.axisMaps(r)
		}
	}
	for _, s := range p.streams {
		m := op.Axes[s.rule.atom.Name]
		for i, r := range s.maps {
			m.R = r
			op.Axes[s.key(i)] = m
		}
	}
	for _, a := range p.activated {
		m := op.Axes[a.rule.atom.Name]
		m.R, m.L, m.F = a.maps.R, a.maps.L, a.maps.L
		op.Axes[a.key()] = m
	}
	p.blends(op)
	p.paperSlots(op)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.free(op); err != nil {
		return nil, err
	}
	if err := p.live(op); err != nil {
		return nil, err
	}
	for _, a := range p.activated {
		if err := a.free(op); err != nil {
			return nil, err
		}
	}
	return op, nil
}

// OperatorError says that an operator does not belong to a plan. Axis is the axis, slot, module or tensor at fault; it may be empty.
type OperatorError struct{ Axis, Text string }

func (e *OperatorError) Error() string {
	if e.Axis == "" {
		return "operator: " + e.Text
	}
	return fmt.Sprintf("operator: %s: %s", e.Axis, e.Text)
}

// fits checks that an operator has what a plan needs, in the right sizes.
func (p *Plan) fits(op *Operator) error {
	for _, a := range p.deep.Atoms {
		r := p.rules[a]
		if r.trivial() {
			continue
		}
		m, ok := op.Axes[a.Name]
		if !ok {
			return &OperatorError{"axis " + a.Name, "is missing"}
		}
		if err := r.sized(a.Name, m); err != nil {
			return err
		}
	}
	for s, ls := range p.layers {
		st := p.small.Blocks.Stages[s]
		for i, m := range st.Modules {
			if ls.layers == nil || !m.Consts[0].Const.DType.Growable() {
				continue
			}
			key := moduleKey(s, st, i)
			w := op.Blends[key]
			if len(w) != len(ls.layers) {
				return &OperatorError{"module " + key, fmt.Sprintf("blends %d layers, needed are %d", len(w), len(ls.layers))}
			}
			for _, row := range w {
				if len(row) != len(st.Blocks) {
					return &OperatorError{"module " + key, fmt.Sprintf("blends from %d layers, the model has %d", len(row), len(st.Blocks))}
				}
			}
		}
	}
	return nil
}

// axisMaps are the matrices of a rule.
func (p *Plan) axisMaps(r *rule) AxisMaps {
	if r.form == formKeep {
		one := linmap.Identity(r.n1)
		return AxisMaps{R: linmap.Scaled(one, r.gauge), L: linmap.Scaled(one, 1/r.gauge), F: linmap.Scaled(one, 1/r.gauge), M: one, Z: one}
	}
	if width, _ := p.Method.rules(); width == widthPaper && r.form == formCopies {
		b := p.paperMatrix(r.n2, r.n1, r.atom.Name)
		return AxisMaps{R: b, L: linmap.Transpose(b), F: linmap.Transpose(b), M: b, Z: b}
	}
	var m AxisMaps
	cut := append([]int(nil), r.index...)
	for i := r.kept; i < r.n2; i++ {
		cut[i] = -1
	}
	m.M = linmap.Copy(r.index, nil, r.n1)
	m.Z = linmap.Copy(cut, nil, r.n1)
	switch {
	case r.form == formMean && r.residue() > 0:
		// Rows 0…n1-1 of the average expansion to one more are the units, row n1 is their mean.
		rows := append([]int(nil), r.index...)
		for i := r.kept; i < r.n2; i++ {
			rows[i] = r.n1
		}
		m.R = linmap.Mul(linmap.Copy(rows, nil, r.n1+1), linmap.Average(r.n1+1, r.n1))
	default:
		m.R = m.Z
	}
	w := p.splits(r)
	m.F = linmap.Split(r.index, w, r.n1)
	m.L = linmap.Split(cut, w, r.n1)
	if r.form == formZero {
		m.L = m.F // the residue is zero wherever the axis goes, so that its columns are free everywhere
	}
	if r.gauge != 1 {
		m.R, m.L, m.F = linmap.Scaled(m.R, r.gauge), linmap.Scaled(m.L, 1/r.gauge), linmap.Scaled(m.F, 1/r.gauge)
	}
	return m
}

// splits are the weights with which readers take the copies of a unit: they sum to 1 over the copies of each. Equal weights would
// give the copies equal gradients for ever; unequal ones let them part. The weights of the residue are free.
func (p *Plan) splits(r *rule) []float64 {
	width, _ := p.Method.rules()
	rng := newRand(p.Seed, "splits", r.atom.Name)
	w := make([]float64, r.n2)
	sum, count := make([]float64, r.n1), make([]float64, r.n1)
	for i := range r.n2 {
		switch width {
		case widthExact:
			w[i] = 0.35 + 0.3*rng.Float64()
		case widthAverage:
			w[i] = 1 + 0.5*rng.NormFloat64()
		default:
			w[i] = 1
		}
		if i < r.kept {
			sum[r.index[i]] += w[i]
			count[r.index[i]]++
		}
	}
	for i := range r.kept {
		j := r.index[i]
		if width == widthAverage {
			w[i] = (1 + w[i] - sum[j]/count[j]) / count[j] // a random draw, projected on the condition
		} else {
			w[i] /= sum[j]
		}
	}
	if width != widthExact && width != widthAverage {
		for i := r.kept; i < r.n2; i++ {
			w[i] = 0
		}
	}
	return w
}

// parameter reports whether a constant of the small graph is learned, as far as its use tells: what weights are multiplied by or
// added to, and gains and biases of norms.
func (p *Plan) parameter(v *graph.Value) bool {
	r := p.small.Axes
	for _, n := range r.Norms {
		if n.Gain == v || n.Bias == v {
			return true
		}
	}
	if w := r.Weight(v); w != nil {
		return w.Matmul || !p.scored(w.Axes[len(w.Axes)-1])
	}
	return v.Const.NumElements() > 1 && (len(v.Const.Dims) == 1 && added(v) || len(v.Const.Dims) > 1 && multiplied(v))
}

// blends are the depth blends of the plan's layers.
func (p *Plan) blends(op *Operator) {
	for s, ls := range p.layers {
		if ls.layers == nil {
			continue
		}
		st := p.small.Blocks.Stages[s]
		for i, m := range st.Modules {
			if !m.Consts[0].Const.DType.Growable() {
				continue // integers and masks are the source's
			}
			gain, bias := shiftIndex(st, m)
			rows := make([][]float64, len(ls.layers))
			for l, lp := range ls.layers {
				rows[l] = make([]float64, len(st.Blocks))
				from := lp.Weights
				if from < 0 && !p.parameter(m.Consts[0]) {
					from = lp.Source // scales, masks and tables are no weights
				}
				switch {
				case lp.Inert && slices.Contains(st.Zero, m):
					from = -1
				case lp.plain(gain, len(st.Shift)), lp.plain(bias, len(st.Shift)):
					from = -1 // a gain of 1 is in N
				case lp.Yields && slices.Contains(st.LateZero, m):
					from = -1 // what follows the last norm moves on with it
				case lp.Inert && from >= 0 && (gain >= 0 || bias >= 0 || inTrail(st, m) || slices.Contains(st.Late, m)):
					from = lp.Source // taken over from the layer in front
				}
				if from >= 0 {
					rows[l][from] = 1
				}
				if width, _ := p.Method.rules(); width == widthPaper && p.parameter(m.Consts[0]) {
					p.paperBlend(rows[l], moduleKey(s, st, i), l)
				}
			}
			op.Blends[moduleKey(s, st, i)] = rows
		}
	}
}
