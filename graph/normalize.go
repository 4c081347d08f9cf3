package graph

import (
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

// cloneConstants gives every use of a constant a constant of its own. Uses by sub-graphs, by name, keep the original, and so do
// graph outputs. The first use of an initializer that a caller may replace (a graph input as well) keeps it; its other uses get
// constants of their own like any, which the written model names as one as long as they hold the same data.
func (g *Graph) cloneConstants() {
	var all []*Value
	for _, c := range g.Consts {
		all = append(all, c)
		taken := c.Captured() || g.IsOutput(c)
		kept := c.Uses[:0:0]
		for _, u := range c.Uses {
			if u.Index < 0 || !taken {
				taken = taken || u.Index >= 0
				kept = append(kept, u)
				continue
			}
			d := &Value{Name: g.FreshName(c.Name), Const: c.Const, Origin: c.Origin, Recipe: c.Recipe, FromNode: c.FromNode, Type: c.Type, file: c.file}
			g.names[d.Name] = d
			u.Node.In[u.Index], d.Uses = d, []Use{u}
			all = append(all, d)
		}
		c.Uses = kept
	}
	g.Consts = all
}
