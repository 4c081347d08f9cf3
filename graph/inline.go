package graph

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// maxInline bounds the nodes that inlining functions may create, as functions that call functions grow exponentially; maxDepth
// bounds how deep they may call each other.
const (
	maxInline = 1 << 18
	maxDepth  = 64
)

type functionKey struct{ domain, name, overload string }

// inlineFunctions replaces calls of model-local functions by their bodies until none is left.
func (g *Graph) inlineFunctions() error {
	if g.Model == nil || len(g.Model.Functions) == 0 {
		return nil
	}
	funcs := map[functionKey]*onnxio.Function{}
	for _, f := range g.Model.Functions {
		funcs[keyOf(f.Domain, f.Name, f.Overload)] = f
	}
	for depth := 0; ; depth++ {
		var calls []*Node
		for _, n := range g.Nodes {
			if funcs[g.functionKey(n)] != nil {
				calls = append(calls, n)
			}
		}
		if len(calls) == 0 {
			return g.Sort()
		}
		if depth > maxDepth {
			return invalid(calls[0].String(), "model-local functions call each other without end")
		}
		done := make(map[*Node]bool, len(calls))
		for _, n := range calls {
			f := funcs[g.functionKey(n)]
			for _, o := range f.Opsets {
				d := o.Domain
				if d == "ai.onnx" {
					d = ""
				}
				if have, ok := g.Opsets[d]; !ok {
					g.Opsets[d] = o.Version
				} else if have != o.Version {
					return invalid(n.String(), "function %s uses opset %q version %d, the model version %d", f.Name, d, o.Version, have)
				}
			}
			if err := g.inlineCall(n, f); err != nil {
				return err
			}
			if done[n] = true; len(g.Nodes) > maxInline {
				return invalid(n.String(), "inlining the model-local functions makes more than %d nodes", maxInline)
			}
		}
		g.RemoveNodes(done)
	}
}

func (g *Graph) functionKey(n *Node) functionKey {
	if n.file != nil {
		return keyOf(n.Domain, n.Op, n.file.Overload)
	}
	return keyOf(n.Domain, n.Op, "")
}

func keyOf(domain, name, overload string) functionKey {
	if domain == "ai.onnx" {
		domain = ""
	}
	return functionKey{domain, name, overload}
}

// usedFunctions are the model-local functions that the nodes still call, directly or through sub-graphs and other functions.
func usedFunctions(all []*onnxio.Function, nodes []*onnxio.Node) []*onnxio.Function {
	funcs := map[functionKey]*onnxio.Function{}
	for _, f := range all {
		funcs[keyOf(f.Domain, f.Name, f.Overload)] = f
	}
	used := map[*onnxio.Function]bool{}
	var visit func(nodes []*onnxio.Node)
	visit = func(nodes []*onnxio.Node) {
		for _, n := range nodes {
			if f := funcs[keyOf(n.Domain, n.OpType, n.Overload)]; f != nil && !used[f] {
				used[f] = true
				visit(f.Nodes)
			}
			subgraphs(n.Attrs, func(sub *onnxio.Graph) { visit(sub.Nodes) })
		}
	}
	visit(nodes)
	var kept []*onnxio.Function
	for _, f := range all {
		if used[f] {
			kept = append(kept, f)
		}
	}
	return kept
}

// inlineCall appends the body of f for the call n, which keeps its operands until it is removed.
func (g *Graph) inlineCall(n *Node, f *onnxio.Function) error {
	if len(n.In) > len(f.Inputs) || len(n.Out) > len(f.Outputs) {
		return invalid(n.String(), "call with %d inputs and %d outputs of a function with %d and %d", len(n.In), len(n.Out), len(f.Inputs), len(f.Outputs))
	}
	scope := map[string]*Value{}
	absent := map[string]bool{} // optional inputs left out
	for i, name := range f.Inputs {
		if i < len(n.In) && n.In[i] != nil {
			scope[name] = n.In[i]
		} else {
			absent[name] = true
		}
	}
	outs := slices.Clone(n.Out)
	n.Out = nil
	for i, name := range f.Outputs {
		if i >= len(outs) || outs[i] == nil {
			continue
		}
		outs[i].Producer = nil
		if v := scope[name]; v != nil { // an input returned as it is, or a second output of the same name
			g.NewNode("Identity", "", "", []*Value{v}, []*Value{outs[i]})
			continue
		}
		if absent[name] {
			return invalid(n.String(), "function %s returns its input %q, which the call leaves out", f.Name, name)
		}
		scope[name] = outs[i]
	}
	attrs := map[string]*onnxio.Attribute{}
	for _, a := range f.Defaults {
		attrs[a.Name] = a
	}
	for _, a := range n.Attrs {
		attrs[a.Name] = a
	}
	body := make([]*onnxio.Node, len(f.Nodes))
	for i, b := range f.Nodes {
		body[i] = substitute(b, attrs)
	}
	return g.link(body, func(name string) *Value { return scope[name] }, scope, absent)
}

// substitute replaces references to function attributes in a body node, sub-graphs included.
func substitute(b *onnxio.Node, attrs map[string]*onnxio.Attribute) *onnxio.Node {
	c := *b
	c.Attrs = nil
	inside := func(f *onnxio.Graph) *onnxio.Graph {
		sub := *f
		sub.Nodes = nil
		for _, n := range f.Nodes {
			sub.Nodes = append(sub.Nodes, substitute(n, attrs))
		}
		return &sub
	}
	for _, a := range b.Attrs {
		switch {
		case a.Ref != "":
			if v := attrs[a.Ref]; v != nil {
				d := *v
				d.Name, d.Ref = a.Name, ""
				c.Attrs = append(c.Attrs, &d)
			}
		case a.G != nil:
			d := *a
			d.G = inside(a.G)
			c.Attrs = append(c.Attrs, &d)
		case len(a.Graphs) > 0:
			d := *a
			d.Graphs = nil
			for _, sub := range a.Graphs {
				d.Graphs = append(d.Graphs, inside(sub))
			}
			c.Attrs = append(c.Attrs, &d)
		default:
			c.Attrs = append(c.Attrs, a)
		}
	}
	return &c
}

// InlineBranch replaces an If node by the body of one of its branches, and sorts. Names of the branch that clash are made fresh.
func (g *Graph) InlineBranch(n *Node, branch *onnxio.Graph) error {
	if len(branch.Outputs) != len(n.Out) {
		return invalid(n.String(), "branch gives %d outputs, the node %d", len(branch.Outputs), len(n.Out))
	}
	scope := map[string]*Value{}
	lookup := func(name string) *Value {
		if v := scope[name]; v != nil {
			return v
		}
		return g.names[name]
	}
	if len(branch.Sparse) > 0 {
		return invalid(n.String(), "its branch holds a sparse initializer, %q", branch.Sparse[0])
	}
	g.release(n) // both branches go: their names are free again
	n.Attrs = nil
	outs := slices.Clone(n.Out)
	n.Out = nil
	for _, t := range branch.Initializers {
		scope[t.Name] = g.NewConst(t.Name, t)
	}
	if err := g.link(branch.Nodes, lookup, scope, nil); err != nil {
		return err
	}
	for i, o := range branch.Outputs {
		v := lookup(o.Name)
		if v == nil {
			return invalid(n.String(), "branch output %q is given by no node", o.Name)
		}
		if outs[i] == nil {
			continue
		}
		outs[i].Producer = nil
		if g.IsOutput(outs[i]) || outs[i].Captured() {
			g.NewNode("Identity", "", "", []*Value{v}, []*Value{outs[i]})
			continue
		}
		g.ReplaceUses(outs[i], v)
		delete(g.names, outs[i].Name)
	}
	g.RemoveNode(n)
	return g.Sort()
}
