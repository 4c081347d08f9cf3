package ligo

import (
	"context"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/graph/blocks"
)

// NewPlan decides how a model becomes one of the target's size. An impossible target is a *TargetError, and then the plan holds the
// problems too.
func NewPlan(ctx context.Context, a *Analysis, t Target, o Options) (*Plan, error) {
	info, err := o.Method.info()
	if err != nil {
		return nil, err
	}
	if err := t.check(); err != nil {
		return nil, &TargetError{[]Problem{{Code: CodeSizeEquation, Text: err.Error()}}}
	}
	p := &Plan{Method: info.Name, Seed: o.Seed, small: a, From: sizesOf(a.Axes, axes.Sizes{}, a.stageLayers())}
	if t.Params > 0 {
		if t, err = searchParams(a, t, info.Name); err != nil {
			return nil, err
		}
	}
	if err := p.chooseLayers(ctx, t); err != nil {
		return p, err
	}
	if err := p.chooseSizes(t); err != nil {
		return p, err
	}
	if err := p.chooseRules(ctx); err != nil {
		return p, err
	}
	p.measure()
	p.record = p.makeRecord()
	return p, nil
}

// refuse records problems; it returns an error when there are any.
func (p *Plan) refuse(problems []Problem) error {
	p.Problems = append(p.Problems, problems...)
	if len(p.Problems) > 0 {
		return &TargetError{p.Problems}
	}
	return nil
}

// chooseLayers decides the layers and makes the deepened graph.
func (p *Plan) chooseLayers(ctx context.Context, t Target) error {
	_, depth := p.Method.rules()
	counts, problems, notes := stageTargets(p.small, t, depth)
	if err := p.refuse(problems); err != nil {
		return err
	}
	p.Notes = append(p.Notes, notes...)
	stages := p.small.Blocks.Stages
	layouts := make([][]blocks.Layer, len(stages))
	deeper := false
	for i, st := range stages {
		ls := arrange(st, counts[i], depth)
		if p.Method == Staged && ls.layers != nil && len(ls.layers) != 2*len(st.Blocks) {
			problems = append(problems, Problem{Code: CodeNotMultiple, Nearest: []int64{int64(len(st.Blocks)), 2 * int64(len(st.Blocks))},
				Text: fmt.Sprintf("the method only doubles, %d layers would become %d", len(st.Blocks), counts[i])})
		}
		p.layers = append(p.layers, ls)
		p.Stages = append(p.Stages, ls.plan(len(st.Blocks)))
		for _, l := range ls.layers {
			layouts[i] = append(layouts[i], l.Layer)
			deeper = true
		}
	}
	if err := p.refuse(problems); err != nil {
		return err
	}
	return p.deepen(ctx, layouts, deeper)
}

// deepen makes the graph with all its layers and infers it.
func (p *Plan) deepen(ctx context.Context, layouts [][]blocks.Layer, deeper bool) error {
	stages := p.small.Blocks.Stages
	d := deepened{axes: p.small.Axes, slots: map[*graph.Value]slot{}}
	consts := make([][][]*graph.Value, len(stages))
	if deeper {
		deep, err := blocks.Deepen(p.small.Axes.Graph, p.small.Blocks, layouts)
		if err != nil {
			return fmt.Errorf("adding layers: %w", err)
		}
		if d.axes, err = axes.Infer(ctx, deep.Graph, axes.Options{}); err != nil {
			return fmt.Errorf("inferring the graph with its new layers: %w", err)
		}
		consts = deep.Consts
		d.trace(p.small.Axes, deep)
		p.from = d.from
	}
	for s, st := range stages {
		if consts[s] == nil { // unchanged: the blocks' own
			consts[s] = make([][]*graph.Value, len(st.Blocks))
			for i := range st.Blocks {
				for _, m := range st.Modules {
					consts[s][i] = append(consts[s][i], m.Consts[i])
				}
			}
		}
		for i, layer := range consts[s] {
			for m, v := range layer {
				if v == nil {
					return fmt.Errorf("adding layers: layer %d of stage %d has no constant for %s", i, s, st.Modules[m].Name)
				}
				if w := d.axes.Graph.Value(v.Name); w != nil {
					d.slots[w] = slot{s, i, m}
				}
			}
		}
	}
	p.deep, p.slots = d.axes, d.slots
	return nil
}

// chooseSizes decides the size of every atom.
func (p *Plan) chooseSizes(t Target) error {
	width, _ := p.Method.rules()
	ch := &chooser{r: p.deep, equations: p.deep.Equations(), from: p.from, whole: width == widthClone || width == widthStaged, doubling: width == widthStaged}
	c := ch.choose(t)
	if len(c.problems) > 0 {
		ch.explain(t, c.problems)
		return p.refuse(c.problems)
	}
	p.sizes = c.sizes
	edits, problems := p.deep.Solve(p.sizes)
	if len(problems) > 0 {
		var out []Problem
		for _, q := range problems {
			r := Problem{Code: q.Code, Text: q.Text}
			if q.Node != nil {
				r.Node = q.Node.String()
			}
			out = append(out, r)
		}
		ch.explain(t, out)
		return p.refuse(out)
	}
	p.edits = edits
	layers := make([]int64, len(p.Stages))
	for i, s := range p.Stages {
		layers[i] = s.To
	}
	p.To = sizesOf(p.deep, p.sizes, layers)
	return p.readable()
}

// readable refuses growing weights whose type cannot be computed with.
func (p *Plan) readable() error {
	var problems []Problem
	for _, w := range p.deep.Weights {
		if !w.Value.Const.DType.Growable() && elements(w, p.sizes) != w.Value.Const.NumElements() {
			problems = append(problems, Problem{Code: CodeWeightUnreadable, Tensor: w.Value.Origin,
				Text: fmt.Sprintf("%s must grow, and is stored as %v", w.Value.Origin, w.Value.Const.DType)})
		}
	}
	return p.refuse(problems)
}

// chooseRules decides how every axis grows, what happens to norms and ties, and what can be promised.
func (p *Plan) chooseRules(ctx context.Context) error {
	width, depth := p.Method.rules()
	u := newRuler(p.deep, p.sizes, width, p.Seed)
	p.rules = u.all()
	p.sites = u.sites(p.rules)
	if err := p.activations(ctx, u); err != nil {
		return err
	}
	for _, a := range p.activated {
		u.activated[a.rule.atom] = true
	}
	ties, notes, err := u.findTies(p.rules, p.sites)
	if err != nil {
		return err
	}
	p.ties, p.Notes = ties, append(p.Notes, notes...)
	p.planWeights(u, p.sites)
	for _, a := range p.activated {
		a.assign(p)
	}
	if err := p.postStreams(); err != nil {
		return err
	}
	p.Reasons = append(p.Reasons, unique(u.reasons)...)
	p.depthReasons(depth)
	p.Promise = p.promise(width)
	for _, a := range p.deep.Atoms {
		if r := p.rules[a]; r.grows() {
			p.Axes = append(p.Axes, AxisPlan{a.Name, string(a.Role), a.Size, p.sizes.Of(a), r.text})
		}
	}
	return nil
}

// depthReasons says what new layers cost.
func (p *Plan) depthReasons(depth depthRule) {
	for i, ls := range p.layers {
		if ls.layers == nil {
			continue
		}
		st := p.small.Blocks.Stages[i]
		if depth == depthStack || depth == depthRepeat || st.Why != "" {
			text := "the new layers compute something"
			if st.Why != "" {
				text += ": " + st.Why
			}
			p.Reasons = append(p.Reasons, Reason{Code: CodeLossyMethod, Text: text})
			continue
		}
		if !st.PostNorm {
			continue
		}
		// Every norm behind a norm multiplies the stream by 1/√(1+ε/var); below float32's rounding that is nothing.
		const nothing = 1e-8
		for _, n := range p.small.Axes.Norms {
			if n.Post && n.Eps > nothing {
				p.Reasons = append(p.Reasons, Reason{Code: CodePostNormEpsilon, Node: n.Node.String(),
					Text: fmt.Sprintf("the stream is normalised once more in every new layer, with an epsilon of %g", n.Eps)})
				break
			}
		}
	}
}

func (p *Plan) promise(width widthRule) Promise {
	grows := false
	for _, r := range p.rules {
		grows = grows || r.grows()
	}
	if width == widthScratch {
		p.Reasons = append(p.Reasons, Reason{Code: CodeLossyMethod, Text: "the model starts from scratch"})
		return None
	}
	if width == widthNext && grows {
		p.Reasons = append(p.Reasons, Reason{Code: CodeLossyMethod, Text: "copied units come from another layer"})
	}
	if width == widthPaper && grows {
		p.Reasons = append(p.Reasons, Reason{Code: CodeLossyMethod, Text: "new units are mixtures of all"})
	}
	if len(p.Reasons) == 0 {
		return Exact
	}
	for _, r := range p.Reasons {
		if r.Code == CodeLossyMethod {
			return None
		}
	}
	return Approximate
}

// unique keeps the first of the reasons that say the same about the same place, and of every code no more than a handful: every
// layer has the same reasons.
func unique(reasons []Reason) []Reason {
	const most = 8
	seen := map[Reason]bool{}
	count := map[string]int{}
	var out []Reason
	for _, r := range reasons {
		if seen[r] || count[r.Code] >= most {
			continue
		}
		seen[r] = true
		count[r.Code]++
		out = append(out, r)
	}
	return out
}

// measure counts what the large model costs.
func (p *Plan) measure() {
	p.ParamsFrom, _ = parameters(p.small.Axes.Graph)
	p.FLOPsFrom, p.FLOPsTo = flops(p.small.Axes, axes.Sizes{}), flops(p.deep, p.sizes)
	largest := int64(0)
	type key struct {
		origin string
		shape  string
	}
	seen := map[key]bool{}
	for _, v := range p.deep.Graph.Consts {
		dims := p.dims(v)
		k := key{v.Origin, fmt.Sprint(dims)}
		if seen[k] {
			continue
		}
		seen[k] = true
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		bytes := (n*int64(v.Const.DType.Bits()) + 7) / 8
		p.OutputBytes += bytes
		largest = max(largest, bytes)
		if n > 1 && v.Const.DType.Growable() {
			p.ParamsTo += n
		}
	}
	// Weights stream in blocks; what is held is the graph, a few blocks, and the pages of the tensors being read and written.
	const graphBytes, blockBytes = 4 << 10, 48 << 20
	p.PeakMemory = blockBytes + 2*largest + graphBytes*int64(len(p.deep.Graph.Nodes)+len(p.deep.Graph.Consts))
	p.Interface = p.interfaceChanges()
}

func (p *Plan) makeRecord() Record {
	rec := Record{Version: Version, Method: p.Method, Seed: p.Seed, From: p.From, To: p.To, Axes: map[string]int64{}, Layers: []int64{}, Promise: p.Promise, Reasons: p.Reasons}
	for _, a := range p.Axes {
		rec.Axes[a.Name] = a.To
	}
	for _, s := range p.Stages {
		rec.Layers = append(rec.Layers, s.To)
	}
	if m := p.small.Graph.Model; m != nil {
		rec.Source, rec.Producer, rec.ProducerVersion = m.SHA256, m.Producer, m.ProducerVersion
	}
	return rec
}
