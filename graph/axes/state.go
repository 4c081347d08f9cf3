package axes

import (
	"fmt"
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
	// operand is the Concat operand that holds the integer alone, for this requirement alone: it may be replaced by a literal.
	operand *graph.Use
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

func newState(b *budget, g *graph.Graph, bind func(int, string) int64, ones map[birthKey]bool) *state {
	return &state{budget: b, g: g, bindTo: bind, realOnes: ones,
		axes: map[*graph.Value][]*node{}, vals: map[*graph.Value]*static{}, origins: map[*graph.Value][][]constAxis{},
		weightOnly: map[*graph.Value]bool{}, consumed: map[constAxis]bool{}, gains: map[constAxis]bool{}, runs: map[string]*node{}}
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

// normAxis brings a possibly negative axis into range; ok is false when it is out of range.
func normAxis(axis int64, rank int) (int, bool) {
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), axis >= 0 && axis < int64(rank)
}
