package ligo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Plan plans the growth that the operator is for: of the model that it was made for, or of a sibling, which has the same graph and other
// weights. A model of another kind or size is an *OperatorError or a *TargetError.
func (f *OperatorFile) Plan(ctx context.Context, small *Analysis) (*Plan, error) {
	layers := small.stageLayers()
	from := sizesOf(small.Axes, axes.Sizes{}, layers)
	if have, want := from.String(), f.Record.From.String(); have != want {
		return nil, &OperatorError{"", fmt.Sprintf("it grows models of %.200s; this one has %s", want, have)}
	}
	blended := map[string]bool{}
	for key := range f.blends {
		stage, _, _ := strings.Cut(key, "/")
		blended[stage] = true
	}
	for i, n := range f.Record.Layers {
		if i < len(layers) && n != layers[i] && !blended[fmt.Sprint(i)] {
			return nil, &OperatorError{fmt.Sprintf("run %d of layers", i), fmt.Sprintf("becomes %d from %d layers, and nothing says how", n, layers[i])}
		}
	}
	p, err := Replay(ctx, small, f.Record)
	if err != nil {
		return nil, err
	}
	if was, is := f.Record.Source, p.record.Source; was != is && was != "" && is != "" {
		p.Notes = append(p.Notes, Reason{Code: CodeSibling, Text: fmt.Sprintf("the operator was made for another file, of SHA-256 %.12s…, this one's is %.12s…", was, is)})
	}
	return p, nil
}

// Operator is the operator for a plan of Plan's. An operator that was not learned and is not what the method makes of the plan's model
// promises nothing.
func (f *OperatorFile) Operator(ctx context.Context, p *Plan) (*Operator, error) {
	op := &Operator{Method: f.Record.Method, Seed: f.Record.Seed, Axes: maps.Clone(f.axes), Blends: maps.Clone(f.blends), Slots: maps.Clone(f.slots),
		Learned: f.Record.Learned, Free: map[string]*onnxio.Tensor{}, Dropped: map[string]bool{}}
	if op.Method != p.Method || op.Seed != p.Seed {
		return nil, &OperatorError{"", fmt.Sprintf("its method is %s with seed %d, the plan's %s with seed %d", op.Method, op.Seed, p.Method, p.Seed)}
	}
	for _, name := range f.dropped {
		op.Dropped[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(f.free)) {
		t := f.free[name]
		if err := p.takes(name, t); err != nil {
			return nil, err
		}
		var err error
		if op.Free[name], err = t.tensor(name); err != nil {
			return nil, err
		}
	}
	if err := p.fitsWhole(op); err != nil {
		return nil, err
	}
	if op.Learned == nil {
		own, err := p.Operator(ctx)
		if err != nil {
			return nil, err
		}
		a, err := digestOf(ctx, p, own)
		if err != nil {
			return nil, err
		}
		b, err := digestOf(ctx, p, op)
		if err != nil {
			return nil, err
		}
		op.loose = a != b
	}
	op.SHA256 = f.SHA256
	return op, nil
}

// takes checks a free term against the tensor that it is added to.
func (p *Plan) takes(name string, t freeTerm) error {
	v := p.deep.Graph.Value(name)
	if v == nil || !v.IsConst() {
		return &OperatorError{fmt.Sprintf("free term %.200q", name), "the model has no such tensor"}
	}
	if want := p.dims(v); v.Const.DType != t.dt || !slices.Equal(t.shape, want) {
		return &OperatorError{fmt.Sprintf("free term %.200q", name), fmt.Sprintf("is %v of shape %.100s, the grown tensor is %v of %v", t.dt, fmt.Sprint(t.shape), v.Const.DType, want)}
	}
	return nil
}

// fitsWhole is fits for an operator that others made: it has what the plan needs and nothing else.
func (p *Plan) fitsWhole(op *Operator) error {
	if err := p.fits(op); err != nil {
		return err
	}
	bases := p.axisKeys()
	for _, key := range slices.Sorted(maps.Keys(op.Axes)) {
		m := op.Axes[key]
		r := bases[key]
		if r == nil {
			return &OperatorError{fmt.Sprintf("axis %.200s", key), "does not grow in this model"}
		}
		if err := r.sized(key, m); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(bases)) {
		if _, ok := op.Axes[key]; !ok {
			return &OperatorError{"axis " + key, "is missing"}
		}
	}
	slots := map[string][2]int{}
	for _, wp := range p.weights {
		for i := range wp.axes {
			for _, s := range p.segments(wp, i) {
				slots[s.key.String()] = [2]int{int(p.sizes.Eval(s.expr)), int(s.expr.Size)}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(op.Slots)) {
		m := op.Slots[key]
		want, ok := slots[key]
		to, from := m.Dims()
		switch {
		case !ok:
			return &OperatorError{fmt.Sprintf("slot %.200s", key), "is not in this model"}
		case want != [2]int{to, from}:
			return &OperatorError{fmt.Sprintf("slot %.200s", key), fmt.Sprintf("has a matrix of %d x %d, needed is %d x %d", to, from, want[0], want[1])}
		}
	}
	known := map[string]bool{}
	for s, st := range p.small.Blocks.Stages {
		for i := range st.Modules {
			known[moduleKey(s, st, i)] = p.layers[s].layers != nil
		}
	}
	for _, key := range slices.Sorted(maps.Keys(op.Blends)) {
		if !known[key] {
			return &OperatorError{fmt.Sprintf("module %.200s", key), "is not in this model, or its layers stay"}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(op.Dropped)) {
		if v := p.deep.Graph.Value(name); v == nil || !v.IsConst() || !v.Const.DType.Growable() {
			return &OperatorError{fmt.Sprintf("dropped tensor %.200q", name), "the model has no such weight"}
		}
	}
	return nil
}

// axisKeys are the names under which an operator has the matrices of axes, with the rule whose sizes they have.
func (p *Plan) axisKeys() map[string]*rule {
	out := map[string]*rule{}
	for _, a := range p.deep.Atoms {
		if r := p.rules[a]; !r.trivial() {
			out[a.Name] = r
		}
	}
	for _, s := range p.streams {
		for i := range s.maps {
			out[s.key(i)] = s.rule
		}
	}
	for _, a := range p.activated {
		out[a.key()] = a.rule
	}
	return out
}

// sized checks the matrices of an axis.
func (r *rule) sized(key string, m AxisMaps) error {
	for _, x := range []struct {
		m        linmap.Matrix
		to, from int
	}{{m.R, r.n2, r.n1}, {m.L, r.n1, r.n2}, {m.F, r.n1, r.n2}, {m.M, r.n2, r.n1}, {m.Z, r.n2, r.n1}} {
		if x.m == nil {
			return &OperatorError{"axis " + key, "has not all its matrices"}
		}
		if to, from := x.m.Dims(); to != x.to || from != x.from {
			return &OperatorError{"axis " + key, fmt.Sprintf("has a matrix of %d x %d, needed is %d x %d", to, from, x.to, x.from)}
		}
	}
	return nil
}
