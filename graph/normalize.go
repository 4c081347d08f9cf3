package graph

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Normalize brings the graph into the form that analysis works on: model-local functions inlined, Constant nodes as constants,
// Identity of a constant bypassed, and one constant for every use (so that each use can grow in its own way; ToModel merges them
// again where they stayed equal). Dead nodes are removed.
func (g *Graph) Normalize() error {
	if err := g.inlineFunctions(); err != nil {
		return err
	}
	if err := g.constants(); err != nil {
		return err
	}
	g.bypassIdentities()
	g.Prune()
	g.cloneConstants()
	return nil
}

// constants turns Constant nodes into constants.
func (g *Graph) constants() error {
	dead := map[*Node]bool{}
	for _, n := range g.Nodes {
		if n.Op != "Constant" || n.Domain != "" || len(n.Out) != 1 || n.Out[0] == nil || len(n.Attrs) == 0 {
			continue
		}
		v := n.Out[0]
		if g.IsOutput(v) {
			continue // an output needs a node or an initializer of its name; leave it as it is
		}
		t, err := constantTensor(v.Name, n.Attrs[0])
		if err != nil {
			return invalid(n.String(), "%v", err)
		}
		if t == nil {
			continue
		}
		v.Producer, v.Const, v.Origin, v.FromNode = nil, t, v.Name, n
		g.Consts = append(g.Consts, v)
		n.Out = nil // v stays
		dead[n] = true
	}
	g.RemoveNodes(dead)
	return nil
}

// constantTensor reads the tensor of a Constant node; nil for kinds that hold none (sparse, strings).
func constantTensor(name string, a *onnxio.Attribute) (*onnxio.Tensor, error) {
	switch a.Kind {
	case onnxio.AttrTensor:
		return a.T, nil
	case onnxio.AttrFloat:
		return onnxio.FromFloat32s(name, nil, []float32{a.F}), nil
	case onnxio.AttrInt:
		return onnxio.FromInt64s(name, nil, []int64{a.I}), nil
	case onnxio.AttrFloats:
		return onnxio.FromFloat32s(name, []int64{int64(len(a.Floats))}, a.Floats), nil
	case onnxio.AttrInts:
		return onnxio.FromInt64s(name, []int64{int64(len(a.Ints))}, a.Ints), nil
	}
	return nil, nil
}

// bypassIdentities gives the users of Identity(constant) a constant of their own, named like the Identity's output: exporters
// merge equal tensors that way, and the output carries the parameter's true name.
func (g *Graph) bypassIdentities() {
	dead := map[*Node]bool{}
	for _, n := range g.Nodes {
		if n.Op != "Identity" || n.Domain != "" || len(n.In) != 1 || !n.In[0].IsConst() || len(n.Out) != 1 || n.Out[0] == nil {
			continue
		}
		src, v := n.In[0], n.Out[0]
		if g.IsOutput(v) || v.Captured() {
			continue
		}
		v.Producer, v.Const, v.Origin, v.FromNode = nil, src.Const, v.Name, nil
		g.Consts = append(g.Consts, v)
		n.Out = nil
		dead[n] = true
	}
	g.RemoveNodes(dead)
}

// cloneConstants gives every use of a constant a constant of its own. Uses by sub-graphs, by name, keep the original.
func (g *Graph) cloneConstants() {
	var all []*Value
	for _, c := range g.Consts {
		all = append(all, c)
		keep := c.Captured() || g.IsOutput(c) || c.Overridable
		for i, u := range slices.Clone(c.Uses) {
			if u.Index < 0 || (i == 0 && !keep) {
				continue
			}
			if c.Overridable {
				continue // the caller may replace it: all uses must see the same tensor
			}
			d := &Value{Name: g.FreshName(c.Name), Const: c.Const, Origin: c.Origin, FromNode: c.FromNode, Type: c.Type, file: c.file}
			g.names[d.Name] = d
			g.SetInput(u.Node, u.Index, d)
			all = append(all, d)
		}
	}
	g.Consts = all
}
