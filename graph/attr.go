package graph

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Attr returns the attribute of that name, or nil.
func (n *Node) Attr(name string) *onnxio.Attribute {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Int returns an integer attribute, or def where the node has none.
func (n *Node) Int(name string, def int64) int64 {
	if a := n.Attr(name); a != nil && a.Kind == onnxio.AttrInt {
		return a.I
	}
	return def
}

// Ints returns an integer-list attribute, or nil.
func (n *Node) Ints(name string) []int64 {
	if a := n.Attr(name); a != nil && a.Kind == onnxio.AttrInts {
		return a.Ints
	}
	return nil
}

// Float returns a float attribute, or def where the node has none.
func (n *Node) Float(name string, def float32) float32 {
	if a := n.Attr(name); a != nil && a.Kind == onnxio.AttrFloat {
		return a.F
	}
	return def
}

// Str returns a string attribute, or def where the node has none.
func (n *Node) Str(name, def string) string {
	if a := n.Attr(name); a != nil && a.Kind == onnxio.AttrString {
		return string(a.S)
	}
	return def
}

// SetAttr replaces the attribute of the same name, or adds it.
func (n *Node) SetAttr(a *onnxio.Attribute) {
	n.Attrs = slices.Clone(n.Attrs)
	for i, old := range n.Attrs {
		if old.Name == a.Name {
			n.Attrs[i] = a
			return
		}
	}
	n.Attrs = append(n.Attrs, a)
}

// SetInt sets an integer attribute.
func (n *Node) SetInt(name string, v int64) { n.SetAttr(IntAttr(name, v)) }

// SetInts sets an integer-list attribute.
func (n *Node) SetInts(name string, v []int64) { n.SetAttr(IntsAttr(name, v...)) }

// SetFloat sets a float attribute.
func (n *Node) SetFloat(name string, v float32) { n.SetAttr(FloatAttr(name, v)) }

// IntAttr makes an integer attribute.
func IntAttr(name string, v int64) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Kind: onnxio.AttrInt, I: v}
}

// IntsAttr makes an integer-list attribute.
func IntsAttr(name string, v ...int64) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Kind: onnxio.AttrInts, Ints: v}
}

// FloatAttr makes a float attribute.
func FloatAttr(name string, v float32) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Kind: onnxio.AttrFloat, F: v}
}

// StringAttr makes a string attribute.
func StringAttr(name, v string) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Kind: onnxio.AttrString, S: []byte(v)}
}

// TensorAttr makes a tensor attribute.
func TensorAttr(name string, t *onnxio.Tensor) *onnxio.Attribute {
	return &onnxio.Attribute{Name: name, Kind: onnxio.AttrTensor, T: t}
}
