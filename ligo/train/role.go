package train

import (
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
)

// verdict is what one use says about a constant.
type verdict struct {
	role Role
	// no says that the constant is no weight, whatever its other uses are.
	no bool
}

// trail is how a value came from a constant.
type trail struct {
	looked bool // by an index
	spread bool // by an index that takes rows more than once, as distances between positions do, and positions do not
	offset bool // 1 was added
}

// step is a value on the way from a constant.
type step struct {
	v *graph.Value
	trail
}

// role decides what a constant is; empty for what is not trained.
func (f *flow) role(c *graph.Value) Role {
	switch {
	case c.Captured() || !c.Const.DType.Growable() || c.Const.NumElements() == 0 || f.filler(c):
		return ""
	case c.Const.NumElements() == 1:
		return f.scalarRole(c)
	}
	var role Role
	seen := map[*graph.Value]bool{}
	stack := []step{{v: c}}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[s.v] {
			continue
		}
		seen[s.v] = true
		for _, u := range s.v.Uses {
			if u.Index < 0 {
				return "" // a sub-graph reads it by name
			}
			if u.Node.Op == "Shape" || u.Node.Op == "Size" {
				continue
			}
			if t, ok := f.passes(s, u); ok {
				for _, o := range u.Node.Out {
					if o != nil {
						stack = append(stack, step{o, t})
					}
				}
				continue
			}
			got := f.meets(c, s, u)
			if got.no {
				return ""
			}
			if role == "" || role == RoleTable && got.role != "" {
				role = got.role
			}
		}
	}
	return role
}

// filler reports whether c is a Constant node of zeros or ones: what exporters write where an operator demands an operand that the
// layer does not have, such as the bias of a norm.
func (f *flow) filler(c *graph.Value) bool {
	if c.FromNode == nil || c.Const.NumElements() > maxFiller {
		return false
	}
	x, err := c.Const.Float64s()
	if err != nil || x[0] != 0 && x[0] != 1 {
		return false
	}
	for _, v := range x {
		if v != x[0] {
			return false
		}
	}
	return true
}

// maxFiller is the size up to which a constant is looked at; fillers are as long as a layer is wide.
const maxFiller = 1 << 20

// scalarRole is that of a constant with one element: the bias of an output of one unit, or nothing.
func (f *flow) scalarRole(c *graph.Value) Role {
	if len(c.Const.Dims) == 0 || len(c.Uses) != 1 || c.Uses[0].Index < 0 {
		return ""
	}
	u := c.Uses[0]
	switch u.Node.Op {
	case "Gemm", "FusedGemm", "Conv", "ConvTranspose":
		if u.Index == 2 {
			return RoleBias
		}
	case "Add":
		if w := f.weightBefore(u.Node.In[1-u.Index]); w != nil && len(w.Const.Dims) > 1 && w.Const.Dims[len(w.Const.Dims)-1] == 1 {
			return RoleBias
		}
	}
	return ""
}

// weightBefore is the constant that v is a product with; nil if it is none.
func (f *flow) weightBefore(v *graph.Value) *graph.Value {
	if v == nil || v.Producer == nil || v.Producer.Op != "MatMul" {
		return nil
	}
	w := v.Producer.In[1]
	for w != nil && w.Producer != nil && (w.Producer.Op == "Transpose" || w.Producer.Op == "Cast" || w.Producer.Op == "Identity") {
		w = w.Producer.In[0]
	}
	if !w.IsConst() {
		return nil
	}
	return w
}

// passes reports whether the node of a use hands the numbers on, and how they have come then.
func (f *flow) passes(s step, u graph.Use) (trail, bool) {
	n, t := u.Node, s.trail
	if n.Op == "Sin" || n.Op == "Cos" || strings.HasSuffix(n.Op, "uantizeLinear") || len(n.Out) == 0 || n.Out[0] == nil {
		return t, false
	}
	t.looked = t.looked || lookups[n.Op]
	t.spread = t.spread || n.Op == "Gather" && u.Index == 0 && f.rank(n.In[1]) > 1
	switch {
	case views[n.Op]:
		return t, u.Index == 0
	case f.still[n.Out[0]]:
		if n.Op == "MatMul" && u.Index == 0 && f.isData(n.Out[0]) {
			return t, false
		}
		if n.Op == "Add" {
			t.offset = t.offset || isOne(n.In[1-u.Index])
		}
		return t, true
	case !s.looked || f.still[s.v]:
		return t, false
	}
	// What was looked up by data is an activation itself: scaling and joining it change nothing about what it is.
	switch n.Op {
	case "Mul", "Div":
		return t, f.still[n.In[1-u.Index]]
	case "Concat":
		return t, true
	}
	return t, false
}

// rank is the number of axes of a value; -1 where it is not known.
func (f *flow) rank(v *graph.Value) int {
	if ax := f.r.Axes(v); ax != nil {
		return len(ax)
	}
	return -1
}

// isData reports whether a product of two still values, perhaps with a bias, enters a non-linear function: it is a layer on fixed
// data (the coordinates of a continuous position bias), so its left operand is no weight.
func (f *flow) isData(v *graph.Value) bool {
	for _, u := range v.Uses {
		switch n := u.Node; n.Op {
		case "Relu", "Erf", "Tanh", "Sigmoid", "Gelu", "Elu":
			return true
		case "Add":
			if f.still[n.Out[0]] && f.isData(n.Out[0]) {
				return true
			}
		}
	}
	return false
}

// isOne reports whether v is a constant of one element, 1.
func isOne(v *graph.Value) bool {
	if !v.IsConst() || v.Const.NumElements() != 1 {
		return false
	}
	x, err := v.Const.Float64s()
	return err == nil && x[0] == 1
}

// meets judges a use where a value from the constant c comes together with others.
func (f *flow) meets(c *graph.Value, s step, u graph.Use) verdict {
	n := u.Node
	looked := s.looked && !f.still[s.v]
	switch n.Op {
	case "Add", "Sub":
		if len(n.In) == 2 {
			return f.added(c, s, n, n.In[1-u.Index])
		}
	case "Mul", "Div":
		if len(n.In) == 2 {
			return f.multiplied(s, n, n.In[1-u.Index], looked, c)
		}
	case "Where":
		other := n.In[3-max(u.Index, 1)]
		if u.Index == 0 || f.scores[n] || !f.active[other] && !looked {
			return verdict{no: true}
		}
		return verdict{role: RoleTable}
	case "Concat":
		for _, v := range n.In {
			if v != nil && v != s.v && f.active[v] {
				return verdict{role: RoleTable}
			}
		}
		return f.ifWeight(c, RoleTable)
	case "Einsum":
		return verdict{role: RoleMatrix}
	case "Sin", "Cos", "RotaryEmbedding", "GroupQueryAttention":
		return verdict{no: true}
	}
	if looked {
		return verdict{role: RoleTable}
	}
	role, ok := rolesOf(n)[u.Index]
	if !ok || f.still[n.Out[0]] || role == RoleMatrix && f.angle(n.Out[0], map[*graph.Value]bool{}) {
		return verdict{no: true}
	}
	return verdict{role: role}
}

// ifWeight gives the role to a constant that lies along a width: arithmetic on plain inputs does not.
func (f *flow) ifWeight(c *graph.Value, r Role) verdict {
	if f.r.Weight(c) == nil {
		return verdict{no: true}
	}
	return verdict{role: r}
}

func (f *flow) added(c *graph.Value, s step, n *graph.Node, other *graph.Value) verdict {
	role := RoleTable
	if wide(c) == 1 && !s.looked {
		role = RoleBias
	}
	switch {
	case f.scores[n] && s.spread:
		return verdict{role: RoleTable}
	case f.scores[n] && s.looked:
		return f.ifWeight(c, RoleTable)
	case f.scores[n] && (role != RoleBias || f.weightBefore(other) == nil):
		return verdict{no: true}
	case s.looked && !f.still[s.v], f.active[other]:
		return verdict{role: role}
	}
	return f.ifWeight(c, role)
}

func (f *flow) multiplied(s step, n *graph.Node, other *graph.Value, looked bool, c *graph.Value) verdict {
	switch {
	case looked && f.active[other] && !f.dependsOn(other, s.v):
		return verdict{no: true} // a rotary table
	case looked:
		return verdict{role: RoleTable}
	case !f.active[other] || wide(c) > 1 || s.looked:
		return verdict{no: true}
	case s.offset:
		return verdict{role: RoleOffset}
	}
	return verdict{role: RoleGain}
}

// wide is the number of axes with more than one element.
func wide(c *graph.Value) int {
	n := 0
	for _, d := range c.Const.Dims {
		if d > 1 {
			n++
		}
	}
	return n
}

// angle reports whether all that becomes of v is the operand of a sine or cosine.
func (f *flow) angle(v *graph.Value, seen map[*graph.Value]bool) bool {
	if v == nil || len(v.Uses) == 0 {
		return false
	}
	if seen[v] {
		return true
	}
	seen[v] = true
	for _, u := range v.Uses {
		n := u.Node
		switch {
		case n.Op == "Sin" || n.Op == "Cos" || n.Op == "Shape":
			continue
		case u.Index < 0:
			return false
		case views[n.Op] && u.Index == 0, n.Op == "Concat", (n.Op == "Mul" || n.Op == "Div" || n.Op == "Add") && f.still[n.In[1-u.Index]], n.Op == "Where" && u.Index > 0:
			for _, o := range n.Out {
				if o != nil && !f.angle(o, seen) {
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}

// dependsOn reports whether v is computed from w.
func (f *flow) dependsOn(v, w *graph.Value) bool {
	seen := map[*graph.Value]bool{}
	stack := []*graph.Value{v}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if v == w {
			return true
		}
		if v == nil || seen[v] || v.Producer == nil {
			continue
		}
		seen[v] = true
		stack = append(stack, v.Producer.In...)
		stack = append(stack, v.Producer.Captures...)
	}
	return false
}
