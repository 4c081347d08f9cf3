package ligo

import (
	"github.com/ligoonnx/ligoonnx/graph"
)

// reader is the node that multiplies a constant with an activation, found through views of the constant, and the activation.
func reader(v *graph.Value) (*graph.Node, *graph.Value) {
	for _, u := range v.Uses {
		if u.Index < 0 {
			continue
		}
		switch u.Node.Op {
		case "MatMul", "Gemm", "FusedGemm", "FusedMatMul":
			if u.Index < 2 {
				return u.Node, u.Node.In[1-u.Index]
			}
		case "Conv", "Attention":
			if u.Index == 1 {
				return u.Node, u.Node.In[0]
			}
		}
		if view(u.Node) && u.Index == 0 {
			if n, x := reader(u.Node.Out[0]); n != nil {
				return n, x
			}
		}
	}
	return nil, nil
}

// behind is what a value is a view of: the value before Reshape, Transpose, Cast and their kin, and before taking some of its rows.
func behind(v *graph.Value) *graph.Value {
	for v != nil && v.Producer != nil {
		n := v.Producer
		if !view(n) && (n.Op != "Gather" || n.Domain != "") {
			break
		}
		v = n.In[0]
	}
	return v
}

// readers lists the nodes that read a value, through views and row selections, with the operand they read it by; output reports
// whether the value, or a view of it, is an output of the graph.
func readers(g *graph.Graph, v *graph.Value) (uses []graph.Use, output bool) {
	output = g.IsOutput(v)
	for _, u := range v.Uses {
		if u.Index == 0 && (view(u.Node) || u.Node.Op == "Gather" && u.Node.Domain == "") {
			for _, o := range u.Node.Out {
				if o == nil {
					continue
				}
				more, out := readers(g, o)
				uses = append(uses, more...)
				output = output || out
			}
			continue
		}
		if u.Node.Op == "Shape" || u.Node.Op == "Size" {
			continue // reads sizes, not values
		}
		uses = append(uses, u)
	}
	return uses, output
}

// sources lists the constants whose sum of products makes a value: the weight and bias behind a gain. ok is false where anything
// else is on the way.
func sources(v *graph.Value) (consts []*graph.Value, ok bool) {
	if v == nil || v.Producer == nil {
		return nil, false
	}
	n := v.Producer
	if len(v.Uses) != 1 {
		return nil, false // somebody else reads it unscaled
	}
	switch {
	case view(n) && n.Op != "Slice" && n.Op != "Split":
		return sources(n.In[0])
	case n.Op == "Add" && n.Domain == "":
		for i, in := range n.In {
			if in.IsConst() {
				rest, ok := sources(n.In[1-i])
				return append(rest, in), ok
			}
		}
		a, okA := sources(n.In[0])
		b, okB := sources(n.In[1])
		return append(a, b...), okA && okB
	case n.Op == "MatMul" && n.Domain == "", n.Op == "Gemm" && n.Domain == "", n.Op == "Conv" && n.Domain == "":
		for i, in := range n.In {
			if in == nil || (n.Op == "MatMul" && i == 0) || (n.Op != "MatMul" && i == 0) {
				continue
			}
			c := in
			for c != nil && !c.IsConst() && c.Producer != nil && view(c.Producer) {
				c = c.Producer.In[0]
			}
			if !c.IsConst() {
				return nil, false
			}
			consts = append(consts, c)
		}
		return consts, len(consts) > 0
	}
	return nil, false
}
