package ligo

import (
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
)

// postStream is a residual stream with norms on it that grows to a width that is no whole multiple. linmap.GrowPostNorm gives what is
// added before each norm a map of its own.
type postStream struct {
	rule  *rule
	sites []*normSite     // in the order of the stream
	maps  []linmap.Matrix // of what is added before each norm, and of what the last one writes
}

// key names the maps of a place on the stream among the operator's axes; there is one beyond the last norm.
func (s *postStream) key(place int) string { return fmt.Sprintf("%s@%d", s.rule.atom.Name, place) }

// postStreams finds such streams and gives their norms what they need. A stream that is not a plain sequence of norms keeps the mean
// rule.
func (p *Plan) postStreams() error {
	op := &Operator{Blends: map[string][][]float64{}}
	p.blends(op)
	for _, a := range p.deep.Atoms {
		r := p.rules[a]
		if r.form != formMean || r.residue() == 0 || r.gauge != 1 {
			continue
		}
		s, ok, err := p.postStream(op, r)
		if err != nil {
			return err
		}
		if !ok || !p.place(s) {
			continue
		}
		p.streams = append(p.streams, s)
		r.text = fmt.Sprintf("%d of %d units copied, then %d that carry the mean from norm to norm", r.n1, r.n2, r.residue())
	}
	return nil
}

// postStream collects the norms of a stream and solves for its maps.
func (p *Plan) postStream(op *Operator, r *rule) (s *postStream, ok bool, err error) {
	s = &postStream{rule: r}
	var gains [][]float64
	for _, site := range p.sites {
		n := site.norm
		if n.Axis.Kind != axes.Leaf || n.Axis.Atom != r.atom {
			continue
		}
		if n.Kind != axes.LayerNorm || n.Gain == nil || n.GainOffset != 0 || site.tie != nil {
			return nil, false, nil
		}
		s.sites = append(s.sites, site)
	}
	if !slices.ContainsFunc(s.sites, func(x *normSite) bool { return x.norm.Post }) {
		return nil, false, nil
	}
	order := map[*graph.Node]int{}
	for i, n := range p.deep.Graph.Nodes {
		order[n] = i
	}
	slices.SortFunc(s.sites, func(x, y *normSite) int { return order[x.norm.Node] - order[y.norm.Node] })
	for i, site := range s.sites {
		if !site.norm.Post && i < len(s.sites)-1 {
			return nil, false, nil // only the last norm's output may leave the stream: what it writes is read, not added to
		}
		t, _, err := p.base(op, site.norm.Gain)
		if err != nil {
			return nil, false, err
		}
		g, err := t.Float64s()
		if err != nil {
			return nil, false, err
		}
		if len(g) != r.n1 {
			return nil, false, nil
		}
		if p.withoutWeights(op, site.norm.Gain) {
			for i := range g {
				g[i] = 1
			}
		}
		gains = append(gains, g)
	}
	maps, norms := linmap.GrowPostNorm(r.n2, gains)
	for i, n := range norms {
		s.sites[i].rest, s.sites[i].gain, s.sites[i].bias, s.sites[i].eps = n.Gain, math.Sqrt(n.Epsilon), 1, n.Epsilon
	}
	s.maps = maps
	return s, true, nil
}

// withoutWeights reports whether no small layer has a share in a constant of a layer.
func (p *Plan) withoutWeights(op *Operator, v *graph.Value) bool {
	s, ok := p.slots[v]
	if !ok || p.layers[s.stage].layers == nil {
		return false
	}
	w := op.Blends[moduleKey(s.stage, p.small.Blocks.Stages[s.stage], s.module)][s.layer]
	return !slices.ContainsFunc(w, func(x float64) bool { return x != 0 })
}

// place finds the norm that each weight writes before; it reports false if one writes before several.
func (p *Plan) place(s *postStream) bool {
	at := map[*weightPlan]string{}
	for _, wp := range p.weights {
		for i, e := range wp.axes {
			// the residue carries means here, not zeros: nothing may read it
			if e.Kind == axes.Leaf && e.Atom == s.rule.atom && wp.slots[i] == variantF {
				wp.slots[i] = variantL
			}
		}
		if wp.gain || wp.bias {
			continue
		}
		for i, e := range wp.axes {
			if e.Kind != axes.Leaf || e.Atom != s.rule.atom || wp.slots[i] != variantR {
				continue
			}
			n, ok := s.next(wp.value)
			if !ok {
				return false
			}
			at[wp] = s.key(n)
		}
	}
	for wp, key := range at {
		wp.place = key
	}
	for i, site := range s.sites {
		if wp := p.weightOf(site.norm.Gain); wp != nil {
			wp.slots, wp.factor = []variant{variantZ}, site.gain
		}
		if wp := p.weightOf(site.norm.Bias); wp != nil {
			wp.slots, wp.factor, wp.place = []variant{variantR}, 1, s.key(i+1)
		}
	}
	return true
}

// next is the first norm of the stream that reads what a constant makes; their number, where none does.
func (s *postStream) next(v *graph.Value) (int, bool) {
	found := map[int]bool{}
	seen := map[*graph.Value]bool{}
	var walk func(v *graph.Value)
	walk = func(v *graph.Value) {
		if v == nil || seen[v] {
			return
		}
		seen[v] = true
		for i, site := range s.sites {
			if site.norm.In == v {
				found[i] = true
				return
			}
		}
		for _, u := range v.Uses {
			fused := slices.IndexFunc(s.sites, func(x *normSite) bool { return x.norm.Node == u.Node })
			if fused >= 0 {
				found[fused] = true
				continue
			}
			for _, o := range u.Node.Out {
				walk(o)
			}
		}
	}
	walk(v)
	switch len(found) {
	case 0:
		return len(s.sites), true
	case 1:
		for i := range found {
			return i, true
		}
	}
	return 0, false
}
