package crosscheck

import (
	"fmt"

	onnx "github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"
)

// backend receives the graph that the second reader builds: values as nodes, and an edge from each output to each input with
// the input's position as its weight. It notes them as a list, because a list can hold what a graph type refuses or merges, such as
// one value used twice by a node.
type backend struct {
	// The interface wants a graph that can be asked questions too. The second reader asks none, so an empty graph may answer.
	graph.Directed

	values  int64
	ops     []operation
	pending []edge // since the last operation
}

func newBackend() *backend { return &backend{Directed: simple.NewDirectedGraph()} }

type operation struct {
	name            string
	inputs, outputs []string
	attrs           map[string]any
}

// value is one value of the graph; the second reader names it and hands it the data of initializers.
type value struct {
	id     int64
	name   string
	tensor tensor.Tensor
}

func (v *value) ID() int64                       { return v.id }
func (v *value) SetName(s string)                { v.name = s }
func (v *value) GetName() string                 { return v.name }
func (v *value) SetTensor(t tensor.Tensor) error { v.tensor = t; return nil }
func (v *value) GetTensor() tensor.Tensor        { return v.tensor }

type edge struct {
	from, to graph.Node
	weight   float64
}

func (e edge) From() graph.Node         { return e.from }
func (e edge) To() graph.Node           { return e.to }
func (e edge) Weight() float64          { return e.weight }
func (e edge) ReversedEdge() graph.Edge { return edge{e.to, e.from, e.weight} }

func (b *backend) NewNode() graph.Node {
	b.values++
	return &value{id: b.values}
}

func (b *backend) AddNode(graph.Node) {}

func (b *backend) NewWeightedEdge(from, to graph.Node, weight float64) graph.WeightedEdge {
	return edge{from, to, weight}
}

func (b *backend) SetWeightedEdge(e graph.WeightedEdge) {
	b.pending = append(b.pending, edge{e.From(), e.To(), e.Weight()})
}

// ApplyOperation closes a node: the edges since the last one are its inputs, once for each of its outputs.
func (b *backend) ApplyOperation(o onnx.Operation, outputs ...graph.Node) error {
	op := operation{name: o.Name, attrs: o.Attributes}
	for _, v := range outputs {
		op.outputs = append(op.outputs, v.(*value).name)
	}
	if len(outputs) > 0 {
		if len(b.pending)%len(outputs) != 0 {
			return fmt.Errorf("operator %s has %d edges for %d outputs", o.Name, len(b.pending), len(outputs))
		}
		for i, e := range b.pending[:len(b.pending)/len(outputs)] {
			if e.weight != float64(i) || e.from != outputs[0] {
				return fmt.Errorf("operator %s: its input %d is out of order", o.Name, i)
			}
			op.inputs = append(op.inputs, e.to.(*value).name)
		}
	}
	b.pending = b.pending[:0]
	b.ops = append(b.ops, op)
	return nil
}
