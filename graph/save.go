package graph

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// mergeBytes bounds the tensors whose equality is decided by looking at their bytes; larger ones merge by identity or Recipe.
const mergeBytes = 1 << 16

// ToModel gives the graph's file form. Everything that is not in the graph is taken from Model. Constants of one origin that
// hold the same data become one initializer again, under the origin's name; constants that were Constant nodes become Constant
// nodes again. The graph is not changed and shares its tensors with the result.
func (g *Graph) ToModel() (*onnxio.Model, error) {
	m := &onnxio.Model{IRVersion: 8}
	f := &onnxio.Graph{}
	if g.Model != nil {
		c := *g.Model
		m = &c
		if g.Model.Graph != nil {
			cf := *g.Model.Graph
			f = &cf
		}
	}
	m.Graph = f
	m.Opsets = g.opsets()
	f.Name = g.Name
	names, tensors, err := g.mergeConstants()
	if err != nil {
		return nil, err
	}
	name := func(v *Value) string {
		if v == nil {
			return ""
		}
		if n, ok := names[v]; ok {
			return n
		}
		return v.Name
	}

	f.Inputs, f.Outputs, f.ValueInfos, f.Initializers, f.Nodes = nil, nil, nil, nil, nil
	for _, v := range g.Inputs {
		f.Inputs = append(f.Inputs, v.info(v.Name))
	}
	// before IR version 4 every initializer is a graph input too, those that growth added included
	inputsToo := m.IRVersion < 4 && slices.ContainsFunc(g.Consts, func(v *Value) bool { return v.Overridable })
	listed := map[string]bool{}
	emitted := map[string]bool{} // Constant nodes
	for _, v := range g.Consts {
		n := name(v)
		if listed[n] || v.FromNode != nil {
			continue
		}
		listed[n] = true
		t := tensors[n]
		f.Initializers = append(f.Initializers, t)
		switch {
		case v.Overridable, inputsToo:
			f.Inputs = append(f.Inputs, v.constInfo(n))
		case v.Type != nil:
			f.ValueInfos = append(f.ValueInfos, v.constInfo(n))
		}
	}
	for _, n := range g.Nodes {
		for _, v := range slices.Concat(n.In, n.Captures) {
			if v == nil || v.FromNode == nil || emitted[name(v)] {
				continue
			}
			emitted[name(v)] = true
			f.Nodes = append(f.Nodes, constantNode(v, name(v), tensors[name(v)]))
		}
		fn := &onnxio.Node{OpType: n.Op}
		if n.file != nil {
			c := *n.file
			fn = &c
		}
		if d := fn.Domain; n.Domain != "" || d != "ai.onnx" {
			fn.Domain = n.Domain
		}
		fn.Name, fn.OpType, fn.Attrs = n.Name, n.Op, n.Attrs
		fn.Inputs, fn.Outputs = nil, nil
		for _, v := range n.In {
			fn.Inputs = append(fn.Inputs, name(v))
		}
		for _, v := range n.Out {
			fn.Outputs = append(fn.Outputs, name(v))
		}
		f.Nodes = append(f.Nodes, fn)
	}
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			if v != nil && v.Type != nil && !g.IsOutput(v) {
				f.ValueInfos = append(f.ValueInfos, v.info(v.Name))
			}
		}
	}
	for _, v := range g.Outputs {
		f.Outputs = append(f.Outputs, v.info(v.Name))
	}
	m.Functions = usedFunctions(m.Functions, f.Nodes)
	return m, nil
}

// opsets lists the imported operator sets in the model's order, new ones last.
func (g *Graph) opsets() []onnxio.Opset {
	var out []onnxio.Opset
	seen := map[string]bool{}
	if g.Model != nil {
		for _, o := range g.Model.Opsets {
			d := o.Domain
			if d == "ai.onnx" {
				d = ""
			}
			seen[d] = true
			out = append(out, o)
		}
	}
	var more []string
	for d := range g.Opsets {
		if !seen[d] {
			more = append(more, d)
		}
	}
	slices.Sort(more)
	for _, d := range more {
		out = append(out, onnxio.Opset{Domain: d, Version: g.Opsets[d]})
	}
	return out
}

// info is the value's declaration under the given name.
func (v *Value) info(name string) *onnxio.ValueInfo {
	vi := &onnxio.ValueInfo{}
	if v.file != nil {
		c := *v.file
		vi = &c
	}
	vi.Name, vi.Type, vi.Doc = name, v.Type, v.Doc
	return vi
}

// constInfo is info for a constant: the declaration always fits the tensor.
func (v *Value) constInfo(name string) *onnxio.ValueInfo {
	vi := v.info(name)
	fits := vi.Type != nil && (!vi.Type.HasShape || len(vi.Type.Dims) == len(v.Const.Dims))
	if fits && vi.Type.HasShape {
		for i, d := range vi.Type.Dims {
			fits = fits && (d.Param != "" || d.Value < 0 || d.Value == v.Const.Dims[i])
		}
	}
	if !fits {
		dims := make([]onnxio.Dim, len(v.Const.Dims))
		for i, n := range v.Const.Dims {
			dims[i].Value = n
		}
		vi.Type = onnxio.TensorType(v.Const.DType, dims...)
	}
	return vi
}

// constantNode gives back the Constant node that held v. A tensor that did not change keeps the node's own attribute (value,
// value_ints, …); any other becomes `value`.
func constantNode(v *Value, name string, t *onnxio.Tensor) *onnxio.Node {
	fn := &onnxio.Node{OpType: "Constant"}
	if v.FromNode.file != nil {
		c := *v.FromNode.file
		fn = &c
	}
	fn.Name, fn.Outputs = v.FromNode.Name, []string{name}
	if v.Name != v.Origin && name != v.Origin {
		fn.Name = "" // a further copy; names of nodes are unique
	}
	old := v.FromNode.Attrs[0]
	if old.T == nil || old.T != v.Const {
		if !holds(old, v.Const) {
			fn.Attrs = []*onnxio.Attribute{TensorAttr("value", t.Renamed(attrTensorName(old)))}
		}
	}
	return fn
}

// holds reports whether an attribute of a Constant node gives the tensor t.
func holds(a *onnxio.Attribute, t *onnxio.Tensor) bool {
	own, err := constantTensor("", a)
	if err != nil || own == nil {
		return false
	}
	same, err := sameSmall(own, t)
	return err == nil && same
}

func attrTensorName(old *onnxio.Attribute) string {
	if old.T != nil {
		return old.T.Name
	}
	return ""
}

// mergeConstants decides the file name of every constant and the tensor behind each name.
func (g *Graph) mergeConstants() (map[*Value]string, map[string]*onnxio.Tensor, error) {
	names := map[*Value]string{}
	tensors := map[string]*onnxio.Tensor{}
	groups := map[string][]*Value{} // by origin: one representative for each different tensor
	taken := map[string]bool{}
	for _, v := range g.Consts {
		if v.Overridable || v.Captured() || g.IsOutput(v) {
			taken[v.Name] = true // read by name
		}
	}
	for _, v := range g.Consts {
		var rep *Value
		for _, w := range groups[v.Origin] {
			same, err := sameConst(v, w)
			if err != nil {
				return nil, nil, err
			}
			if same {
				rep = w
				break
			}
		}
		if rep != nil && !taken[v.Name] {
			names[v] = names[rep]
			continue
		}
		n := v.Name
		if o := g.names[v.Origin]; len(groups[v.Origin]) == 0 && (o == nil || (o.IsConst() && o.Origin == v.Origin && !taken[o.Name])) {
			n = v.Origin
		} else if tensors[n] != nil {
			n = g.FreshName(n)
		}
		names[v] = n
		tensors[n] = v.Const.Renamed(n)
		groups[v.Origin] = append(groups[v.Origin], v)
	}
	return names, tensors, nil
}

func sameConst(a, b *Value) (bool, error) {
	if a.Const == b.Const || (a.Recipe != "" && a.Recipe == b.Recipe) {
		return true, nil
	}
	return sameSmall(a.Const, b.Const)
}

// sameSmall compares the bytes of tensors that are worth comparing so.
func sameSmall(a, b *onnxio.Tensor) (bool, error) {
	if a.ByteLen() > mergeBytes {
		return false, nil
	}
	return a.Equal(b)
}
