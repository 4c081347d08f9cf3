package onnxio

import (
	"testing"

	"github.com/gogo/protobuf/protoc-gen-gogo/descriptor"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// The scanner's table is written by hand; a field that it misses would be a way around the limits.
func TestSchemaKnowsEveryField(t *testing.T) {
	file, root := descriptor.ForMessage(&onnxpb.ModelProto{})
	messages := map[string]*descriptor.DescriptorProto{}
	var collect func(prefix string, m *descriptor.DescriptorProto)
	collect = func(prefix string, m *descriptor.DescriptorProto) {
		name := prefix + "." + m.GetName()
		messages[name] = m
		for _, n := range m.NestedType {
			collect(name, n)
		}
	}
	for _, m := range file.MessageType {
		collect("."+file.GetPackage(), m)
	}

	type pair struct {
		t    msgType
		name string
	}
	seen := map[pair]bool{}
	var check func(msgType, *descriptor.DescriptorProto)
	check = func(mt msgType, m *descriptor.DescriptorProto) {
		if seen[pair{mt, m.GetName()}] {
			return
		}
		seen[pair{mt, m.GetName()}] = true
		known := 0
		for _, f := range m.Field {
			inner := schema[mt][f.GetNumber()]
			isMessage := f.GetType() == descriptor.FieldDescriptorProto_TYPE_MESSAGE
			if isMessage != (inner != opaque) {
				t.Errorf("%s.%s: message %v, in the scanner's table %v", m.GetName(), f.GetName(), isMessage, inner != opaque)
			}
			if isMessage {
				known++
				check(inner, messages[f.GetTypeName()])
			}
			numbers := f.IsRepeated() && (f.GetType() == descriptor.FieldDescriptorProto_TYPE_INT64 ||
				f.GetType() == descriptor.FieldDescriptorProto_TYPE_INT32 || f.GetType() == descriptor.FieldDescriptorProto_TYPE_UINT64)
			if numbers != varintField(mt, f.GetNumber()) {
				t.Errorf("%s.%s: packed integers %v, in the scanner %v", m.GetName(), f.GetName(), numbers, !numbers)
			}
		}
		if known != len(schema[mt]) {
			t.Errorf("%s: the scanner's table has %d fields, the message %d", m.GetName(), len(schema[mt]), known)
		}
	}
	check(modelMsg, root)
	if len(seen) < 30 {
		t.Errorf("only %d kinds of message were reached", len(seen))
	}
}
