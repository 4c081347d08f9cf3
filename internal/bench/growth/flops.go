package main

import (
	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo/train"
)

// FLOPs are counted as in the literature: two for every multiplication and addition of a matrix product (or convolution), nothing
// else; the backward pass costs twice the forward pass.

// forward counts the forward pass of one row.
func (t *task) forward(c fixtures.Config) float64 {
	d, l := float64(c.Hidden), float64(c.Layers)
	if t.Loss == train.CausalLM {
		n := float64(t.Tokens)
		return 2 * (n*(l*12*d*d+d*float64(c.Vocab)) + l*2*n*n*d)
	}
	patches := float64(c.Image / c.Patch * (c.Image / c.Patch))
	n := patches + 1
	return 2 * (patches*d*float64(c.Patch*c.Patch*c.Channels) + n*l*12*d*d + l*2*n*n*d + d*float64(c.Classes))
}

// step counts a training step.
func (t *task) step(c fixtures.Config, rows int) float64 { return 3 * float64(rows) * t.forward(c) }

// building counts the products that make the large weights of an operator that is learned: once forward, and backward once for each
// operand that the operator's parameters are behind. The large weights' own gradients belong to the plain step.
func building(t *train.Task) (forward, backward float64) {
	params := map[string]bool{}
	for _, p := range t.Params {
		params[p.Name] = true
	}
	b := builder{params, map[*graph.Value]operand{}}
	for _, n := range t.Graph.Nodes {
		f, g := b.node(n)
		forward, backward = forward+f, backward+g
	}
	return forward, backward
}

// operand is what is known of a computed weight: its shape, and whether it depends on a parameter.
type operand struct {
	dims    []int64
	learned bool
}

type builder struct {
	params map[string]bool
	known  map[*graph.Value]operand
}

func (b builder) operand(v *graph.Value) (operand, bool) {
	if v == nil {
		return operand{}, false
	}
	if v.IsConst() {
		return operand{v.Const.Dims, b.params[v.Name]}, true
	}
	o, ok := b.known[v]
	return o, ok
}

// node notes the shape of what a node computes from constants alone, and counts it where it is a product that learning is about.
func (b builder) node(n *graph.Node) (forward, backward float64) {
	if len(n.In) == 0 || len(n.Out) != 1 {
		return 0, 0
	}
	x, ok := b.operand(n.In[0])
	if !ok {
		return 0, 0
	}
	for _, v := range n.In[1:] {
		y, ok := b.operand(v)
		if !ok {
			return 0, 0
		}
		x.learned = x.learned || y.learned
	}
	switch n.Op {
	case "MatMul":
		first, _ := b.operand(n.In[0])
		second, _ := b.operand(n.In[1])
		if len(first.dims) != 2 || len(second.dims) != 2 || !x.learned {
			return 0, 0
		}
		forward = 2 * float64(first.dims[0]) * float64(first.dims[1]) * float64(second.dims[1])
		for _, o := range []operand{first, second} {
			if o.learned {
				backward += forward
			}
		}
		x.dims = []int64{first.dims[0], second.dims[1]}
	case "Reshape":
		dims, err := n.In[1].Const.Int64s()
		if err != nil {
			return 0, 0
		}
		x.dims = dims
	case "Transpose":
		var dims []int64
		for _, p := range n.Ints("perm") {
			dims = append(dims, x.dims[p])
		}
		x.dims = dims
	case "Gather":
		axis := n.Int("axis", 0)
		x.dims = append([]int64(nil), x.dims...)
		x.dims[axis] = n.In[1].Const.NumElements()
	case "Concat":
		axis := n.Int("axis", 0)
		x.dims = append([]int64(nil), x.dims...)
		for _, v := range n.In[1:] {
			y, _ := b.operand(v)
			x.dims[axis] += y.dims[axis]
		}
	case "Mul", "Add":
		if y, _ := b.operand(n.In[1]); len(y.dims) > len(x.dims) {
			x.dims = y.dims
		}
	default:
		return 0, 0
	}
	b.known[n.Out[0]] = x
	return forward, backward
}
