package crosscheck

import (
	"encoding/binary"
	"fmt"

	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// unsupported says what in a graph the second reader cannot decode; empty if nothing is.
func unsupported(g *onnxio.Graph) string {
	if len(g.Nodes) == 0 {
		return "the graph has no nodes"
	}
	if len(g.Outputs) == 0 {
		return "the graph has no outputs"
	}
	if len(g.Sparse) > 0 {
		return "the graph has sparse initializers"
	}
	total := int64(0)
	for _, t := range g.Initializers {
		if why := unsupportedTensor(t); why != "" {
			return fmt.Sprintf("initializer %q %s", t.Name, why)
		}
		total += t.ByteLen()
	}
	for _, n := range g.Nodes {
		for _, a := range n.Attrs {
			where := fmt.Sprintf("node %q (%s) attribute %q", n.Name, n.OpType, a.Name)
			switch a.Kind {
			case onnxio.AttrTensor:
				if a.T == nil {
					return where + " has no tensor"
				}
				if why := unsupportedTensor(a.T); why != "" {
					return where + " " + why
				}
				total += a.T.ByteLen()
			case onnxio.AttrFloat, onnxio.AttrInt, onnxio.AttrString, onnxio.AttrFloats, onnxio.AttrInts, onnxio.AttrStrings:
			default:
				return where + " is of a kind that the second reader does not know"
			}
		}
	}
	if total > maxBytes {
		return fmt.Sprintf("the model has %d bytes of weights, more than the %d that are checked", total, maxBytes)
	}
	return ""
}

func unsupportedTensor(t *onnxio.Tensor) string {
	switch {
	case t.DType.Growable() || t.DType.Integer() || t.DType == onnxio.Bool:
	default:
		return fmt.Sprintf("is %v, which the second reader does not know", t.DType)
	}
	if t.NumElements() == 0 {
		return "has no elements, which the second reader does not accept"
	}
	return ""
}

// normalised is the model's bytes, with what the second reader would choke on replaced: declared types and shapes are gone,
// and tensors of types that it reads wrongly or not at all are widened. Everything else is as it is in the file.
func normalised(m *onnxio.Model) ([]byte, error) {
	data, err := onnxio.Encode(m)
	if err != nil {
		return nil, err
	}
	var pb onnxpb.ModelProto
	if err := pb.Unmarshal(data); err != nil {
		return nil, err
	}
	pb.Functions, pb.TrainingInfo = nil, nil
	g := pb.Graph
	g.ValueInfo, g.QuantizationAnnotation = nil, nil
	for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.Output} {
		for _, v := range list {
			v.Type = nil
		}
	}
	for i, t := range m.Graph.Initializers {
		if err := widen(t, g.Initializer[i]); err != nil {
			return nil, err
		}
	}
	for i, n := range m.Graph.Nodes {
		for j, a := range n.Attrs {
			kind := onnxpb.AttributeProto_AttributeType(a.Kind)
			g.Node[i].Attribute[j].Type = &kind // files from before IR version 2 leave it out
			if a.Kind != onnxio.AttrTensor {
				continue
			}
			if err := widen(a.T, g.Node[i].Attribute[j].T); err != nil {
				return nil, err
			}
		}
	}
	return pb.Marshal()
}

// widen rewrites a tensor of a type that the second reader does not read: bool as numbers, half floats as float32, integers other
// than int32 and int64 as int64.
func widen(t *onnxio.Tensor, pb *onnxpb.TensorProto) error {
	set := func(dt onnxio.DType) {
		number := int32(dt)
		pb.DataType = &number
		pb.RawData, pb.Int32Data, pb.Uint64Data = nil, nil, nil
	}
	switch t.DType {
	case onnxio.Float, onnxio.Double, onnxio.Int32, onnxio.Int64:
		return nil
	case onnxio.Bool:
		v, err := t.Bools()
		if err != nil {
			return err
		}
		set(onnxio.Bool)
		for _, b := range v {
			n := int32(0)
			if b {
				n = 1
			}
			pb.Int32Data = append(pb.Int32Data, n)
		}
	case onnxio.Float16, onnxio.BFloat16:
		v, err := t.Float32s()
		if err != nil {
			return err
		}
		set(onnxio.Float)
		pb.RawData = make([]byte, 4*len(v))
		return onnxio.EncodeFloats(pb.RawData, onnxio.Float, v)
	default:
		v, err := t.Int64s()
		if err != nil {
			return err
		}
		set(onnxio.Int64)
		for _, n := range v {
			pb.RawData = binary.LittleEndian.AppendUint64(pb.RawData, uint64(n))
		}
	}
	return nil
}
