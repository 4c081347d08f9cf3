package axes

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// req says that an integer stands for the size of an axis.
type req struct {
	y    *sym
	axis *node
	at   *graph.Node
	neg  bool // the integer is minus the size
	why  string
}

// constAxis is an axis of a constant.
type constAxis struct {
	c    *graph.Value
	axis int
}

// product2 is a contraction of two activations.
type product2 struct {
	at        *graph.Node
	inner     *node
	batch     []*node // broadcast batch axes
	cols      *node
	a, b      *graph.Value
	fused     bool // a fused attention operator: scores and values in one node
	value     *node
	scaleAttr string
}

// state is one sweep over the graph.
type state struct {
	*budget
	g      *graph.Graph
	nodes  int
	bindTo func(i int, param string) int64

	axes map[*graph.Value][]*node
	vals map[*graph.Value]*static
	// origins gives, for each axis of a value, the axes of constants that reach it through nothing but views: growing the value's
	// axis grows theirs.
	origins    map[*graph.Value][][]constAxis
	weightOnly map[*graph.Value]bool

	consumed map[constAxis]bool
	gains    map[constAxis]bool
	runs     map[string]*node // by dim_param
	runCount int
	realOnes map[birthKey]bool // Reshape axes whose size 1 is a width

	reqs        []req
	equal       []equality
	reductions  []reduction
	pendingOnes []pendingOne
	products    []*product2
	fused       []fusedNorm
	normAxes    map[*Norm]*node
	conflicts   []Conflict
	clashes     [][2]int64 // run-time sizes that should have been equal
	refused     []Conflict // nodes that no rule covers, and why
	uncovered   int        // of these, the nodes that a rule would cover with other sizes of run-time dimensions, maybe
	staticIfs   []staticIf
}

// staticIf is an If whose condition is known, and the branch that it takes.
type staticIf struct {
	node   *graph.Node
	branch *onnxio.Graph
}

// equality is an equation of sizes between two axes during inference.
type equality struct {
	a, b *node
	at   *graph.Node
}

type birthKey struct {
	name string
	axis int
}

// fusedNorm is a normalisation written as one operator.
type fusedNorm struct {
	kind       NormKind
	node       *graph.Node
	in, out    *graph.Value
	gain, bias *graph.Value
	axis       *node
	epsDefault float64
}

// bindings are the sizes tried for run-time dimensions, in the order of the dimensions' first appearance. Primes keep Reshape
// nearly unambiguous; the later lists suit small position tables.
var bindings = [][]int64{
	{11, 13, 17, 19, 23, 29, 31, 37, 41, 43},
	{5, 7, 3, 2, 11, 13, 17},
	{3, 5, 2, 7, 11, 13, 17},
	{2, 3, 5, 7, 11, 13, 17},
}

// maxFolds bounds how deep static Ifs are nested.
const maxFolds = 1000

func infer(ctx context.Context, g *graph.Graph, o Options) (r *Result, err error) {
	b := &budget{ctx: ctx, left: maxWork}
	defer b.rescue(&err)
	g = g.Clone()
	if err := g.Normalize(); err != nil {
		return nil, err
	}
	var best *state
	try := func(bind func(int, string) int64) error {
		s, err := sweepFolding(b, g, bind, nil)
		if err != nil {
			return err
		}
		if ones := s.widthsOfOne(); len(ones) > 0 {
			t, err := sweepFolding(b, g, bind, ones)
			if err != nil {
				return err
			}
			if !s.betterThan(t) {
				s = t
			}
		}
		if best == nil || s.betterThan(best) {
			best = s
		}
		return nil
	}
	for _, b := range bindings {
		if err := try(func(i int, _ string) int64 { return b[i%len(b)] }); err != nil {
			return nil, err
		}
		if best.clean() {
			break
		}
	}
	for tries, better := 0, true; better && !best.clean(); {
		better = false
		for _, e := range best.equals() {
			if tries++; tries > maxRebinds {
				break
			}
			was, bind := best, best.bindTo
			if err := try(func(i int, param string) int64 {
				if param == e.param {
					return e.size
				}
				return bind(i, param)
			}); err != nil {
				return nil, err
			}
			if better = best != was; better {
				break
			}
		}
	}
	if !best.clean() && len(o.Bind) > 0 {
		b := bindings[0]
		if err := try(func(i int, param string) int64 {
			if n, ok := o.Bind[param]; ok && n > 0 {
				return n
			}
			return b[i%len(b)]
		}); err != nil {
			return nil, err
		}
	}
	return best.result(), nil
}

// twinDims leads from run-time dimensions to others that are as long: those at the same place of an earlier input of the same form.
// Layers have caches of one length even where the exporter named every dimension on its own, and the first axis is the batch.
// Inputs of fewer axes than rank are no caches: tokens and their mask may differ in length.
func twinDims(g *graph.Graph, rank int) map[string]string {
	twins := map[string]string{}
	first := map[string]*graph.Value{}
	batch := ""
	for _, v := range g.Inputs {
		if v.Type == nil || len(v.Type.Dims) == 0 {
			continue
		}
		switch p := v.Type.Dims[0].Param; {
		case batch == "":
			batch = p
		case p != "" && p != batch:
			twins[p] = batch
		}
		if len(v.Type.Dims) < rank {
			continue
		}
		form := fmt.Sprint(v.Type.Elem)
		for _, d := range v.Type.Dims {
			if d.Param != "" {
				form += " ?"
			} else {
				form += fmt.Sprintf(" %d", d.Value)
			}
		}
		f := first[form]
		if f == nil {
			first[form] = v
			continue
		}
		for i, d := range v.Type.Dims {
			if t := f.Type.Dims[i].Param; d.Param != "" && d.Param != t && twins[d.Param] == "" {
				twins[d.Param] = t
			}
		}
	}
	return twins
}

// maxRebinds bounds the bindings that conflicts suggest: a few for each layer of a model with caches.
const maxRebinds = 256

// rebinding is a size to try for a run-time dimension.
type rebinding struct {
	param string
	size  int64
}

// equals lists bindings that may end the conflicts between run-time sizes. Exporters that name every dimension of every input (one
// past length for each layer's cache) leave out which of them must be equal: those whose sizes differ, or relate, as the sizes in
// conflict do.
func (s *state) equals() []rebinding {
	names := slices.Sorted(maps.Keys(s.runs))
	var out []rebinding
	if s.uncovered > 0 {
		twins := twinDims(s.g, 1)
		for _, p := range names {
			if q, ok := s.runs[twins[p]]; ok && q.find().size != s.runs[p].find().size {
				out = append(out, rebinding{p, q.find().size})
			}
		}
	}
	for _, c := range s.clashes {
		for _, p := range names {
			for _, q := range names {
				x, y := s.runs[p].find().size, s.runs[q].find().size
				if x == y || x-y != c[0]-c[1] && x*c[1] != y*c[0] {
					continue
				}
				for _, e := range []rebinding{{q, x}, {p, y}} {
					if !slices.Contains(out, e) {
						out = append(out, e)
					}
				}
			}
		}
	}
	return out
}

// clean reports that no other binding could do better.
func (s *state) clean() bool { return len(s.conflicts) == 0 && s.uncovered == 0 }

func (s *state) betterThan(t *state) bool {
	if len(s.conflicts) != len(t.conflicts) {
		return len(s.conflicts) < len(t.conflicts)
	}
	return s.uncovered < t.uncovered
}

// sweepFolding sweeps, folding the Ifs that turn out static, until none is left. Folding changes g.
func sweepFolding(b *budget, g *graph.Graph, bind func(int, string) int64, ones map[birthKey]bool) (*state, error) {
	for range maxFolds {
		s := newState(b, g, bind, ones)
		if err := s.sweep(); err != nil {
			return nil, err
		}
		if len(s.staticIfs) == 0 {
			return s, nil
		}
		for _, f := range s.staticIfs {
			if err := g.InlineBranch(f.node, f.branch); err != nil {
				return nil, err
			}
		}
		if err := g.Normalize(); err != nil {
			return nil, err
		}
	}
	return nil, &graph.InvalidError{Where: b.at.String(), Problem: fmt.Sprintf("If nodes nested more than %d deep", maxFolds)}
}

func newState(b *budget, g *graph.Graph, bind func(int, string) int64, ones map[birthKey]bool) *state {
	return &state{budget: b, g: g, bindTo: bind, realOnes: ones,
		axes: map[*graph.Value][]*node{}, vals: map[*graph.Value]*static{}, origins: map[*graph.Value][][]constAxis{},
		weightOnly: map[*graph.Value]bool{}, consumed: map[constAxis]bool{}, gains: map[constAxis]bool{}, runs: map[string]*node{}}
}

func (s *state) sweep() error {
	twins := twinDims(s.g, 3)
	for _, v := range s.g.Inputs {
		s.input(v, twins)
	}
	for _, c := range s.g.Consts {
		s.constant(c)
	}
	for _, n := range s.g.Nodes {
		if s.at = n; s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if err := wellFormed(n); err != nil {
			return err
		}
		if n.Op == "If" && n.Domain == "" {
			// the sweep goes on behind a static If with its outputs unknown, to find others: it only counts when it finds none
			if !s.foldIf(n) {
				s.noRule(n, "its condition depends on the data or on a run-time size")
			}
			continue
		}
		s.apply(n)
	}
	return nil
}

// input binds the axes of a graph input.
func (s *state) input(v *graph.Value, twins map[string]string) {
	if v.Type == nil || !v.Type.HasShape {
		s.axes[v] = nil
		return
	}
	axes := make([]*node, len(v.Type.Dims))
	for i, d := range v.Type.Dims {
		switch {
		case d.Param != "":
			n := s.runs[d.Param]
			if n == nil {
				size := s.bindTo(s.runCount, d.Param)
				if twin := s.runs[twins[d.Param]]; twin != nil {
					size = twin.find().size
				}
				n = s.runLeaf(size, fmt.Sprintf("run-time dimension %s", d.Param))
				n.name, n.one = d.Param, false
				s.runs[d.Param] = n
				s.runCount++
			}
			axes[i] = n
		case d.Value >= 0:
			axes[i] = s.leaf(d.Value)
			axes[i].set(UseInput, "")
		default:
			axes[i] = s.runLeaf(s.bindTo(s.runCount, ""), fmt.Sprintf("unnamed run-time dimension %d of input %s", i, v.Name))
			axes[i].one = false
			s.runCount++
		}
	}
	s.axes[v] = axes
}

// constant gives a constant's axes fresh leaves and follows the values of small integer tensors and of scalars.
func (s *state) constant(c *graph.Value) {
	t := c.Const
	axes := make([]*node, len(t.Dims))
	org := make([][]constAxis, len(t.Dims))
	for i, d := range t.Dims {
		axes[i] = s.leaf(d)
		org[i] = []constAxis{{c, i}}
	}
	s.axes[c], s.origins[c], s.weightOnly[c] = axes, org, true
	n := t.NumElements()
	switch {
	case (t.DType.Integer() || t.DType == onnxio.Bool) && n <= maxStatic:
		ints, err := t.Int64s()
		if err != nil {
			return
		}
		st := &static{shape: t.Dims}
		for i, x := range ints {
			st.elems = append(st.elems, litInt(x, &site{value: c, index: i}))
		}
		s.vals[c] = st
	case t.DType.Growable() && n == 1:
		f, err := t.Float64s()
		if err != nil {
			return
		}
		s.vals[c] = &static{shape: t.Dims, elems: []*sym{litFloat(f[0], &site{value: c})}}
	}
}

// foldIf finds out whether the condition of an If is known and does not depend on run-time sizes.
func (s *state) foldIf(n *graph.Node) bool {
	if len(n.In) == 0 || n.In[0] == nil {
		return false
	}
	st := s.vals[n.In[0]]
	if st == nil || len(st.elems) != 1 || st.elems[0].run() {
		return false
	}
	name := "else_branch"
	if st.elems[0].ival != 0 {
		name = "then_branch"
	}
	a := n.Attr(name)
	if a == nil || a.G == nil {
		return false
	}
	s.staticIfs = append(s.staticIfs, staticIf{n, a.G})
	return true
}

// noRule gives the outputs of an operator without a rule fresh axes where their rank is declared, and freezes everything that
// enters it.
func (s *state) noRule(n *graph.Node, reason string) {
	why := fmt.Sprintf("%s: %s", n, reason)
	s.refused = append(s.refused, Conflict{n, reason})
	for _, v := range n.In {
		for _, a := range s.axes[v] {
			a.flag(FlagNoRule, why)
		}
	}
	for _, v := range n.Captures {
		for _, a := range s.axes[v] {
			a.flag(FlagNoRule, why)
		}
	}
	for _, o := range n.Out {
		if o == nil {
			continue
		}
		s.axes[o] = s.declared(o, why)
	}
}

// declared makes frozen axes from a value's declared type; nil where none is declared.
func (s *state) declared(v *graph.Value, why string) []*node {
	if v.Type == nil || !v.Type.HasShape {
		return nil
	}
	axes := make([]*node, len(v.Type.Dims))
	for i, d := range v.Type.Dims {
		switch {
		case d.Param != "" && s.runs[d.Param] != nil:
			axes[i] = s.runs[d.Param]
		case d.Param == "" && d.Value >= 0:
			axes[i] = s.leaf(d.Value)
			axes[i].set(FlagNoRule, why)
		default:
			axes[i] = s.runLeaf(s.bindTo(s.runCount, ""), why)
			axes[i].one = false
			s.runCount++
		}
	}
	return axes
}

// require records that the integer y stands for the size of axis.
func (s *state) require(y *sym, axis *node, at *graph.Node, why string) {
	s.reqs = append(s.reqs, req{y: y, axis: axis, at: at, why: why})
}

// requireAttr records that an integer attribute stands for the size of an axis.
func (s *state) requireAttr(n *graph.Node, attr string, index int, val int64, axis *node) {
	s.require(litInt(val, &site{node: n, attr: attr, index: index}), axis, n, "attribute "+attr)
}

// consume marks the constants behind an axis of v as contracted over it.
func (s *state) consume(v *graph.Value, axis int) {
	for _, o := range s.originsOf(v, axis) {
		s.consumed[o] = true
	}
}

// mergeOrigins joins two lists of origins; a weight that is computed from very many constants counts as having none.
func mergeOrigins(a, b []constAxis) []constAxis {
	out := slices.Clip(a)
	for _, o := range b {
		if !slices.Contains(a, o) {
			out = append(out, o)
		}
	}
	if len(out) > maxOrigins {
		return nil
	}
	return out
}

func (s *state) originsOf(v *graph.Value, axis int) []constAxis {
	if o := s.origins[v]; axis < len(o) {
		return o[axis]
	}
	return nil
}

// activation reports whether v is computed from graph inputs.
func (s *state) activation(v *graph.Value) bool { return v != nil && !s.weightOnly[v] }

// setWeightOnly marks the outputs of a node whose data all come from constants. Operands that only give shapes do not count.
func (s *state) setWeightOnly(n *graph.Node, data ...*graph.Value) {
	for _, v := range data {
		if v != nil && !s.weightOnly[v] {
			return
		}
	}
	for _, o := range n.Out {
		if o != nil {
			s.weightOnly[o] = true
		}
	}
}

// ints gives the elements of a static integer value; nil when it is not known.
func (s *state) ints(v *graph.Value) []*sym {
	if v == nil {
		return nil
	}
	if st := s.vals[v]; st != nil {
		return st.elems
	}
	return nil
}

// attrInts gives an integer-list attribute as literals.
func attrInts(n *graph.Node, name string) []*sym {
	var out []*sym
	for i, x := range n.Ints(name) {
		out = append(out, litInt(x, &site{node: n, attr: name, index: i}))
	}
	return out
}

// norm brings a possibly negative axis into range; ok is false when it is out of range.
func normAxis(axis int64, rank int) (int, bool) {
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), axis >= 0 && axis < int64(rank)
}
