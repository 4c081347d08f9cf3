package graph

import (
	"maps"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// subgraphs calls f for every graph directly in the attributes.
func subgraphs(attrs []*onnxio.Attribute, f func(*onnxio.Graph)) {
	for _, a := range attrs {
		if a.G != nil {
			f(a.G)
		}
		for _, sub := range a.Graphs {
			f(sub)
		}
	}
}

// captures lists, sorted, the outer names that the sub-graphs in a node's attributes read.
func captures(attrs []*onnxio.Attribute) []string {
	out := map[string]bool{}
	subgraphs(attrs, func(sub *onnxio.Graph) {
		local := localNames(sub)
		read := func(name string) {
			if name != "" && !local[name] {
				out[name] = true
			}
		}
		for _, n := range sub.Nodes {
			for _, in := range n.Inputs {
				read(in)
			}
			for _, name := range captures(n.Attrs) {
				read(name)
			}
		}
		for _, o := range sub.Outputs {
			read(o.Name)
		}
	})
	return slices.Sorted(maps.Keys(out))
}

// localNames are the names that a sub-graph defines itself, without those of graphs inside it.
func localNames(f *onnxio.Graph) map[string]bool {
	local := map[string]bool{}
	for _, t := range f.Initializers {
		local[t.Name] = true
	}
	for _, s := range f.Sparse {
		local[s] = true
	}
	for _, in := range f.Inputs {
		local[in.Name] = true
	}
	for _, n := range f.Nodes {
		for _, o := range n.Outputs {
			local[o] = true
		}
	}
	delete(local, "")
	return local
}

// reserve keeps the names inside n's sub-graphs from becoming names of new values; release gives them back.
func (g *Graph) reserve(n *Node) { g.countInner(n.Attrs, 1) }

func (g *Graph) release(n *Node) { g.countInner(n.Attrs, -1) }

func (g *Graph) countInner(attrs []*onnxio.Attribute, by int) {
	subgraphs(attrs, func(sub *onnxio.Graph) {
		for name := range localNames(sub) {
			g.inner[name] += by
		}
		for _, n := range sub.Nodes {
			g.countInner(n.Attrs, by)
		}
	})
}

// rescope copies attributes whose sub-graphs move into this graph with the body around them. env maps the outer names that they
// read to what these are called here ("" where an optional operand is left out); names of their own that are taken here change.
func (g *Graph) rescope(attrs []*onnxio.Attribute, env map[string]string) []*onnxio.Attribute {
	out := make([]*onnxio.Attribute, len(attrs))
	for i, a := range attrs {
		if out[i] = a; a.G == nil && len(a.Graphs) == 0 {
			continue
		}
		c := *a
		if a.G != nil {
			c.G = g.rescopeGraph(a.G, env)
		}
		c.Graphs = nil
		for _, sub := range a.Graphs {
			c.Graphs = append(c.Graphs, g.rescopeGraph(sub, env))
		}
		out[i] = &c
	}
	return out
}

func (g *Graph) rescopeGraph(f *onnxio.Graph, env map[string]string) *onnxio.Graph {
	env = maps.Clone(env)
	for _, name := range slices.Sorted(maps.Keys(localNames(f))) {
		env[name] = name
		if g.taken(name) && !slices.Contains(f.Sparse, name) { // a sparse tensor is kept as it is, name included
			env[name] = g.suffixed(name, g.taken)
		}
	}
	named := func(name string) string {
		if to, ok := env[name]; ok {
			return to
		}
		return name
	}
	infos := func(list []*onnxio.ValueInfo) []*onnxio.ValueInfo {
		var out []*onnxio.ValueInfo
		for _, vi := range list {
			c := *vi
			c.Name = named(vi.Name)
			out = append(out, &c)
		}
		return out
	}
	names := func(list []string) []string {
		out := make([]string, len(list))
		for i, name := range list {
			out[i] = named(name)
		}
		return out
	}
	c := *f
	c.Inputs, c.Outputs, c.ValueInfos = infos(f.Inputs), infos(f.Outputs), infos(f.ValueInfos)
	c.Initializers, c.Nodes = nil, nil
	for _, t := range f.Initializers {
		c.Initializers = append(c.Initializers, t.Renamed(named(t.Name)))
	}
	for _, n := range f.Nodes {
		d := *n
		d.Inputs, d.Outputs, d.Attrs = names(n.Inputs), names(n.Outputs), g.rescope(n.Attrs, env)
		c.Nodes = append(c.Nodes, &d)
	}
	return &c
}
