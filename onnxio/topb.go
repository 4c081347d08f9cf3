package onnxio

import (
	"crypto/rand"
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// encoder turns a Model into a message whose large tensors are placeholders, and remembers what belongs there. Every message
// starts as a copy of the one that its Go value was read from, so that what Model does not show is kept.
type encoder struct {
	nonce    [16]byte
	payloads []Data // bytes of the placeholders, by index
	inline   int64  // bytes of tensors that are in the message

	external *layout // where tensors go that leave the message; nil: all stay
}

func newEncoder(external *layout) (*encoder, error) {
	e := &encoder{external: external}
	if _, err := rand.Read(e.nonce[:]); err != nil {
		return nil, fmt.Errorf("random numbers: %w", err)
	}
	return e, nil
}

// clone copies a message that may be absent.
func clone[M any](src *M) *M {
	out := new(M)
	if src != nil {
		*out = *src
	}
	return out
}

// text sets an optional string; absent and empty mean the same, so a file that says either keeps it.
func text(old *string, v string) *string {
	switch {
	case old != nil && *old == v, old == nil && v == "":
		return old
	case v == "":
		return nil
	}
	return &v
}

// number is text for integers.
func number(old *int64, v int64) *int64 {
	switch {
	case old != nil && *old == v, old == nil && v == 0:
		return old
	}
	return &v
}

func (e *encoder) model(m *Model) (*onnxpb.ModelProto, error) {
	if m.Graph == nil {
		return nil, invalid("", "the model has no graph")
	}
	pb := clone(m.src)
	pb.IrVersion = number(pb.IrVersion, m.IRVersion)
	pb.ProducerName = text(pb.ProducerName, m.Producer)
	pb.ProducerVersion = text(pb.ProducerVersion, m.ProducerVersion)
	pb.Domain = text(pb.Domain, m.Domain)
	pb.ModelVersion = number(pb.ModelVersion, m.ModelVersion)
	pb.DocString = text(pb.DocString, m.Doc)
	pb.OpsetImport = opsetsTo(pb.OpsetImport, m.Opsets)
	pb.MetadataProps = entriesTo(pb.MetadataProps, m.Metadata)
	var err error
	if pb.Graph, err = e.graph("", m.Graph, 0); err != nil {
		return nil, err
	}
	pb.Functions = nil
	for _, f := range m.Functions {
		c, err := e.function(f)
		if err != nil {
			return nil, err
		}
		pb.Functions = append(pb.Functions, c)
	}
	return pb, nil
}

func opsetsTo(old []*onnxpb.OperatorSetIdProto, opsets []Opset) []*onnxpb.OperatorSetIdProto {
	out := make([]*onnxpb.OperatorSetIdProto, len(opsets))
	for i, o := range opsets {
		if i < len(old) && old[i].GetDomain() == o.Domain && old[i].GetVersion() == o.Version {
			out[i] = old[i]
			continue
		}
		// The domain of ai.onnx is written as an empty string, as every exporter does, and not left out.
		out[i] = &onnxpb.OperatorSetIdProto{Domain: &o.Domain, Version: &o.Version}
	}
	return out
}

func entriesTo(old []*onnxpb.StringStringEntryProto, entries []KeyValue) []*onnxpb.StringStringEntryProto {
	out := make([]*onnxpb.StringStringEntryProto, len(entries))
	for i, kv := range entries {
		if i < len(old) && old[i].GetKey() == kv.Key && old[i].GetValue() == kv.Value {
			out[i] = old[i]
			continue
		}
		out[i] = &onnxpb.StringStringEntryProto{Key: &kv.Key, Value: &kv.Value}
	}
	return out
}

func (e *encoder) graph(where string, g *Graph, depth int) (*onnxpb.GraphProto, error) {
	if depth > maxDepth {
		// A file cannot get here; a graph that contains itself would go on forever.
		return nil, &LimitError{Where: where, What: "nesting depth of graphs", Found: int64(depth), Limit: maxDepth}
	}
	pb := clone(g.src)
	pb.Name = text(pb.Name, g.Name)
	pb.DocString = text(pb.DocString, g.Doc)
	pb.Node = make([]*onnxpb.NodeProto, len(g.Nodes))
	var err error
	for i, n := range g.Nodes {
		if pb.Node[i], err = e.node(where, n, depth); err != nil {
			return nil, err
		}
	}
	pb.Initializer = make([]*onnxpb.TensorProto, len(g.Initializers))
	for i, t := range g.Initializers {
		if pb.Initializer[i], err = e.tensor(where, t, true); err != nil {
			return nil, err
		}
	}
	pb.SparseInitializer = slices.DeleteFunc(slices.Clone(pb.SparseInitializer), func(s *onnxpb.SparseTensorProto) bool {
		return !slices.Contains(g.Sparse, s.GetValues().GetName())
	})
	if pb.Input, err = valueInfosTo(where, g.Inputs); err != nil {
		return nil, err
	}
	if pb.Output, err = valueInfosTo(where, g.Outputs); err != nil {
		return nil, err
	}
	pb.ValueInfo, err = valueInfosTo(where, g.ValueInfos)
	return pb, err
}

func (e *encoder) node(where string, n *Node, depth int) (*onnxpb.NodeProto, error) {
	if n == nil {
		return nil, invalid(where, "a node is missing (nil)")
	}
	pb := clone(n.src)
	pb.Name = text(pb.Name, n.Name)
	pb.OpType = text(pb.OpType, n.OpType)
	pb.Domain = text(pb.Domain, n.Domain)
	pb.Overload = text(pb.Overload, n.Overload)
	pb.DocString = text(pb.DocString, n.Doc)
	pb.Input, pb.Output = n.Inputs, n.Outputs
	var err error
	pb.Attribute, err = e.attributes(join(where, nodeWhere(n.Name, n.OpType)), n.Attrs, depth)
	return pb, err
}

func (e *encoder) attributes(where string, attrs []*Attribute, depth int) ([]*onnxpb.AttributeProto, error) {
	out := make([]*onnxpb.AttributeProto, len(attrs))
	for i, a := range attrs {
		if a == nil {
			return nil, invalid(where, "an attribute is missing (nil)")
		}
		var err error
		if out[i], err = e.attribute(join(where, fmt.Sprintf("attribute %q", a.Name)), a, depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *encoder) attribute(where string, a *Attribute, depth int) (*onnxpb.AttributeProto, error) {
	pb := clone(a.src)
	pb.Name = text(pb.Name, a.Name)
	pb.RefAttrName = text(pb.RefAttrName, a.Ref)
	pb.DocString = text(pb.DocString, a.Doc)
	if a.src == nil || attrKind(a.src) != a.Kind {
		// A value of another kind must not stay beside the new one.
		*pb = onnxpb.AttributeProto{Name: pb.Name, RefAttrName: pb.RefAttrName, DocString: pb.DocString,
			XXX_unrecognized: pb.XXX_unrecognized}
		kind := onnxpb.AttributeProto_AttributeType(a.Kind)
		pb.Type = &kind
	}
	// Whatever the kind, tensors and graphs are encoded from the Go values: their messages may have had their bytes cut out.
	var err error
	if pb.T, pb.Tensors, err = e.attrTensors(where, a); err != nil {
		return nil, err
	}
	if pb.G, pb.Graphs, err = e.attrGraphs(where, a, depth+1); err != nil {
		return nil, err
	}
	if a.Ref != "" {
		return pb, nil
	}
	switch a.Kind {
	case AttrFloat:
		if pb.F == nil && (a.src == nil || a.F != 0) || pb.F != nil && math.Float32bits(*pb.F) != math.Float32bits(a.F) {
			pb.F = &a.F
		}
	case AttrInt:
		if pb.I == nil && (a.src == nil || a.I != 0) || pb.I != nil && *pb.I != a.I {
			pb.I = &a.I
		}
	case AttrString:
		if pb.S = a.S; pb.S == nil && a.src == nil {
			pb.S = []byte{}
		}
	case AttrTensor:
		if pb.T == nil {
			return nil, invalid(where, "its type says that it has a tensor, but there is none")
		}
	case AttrGraph:
		if pb.G == nil {
			return nil, invalid(where, "its type says that it has a graph, but there is none")
		}
	case AttrFloats:
		pb.Floats = a.Floats
	case AttrInts:
		pb.Ints = a.Ints
	case AttrStrings:
		pb.Strings = a.Strings
	}
	return pb, nil
}

func (e *encoder) attrTensors(where string, a *Attribute) (t *onnxpb.TensorProto, ts []*onnxpb.TensorProto, err error) {
	if a.T != nil {
		if t, err = e.tensor(where, a.T, false); err != nil {
			return nil, nil, err
		}
	}
	for _, x := range a.Tensors {
		c, err := e.tensor(where, x, false)
		if err != nil {
			return nil, nil, err
		}
		ts = append(ts, c)
	}
	return t, ts, nil
}

func (e *encoder) attrGraphs(where string, a *Attribute, depth int) (g *onnxpb.GraphProto, gs []*onnxpb.GraphProto, err error) {
	if a.G != nil {
		if g, err = e.graph(where, a.G, depth); err != nil {
			return nil, nil, err
		}
	}
	for _, x := range a.Graphs {
		if x == nil {
			return nil, nil, invalid(where, "a graph is missing (nil)")
		}
		c, err := e.graph(where, x, depth)
		if err != nil {
			return nil, nil, err
		}
		gs = append(gs, c)
	}
	return g, gs, nil
}

// tensor encodes a tensor in the form it was read in; new data is raw. Initializers may leave the message for the external data
// file, and so may any tensor that was in one.
func (e *encoder) tensor(where string, t *Tensor, initializer bool) (*onnxpb.TensorProto, error) {
	if t == nil {
		return nil, invalid(where, "a tensor is missing (nil)")
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	pb := clone(t.src)
	pb.Name = text(pb.Name, t.Name)
	pb.DocString = text(pb.DocString, t.Doc)
	pb.Dims = t.Dims
	if dt := int32(t.DType); pb.GetDataType() != dt {
		pb.DataType = &dt
	}
	if t.DType == String {
		return pb, nil
	}
	wasExternal := pb.GetDataLocation() == onnxpb.TensorProto_EXTERNAL
	if wasExternal {
		pb.DataLocation, pb.ExternalData = nil, nil
	}
	data := t.payload()
	n := data.Len()
	if e.external != nil && n >= externalFrom && (initializer || wasExternal) {
		clearStorage(pb)
		pb.ExternalData = e.external.place(data)
		loc := onnxpb.TensorProto_EXTERNAL
		pb.DataLocation = &loc
		return pb, nil
	}
	e.inline += n
	if f, ok := data.(typedField); ok && t.src == f.src && t.src.GetDataType() == int32(t.DType) {
		return pb, nil
	}
	clearStorage(pb)
	switch {
	case n == 0:
		if t.src != nil {
			pb.RawData = t.src.RawData // empty or absent, as it was
		} else {
			pb.RawData = []byte{}
		}
	case n < cutFrom:
		raw, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		pb.RawData = raw
	default:
		pb.RawData = appendPlaceholder(nil, e.nonce, len(e.payloads))
		e.payloads = append(e.payloads, data)
	}
	return pb, nil
}

func clearStorage(pb *onnxpb.TensorProto) {
	pb.RawData, pb.FloatData, pb.Int32Data, pb.Int64Data, pb.DoubleData, pb.Uint64Data = nil, nil, nil, nil, nil, nil
}

func (e *encoder) function(f *Function) (*onnxpb.FunctionProto, error) {
	if f == nil {
		return nil, invalid("", "a function is missing (nil)")
	}
	where := fmt.Sprintf("function %q", f.Name)
	pb := clone(f.src)
	pb.Name = text(pb.Name, f.Name)
	pb.Domain = text(pb.Domain, f.Domain)
	pb.Overload = text(pb.Overload, f.Overload)
	pb.DocString = text(pb.DocString, f.Doc)
	pb.Input, pb.Output, pb.Attribute = f.Inputs, f.Outputs, f.Attrs
	pb.OpsetImport = opsetsTo(pb.OpsetImport, f.Opsets)
	var err error
	if pb.AttributeProto, err = e.attributes(where, f.Defaults, 0); err != nil {
		return nil, err
	}
	if pb.ValueInfo, err = valueInfosTo(where, f.ValueInfos); err != nil {
		return nil, err
	}
	pb.Node = make([]*onnxpb.NodeProto, len(f.Nodes))
	for i, n := range f.Nodes {
		if pb.Node[i], err = e.node(where, n, 0); err != nil {
			return nil, err
		}
	}
	return pb, nil
}

func valueInfosTo(where string, vs []*ValueInfo) ([]*onnxpb.ValueInfoProto, error) {
	out := make([]*onnxpb.ValueInfoProto, len(vs))
	for i, v := range vs {
		if v == nil {
			return nil, invalid(where, "a value is missing (nil)")
		}
		pb := clone(v.src)
		pb.Name = text(pb.Name, v.Name)
		pb.DocString = text(pb.DocString, v.Doc)
		var err error
		if pb.Type, err = typeTo(v.Type); err != nil {
			return nil, invalid(join(where, fmt.Sprintf("value %q", v.Name)), "%w", err)
		}
		out[i] = pb
	}
	return out, nil
}

func typeTo(t *Type) (*onnxpb.TypeProto, error) {
	if t == nil {
		return nil, nil
	}
	if t.src != nil {
		was := typeFrom(t.src)
		if was.Kind == t.Kind && was.Elem == t.Elem && was.HasShape == t.HasShape && slices.Equal(was.Dims, t.Dims) {
			return t.src, nil
		}
	}
	if t.Kind != "tensor" {
		return nil, fmt.Errorf("a type of kind %q can be kept but not made or changed", t.Kind)
	}
	pb := clone(t.src) // for the denotation
	elem := int32(t.Elem)
	tensor := &onnxpb.TypeProto_Tensor{ElemType: &elem}
	if t.HasShape {
		tensor.Shape = &onnxpb.TensorShapeProto{}
	}
	for _, d := range t.Dims {
		dim := &onnxpb.TensorShapeProto_Dimension{Denotation: text(nil, d.Denotation)}
		switch {
		case d.Param != "":
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d.Param}
		case d.Value >= 0:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d.Value}
		}
		if tensor.Shape == nil {
			return nil, fmt.Errorf("a type without shape has %d dimensions", len(t.Dims))
		}
		tensor.Shape.Dim = append(tensor.Shape.Dim, dim)
	}
	pb.Value = &onnxpb.TypeProto_TensorType{TensorType: tensor}
	return pb, nil
}
