package ligo

import (
	"context"
	"fmt"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// GateError says that a grown graph does not have the sizes that were planned. It is a defect of this program or a model beyond its
// rules, never the user's mistake; the graph is not given out.
type GateError struct{ Problems []axes.Problem }

func (e *GateError) Error() string {
	var b strings.Builder
	b.WriteString("the grown graph is not what was planned")
	for i, p := range e.Problems {
		if i == 3 {
			fmt.Fprintf(&b, "; and %d more", len(e.Problems)-i)
			break
		}
		fmt.Fprintf(&b, "; %s", p.Text)
		if p.Node != nil {
			fmt.Fprintf(&b, " (at %s)", p.Node)
		}
	}
	return b.String()
}

// Apply grows the graph of a plan by an operator, which Plan.Operator made or which has the same axes. Weights are computed when they
// are written. Inputs stay open as long as the result is used.
func Apply(ctx context.Context, p *Plan, op *Operator) (*Grown, error) {
	if err := p.fits(op); err != nil {
		return nil, err
	}
	g := p.deep.Graph.Clone()
	for _, v := range p.deep.Graph.Consts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t, recipe, err := p.grown(op, v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
		if t == v.Const {
			continue
		}
		w := g.Value(v.Name)
		w.Const, w.Recipe = t, recipe
		if w.Type != nil {
			w.Type = sized(w.Type, t.Dims)
		}
	}
	if err := p.edit(g); err != nil {
		return nil, err
	}
	if err := p.epsilons(g); err != nil {
		return nil, err
	}
	if len(p.edits.Operands) > 0 {
		g.Prune() // what computed the sizes that are literals now
	}
	record := p.recordOf(op)
	if err := p.sign(g, record); err != nil {
		return nil, err
	}
	if err := g.Validate(); err != nil {
		return nil, fmt.Errorf("the grown graph: %w", err)
	}
	problems, err := p.deep.Check(ctx, g, p.sizes)
	if err != nil {
		return nil, fmt.Errorf("inferring the grown graph: %w", err)
	}
	if len(problems) > 0 {
		return nil, &GateError{problems}
	}
	out := &Grown{Graph: g, Record: record}
	out.InputMaps, out.OutputMaps = p.Maps(op)
	return out, nil
}

// grown is the tensor of a constant in the large model.
func (p *Plan) grown(op *Operator, v *graph.Value) (*onnxio.Tensor, string, error) {
	t, recipe, err := p.base(op, v)
	if err != nil {
		return nil, "", err
	}
	wp := p.weightOf(v)
	dropped := op.Dropped[v.Name]
	if dropped {
		t, recipe = linmap.Fill(v.Const.DType, v.Const.Dims, 0), "0"
	}
	if wp != nil {
		if t, recipe, err = p.widen(op, wp, t, recipe, dropped); err != nil {
			return nil, "", err
		}
	}
	if n := op.Free[v.Name]; n != nil {
		if dropped {
			t = n // no zeros to read
		} else if t, err = linmap.Add(t, n); err != nil {
			return nil, "", err
		}
		// A free term belongs to one tensor, or, of a model from scratch, to one initializer.
		if dropped {
			recipe += "+N/" + v.Origin
		} else {
			recipe += "+N/" + v.Name
		}
	}
	if t.DType != v.Const.DType {
		return nil, "", fmt.Errorf("the operator makes %v of %v", t.DType, v.Const.DType)
	}
	return t, recipe, nil
}

// widen applies folds, the maps of all axes, and factors.
func (p *Plan) widen(op *Operator, wp *weightPlan, t *onnxio.Tensor, recipe string, dropped bool) (*onnxio.Tensor, string, error) {
	var err error
	if wp.fold != nil && !dropped {
		gain, from, err := p.base(op, wp.fold)
		if err != nil {
			return nil, "", err
		}
		if t, err = linmap.MulAlong(t, wp.foldAxis, gain); err != nil {
			return nil, "", err
		}
		recipe += "*" + wp.fold.Name + from
	}
	if wp.folded && !dropped {
		return linmap.Fill(t.DType, p.dims(wp.value), 1), "1", nil
	}
	maps := make([]linmap.Matrix, len(wp.axes))
	changed := false
	factor := wp.factor
	for i, e := range wp.axes {
		m := p.slotMatrix(op, wp, i)
		if m == nil {
			continue
		}
		if factor != 1 {
			m, factor = linmap.Scaled(m, factor), 1
		}
		if linmap.IsIdentity(m) {
			continue
		}
		maps[i], changed = m, true
		recipe += fmt.Sprintf(" %d:%v%s[%s]", i, wp.slots[i], wp.place, e)
		if len(op.Slots) > 0 {
			for _, s := range p.segments(wp, i) {
				recipe += "=" + s.key.String()
			}
		}
	}
	if wp.factor != 1 {
		recipe += fmt.Sprintf(" x%g", wp.factor)
	}
	if !changed {
		return t, recipe, nil
	}
	if t, err = linmap.Grow(t, maps); err != nil {
		return nil, "", err
	}
	// A norm that multiplies by 1 + gain holds f·(1 + gain) - 1.
	if s := wp.norm; s != nil && wp.gain && s.norm.GainOffset != 0 && wp.factor != 1 {
		off := linmap.Fill(t.DType, t.Dims, s.norm.GainOffset*(wp.factor-1))
		if t, err = linmap.Add(t, off); err != nil {
			return nil, "", err
		}
	}
	return t, recipe, nil
}

func (p *Plan) weightOf(v *graph.Value) *weightPlan { return p.byValue[v] }

// edit writes the integers, attributes and declared types that state sizes. g is a clone of the deepened graph: values have the same
// names, nodes the same places.
func (p *Plan) edit(g *graph.Graph) error {
	for v, t := range p.edits.Consts {
		w := g.Value(v.Name)
		if w == nil {
			return fmt.Errorf("the constant %s to edit is not in the graph", v.Name)
		}
		w.Const, w.Recipe = t, ""
	}
	for v, t := range p.edits.Types {
		if w := g.Value(v.Name); w != nil {
			w.Type = t
		}
	}
	for i, n := range p.deep.Graph.Nodes {
		for _, a := range p.edits.Attrs[n] {
			g.Nodes[i].SetAttr(a)
		}
		for j, v := range n.In {
			if size, ok := p.edits.Operands[graph.Use{Node: n, Index: j}]; ok {
				g.SetInput(g.Nodes[i], j, g.NewConst(v.Name+"_size", onnxio.FromInt64s("", []int64{1}, []int64{size})))
			}
		}
	}
	return nil
}

// epsilons scales the epsilons of norms with the variance.
func (p *Plan) epsilons(g *graph.Graph) error {
	at := make(map[*graph.Node]int, len(g.Nodes))
	for i, n := range p.deep.Graph.Nodes {
		at[n] = i
	}
	for _, s := range p.sites {
		if s.eps == 1 {
			continue
		}
		switch n := s.norm; {
		case n.EpsConst != nil:
			x, err := n.EpsConst.Const.Float64s()
			if err != nil {
				return fmt.Errorf("%s: %w", n.EpsConst.Name, err)
			}
			for i := range x {
				x[i] *= s.eps
			}
			old := n.EpsConst.Const
			t, err := onnxio.FromFloats(old.Name, old.DType, old.Dims, x)
			if err != nil {
				return fmt.Errorf("%s: %w", n.EpsConst.Name, err)
			}
			w := g.Value(n.EpsConst.Name)
			w.Const, w.Recipe = t, ""
		case n.EpsNode != nil:
			g.Nodes[at[n.EpsNode]].SetFloat("epsilon", float32(n.Eps*s.eps))
		}
	}
	return nil
}

// sign writes the record into the model, and who made it.
func (p *Plan) sign(g *graph.Graph, record Record) error {
	m := &onnxio.Model{IRVersion: 8}
	if g.Model != nil {
		c := *g.Model
		m = &c
	}
	meta, err := withRecord(m.Metadata, record)
	if err != nil {
		return err
	}
	m.Metadata = meta
	m.Producer, m.ProducerVersion = "ligoonnx", Version
	if m.Doc != "" && !strings.HasSuffix(m.Doc, "\n") {
		m.Doc += "\n"
	}
	m.Doc += fmt.Sprintf("Grown by ligoonnx %s (%s): %s to %s.", Version, p.Method, p.From, p.To)
	g.Model = m
	return nil
}

func sized(t *onnxio.Type, dims []int64) *onnxio.Type {
	c := *t
	c.Dims = make([]onnxio.Dim, len(dims))
	for i, d := range dims {
		c.Dims[i] = onnxio.Dim{Value: d}
		if i < len(t.Dims) {
			c.Dims[i].Denotation = t.Dims[i].Denotation
		}
	}
	return &c
}
