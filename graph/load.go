package graph

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// InvalidError says that a model breaks a rule of the ONNX specification.
type InvalidError struct {
	Where   string // the node or value at fault
	Problem string // what was found and what was expected
}

func (e *InvalidError) Error() string {
	if e.Where == "" {
		return e.Problem
	}
	return e.Where + ": " + e.Problem
}

func invalid(where, format string, args ...any) error {
	return &InvalidError{where, fmt.Sprintf(format, args...)}
}

// FromModel links a model's main graph. The nodes are sorted (stably: a sorted file keeps its order). Duplicate names, operands
// that nothing produces, outputs that nothing produces and cycles are *InvalidError. The tensors are shared with the model,
// which must stay open.
func FromModel(m *onnxio.Model) (*Graph, error) {
	f := m.Graph
	if f == nil {
		return nil, invalid("", "the model has no graph")
	}
	g := &Graph{Name: f.Name, Model: m, Opsets: map[string]int64{}, names: map[string]*Value{}, nodes: map[string]bool{}, inner: map[string]int{}}
	for _, o := range m.Opsets {
		d := o.Domain
		if d == "ai.onnx" {
			d = ""
		}
		g.Opsets[d] = o.Version
	}
	consts := map[string]bool{}
	for _, t := range f.Initializers {
		if t.Name == "" {
			return nil, invalid("", "an initializer has no name")
		}
		if g.names[t.Name] != nil {
			return nil, invalid(t.Name, "two initializers have this name")
		}
		consts[t.Name] = true
		v := &Value{Name: t.Name, Const: t, Origin: t.Name}
		g.names[t.Name] = v
		g.Consts = append(g.Consts, v)
	}
	sparse := map[string]bool{}
	for _, name := range f.Sparse {
		sparse[name] = true
	}
	for _, in := range f.Inputs {
		if in.Name == "" {
			return nil, invalid("", "a graph input has no name")
		}
		if consts[in.Name] {
			delete(consts, in.Name) // a second input of the name is a duplicate
			v := g.names[in.Name]
			v.Overridable, v.Type, v.file, v.Doc = true, in.Type, in, in.Doc
			continue
		}
		if g.names[in.Name] != nil {
			return nil, invalid(in.Name, "two graph inputs have this name")
		}
		v := &Value{Name: in.Name, Type: in.Type, Doc: in.Doc, file: in}
		g.names[in.Name] = v
		g.Inputs = append(g.Inputs, v)
	}
	for name := range sparse {
		if g.names[name] != nil {
			return nil, invalid(name, "a sparse initializer has the name of another value")
		}
		g.names[name] = &Value{Name: name}
	}
	if err := g.link(f.Nodes, func(name string) *Value { return g.names[name] }, nil, nil); err != nil {
		return nil, err
	}
	for _, vi := range f.ValueInfos {
		if v := g.names[vi.Name]; v != nil && v.file == nil {
			v.Type, v.file, v.Doc = vi.Type, vi, vi.Doc
		}
	}
	outs := map[string]bool{}
	for _, o := range f.Outputs {
		v := g.names[o.Name]
		if v == nil {
			return nil, invalid(o.Name, "graph output that no node, input or initializer gives")
		}
		if outs[o.Name] {
			return nil, invalid(o.Name, "two graph outputs have this name")
		}
		outs[o.Name] = true
		if v.file == nil || v.Producer != nil {
			v.Type, v.file, v.Doc = o.Type, o, o.Doc
		}
		g.Outputs = append(g.Outputs, v)
	}
	if err := g.Sort(); err != nil {
		return nil, err
	}
	return g, nil
}

// link appends file nodes to the graph. lookup resolves the names of values; every output is declared first, so that unsorted
// files link too. scope, when not nil, says that the nodes are the body of a function or a branch: their outputs are local names
// there and are made fresh, and so are the names inside their sub-graphs. absent are formal inputs that the call leaves out.
func (g *Graph) link(nodes []*onnxio.Node, lookup func(string) *Value, scope map[string]*Value, absent map[string]bool) error {
	made := make([]*Node, len(nodes))
	for i, f := range nodes {
		if f.OpType == "" {
			return invalid(f.Name, "node %d has no operator type", i)
		}
		d := f.Domain
		if d == "ai.onnx" {
			d = ""
		}
		n := &Node{Name: f.Name, Op: f.OpType, Domain: d, Attrs: f.Attrs, file: f, Out: make([]*Value, len(f.Outputs))}
		if scope != nil {
			n.Name = g.FreshNodeName(n.Name)
		}
		if n.Name != "" {
			g.nodes[n.Name] = true
		}
		for j, name := range f.Outputs {
			if name == "" {
				continue
			}
			var v *Value
			switch {
			case scope == nil:
				if g.names[name] != nil {
					return invalid(n.String(), "output %q is already the name of another value", name)
				}
				v = &Value{Name: name}
				g.names[name] = v
			case scope[name] != nil && scope[name].Producer == nil && scope[name].Const == nil:
				v = scope[name] // an output of the enclosing node, kept as it is
			case scope[name] != nil:
				return invalid(n.String(), "output %q is already the name of another value", name)
			default:
				v = g.NewValue(name, nil)
				scope[name] = v
			}
			v.Producer, v.OutIndex = n, j
			n.Out[j] = v
		}
		made[i] = n
	}
	for i, f := range nodes {
		n := made[i]
		n.In = make([]*Value, len(f.Inputs))
		for j, name := range f.Inputs {
			if name == "" || absent[name] {
				continue
			}
			v := lookup(name)
			if v == nil {
				return invalid(made[i].String(), "input %q is given by no node, graph input or initializer", name)
			}
			n.In[j] = v
			v.Uses = append(v.Uses, Use{n, j})
		}
		env := map[string]string{}
		for _, name := range captures(f.Attrs) {
			if absent[name] {
				env[name] = ""
				continue
			}
			v := lookup(name)
			if v == nil {
				return invalid(n.String(), "its sub-graph reads %q, which no node, graph input or initializer gives", name)
			}
			env[name] = v.Name
			n.Captures = append(n.Captures, v)
			v.Uses = append(v.Uses, Use{n, -1})
		}
		if scope != nil {
			n.Attrs = g.rescope(n.Attrs, env)
		}
		g.reserve(n)
	}
	g.Nodes = append(g.Nodes, made...)
	return nil
}
