package axes

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Edits are the changes that new sizes ask of integers, attributes, score scales and declared types. They refer to the
// normalised graph.
type Edits struct {
	Consts map[*graph.Value]*onnxio.Tensor     // new contents of integer constants and scale literals
	Attrs  map[*graph.Node][]*onnxio.Attribute // attributes to replace
	Types  map[*graph.Value]*onnxio.Type       // declared types (value infos, inputs, outputs) with new sizes
	// Operands are the sizes that a Concat takes from an axis which has another size from now on: one int64 literal instead.
	Operands map[graph.Use]int64
}

// Equation is a relation of sizes that the graph forces: Left must equal Right under any new sizes.
type Equation struct {
	Left, Right *Expr
	Node        *graph.Node
	// Soft says that Solve can undo the relation: the size that the graph takes from another axis becomes a literal.
	Soft bool
}

// Equations lists the size relations between different expressions ("hidden = heads x head_dim"), for planning defaults.
func (r *Result) Equations() []Equation {
	out := slices.Clone(r.equations)
	for _, q := range r.reqs {
		if q.y.dim != nil && q.y.dim != q.axis && !q.neg {
			out = append(out, Equation{q.axis, q.y.dim, q.at, q.operand != nil})
		}
	}
	return out
}

// number is a value during evaluation.
type number struct {
	val  float64
	ival int64
}

// eval computes an expression under new sizes and rewritten literals (by site).
func (e *expr) eval(z Sizes, lits map[site]int64) number {
	switch {
	case e.lit != nil:
		if v, ok := lits[*e.lit]; ok {
			return number{float64(v), v}
		}
		return number{e.val, e.ival}
	case e.dim != nil:
		n := z.Eval(e.dim)
		return number{float64(n), n}
	case e.op == "":
		return number{e.val, e.ival}
	}
	args := make([]*sym, len(e.args))
	for i, a := range e.args {
		n := a.eval(z, lits)
		args[i] = &sym{val: n.val, ival: n.ival, isInt: a.isInt}
	}
	y := opSym(e.op, e.isInt, args...)
	if y == nil {
		return number{math.NaN(), math.MinInt64}
	}
	return number{y.val, y.ival}
}

// open reports whether the expression has a literal that is not decided yet.
func (e *expr) open(lits map[site]int64) bool {
	if e.lit != nil {
		_, done := lits[*e.lit]
		return !done
	}
	for _, a := range e.args {
		if a.open(lits) {
			return true
		}
	}
	return false
}

func (e *expr) String() string {
	switch {
	case e.lit != nil || (e.op == "" && e.dim == nil):
		if e.isInt {
			return fmt.Sprint(e.ival)
		}
		return fmt.Sprint(e.val)
	case e.dim != nil:
		return e.dim.String()
	}
	parts := make([]string, len(e.args))
	for i, a := range e.args {
		parts[i] = a.String()
	}
	return e.op + "(" + strings.Join(parts, ", ") + ")"
}

// solver decides the literals of the file.
type solver struct {
	z    Sizes
	lits map[site]int64
}

// byFactors decides the open literals of e that have the sizes of atoms of the axis (the 2 and the 16 of 2 * 16 heads), as whoever
// wrote them meant. It changes nothing unless that makes e evaluate to want.
func (s *solver) byFactors(e *expr, axis *Expr, want int64) bool {
	sizes := map[int64]int64{}
	clear := true
	axis.Atoms(func(a *Atom) {
		n, known := sizes[a.Size]
		clear = clear && (!known || n == s.z.Of(a))
		sizes[a.Size] = s.z.Of(a)
	})
	if e.op == "" || !clear {
		return false
	}
	var decided []site
	var decide func(e *expr)
	decide = func(e *expr) {
		if e.lit != nil && e.open(s.lits) {
			if n, ok := sizes[e.ival]; ok {
				s.lits[*e.lit] = n
				decided = append(decided, *e.lit)
			}
		}
		for _, a := range e.args {
			decide(a)
		}
	}
	decide(e)
	if len(decided) > 0 && e.eval(s.z, s.lits).ival == want {
		return true
	}
	for _, at := range decided {
		delete(s.lits, at)
	}
	return false
}

// solve makes e evaluate to want by deciding open literals, back through sums, products and quotients. It changes nothing when it
// fails.
func (s *solver) solve(e *expr, want int64) bool {
	if e.eval(s.z, s.lits).ival == want && !(e.lit != nil && e.open(s.lits)) {
		return true
	}
	switch {
	case e.lit != nil:
		if _, done := s.lits[*e.lit]; done {
			return false
		}
		s.lits[*e.lit] = want
		return true
	case e.dim != nil || e.op == "":
		return false
	}
	if len(e.args) == 1 {
		switch e.op {
		case "Cast", "Identity", "Floor", "Ceil":
			return s.solve(e.args[0], want)
		case "Neg":
			return s.solve(e.args[0], -want)
		}
		return false
	}
	if len(e.args) != 2 {
		return false
	}
	a, b := e.args[0], e.args[1]
	try := func(x *expr, v int64, exact bool) bool {
		return exact && x.open(s.lits) && s.solve(x, v)
	}
	av, bv := a.eval(s.z, s.lits).ival, b.eval(s.z, s.lits).ival
	switch e.op {
	case "Add":
		return try(b, want-av, true) || try(a, want-bv, true)
	case "Sub":
		return try(b, av-want, true) || try(a, want+bv, true)
	case "Mul":
		return (av != 0 && try(b, want/av, want%av == 0)) || (bv != 0 && try(a, want/bv, want%bv == 0))
	case "Div":
		return (want != 0 && try(b, av/want, av%want == 0)) || try(a, want*bv, true)
	}
	return false
}

// Solve finds every integer literal, attribute and score-scale literal that states a size which changes under s, and its new
// value. A Reshape target that the graph computes from an axis with another future becomes a literal (Operands). Problems are size equations that s breaks ("hidden = heads x head_dim: needs 48, evaluates to 32"), integers that two
// rules want different, and growth of atoms that cannot grow. The edits are complete only when there are no problems.
func (r *Result) Solve(z Sizes) (*Edits, []Problem) {
	var probs []Problem
	for _, a := range r.Atoms {
		if n := z.Of(a); n != a.Size && !a.Growable() {
			why := "nothing contracts or normalises it"
			if len(a.Why) > 0 {
				why = a.Why[0]
			}
			probs = append(probs, Problem{Code: "frozen", Atom: a, Text: fmt.Sprintf("%s (size %d) cannot become %d: %s", a.Name, a.Size, n, why)})
		}
	}
	s := &solver{z: z, lits: map[site]int64{}}
	want := func(q *requirement) int64 {
		n := z.Eval(q.axis)
		if q.neg {
			n = -n
		}
		return n
	}
	var later []*requirement
	solved := map[*requirement]bool{}
	for i := range r.reqs {
		q := &r.reqs[i]
		if q.y.lit == nil {
			later = append(later, q)
			continue
		}
		n := want(q)
		if old, done := s.lits[*q.y.lit]; done && old != n {
			probs = append(probs, Problem{Code: "literal-conflict", Node: q.at,
				Text: fmt.Sprintf("%s: the %s %d would have to become both %d and %d", q.at, q.why, q.y.ival, old, n)})
			continue
		}
		s.lits[*q.y.lit] = n
	}
	operands := map[graph.Use]int64{}
	for _, q := range later {
		n := want(q)
		if solved[q] = s.byFactors(q.y, q.axis, n) || s.solve(q.y, n); !solved[q] {
			if q.operand != nil {
				operands[*q.operand] = n
				continue
			}
			probs = append(probs, Problem{Code: "size-equation", Node: q.at,
				Text: fmt.Sprintf("%s: %s = %s: needs %d, evaluates to %d", q.at, q.axis, q.y, n, q.y.eval(z, s.lits).ival)})
		}
	}
	// a literal that suited one requirement as it was may have changed for a later one
	for _, q := range later {
		if got, n := q.y.eval(z, s.lits).ival, want(q); got != n && solved[q] {
			probs = append(probs, Problem{Code: "literal-conflict", Node: q.at,
				Text: fmt.Sprintf("%s: the integers of the %s %s would have to make both %d and %d", q.at, q.why, q.y, n, got)})
		}
	}
	for _, q := range r.equations {
		if l, m := z.Eval(q.Left), z.Eval(q.Right); l != m {
			probs = append(probs, Problem{Code: "size-equation", Node: q.Node, Text: fmt.Sprintf("%s: %s = %s: %d against %d", q.Node, q.Left, q.Right, l, m)})
		}
	}
	e, err := r.edits(s)
	e.Operands = operands
	if err != nil {
		probs = append(probs, Problem{Code: "unreadable", Text: err.Error()})
	}
	return e, probs
}

// edits collects the changed literals by constant and node.
func (r *Result) edits(s *solver) (*Edits, error) {
	e := &Edits{Consts: map[*graph.Value]*onnxio.Tensor{}, Attrs: map[*graph.Node][]*onnxio.Attribute{}, Types: map[*graph.Value]*onnxio.Type{}}
	consts := map[*graph.Value]map[int]int64{}
	attrs := map[*graph.Node]map[string]map[int]int64{}
	for at, v := range s.lits {
		switch {
		case at.value != nil:
			if consts[at.value] == nil {
				consts[at.value] = map[int]int64{}
			}
			consts[at.value][at.index] = v
		case at.node != nil:
			if attrs[at.node] == nil {
				attrs[at.node] = map[string]map[int]int64{}
			}
			if attrs[at.node][at.attr] == nil {
				attrs[at.node][at.attr] = map[int]int64{}
			}
			attrs[at.node][at.attr][at.index] = v
		}
	}
	for v, set := range consts {
		t := v.Const
		if !t.DType.Integer() {
			continue
		}
		ints, err := t.Int64s()
		if err != nil {
			return e, fmt.Errorf("%s: %w", v.Name, err)
		}
		ints = slices.Clone(ints)
		changed := false
		for i, x := range set {
			changed = changed || ints[i] != x
			ints[i] = x
		}
		if changed {
			if e.Consts[v], err = intTensor(t, ints); err != nil {
				return e, err
			}
		}
	}
	for n, byName := range attrs {
		for name, set := range byName {
			old := n.Attr(name)
			if old == nil {
				continue
			}
			a := *old
			changed := false
			if a.Kind == onnxio.AttrInts {
				a.Ints = slices.Clone(a.Ints)
				for i, x := range set {
					changed = changed || a.Ints[i] != x
					a.Ints[i] = x
				}
			} else {
				changed = a.I != set[0]
				a.I = set[0]
			}
			if changed {
				e.Attrs[n] = append(e.Attrs[n], &a)
			}
		}
		slices.SortFunc(e.Attrs[n], func(a, b *onnxio.Attribute) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, sc := range r.Scores {
		k := float64(s.z.Eval(sc.Inner)) / float64(sc.Inner.Size)
		if k == 1 {
			continue
		}
		for _, sl := range sc.Scales {
			switch {
			case sl.Computed || sl.Power == 0:
			case sl.Attr != "":
				e.Attrs[sl.Node] = append(e.Attrs[sl.Node], graph.FloatAttr(sl.Attr, float32(float64(sl.Node.Float(sl.Attr, 1))*math.Pow(k, sl.Power))))
			case sl.Const != nil:
				t, err := scaled(sl.Const.Const, math.Pow(k, sl.literal))
				if err != nil {
					return e, fmt.Errorf("score scale %s: %w", sl.Const.Name, err)
				}
				e.Consts[sl.Const] = t
			}
		}
	}
	for v, ax := range r.axes {
		if t := resized(v.Type, ax, s.z); t != nil {
			e.Types[v] = t
		}
	}
	return e, nil
}

// scaled multiplies the number in a one-element tensor.
func scaled(t *onnxio.Tensor, k float64) (*onnxio.Tensor, error) {
	if t.DType.Integer() {
		n, err := t.Int64s()
		if err != nil || len(n) != 1 {
			return nil, fmt.Errorf("is not readable: %w", err)
		}
		return intTensor(t, []int64{int64(math.Round(float64(n[0]) * k))})
	}
	f, err := t.Float64s()
	if err != nil || len(f) != 1 {
		return nil, fmt.Errorf("is not readable: %w", err)
	}
	return onnxio.FromFloats(t.Name, t.DType, t.Dims, []float64{f[0] * k})
}

// intTensor gives a tensor like t with other elements.
func intTensor(t *onnxio.Tensor, ints []int64) (*onnxio.Tensor, error) {
	if t.DType == onnxio.Int64 {
		return onnxio.FromInt64s(t.Name, t.Dims, ints), nil
	}
	size := t.DType.Bits() / 8
	raw := make([]byte, 0, size*len(ints))
	for _, x := range ints {
		for b := range size {
			raw = append(raw, byte(x>>(8*b)))
		}
	}
	return onnxio.FromBytes(t.Name, t.DType, t.Dims, raw)
}

// resized gives a declared type with the new sizes of its axes; nil when nothing changes.
func resized(t *onnxio.Type, ax []*Expr, z Sizes) *onnxio.Type {
	if t == nil || !t.HasShape || len(t.Dims) != len(ax) {
		return nil
	}
	var out *onnxio.Type
	for i, d := range t.Dims {
		if d.Param != "" || d.Value < 0 || ax[i] == nil {
			continue
		}
		if n := z.Eval(ax[i]); n != ax[i].Size && d.Value == ax[i].Size {
			if out == nil {
				c := *t
				c.Dims = slices.Clone(t.Dims)
				out = &c
			}
			out.Dims[i].Value = n
		}
	}
	return out
}
