package onnxio

import (
	"strconv"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// Model is one ONNX file as plain Go data. Fields that ligoonnx never edits (training information, device configurations,
// quantisation annotations, fields of newer versions …) are not shown here but kept: every type remembers the message it was
// read from, and encoding starts from that message.
type Model struct {
	// Path is the file the model was read from; empty for a model made in memory.
	Path string
	// SHA256 is the hex digest of the model file (not of its external data); empty for a model made in memory.
	SHA256 string
	// External says that at least one tensor was read from an external data file.
	External bool

	IRVersion       int64
	Opsets          []Opset
	Producer        string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	Metadata        []KeyValue
	Graph           *Graph
	Functions       []*Function

	src   *onnxpb.ModelProto
	files *fileSet // the mapped model file and its external data files; nil for a model made in memory
}

// Opset is one operator set a model imports; the empty domain is ai.onnx.
type Opset struct {
	Domain  string
	Version int64
}

// KeyValue is a metadata entry.
type KeyValue struct{ Key, Value string }

// Graph is the main graph of a model or a sub-graph in an attribute.
type Graph struct {
	Name         string
	Doc          string
	Nodes        []*Node
	Initializers []*Tensor
	Inputs       []*ValueInfo
	Outputs      []*ValueInfo
	ValueInfos   []*ValueInfo
	// Sparse names the sparse initializers; they are kept as they are and never grown.
	Sparse []string

	src *onnxpb.GraphProto
}

// Node is one operator call. Empty names in Inputs and Outputs are optional operands left out.
type Node struct {
	Name     string
	OpType   string
	Domain   string
	Overload string
	Doc      string
	Inputs   []string
	Outputs  []string
	Attrs    []*Attribute

	src *onnxpb.NodeProto
}

// AttrKind is the type of an attribute; the numbers are AttributeProto.AttributeType's.
type AttrKind int32

// Attribute types.
const (
	AttrUndefined     AttrKind = 0
	AttrFloat         AttrKind = 1
	AttrInt           AttrKind = 2
	AttrString        AttrKind = 3
	AttrTensor        AttrKind = 4
	AttrGraph         AttrKind = 5
	AttrFloats        AttrKind = 6
	AttrInts          AttrKind = 7
	AttrStrings       AttrKind = 8
	AttrTensors       AttrKind = 9
	AttrGraphs        AttrKind = 10
	AttrSparseTensor  AttrKind = 11
	AttrSparseTensors AttrKind = 12
	AttrTypeProto     AttrKind = 13
	AttrTypeProtos    AttrKind = 14
)

// Attribute is a named constant of a node. Only the field that Kind names is meaningful; sparse tensors and types are kept
// but not shown.
type Attribute struct {
	Name string
	Kind AttrKind
	// Ref names the attribute of the enclosing function that this one stands for; empty outside functions.
	Ref string
	Doc string

	F       float32
	I       int64
	S       []byte
	T       *Tensor
	G       *Graph
	Floats  []float32
	Ints    []int64
	Strings [][]byte
	Tensors []*Tensor
	Graphs  []*Graph

	src *onnxpb.AttributeProto
}

// Function is a model-local function.
type Function struct {
	Name       string
	Domain     string
	Overload   string
	Doc        string
	Inputs     []string
	Outputs    []string
	Attrs      []string     // attributes without default
	Defaults   []*Attribute // attributes with default
	Nodes      []*Node
	Opsets     []Opset
	ValueInfos []*ValueInfo

	src *onnxpb.FunctionProto
}

// ValueInfo declares the type of a value.
type ValueInfo struct {
	Name string
	Doc  string
	// Type is nil where the file gives none.
	Type *Type

	src *onnxpb.ValueInfoProto
}

// Type is the type of a value. For a dense tensor Elem and the shape are given; any other type (sequence, map, optional,
// sparse, opaque) is kept but only named by Kind.
type Type struct {
	// Kind is "tensor", "sparse_tensor", "sequence", "map", "optional", "opaque" or "" (none given).
	Kind string
	Elem DType
	// HasShape tells a tensor of rank 0 from a tensor of unknown rank.
	HasShape bool
	Dims     []Dim

	src *onnxpb.TypeProto
}

// Dim is one dimension: a size (Param empty, Value >= 0), a name (Param), or unknown (Param empty, Value < 0).
type Dim struct {
	Value      int64
	Param      string
	Denotation string
}

// DimsText writes a declared shape for people, without brackets: "batch 3 ? 28".
func DimsText(dims []Dim) string {
	parts := make([]string, len(dims))
	for i, d := range dims {
		switch {
		case d.Param != "":
			parts[i] = d.Param
		case d.Value < 0:
			parts[i] = "?"
		default:
			parts[i] = strconv.FormatInt(d.Value, 10)
		}
	}
	return strings.Join(parts, " ")
}

// TensorType makes the type of a dense tensor with a known rank.
func TensorType(elem DType, dims ...Dim) *Type {
	return &Type{Kind: "tensor", Elem: elem, HasShape: true, Dims: dims}
}

// Attr returns the attribute of that name, or nil.
func (n *Node) Attr(name string) *Attribute {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Opset returns the version of a domain's operator set that the model imports; 0 if it imports none. "ai.onnx" is the same
// domain as the empty string.
func (m *Model) Opset(domain string) int64 {
	if domain == "ai.onnx" {
		domain = ""
	}
	for _, o := range m.Opsets {
		if o.Domain == domain || (domain == "" && o.Domain == "ai.onnx") {
			return o.Version
		}
	}
	return 0
}
