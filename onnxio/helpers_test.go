package onnxio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// field appends a length-delimited field to a message.
func field(b []byte, num int, body []byte) []byte {
	b = binary.AppendUvarint(b, uint64(num)<<3|2)
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}

func varint(b []byte, num int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(num)<<3), v)
}

// modelOf is a model message around a graph message.
func modelOf(graph []byte) []byte {
	b := varint(nil, 1, 8)
	b = field(b, 8, varint(field(nil, 1, nil), 2, 17))
	return field(b, 7, graph)
}

// nested builds n messages inside each other, innermost first: the lengths are written backwards, so this stays linear.
func nested(n int, fields ...int) []byte {
	var rev []byte // the message from its end
	for i := n - 1; i >= 0; i-- {
		head := binary.AppendUvarint(nil, uint64(fields[i%len(fields)])<<3|2)
		head = binary.AppendUvarint(head, uint64(len(rev)))
		for j := len(head) - 1; j >= 0; j-- {
			rev = append(rev, head[j])
		}
	}
	for i, j := 0, len(rev)-1; i < j; i, j = i+1, j-1 {
		rev[i], rev[j] = rev[j], rev[i]
	}
	return rev
}

// fixtures are valid models that cover much of the format, for tests that break them.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"built": sample(t)}
	for _, name := range []string{"node/test_layer_normalization_4d_axis1_expanded", "node/test_loop11", "simple/test_sequence_model1",
		"node/test_optional_get_element_sequence"} {
		data, err := os.ReadFile(filepath.Join(debianModels, name, "model.onnx"))
		if err != nil {
			t.Logf("%s is not installed (%v): a smaller set is used", name, err)
			continue
		}
		out[name] = data
	}
	return out
}

// sample is a model with every kind of attribute and storage, subgraphs, a function, unknown fields and cut tensors.
func sample(t testing.TB) []byte {
	t.Helper()
	big := make([]float32, 4096)
	for i := range big {
		big[i] = float32(i)
	}
	inner := &Graph{Name: "then", Initializers: []*Tensor{FromFloat32s("inner", []int64{128}, big[:128])},
		Nodes: []*Node{{OpType: "Identity", Inputs: []string{"inner"}, Outputs: []string{"y"}}}}
	m := &Model{IRVersion: 10, Opsets: []Opset{{"", 17}, {"custom", 1}}, Producer: "test", Graph: &Graph{
		Name: "g",
		Nodes: []*Node{
			{Name: "if", OpType: "If", Inputs: []string{"c"}, Outputs: []string{"o"}, Attrs: []*Attribute{
				{Name: "then_branch", Kind: AttrGraph, G: inner},
				{Name: "f", Kind: AttrFloat, F: 1.5}, {Name: "i", Kind: AttrInt, I: -3}, {Name: "s", Kind: AttrString, S: []byte("x")},
				{Name: "t", Kind: AttrTensor, T: FromInt64s("", []int64{100}, make([]int64, 100))},
				{Name: "fs", Kind: AttrFloats, Floats: []float32{1, 2}}, {Name: "is", Kind: AttrInts, Ints: []int64{1, -2}},
				{Name: "ss", Kind: AttrStrings, Strings: [][]byte{[]byte("a"), nil}},
				{Name: "ts", Kind: AttrTensors, Tensors: []*Tensor{FromBools("b", []int64{3}, []bool{true, false, true})}},
				{Name: "gs", Kind: AttrGraphs, Graphs: []*Graph{{Name: "empty"}}},
			}},
			{Name: "call", OpType: "F", Domain: "custom", Inputs: []string{"o", ""}, Outputs: []string{"p"}},
		},
		Initializers: []*Tensor{
			FromFloat32s("big", []int64{64, 64}, big), FromFloat32s("small", []int64{2}, big[:2]),
			FromStrings("words", []int64{2}, [][]byte{[]byte("one"), []byte("two")}),
			NewTensor("zero", Float16, []int64{0, 5}, nil),
		},
		Inputs:  []*ValueInfo{{Name: "c", Type: TensorType(Bool)}},
		Outputs: []*ValueInfo{{Name: "p", Type: TensorType(Float, Dim{Param: "batch", Value: -1}, Dim{Value: 64}, Dim{Value: -1})}},
	}, Functions: []*Function{{Name: "F", Domain: "custom", Inputs: []string{"x"}, Outputs: []string{"y"}, Opsets: []Opset{{"", 17}},
		Nodes: []*Node{{OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"y"}}}}},
		Metadata: []KeyValue{{"k", "v"}}}
	data, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return field(data, 500, []byte("a field of a later version"))
}

// externalTensor is a float32 tensor of 4 elements with the given external data entries.
func externalTensor(entries ...string) *onnxpb.TensorProto {
	name, dt, loc := "w", int32(Float), onnxpb.TensorProto_EXTERNAL
	t := &onnxpb.TensorProto{Name: &name, DataType: &dt, Dims: []int64{4}, DataLocation: &loc}
	for i := 0; i+1 < len(entries); i += 2 {
		t.ExternalData = append(t.ExternalData, &onnxpb.StringStringEntryProto{Key: &entries[i], Value: &entries[i+1]})
	}
	return t
}

// places are all the places where a model can hold a tensor.
var places = map[string]func(*onnxpb.ModelProto, *onnxpb.TensorProto){
	"initializer": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		m.Graph.Initializer = append(m.Graph.Initializer, t)
	},
	"attribute": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		m.Graph.Node = append(m.Graph.Node, &onnxpb.NodeProto{Attribute: []*onnxpb.AttributeProto{{T: t}}})
	},
	"attribute list": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		m.Graph.Node = append(m.Graph.Node, &onnxpb.NodeProto{Attribute: []*onnxpb.AttributeProto{{Tensors: []*onnxpb.TensorProto{t}}}})
	},
	"subgraph": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		g := &onnxpb.GraphProto{Initializer: []*onnxpb.TensorProto{t}}
		m.Graph.Node = append(m.Graph.Node, &onnxpb.NodeProto{Attribute: []*onnxpb.AttributeProto{{G: g}}})
	},
	"function": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		m.Functions = append(m.Functions, &onnxpb.FunctionProto{Node: []*onnxpb.NodeProto{{Attribute: []*onnxpb.AttributeProto{{T: t}}}}})
	},
	"function default": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		m.Functions = append(m.Functions, &onnxpb.FunctionProto{AttributeProto: []*onnxpb.AttributeProto{{T: t}}})
	},
	"sparse values": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		m.Graph.SparseInitializer = append(m.Graph.SparseInitializer, &onnxpb.SparseTensorProto{Values: t})
	},
	"sparse indices": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		m.Graph.SparseInitializer = append(m.Graph.SparseInitializer, &onnxpb.SparseTensorProto{Indices: t})
	},
	"sparse attribute": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		m.Graph.Node = append(m.Graph.Node, &onnxpb.NodeProto{Attribute: []*onnxpb.AttributeProto{
			{SparseTensor: &onnxpb.SparseTensorProto{Values: t}}}})
	},
	"training": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		g := &onnxpb.GraphProto{Initializer: []*onnxpb.TensorProto{t}}
		m.TrainingInfo = append(m.TrainingInfo, &onnxpb.TrainingInfoProto{Algorithm: g})
	},
	"training subgraph": func(m *onnxpb.ModelProto, t *onnxpb.TensorProto) {
		g := &onnxpb.GraphProto{Initializer: []*onnxpb.TensorProto{t}}
		n := &onnxpb.NodeProto{Attribute: []*onnxpb.AttributeProto{{Graphs: []*onnxpb.GraphProto{g}}}}
		m.TrainingInfo = append(m.TrainingInfo, &onnxpb.TrainingInfoProto{Initialization: &onnxpb.GraphProto{Node: []*onnxpb.NodeProto{n}}})
	},
}

func modelWith(t testing.TB, place string, tensor *onnxpb.TensorProto) []byte {
	t.Helper()
	var m onnxpb.ModelProto
	if err := m.Unmarshal(modelOf(nil)); err != nil {
		t.Fatal(err)
	}
	places[place](&m, tensor)
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// mustBeTyped fails for an error that is not one of this package's.
func mustBeTyped(t testing.TB, what string, err error) {
	t.Helper()
	var inv *InvalidError
	var lim *LimitError
	if err != nil && !errors.As(err, &inv) && !errors.As(err, &lim) {
		t.Errorf("%s: untyped error %v", what, err)
	}
}

// touch reads every tensor of a model and writes it again; what was read must be written to something that reads the same.
func touch(t testing.TB, m *Model) {
	t.Helper()
	data, err := Encode(m)
	if err != nil {
		t.Fatalf("a model that was read cannot be encoded: %v", err)
	}
	again, err := Decode(data, ReadOptions{})
	if err != nil {
		t.Fatalf("a model that was written cannot be read: %v", err)
	}
	twice, err := Encode(again)
	if err != nil || !bytes.Equal(data, twice) {
		t.Fatalf("the second encoding differs from the first (%v)", err)
	}
	for _, x := range m.Graph.Initializers {
		if x.DType == String {
			_, err = x.Strings()
		} else if x.DType.Growable() {
			_, err = x.Float64s()
		} else {
			_, err = x.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
