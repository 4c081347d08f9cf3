package ligo

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
)

// Maps tells how the inputs and outputs of the small model become those of the large one, for those whose shape changes: one matrix
// for each axis, nil for an axis that stays. Inputs and outputs that are new (caches of new layers) have no entry.
func (p *Plan) Maps(op *Operator) (inputs, outputs map[string][]linmap.Matrix) {
	inputs, outputs = map[string][]linmap.Matrix{}, map[string][]linmap.Matrix{}
	known := map[string]bool{}
	for _, v := range slices.Concat(p.small.Axes.Graph.Inputs, p.small.Axes.Graph.Outputs) {
		known[v.Name] = true
	}
	for _, v := range p.deep.Graph.Inputs {
		if m := p.valueMaps(op, v); m != nil && known[v.Name] {
			inputs[v.Name] = m
		}
	}
	for _, v := range p.deep.Graph.Outputs {
		if m := p.valueMaps(op, v); m != nil && known[v.Name] {
			outputs[v.Name] = m
		}
	}
	return inputs, outputs
}

func (p *Plan) valueMaps(op *Operator, v *graph.Value) []linmap.Matrix {
	es := p.deep.Axes(v)
	maps := make([]linmap.Matrix, len(es))
	any := false
	for i, e := range es {
		carried, place := p.carried(v, e)
		maps[i] = p.matrix(op, e, carried, place)
		if maps[i] != nil && linmap.IsIdentity(maps[i]) {
			maps[i] = nil
		}
		any = any || maps[i] != nil
	}
	if !any {
		return nil
	}
	return maps
}

// carried is the variant in which a value carries an axis: what weights produce comes by R, what a norm gives by Z; and
// the place on a post-norm stream.
func (p *Plan) carried(v *graph.Value, e *axes.Expr) (variant, string) {
	src := behind(v)
	for _, s := range p.sites {
		if s.norm.Out != src || s.norm.Kind == axes.BatchNorm || e != s.norm.Axis {
			continue
		}
		switch {
		case s.tie != nil:
			return variantT, ""
		case !s.norm.Post && s.norm.Axis.Kind == axes.Leaf && s.gain != 1:
			return variantZ, ""
		}
		for _, stream := range p.streams {
			if i := slices.Index(stream.sites, s); i >= 0 {
				return variantR, stream.key(i + 1)
			}
		}
	}
	return variantR, ""
}

// interfaceChanges lists the inputs and outputs that change.
func (p *Plan) interfaceChanges() []InterfaceChange {
	var out []InterfaceChange
	old := map[string][]string{}
	small := p.small.Axes.Graph
	for _, v := range values(slices.Concat(small.Inputs, small.Outputs)) {
		old[v.Name] = v.Shape
	}
	for _, v := range slices.Concat(p.deep.Graph.Inputs, p.deep.Graph.Outputs) {
		now := *v
		if t := p.edits.Types[v]; t != nil {
			now.Type = t
		}
		to := values([]*graph.Value{&now})[0].Shape
		if from, ok := old[v.Name]; !ok || !slices.Equal(from, to) {
			out = append(out, InterfaceChange{Name: v.Name, From: from, To: to})
		}
	}
	return out
}
