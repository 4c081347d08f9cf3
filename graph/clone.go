package graph

import (
	"maps"
	"slices"
)

// Clone copies the graph; tensors, types and file parts are shared, as none of them is edited in place. Values keep their names
// and nodes their positions.
func (g *Graph) Clone() *Graph {
	c := &Graph{Name: g.Name, Model: g.Model, Opsets: maps.Clone(g.Opsets), names: make(map[string]*Value, len(g.names)),
		nodes: maps.Clone(g.nodes), inner: maps.Clone(g.inner)}
	vals := make(map[*Value]*Value, len(g.names))
	copyOf := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		if d := vals[v]; d != nil {
			return d
		}
		d := *v
		d.Uses, d.Producer = nil, nil
		vals[v] = &d
		return &d
	}
	for name, v := range g.names {
		c.names[name] = copyOf(v)
	}
	copies := func(vs []*Value) []*Value {
		out := make([]*Value, len(vs))
		for i, v := range vs {
			out[i] = copyOf(v)
		}
		return out
	}
	c.Inputs, c.Outputs, c.Consts = copies(g.Inputs), copies(g.Outputs), copies(g.Consts)
	for _, n := range g.Nodes {
		d := *n
		d.In, d.Out, d.Captures, d.Attrs = copies(n.In), copies(n.Out), copies(n.Captures), slices.Clone(n.Attrs)
		c.Nodes = append(c.Nodes, &d)
		for i, v := range d.In {
			if v != nil {
				v.Uses = append(v.Uses, Use{&d, i})
			}
		}
		for _, v := range d.Captures {
			v.Uses = append(v.Uses, Use{&d, -1})
		}
		for _, v := range d.Out {
			if v != nil {
				v.Producer = &d
			}
		}
	}
	return c
}

// CopyNode appends a copy of n (attributes, file parts) with other operands and outputs; its name is made unique.
func (g *Graph) CopyNode(n *Node, name string, in, out []*Value) *Node {
	c := g.NewNode(n.Op, n.Domain, name, in, out, n.Attrs...)
	c.file = n.file
	return c
}

// New makes an empty graph with the given operator sets.
func New(name string, opsets map[string]int64) *Graph {
	return &Graph{Name: name, Opsets: opsets, names: map[string]*Value{}, nodes: map[string]bool{}, inner: map[string]int{}}
}
