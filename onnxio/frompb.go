package onnxio

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// model converts a decoded message, validating every tensor and name on the way.
func (r *reader) model(pb *onnxpb.ModelProto) (*Model, error) {
	if err := r.header(pb); err != nil {
		return nil, err
	}
	m := &Model{
		IRVersion:       pb.GetIrVersion(),
		Producer:        pb.GetProducerName(),
		ProducerVersion: pb.GetProducerVersion(),
		Domain:          pb.GetDomain(),
		ModelVersion:    pb.GetModelVersion(),
		Doc:             pb.GetDocString(),
		src:             pb,
		files:           r.set,
	}
	var err error
	if m.Opsets, err = opsets("", pb.OpsetImport); err != nil {
		return nil, err
	}
	for _, e := range pb.MetadataProps {
		m.Metadata = append(m.Metadata, KeyValue{e.GetKey(), e.GetValue()})
	}
	if err := checkNames("model", m.Domain, m.Producer, m.ProducerVersion); err != nil {
		return nil, err
	}
	if m.Graph, err = r.graph("", pb.Graph); err != nil {
		return nil, err
	}
	for _, f := range pb.Functions {
		fn, err := r.function(f)
		if err != nil {
			return nil, err
		}
		m.Functions = append(m.Functions, fn)
	}
	for _, t := range pb.TrainingInfo {
		if err := r.heldGraph("training initialization", t.Initialization); err != nil {
			return nil, err
		}
		if err := r.heldGraph("training algorithm", t.Algorithm); err != nil {
			return nil, err
		}
	}
	m.External = len(r.external.known) > 0
	return m, nil
}

func opsets(where string, pbs []*onnxpb.OperatorSetIdProto) ([]Opset, error) {
	var out []Opset
	for _, o := range pbs {
		if err := checkNames(join(where, "operator set"), o.GetDomain()); err != nil {
			return nil, err
		}
		out = append(out, Opset{o.GetDomain(), o.GetVersion()})
	}
	return out, nil
}

// graph converts a graph; where leads to it and is empty for the main graph.
func (r *reader) graph(where string, pb *onnxpb.GraphProto) (*Graph, error) {
	g := &Graph{Name: pb.GetName(), Doc: pb.GetDocString(), src: pb}
	err := checkNames(join(where, "graph"), g.Name)
	if err != nil {
		return nil, err
	}
	g.Nodes = make([]*Node, len(pb.Node))
	for i, n := range pb.Node {
		if g.Nodes[i], err = r.node(where, n); err != nil {
			return nil, err
		}
	}
	g.Initializers = make([]*Tensor, len(pb.Initializer))
	for i, t := range pb.Initializer {
		if g.Initializers[i], err = r.tensor(where, t); err != nil {
			return nil, err
		}
	}
	for _, s := range pb.SparseInitializer {
		name := s.GetValues().GetName()
		if err := r.heldSparse(join(where, "sparse initializer"), s); err != nil {
			return nil, err
		}
		g.Sparse = append(g.Sparse, name)
	}
	for _, part := range []struct {
		pbs []*onnxpb.ValueInfoProto
		out *[]*ValueInfo
	}{{pb.Input, &g.Inputs}, {pb.Output, &g.Outputs}, {pb.ValueInfo, &g.ValueInfos}} {
		if *part.out, err = r.valueInfos(where, part.pbs); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (r *reader) node(where string, pb *onnxpb.NodeProto) (*Node, error) {
	n := &Node{
		Name:     pb.GetName(),
		OpType:   pb.GetOpType(),
		Domain:   pb.GetDomain(),
		Overload: pb.GetOverload(),
		Doc:      pb.GetDocString(),
		Inputs:   pb.Input,
		Outputs:  pb.Output,
		src:      pb,
	}
	where = join(where, nodeWhere(n.Name, n.OpType))
	if err := checkNames(where, n.Name, n.OpType, n.Domain, n.Overload); err != nil {
		return nil, err
	}
	if err := checkNames(where, n.Inputs...); err != nil {
		return nil, err
	}
	if err := checkNames(where, n.Outputs...); err != nil {
		return nil, err
	}
	var err error
	n.Attrs, err = r.attributes(where, pb.Attribute)
	return n, err
}

func (r *reader) attributes(where string, pbs []*onnxpb.AttributeProto) ([]*Attribute, error) {
	if len(pbs) == 0 {
		return nil, nil
	}
	out := make([]*Attribute, len(pbs))
	for i, a := range pbs {
		var err error
		if out[i], err = r.attribute(where, a); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *reader) attribute(where string, pb *onnxpb.AttributeProto) (*Attribute, error) {
	a := &Attribute{
		Name:    pb.GetName(),
		Kind:    attrKind(pb),
		Ref:     pb.GetRefAttrName(),
		Doc:     pb.GetDocString(),
		F:       pb.GetF(),
		I:       pb.GetI(),
		S:       pb.S,
		Floats:  pb.Floats,
		Ints:    pb.Ints,
		Strings: pb.Strings,
		src:     pb,
	}
	where = join(where, fmt.Sprintf("attribute %q", a.Name))
	if err := checkNames(where, a.Name, a.Ref); err != nil {
		return nil, err
	}
	if a.Kind < AttrUndefined || a.Kind > AttrTypeProtos {
		return nil, invalid(where, "attribute type %d does not exist (known are 1 to %d)", a.Kind, AttrTypeProtos)
	}
	var err error
	if pb.T != nil {
		if a.T, err = r.tensor(where, pb.T); err != nil {
			return nil, err
		}
	}
	if pb.G != nil {
		if a.G, err = r.graph(where, pb.G); err != nil {
			return nil, err
		}
	}
	for _, t := range pb.Tensors {
		c, err := r.tensor(where, t)
		if err != nil {
			return nil, err
		}
		a.Tensors = append(a.Tensors, c)
	}
	for _, g := range pb.Graphs {
		c, err := r.graph(where, g)
		if err != nil {
			return nil, err
		}
		a.Graphs = append(a.Graphs, c)
	}
	if err := r.heldSparse(where, pb.SparseTensor); err != nil {
		return nil, err
	}
	for _, s := range pb.SparseTensors {
		if err := r.heldSparse(where, s); err != nil {
			return nil, err
		}
	}
	if a.Ref == "" && (a.Kind == AttrTensor && a.T == nil || a.Kind == AttrGraph && a.G == nil) {
		return nil, invalid(where, "its type says that it has a value, but there is none")
	}
	return a, nil
}

// attrKind is the attribute's type, found from its fields in files from before IR version 2, which did not say it.
func attrKind(pb *onnxpb.AttributeProto) AttrKind {
	if pb.Type != nil && *pb.Type != onnxpb.AttributeProto_UNDEFINED {
		return AttrKind(*pb.Type)
	}
	switch {
	case pb.F != nil:
		return AttrFloat
	case pb.I != nil:
		return AttrInt
	case pb.S != nil:
		return AttrString
	case pb.T != nil:
		return AttrTensor
	case pb.G != nil:
		return AttrGraph
	case len(pb.Floats) > 0:
		return AttrFloats
	case len(pb.Ints) > 0:
		return AttrInts
	case len(pb.Strings) > 0:
		return AttrStrings
	case len(pb.Tensors) > 0:
		return AttrTensors
	case len(pb.Graphs) > 0:
		return AttrGraphs
	case pb.SparseTensor != nil:
		return AttrSparseTensor
	case len(pb.SparseTensors) > 0:
		return AttrSparseTensors
	case pb.Tp != nil:
		return AttrTypeProto
	case len(pb.TypeProtos) > 0:
		return AttrTypeProtos
	}
	return AttrUndefined
}

func (r *reader) tensor(where string, pb *onnxpb.TensorProto) (*Tensor, error) {
	t := &Tensor{Name: pb.GetName(), DType: DType(pb.GetDataType()), Dims: pb.Dims, Doc: pb.GetDocString(), src: pb}
	where = join(where, tensorWhere(t.Name))
	if err := checkNames(where, t.Name); err != nil {
		return nil, err
	}
	var err error
	if t.data, err = r.tensorData(pb); err != nil {
		return nil, invalid(where, "%w", err)
	}
	if _, cut := t.data.(region); cut {
		pb.RawData = nil // a placeholder, which means nothing outside this reader
	}
	return t, nil
}

func (r *reader) function(pb *onnxpb.FunctionProto) (*Function, error) {
	f := &Function{
		Name:     pb.GetName(),
		Domain:   pb.GetDomain(),
		Overload: pb.GetOverload(),
		Doc:      pb.GetDocString(),
		Inputs:   pb.Input,
		Outputs:  pb.Output,
		Attrs:    pb.Attribute,
		src:      pb,
	}
	where := fmt.Sprintf("function %q", f.Name)
	names := append([]string{f.Name, f.Domain, f.Overload}, f.Inputs...)
	names = append(append(names, f.Outputs...), f.Attrs...)
	err := checkNames(where, names...)
	if err != nil {
		return nil, err
	}
	if f.Defaults, err = r.attributes(where, pb.AttributeProto); err != nil {
		return nil, err
	}
	if f.Opsets, err = opsets(where, pb.OpsetImport); err != nil {
		return nil, err
	}
	if f.ValueInfos, err = r.valueInfos(where, pb.ValueInfo); err != nil {
		return nil, err
	}
	for _, n := range pb.Node {
		c, err := r.node(where, n)
		if err != nil {
			return nil, err
		}
		f.Nodes = append(f.Nodes, c)
	}
	return f, nil
}

func (r *reader) valueInfos(where string, pbs []*onnxpb.ValueInfoProto) ([]*ValueInfo, error) {
	if len(pbs) == 0 {
		return nil, nil
	}
	out := make([]*ValueInfo, len(pbs))
	for i, v := range pbs {
		out[i] = &ValueInfo{Name: v.GetName(), Doc: v.GetDocString(), src: v}
		at := join(where, fmt.Sprintf("value %q", v.GetName()))
		if err := checkNames(at, v.GetName()); err != nil {
			return nil, err
		}
		if v.Type == nil {
			continue
		}
		t := typeFrom(v.Type)
		if t.Elem != Undefined && !t.Elem.Valid() && !r.o.ForceIR {
			return nil, invalid(at, "element type %d does not exist (known are 1 to %d)", int32(t.Elem), len(dtypes)-1)
		}
		for _, d := range t.Dims {
			if err := checkNames(at, d.Param); err != nil {
				return nil, err
			}
		}
		out[i].Type = t
	}
	return out, nil
}

// typeFrom converts a type. Writing relies on it too: a type that still equals what its message converts to is written as that
// message.
func typeFrom(pb *onnxpb.TypeProto) *Type {
	t := &Type{src: pb}
	switch v := pb.GetValue().(type) {
	case *onnxpb.TypeProto_TensorType:
		t.Kind = "tensor"
		t.setTensor(v.TensorType.GetElemType(), v.TensorType.GetShape())
	case *onnxpb.TypeProto_SparseTensorType:
		t.Kind = "sparse_tensor"
	case *onnxpb.TypeProto_SequenceType:
		t.Kind = "sequence"
	case *onnxpb.TypeProto_MapType:
		t.Kind = "map"
	case *onnxpb.TypeProto_OptionalType:
		t.Kind = "optional"
	case *onnxpb.TypeProto_OpaqueType:
		t.Kind = "opaque"
	}
	return t
}

func (t *Type) setTensor(elem int32, shape *onnxpb.TensorShapeProto) {
	t.Elem = DType(elem)
	if shape == nil {
		return
	}
	t.HasShape = true
	t.Dims = make([]Dim, len(shape.Dim))
	for i, d := range shape.Dim {
		t.Dims[i] = Dim{Value: -1, Param: d.GetDimParam(), Denotation: d.GetDenotation()}
		if v, ok := d.GetValue().(*onnxpb.TensorShapeProto_Dimension_DimValue); ok {
			t.Dims[i].Value = v.DimValue
		}
	}
}

func join(where, part string) string {
	if where == "" {
		return part
	}
	return where + ", " + part
}
