// Package graph holds an ONNX graph in linked form: values know their producer and their uses, so that passes can rewrite it.
//
// Invariants, checked by Validate: every value has exactly one origin (a node output, a graph input or a constant); names are
// unique; Nodes is in topological order; Uses lists exactly the operands of Nodes that refer to the value, and Outputs refers
// to values of the graph. graph knows nothing of protobuf and nothing of transformers.
package graph

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Graph is one main graph. Its sub-graphs stay in the attributes of its nodes, in file form.
type Graph struct {
	Name    string
	Inputs  []*Value // without those that only give an initializer a default (Value.Overridable)
	Outputs []*Value
	Nodes   []*Node  // in topological order
	Consts  []*Value // initializers and constants, in the order of the file

	// Model is the file the graph was read from: the source of everything that is not in the graph. Nil for a graph made in
	// memory before Opsets is set.
	Model *onnxio.Model
	// Opsets maps a domain ("" is ai.onnx) to the imported version.
	Opsets map[string]int64

	names map[string]*Value // every value by name
	nodes map[string]bool   // node names in use
	// inner counts the names that live in sub-graphs: no new value may take one, as names are unique across nested graphs.
	inner map[string]int
	// suffix is where the search for a free name begins, by base name.
	suffix map[string]int
}

// Value is an edge of the graph.
type Value struct {
	Name string
	// Type is the declared type; nil where the file declares none.
	Type *onnxio.Type
	Doc  string

	// Const is the constant's tensor; nil for values computed at run time. Its name is ignored: Name counts.
	Const *onnxio.Tensor
	// Origin names the initializer (or constant) of the file that the constant was cloned from; equal to Name before Normalize.
	Origin string
	// Recipe says how a constant's tensor was computed from its origin's. Two constants of one origin whose recipes are equal
	// and not empty hold the same data.
	Recipe string
	// FromNode is the Constant node that held the tensor in the file; nil for initializers.
	FromNode *Node
	// Overridable says that the initializer is a graph input as well.
	Overridable bool

	Producer *Node // nil for graph inputs and constants
	OutIndex int   // index among Producer.Out
	Uses     []Use

	file *onnxio.ValueInfo
}

// Use is one operand of a node.
type Use struct {
	Node  *Node
	Index int
}

// Node is one operator call.
type Node struct {
	Name   string
	Op     string
	Domain string              // "" is ai.onnx
	In     []*Value            // nil: optional operand left out
	Out    []*Value            // nil: optional output left out
	Attrs  []*onnxio.Attribute // never edited in place: a node replaces its attributes
	// Captures are the outer values that the node's sub-graphs read; their Uses have Index -1.
	Captures []*Value

	file *onnxio.Node
}

// String names a node for people: its name, or its operator and first output where the file gives no name.
func (n *Node) String() string {
	op := n.Op
	if n.Domain != "" {
		op = n.Domain + "." + op
	}
	if n.Name != "" {
		return fmt.Sprintf("%s (%s)", n.Name, op)
	}
	for _, o := range n.Out {
		if o != nil {
			return fmt.Sprintf("%s -> %s", op, o.Name)
		}
	}
	return op
}

// IsConst reports whether v is a constant.
func (v *Value) IsConst() bool { return v != nil && v.Const != nil }

// Value returns the value of that name, or nil.
func (g *Graph) Value(name string) *Value { return g.names[name] }

// Version is the operator-set version of the node's domain; 0 where the model imports none.
func (g *Graph) Version(n *Node) int64 { return g.Opsets[n.Domain] }

// FreshName returns base, or base with a suffix _2, _3 … that no value of the graph or of its sub-graphs has.
func (g *Graph) FreshName(base string) string {
	if base != "" && !g.taken(base) {
		return base
	}
	return g.suffixed(base, g.taken)
}

func (g *Graph) taken(name string) bool {
	_, taken := g.names[name]
	return taken || g.inner[name] > 0
}

// FreshNodeName is FreshName for nodes; an empty base stays empty, as nodes need no name.
func (g *Graph) FreshNodeName(base string) string {
	if base == "" || !g.nodes[base] {
		return base
	}
	return g.suffixed(base, func(name string) bool { return g.nodes[name] })
}

// suffixed finds the first free name base_2, base_3 … The search goes on where the last one for this base ended, as inlining a
// function a thousand times asks for the same name a thousand times.
func (g *Graph) suffixed(base string, taken func(string) bool) string {
	if g.suffix == nil {
		g.suffix = map[string]int{}
	}
	for i := max(2, g.suffix[base]); ; i++ {
		name := base + "_" + strconv.Itoa(i)
		if !taken(name) {
			g.suffix[base] = i
			return name
		}
	}
}

// NewValue adds a value that nothing produces yet; its name is made unique.
func (g *Graph) NewValue(name string, t *onnxio.Type) *Value {
	v := &Value{Name: g.FreshName(name), Type: t}
	g.names[v.Name] = v
	return v
}

// NewConst adds a constant; its name is made unique.
func (g *Graph) NewConst(name string, t *onnxio.Tensor) *Value {
	v := g.NewValue(name, nil)
	v.Const, v.Origin = t, v.Name
	g.Consts = append(g.Consts, v)
	return v
}

// NewInput adds a graph input; its name is made unique.
func (g *Graph) NewInput(name string, t *onnxio.Type) *Value {
	v := g.NewValue(name, t)
	g.Inputs = append(g.Inputs, v)
	return v
}

// AddOutput appends v to the graph's outputs.
func (g *Graph) AddOutput(v *Value) { g.Outputs = append(g.Outputs, v) }

// NewNode appends a node, linking its operands. Out values must have no producer yet. The caller keeps the order topological
// (or calls Sort).
func (g *Graph) NewNode(op, domain, name string, in, out []*Value, attrs ...*onnxio.Attribute) *Node {
	n := &Node{Name: g.FreshNodeName(name), Op: op, Domain: domain, Attrs: attrs}
	if n.Name != "" {
		g.nodes[n.Name] = true
	}
	n.In = make([]*Value, len(in))
	for i, v := range in {
		g.SetInput(n, i, v)
	}
	n.Out = slices.Clone(out)
	for i, v := range out {
		if v != nil {
			v.Producer, v.OutIndex = n, i
		}
	}
	g.Nodes = append(g.Nodes, n)
	return n
}

// SetInput makes v (nil: nothing) the node's operand i and keeps Uses right.
func (g *Graph) SetInput(n *Node, i int, v *Value) {
	if old := n.In[i]; old != nil {
		old.Uses = slices.DeleteFunc(old.Uses, func(u Use) bool { return u.Node == n && u.Index == i })
	}
	n.In[i] = v
	if v != nil {
		v.Uses = append(v.Uses, Use{n, i})
	}
}

// ReplaceUses makes every user of old (graph outputs included) use v instead. A replaced graph output keeps its name: the two
// values swap names, as the signature of a model is not ours to change.
func (g *Graph) ReplaceUses(old, v *Value) {
	for _, u := range slices.Clone(old.Uses) {
		if u.Index >= 0 { // a capture is by name: the caller does not replace captured values
			g.SetInput(u.Node, u.Index, v)
		}
	}
	for i, o := range g.Outputs {
		if o == old {
			g.Outputs[i] = v
			old.Name, v.Name = v.Name, old.Name
			g.names[old.Name], g.names[v.Name] = old, v
			v.Type, v.file, v.Doc = old.Type, old.file, old.Doc
		}
	}
}

// RemoveNode unlinks a node from its operands and removes it and its outputs; the outputs must have no uses left.
func (g *Graph) RemoveNode(n *Node) {
	g.RemoveNodes(map[*Node]bool{n: true})
}

// RemoveNodes removes a set of nodes and their outputs at once.
func (g *Graph) RemoveNodes(set map[*Node]bool) {
	if len(set) == 0 {
		return
	}
	for n := range set {
		for _, v := range slices.Concat(n.In, n.Captures) {
			if v != nil && slices.ContainsFunc(v.Uses, func(u Use) bool { return set[u.Node] }) {
				v.Uses = slices.DeleteFunc(v.Uses, func(u Use) bool { return set[u.Node] })
			}
		}
		clear(n.In)
		g.release(n)
		for _, o := range n.Out {
			if o != nil && g.names[o.Name] == o {
				delete(g.names, o.Name)
			}
		}
		delete(g.nodes, n.Name)
	}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *Node) bool { return set[n] })
}

// RemoveInput removes a graph input that nothing uses.
func (g *Graph) RemoveInput(v *Value) {
	g.Inputs = slices.DeleteFunc(g.Inputs, func(in *Value) bool { return in == v })
	if g.names[v.Name] == v {
		delete(g.names, v.Name)
	}
}

// RemoveConst removes a constant that nothing uses.
func (g *Graph) RemoveConst(v *Value) {
	g.Consts = slices.DeleteFunc(g.Consts, func(c *Value) bool { return c == v })
	if g.names[v.Name] == v {
		delete(g.names, v.Name)
	}
}

// Rename gives v another name; it reports false when that name is taken.
func (g *Graph) Rename(v *Value, name string) bool {
	if v.Name == name {
		return true
	}
	if g.taken(name) {
		return false
	}
	delete(g.names, v.Name)
	v.Name = name
	g.names[name] = v
	return true
}

// Captured reports whether a sub-graph of some node reads v by name.
func (v *Value) Captured() bool {
	return slices.ContainsFunc(v.Uses, func(u Use) bool { return u.Index < 0 })
}

// IsOutput reports whether v is an output of the graph.
func (g *Graph) IsOutput(v *Value) bool { return slices.Contains(g.Outputs, v) }

// IsInput reports whether v is an input of the graph that a caller must give.
func (g *Graph) IsInput(v *Value) bool { return v.Producer == nil && v.Const == nil }
