package blocks

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
)

// layerCopy is one new layer being made.
type layerCopy struct {
	*deepener
	st     *Stage
	block  *Block
	source int
	number int // its place in the model's numbering, as a block index past the last
	inside map[*graph.Node]bool
	value  map[*graph.Value]*graph.Value // of the block -> of the layer
	origin map[string]string             // of the constants: the block's -> the layer's
}

// newLayer starts a layer with the next number under which nothing is named yet.
func (d *deepener) newLayer(st *Stage, source int, number *int) *layerCopy {
	c := &layerCopy{deepener: d, st: st, block: st.Blocks[source], source: source, number: *number,
		inside: map[*graph.Node]bool{}, value: map[*graph.Value]*graph.Value{}, origin: map[string]string{}}
	for _, n := range c.block.Nodes {
		c.inside[n] = true
	}
	for c.clashes() {
		c.number++
	}
	*number = c.number + 1
	return c
}

func (c *layerCopy) rename(name string) string {
	return c.st.numbering.rename(name, c.source, c.number)
}

// clashes reports whether the layer's number is taken: another stage may go on counting where this one stops.
func (c *layerCopy) clashes() bool {
	if !c.st.numbering.found {
		return false
	}
	for _, n := range c.block.Nodes {
		for _, v := range slices.Concat(n.In, n.Out) {
			if v == nil || !(v.IsConst() || c.inside[v.Producer]) {
				continue
			}
			if _, _, _, numbered := c.st.numbering.find(v.Name, c.source); numbered && c.to.Value(c.rename(v.Name)) != nil {
				return true
			}
		}
	}
	return false
}

// copyNodes copies the block's nodes, reading the stream from cur. A sum that nothing will read (width is 1) is left out.
func (c *layerCopy) copyNodes(cur []*graph.Value, width int) {
	bl := c.block
	for k, v := range bl.In {
		c.value[v] = cur[k]
	}
	for _, n := range bl.Nodes {
		in := make([]*graph.Value, len(n.In))
		for i, v := range n.In {
			in[i] = c.operand(v)
		}
		out := make([]*graph.Value, len(n.Out))
		for i, v := range n.Out {
			if v == nil || (width == 1 && i > 0 && len(bl.Out) == 2 && v == bl.Out[1]) {
				continue
			}
			out[i] = c.newValue(v)
		}
		for len(out) > 0 && out[len(out)-1] == nil {
			out = out[:len(out)-1]
		}
		c.fromNode[c.to.CopyNode(n, c.rename(n.Name), in, out)] = n
	}
}

func (c *layerCopy) newValue(v *graph.Value) *graph.Value {
	w := c.to.NewValue(c.rename(v.Name), v.Type)
	w.Doc = v.Doc
	c.value[v], c.from[w] = w, v
	return w
}

// operand is what the layer reads where the block reads v.
func (c *layerCopy) operand(v *graph.Value) *graph.Value {
	if v == nil {
		return nil
	}
	if w := c.value[v]; w != nil {
		return w
	}
	switch {
	case v.IsConst():
		w := c.constant(v)
		c.value[v], c.from[w] = w, v
		return w
	case slices.Contains(c.block.Inputs, v):
		w := c.to.NewInput(c.rename(v.Name), v.Type)
		w.Doc = v.Doc
		c.value[v], c.from[w] = w, v
		return w
	}
	return c.deepener.value[v]
}

// constant copies a constant under the layer's own name. Integers and lone numbers that other layers read as well (shapes, scales,
// epsilons) keep their origin: as long as they stay equal they are one constant of the file.
func (c *layerCopy) constant(v *graph.Value) *graph.Value {
	small := v.Const.DType.Integer() || v.Const.NumElements() == 1
	shared := small && c.usedElsewhere(v.Origin)
	name, again := v.Origin, false
	if !shared {
		if name, again = c.origin[v.Origin]; !again {
			name = c.constName(v)
		}
	}
	w := c.to.NewConst(name, v.Const)
	w.Type, w.Doc, w.Recipe, w.FromNode = v.Type, v.Doc, v.Recipe, v.FromNode
	switch {
	case shared:
		w.Origin = v.Origin
	case again:
		w.Origin = name
	default:
		c.origin[v.Origin] = w.Name
	}
	if v.FromNode != nil && !shared {
		n := *v.FromNode // its name must be the layer's, too
		n.Name = c.to.FreshNodeName(c.rename(n.Name))
		w.FromNode = &n
	}
	return w
}

// constName is the origin of a constant in the new layer. One that the layers share (exporters merge equal tensors) has the number
// of the first of them.
func (c *layerCopy) constName(v *graph.Value) string {
	num := c.st.numbering
	if _, _, _, ok := num.find(v.Origin, c.source); ok {
		return num.rename(v.Origin, c.source, c.number)
	}
	for _, m := range c.st.Modules {
		if m.Consts[c.source] != v {
			continue
		}
		for i, w := range m.Consts {
			if _, _, _, ok := num.find(w.Origin, i); ok {
				return num.rename(w.Origin, i, c.number)
			}
		}
	}
	return c.rename(v.Origin)
}

// usedElsewhere reports whether a node outside the block reads a constant of that origin.
func (c *layerCopy) usedElsewhere(origin string) bool {
	for _, v := range c.origins[origin] {
		for _, u := range v.Uses {
			if !c.inside[u.Node] {
				return true
			}
		}
	}
	return false
}

// ends gives what the layer hands on.
func (c *layerCopy) ends(width int) ([]*graph.Value, error) {
	out := c.block.Out
	next := []*graph.Value{c.value[out[0]]}
	if width == 1 {
		return next, nil
	}
	if len(out) == 2 {
		return append(next, c.value[out[1]]), nil
	}
	v, err := c.sumOf(c.st, next[0], c.st.numbering.layer(c.number))
	return append(next, v), err
}
