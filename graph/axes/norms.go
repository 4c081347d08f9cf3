package axes

import (
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
)

// strip goes back through nodes that change nothing but the type.
func strip(v *graph.Value) *graph.Value {
	for v != nil && v.Producer != nil && v.Producer.Domain == "" && (v.Producer.Op == "Cast" || v.Producer.Op == "Identity") && len(v.Producer.In) > 0 && v.Producer.In[0] != nil {
		v = v.Producer.In[0]
	}
	return v
}

// users lists the uses of v, looking through casts.
func users(v *graph.Value) []graph.Use {
	var out []graph.Use
	for _, u := range v.Uses {
		if u.Index >= 0 && u.Node.Domain == "" && (u.Node.Op == "Cast" || u.Node.Op == "Identity") && u.Node.Out[0] != nil {
			out = append(out, users(u.Node.Out[0])...)
			continue
		}
		out = append(out, u)
	}
	return out
}

func isOp(n *graph.Node, op string) bool { return n != nil && n.Domain == "" && n.Op == op }

// other is the operand of a two-operand node that is not number i.
func other(n *graph.Node, i int) *graph.Value {
	if len(n.In) != 2 || i > 1 {
		return nil
	}
	return n.In[1-i]
}

// scalar gives the value of a one-element constant or computed scalar.
func (s *state) scalar(v *graph.Value) (*sym, bool) {
	if v == nil {
		return nil, false
	}
	if st := s.vals[v]; st != nil && len(st.elems) == 1 {
		return st.elems[0], true
	}
	return nil, false
}

// vector gives the constant behind v when v is a weight along the last axis x (through views and an offset of 1).
func (s *state) vector(v *graph.Value, x *node) (c *graph.Value, offset float64) {
	if v == nil || !s.weightOnly[v] {
		return nil, 0
	}
	ax := s.axes[v]
	if len(ax) == 0 || ax[len(ax)-1].find() != x.find() {
		return nil, 0
	}
	for _, a := range ax[:len(ax)-1] {
		if a.find().size != 1 {
			return nil, 0
		}
	}
	if p := strip(v).Producer; isOp(p, "Add") {
		for i := range 2 {
			if y, ok := s.scalar(p.In[i]); ok && y.val == 1 {
				offset = 1
			}
		}
	}
	os := s.originsOf(v, len(ax)-1)
	if len(os) == 0 {
		return nil, 0
	}
	return os[0].c, offset
}

// findNorms recognises normalisations, fused or written out, and returns the nodes that belong to them, in the order of the
// graph. It starts from the mean of squares and looks both ways: what is squared tells layer norm (x - mean) from RMS norm (x).
func (s *state) findNorms() ([]*Norm, map[*graph.Node]bool) {
	inside := map[*graph.Node]bool{}
	var out []*Norm
	axisOf := map[*Norm]*node{}
	for _, f := range s.fused {
		n := &Norm{Kind: f.kind, Node: f.node, In: f.in, Out: f.out, Gain: constBehind(s, f.gain), Bias: constBehind(s, f.bias), EpsNode: f.node}
		n.Eps = float64(f.node.Float("epsilon", float32(f.epsDefault)))
		axisOf[n] = f.axis
		out = append(out, n)
		inside[f.node] = true
	}
	for _, r := range s.reductions {
		if !isOp(r.at, "ReduceMean") || len(r.axes) != 1 {
			continue
		}
		in := s.axes[r.at.In[0]]
		x := r.axes[0]
		if len(in) == 0 || in[len(in)-1].find() != x.find() {
			continue
		}
		if n := s.decomposed(r.at, x, inside); n != nil {
			axisOf[n] = x
			out = append(out, n)
		}
	}
	for _, n := range out {
		f := UseLayerNorm
		switch n.Kind {
		case RMSNorm:
			f = UseRMSNorm
		case BatchNorm:
			f = UseBatchNorm
		}
		axisOf[n].flag(f, "")
	}
	s.normAxes = axisOf
	order := map[*graph.Node]int{}
	for i, n := range s.g.Nodes {
		order[n] = i
	}
	slices.SortStableFunc(out, func(a, b *Norm) int { return order[a.Node] - order[b.Node] })
	return out, inside
}

func constBehind(s *state, v *graph.Value) *graph.Value {
	if v == nil {
		return nil
	}
	if v.IsConst() {
		return v
	}
	if ax := s.axes[v]; len(ax) > 0 {
		if os := s.originsOf(v, len(ax)-1); len(os) > 0 {
			return os[0].c
		}
	}
	return nil
}

// squared gives d when v is d² (Pow by 2 or d times itself).
func (s *state) squared(v *graph.Value) (*graph.Value, *graph.Node) {
	p := strip(v).Producer
	switch {
	case isOp(p, "Pow"):
		if y, ok := s.scalar(p.In[1]); ok && y.val == 2 {
			return strip(p.In[0]), p
		}
	case isOp(p, "Mul"):
		if strip(p.In[0]) == strip(p.In[1]) {
			return strip(p.In[0]), p
		}
	}
	return nil, nil
}

// centred gives x and its mean when v is x - mean(x) or mean(x) - x.
func centred(v *graph.Value) (x, mean *graph.Value) {
	if !isOp(v.Producer, "Sub") {
		return nil, nil
	}
	a, b := strip(v.Producer.In[0]), strip(v.Producer.In[1])
	switch {
	case isOp(b.Producer, "ReduceMean") && strip(b.Producer.In[0]) == a:
		return a, b
	case isOp(a.Producer, "ReduceMean") && strip(a.Producer.In[0]) == b:
		return b, a
	}
	return nil, nil
}

// decomposed recognises the normalisation whose mean of squares is the node r over the axis x.
func (s *state) decomposed(r *graph.Node, x *node, inside map[*graph.Node]bool) *Norm {
	d, sq := s.squared(r.In[0])
	if d == nil {
		return nil
	}
	n := &Norm{Kind: RMSNorm, Node: r, In: d}
	nodes := []*graph.Node{r, sq}
	var mean *graph.Value
	if v, m := centred(d); v != nil {
		n.Kind, n.In, mean = LayerNorm, v, m
		nodes = append(nodes, d.Producer, m.Producer)
	}
	// centredAgain says that v is x - mean, maybe computed a second time
	centredAgain := func(v *graph.Value) bool {
		v = strip(v)
		if mean == nil || !isOp(v.Producer, "Sub") {
			return v == d
		}
		if x, m := centred(v); x != n.In || m != mean || strip(v.Producer.In[0]) != x {
			return false
		}
		nodes = append(nodes, v.Producer)
		return true
	}
	// forward: + eps, square root, inverse
	v, inverse, root := r.Out[0], false, false
	for !root || !inverse {
		us := users(v)
		if len(us) == 0 {
			return nil
		}
		u := us[0]
		next := u.Node
		switch {
		case isOp(next, "Add") && !root && len(us) == 1:
			c := strip(other(next, u.Index))
			y, ok := s.scalar(c)
			if !ok || !c.IsConst() {
				return nil
			}
			n.EpsConst, n.Eps = c, y.val
		case isOp(next, "Sqrt") && !root && len(us) == 1:
			root = true
		case isOp(next, "Pow") && !root && u.Index == 0 && len(us) == 1:
			y, ok := s.scalar(next.In[1])
			if !ok || math.Abs(math.Abs(y.val)-0.5) > 1e-9 {
				return nil
			}
			root, inverse = true, y.val < 0
		case isOp(next, "Reciprocal") && root && len(us) == 1:
			inverse = true
		case isOp(next, "Div") && root && u.Index == 1 && len(us) == 1:
			if y, ok := s.scalar(next.In[0]); ok && y.val == 1 {
				inverse = true
				break
			}
			// x / sqrt(...): the normalised value itself
			if !centredAgain(next.In[0]) {
				return nil
			}
			n.Out = next.Out[0]
			nodes = append(nodes, next)
			s.affine(n, x, &nodes)
			for _, m := range nodes {
				inside[m] = true
			}
			return n
		default:
			return nil
		}
		nodes = append(nodes, next)
		v = next.Out[0]
	}
	// v is 1/sqrt(...), possibly times the gain before it meets the values
	gained := false
	if us := users(v); len(us) == 1 && isOp(us[0].Node, "Mul") {
		if c, off := s.vector(other(us[0].Node, us[0].Index), x); c != nil {
			n.Gain, n.GainOffset, gained = c, off, true
			nodes = append(nodes, us[0].Node)
			v = us[0].Node.Out[0]
		}
	}
	var scaledX, scaledMean *graph.Value
	for _, u := range users(v) {
		if !isOp(u.Node, "Mul") {
			return nil
		}
		switch o := strip(other(u.Node, u.Index)); {
		case o == nil:
			return nil
		case centredAgain(o):
			n.Out = u.Node.Out[0]
		case o == n.In:
			scaledX = u.Node.Out[0]
		case o == mean:
			scaledMean = u.Node.Out[0]
		default:
			return nil
		}
		nodes = append(nodes, u.Node)
	}
	switch {
	case n.Out != nil:
	case scaledX != nil && scaledMean != nil:
		// x*r + (bias - mean*r): written by keras2onnx and tf2onnx
		us, ux := users(scaledMean), users(scaledX)
		if len(us) != 1 || !isOp(us[0].Node, "Sub") || us[0].Index != 1 || len(ux) != 1 || !isOp(ux[0].Node, "Add") {
			return nil
		}
		if c, _ := s.vector(us[0].Node.In[0], x); c != nil {
			n.Bias = c
		}
		if other(ux[0].Node, ux[0].Index) != us[0].Node.Out[0] {
			return nil
		}
		n.Out = ux[0].Node.Out[0]
		nodes = append(nodes, us[0].Node, ux[0].Node)
		for _, m := range nodes {
			inside[m] = true
		}
		return n
	default:
		return nil
	}
	if gained {
		s.bias(n, x, &nodes)
	} else {
		s.affine(n, x, &nodes)
	}
	for _, m := range nodes {
		inside[m] = true
	}
	return n
}

// affine follows a normalised value through its gain and bias.
func (s *state) affine(n *Norm, x *node, nodes *[]*graph.Node) {
	if us := users(n.Out); len(us) == 1 && isOp(us[0].Node, "Mul") {
		if c, off := s.vector(other(us[0].Node, us[0].Index), x); c != nil {
			n.Gain, n.GainOffset = c, off
			n.Out = us[0].Node.Out[0]
			*nodes = append(*nodes, us[0].Node)
		}
	}
	s.bias(n, x, nodes)
}

func (s *state) bias(n *Norm, x *node, nodes *[]*graph.Node) {
	if us := users(n.Out); len(us) == 1 && isOp(us[0].Node, "Add") {
		if c, _ := s.vector(other(us[0].Node, us[0].Index), x); c != nil {
			n.Bias = c
			n.Out = us[0].Node.Out[0]
			*nodes = append(*nodes, us[0].Node)
		}
	}
}

// postNorms marks the norms whose output is added to the stream again, or otherwise reaches another norm of the same axis without
// passing a weight: their mean and variance are not those of the next norm's input.
func (s *state) postNorms(norms []*Norm) {
	byNode := map[*graph.Node]*Norm{}
	byIn := map[*graph.Value][]*Norm{}
	for _, n := range norms {
		byNode[n.Node] = n
		if n.In != nil {
			byIn[n.In] = append(byIn[n.In], n)
		}
	}
	for _, n := range norms {
		if n.Kind == BatchNorm || n.Out == nil {
			continue
		}
		x := s.normAxes[n].find()
		seen := map[*graph.Value]bool{n.Out: true}
		stack := []*graph.Value{n.Out}
		for len(stack) > 0 && !n.Post {
			v := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for _, m := range byIn[v] {
				if m != n {
					n.Post = true
				}
			}
			for _, u := range v.Uses {
				if u.Index < 0 {
					continue
				}
				if m := byNode[u.Node]; m != nil && m != n && u.Index <= 1 && m.Node.Op != "ReduceMean" {
					n.Post = true
					break
				}
				if u.Node.Domain != "" {
					continue
				}
				switch u.Node.Op {
				case "Add", "Sub", "Identity", "Cast", "Dropout", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Slice", "Gather", "Expand", "Flatten":
				default:
					continue
				}
				o := u.Node.Out[0]
				if s.spend(1); o == nil || seen[o] {
					continue
				}
				carries := false
				for _, a := range s.axes[o] {
					carries = carries || a.contains(x)
				}
				if carries {
					seen[o] = true
					stack = append(stack, o)
				}
			}
		}
		if n.Post {
			x.flag(UsePostNorm, "")
		}
	}
}
