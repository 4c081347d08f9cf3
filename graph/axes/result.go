package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

// expr is the public form of a sym: dimensions are expressions over atoms.
type expr struct {
	val   float64
	ival  int64
	isInt bool
	lit   *site
	dim   *Expr
	op    string
	args  []*expr
}

// requirement is the public form of a req.
type requirement struct {
	y    *expr
	axis *Expr
	at   *graph.Node
	neg  bool
	why  string

	operand *graph.Use
}

func (s *state) exportSym(y *sym, export func(*node) *Expr) *expr {
	e := &expr{val: y.val, ival: y.ival, isInt: y.isInt, lit: y.lit, op: y.op}
	if y.dim != nil {
		e.dim = export(y.dim)
	}
	for _, a := range y.args {
		e.args = append(e.args, s.exportSym(a, export))
	}
	return e
}

// widthsOfOne lists the Reshape axes of size 1 that turn out to be a batch axis of attention: widths, not places to broadcast.
func (s *state) widthsOfOne() map[birthKey]bool {
	out := map[birthKey]bool{}
	for _, p := range s.products {
		for _, v := range []*graph.Value{p.a, p.b} {
			ax := s.axes[v]
			for i := 0; i < len(ax)-2; i++ {
				for _, l := range ax[i].leaves() {
					if l.size == 1 {
						for _, b := range l.born {
							out[b] = true
						}
					}
				}
			}
		}
	}
	return out
}

// nonlinear lists the element-wise operators that are not linear in a growable axis: growth may only copy there.
var nonlinear = map[string]bool{"Erf": true, "Tanh": true, "Sigmoid": true, "Relu": true, "LeakyRelu": true, "Elu": true, "Selu": true,
	"Celu": true, "Softplus": true, "Softsign": true, "HardSigmoid": true, "HardSwish": true, "Mish": true, "Sqrt": true, "Exp": true,
	"Sin": true, "Cos": true, "Reciprocal": true, "Clip": true, "Log": true, "Abs": true, "Sign": true, "Gelu": true, "QuickGelu": true,
	"BiasGelu": true, "FastGelu": true, "FusedGemm": true, "Pow": true, "Min": true, "Max": true, "Mod": true, "Where": true, "PRelu": true, "Swish": true,
	"Floor": true, "Ceil": true, "Round": true, "ThresholdedRelu": true}

// markUses sets the flags that need the whole graph: what is produced, what a non-linearity passes, what reaches outputs.
func (s *state) markUses(inside map[*graph.Node]bool) {
	rotary := s.rotaryValues()
	for _, n := range s.g.Nodes {
		if inside[n] || len(n.Out) == 0 || n.Out[0] == nil {
			continue
		}
		bilinear := false
		if n.Domain == "" && (n.Op == "Mul" || n.Op == "Div") && len(n.In) == 2 && s.activation(n.In[0]) && s.activation(n.In[1]) && !rotary[n.In[0]] && !rotary[n.In[1]] {
			bilinear = true
		}
		if !nonlinear[n.Op] && !bilinear {
			continue
		}
		for _, a := range s.axes[n.Out[0]] {
			if a.find().size > 1 || !a.find().one {
				if bilinear && !(carriesAxis(s.axes[n.In[0]], a) && carriesAxis(s.axes[n.In[1]], a)) {
					continue
				}
				a.flag(UseNonlinear, "")
			}
		}
	}
	for _, o := range s.g.Outputs {
		for _, a := range s.axes[o] {
			a.flag(UseOutput, "")
		}
	}
}

func carriesAxis(ax []*node, a *node) bool {
	for _, b := range ax {
		if b.find() == a.find() {
			return true
		}
	}
	return false
}

// rotaryValues finds the values that come from sines and cosines through views and scalars, and marks the tables behind them as
// gains: frequencies are copied with their axis, never scaled or split.
func (s *state) rotaryValues() map[*graph.Value]bool {
	rot := map[*graph.Value]bool{}
	for _, n := range s.g.Nodes {
		if n.Domain != "" || len(n.Out) == 0 || n.Out[0] == nil {
			continue
		}
		switch n.Op {
		case "Sin", "Cos":
			rot[n.Out[0]] = true
			s.tablesBehind(n.In[0], s.axes[n.Out[0]])
		case "Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Gather", "Slice", "Concat", "Expand":
			rot[n.Out[0]] = len(n.In) > 0 && n.In[0] != nil && rot[n.In[0]]
		case "Mul", "Div":
			for i := range 2 {
				if _, ok := s.scalar(n.In[1-i]); ok && rot[n.In[i]] {
					rot[n.Out[0]] = true
				}
			}
		}
	}
	return rot
}

// tablesBehind marks the axes of constants behind v that share a width with ax as gains. What v takes only sizes from is not
// behind it.
func (s *state) tablesBehind(v *graph.Value, ax []*node) {
	widths := map[*node]bool{}
	for _, a := range ax {
		for _, l := range a.leaves() {
			widths[l] = l.size > 1 || !l.one
		}
	}
	seen := map[*graph.Value]bool{}
	stack := []*graph.Value{v}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if s.spend(1); v == nil || seen[v] {
			continue
		}
		seen[v] = true
		if v.Producer != nil && v.Producer.Op != "Shape" && v.Producer.Op != "Size" {
			stack = append(stack, v.Producer.In...)
		}
		if !v.IsConst() {
			continue
		}
		for i, a := range s.axes[v] {
			for _, l := range a.leaves() {
				if widths[l] {
					s.gains[constAxis{v, i}] = true
				}
			}
		}
	}
}

// sides decides producer, consumer or gain for each axis of every floating constant and marks what is produced.
func (s *state) sides() {
	for _, c := range s.g.Consts {
		t := c.Const
		float := t.DType.Growable()
		for i, a := range s.axes[c] {
			switch {
			case !float:
				if t.NumElements() > 1 && s.vals[c] == nil {
					a.flag(FlagNoRule, fmt.Sprintf("%s: a constant of type %s lies along the axis", c.Name, t.DType))
				}
			case s.consumed[constAxis{c, i}], s.gains[constAxis{c, i}]:
			default:
				a.flag(UseProduced, "")
			}
		}
	}
}

func (s *state) result() *Result {
	r := &Result{Graph: s.g, Conflicts: s.conflicts, refused: s.refused, axes: map[*graph.Value][]*Expr{}, weights: map[*graph.Value]*Weight{}, statics: map[*graph.Value][]int64{}}
	norms, inside := s.findNorms()
	s.freezeReductions(inside)
	s.markUses(inside)
	s.sides()
	scores := s.scoreSites(inside)
	s.postNorms(norms)

	memo := map[*node]*Expr{}
	var leaves []*node // of the atoms
	var export func(n *node) *Expr
	export = func(n *node) *Expr {
		n = n.find()
		if e := memo[n]; e != nil {
			return e
		}
		e := &Expr{Kind: n.kind, Size: n.size}
		memo[n] = e
		if n.kind == Leaf {
			a := &Atom{ID: len(r.Atoms), Size: n.size, Flags: n.flags, Why: n.why, Name: n.name, Parts: 1}
			leaves = append(leaves, n)
			e.parts = 1
			r.Atoms = append(r.Atoms, a)
			e.Atom = a
			return e
		}
		for _, x := range n.args {
			arg := export(x)
			e.Args = append(e.Args, arg)
			if e.parts += arg.parts; e.parts > maxParts {
				panic(stopped{fmt.Errorf("an axis of more than %d parts", maxParts)})
			}
		}
		return e
	}
	exportAll := func(v *graph.Value) {
		ax, ok := s.axes[v]
		if !ok || ax == nil {
			return
		}
		out := make([]*Expr, len(ax))
		for i, a := range ax {
			out[i] = export(a)
		}
		r.axes[v] = out
	}
	for _, v := range s.g.Inputs {
		exportAll(v)
	}
	for _, n := range s.g.Nodes {
		for _, v := range n.In {
			if v != nil && r.axes[v] == nil {
				exportAll(v)
			}
		}
		for _, v := range n.Out {
			if v != nil {
				exportAll(v)
			}
		}
	}
	for v, st := range s.vals {
		ints := make([]int64, len(st.elems))
		whole := true
		for i, y := range st.elems {
			ints[i] = y.ival
			whole = whole && y.isInt
		}
		if whole {
			r.statics[v] = ints
		}
	}
	for _, n := range norms {
		n.Axis = export(s.normAxes[n])
	}
	r.Norms = norms
	for _, p := range scores {
		r.Scores = append(r.Scores, s.score(p, inside, export))
	}
	for _, q := range s.reqs {
		r.reqs = append(r.reqs, requirement{s.exportSym(q.y, export), export(q.axis), q.at, q.neg, q.why, q.operand})
	}
	for _, q := range s.equal {
		r.equations = append(r.equations, Equation{export(q.a), export(q.b), q.at, false})
	}
	for _, a := range r.Atoms {
		if a.Has(UseInput) && !a.Has(UseProduced) && a.Flags&forbid == 0 {
			a.Flags |= FlagInput
			a.Why = append(a.Why, "an axis of a graph input that no weight produces")
		}
		if a.Has(UseOutput|UseProduced) && a.Flags&forbid == 0 && a.Flags&(UseContracted|UseLayerNorm|UseRMSNorm|UseScoreBatch|UseScoreInner|UseValueDim) == 0 {
			a.Flags |= FlagClass
			a.Why = append(a.Why, "reaches an output, and nothing contracts or normalises it")
		}
	}
	r.name(s, leaves)
	for _, c := range s.g.Consts {
		if !c.Const.DType.Growable() {
			continue
		}
		ex := r.axes[c]
		w := &Weight{Value: c, Axes: ex, Sides: make([]Side, len(ex)), Matmul: true}
		grows := false
		for i := range ex {
			switch k := (constAxis{c, i}); {
			case s.gains[k]:
				w.Sides[i], w.Matmul = Gain, false
			case s.consumed[k]:
				w.Sides[i] = Consumer
			}
			ex[i].Atoms(func(a *Atom) { grows = grows || a.Growable() })
		}
		if grows {
			r.Weights = append(r.Weights, w)
			r.weights[c] = w
		}
	}
	return r
}

// freezeReductions freezes the axes of reductions that belong to no norm.
func (s *state) freezeReductions(inside map[*graph.Node]bool) {
	for _, r := range s.reductions {
		if inside[r.at] {
			continue
		}
		for _, a := range r.axes {
			a.flag(FlagIndex, fmt.Sprintf("%s: reduced over the axis", r.at))
		}
	}
}
