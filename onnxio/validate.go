package onnxio

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// tensorData validates a tensor of a file and returns where its bytes are: nil for strings.
func (r *reader) tensorData(p *onnxpb.TensorProto) (Data, error) {
	dt := DType(p.GetDataType())
	if !dt.Valid() {
		return nil, fmt.Errorf("element type %d does not exist (known are 1 to %d)", p.GetDataType(), len(dtypes)-1)
	}
	if p.Segment != nil {
		return nil, fmt.Errorf("is stored as a segment of a larger tensor, which is not supported")
	}
	n, err := elements(p.Dims)
	if err != nil {
		return nil, err
	}
	external := p.GetDataLocation() == onnxpb.TensorProto_EXTERNAL
	if loc := p.GetDataLocation(); !external && loc != onnxpb.TensorProto_DEFAULT {
		return nil, fmt.Errorf("data location %d does not exist", loc)
	}
	if !external && len(p.ExternalData) > 0 {
		return nil, fmt.Errorf("has external data entries but its location says that it has none")
	}
	raw, isCut := r.cutAt(p.RawData)
	if err := oneStorage(p, dt, external); err != nil {
		return nil, err
	}
	if dt == String {
		if got := int64(len(p.StringData)); got != n || external {
			return nil, fmt.Errorf("has %d strings, shape %s has %d elements", got, abbreviate(p.Dims), n)
		}
		return nil, nil
	}
	want, err := byteLen(dt, n)
	if err != nil {
		return nil, err
	}
	if external {
		return r.external.locate(p, want)
	}
	if got, typed := typedLen(p, dt); got > 0 {
		if need := typedCount(dt, n); got != need {
			return nil, fmt.Errorf("has %d numbers in %s, shape %s of %v needs %d", got, typed, abbreviate(p.Dims), dt, need)
		}
		return typedField{src: p, n: want}, nil
	}
	got := int64(len(p.RawData))
	if isCut {
		got = raw.n
	}
	if got != want {
		return nil, fmt.Errorf("has %d bytes of data, shape %s of %v needs %d", got, abbreviate(p.Dims), dt, want)
	}
	if isCut {
		return raw, nil
	}
	return memory(p.RawData), nil
}

// oneStorage checks that the elements are in one place, and in the one that belongs to the type.
func oneStorage(p *onnxpb.TensorProto, dt DType, external bool) error {
	_, own := typedLen(p, dt)
	var used []string
	for _, s := range []struct {
		name string
		used bool
	}{
		{"external data", external},
		{"raw_data", len(p.RawData) > 0},
		{"float_data", len(p.FloatData) > 0},
		{"int32_data", len(p.Int32Data) > 0},
		{"string_data", len(p.StringData) > 0},
		{"int64_data", len(p.Int64Data) > 0},
		{"double_data", len(p.DoubleData) > 0},
		{"uint64_data", len(p.Uint64Data) > 0},
	} {
		if s.used {
			used = append(used, s.name)
		}
	}
	switch {
	case len(used) > 1:
		return fmt.Errorf("has its elements in several places: %s", strings.Join(used, ", "))
	case len(used) == 1 && used[0] != own && (dt == String || used[0] != "raw_data" && used[0] != "external data"):
		return fmt.Errorf("has %s, %v is stored in %s", used[0], dt, own)
	}
	return nil
}

// typedLen is the typed field that belongs to a type and how many elements it has.
func typedLen(p *onnxpb.TensorProto, dt DType) (int64, string) {
	switch dt {
	case Float, Complex64:
		return int64(len(p.FloatData)), "float_data"
	case Double, Complex128:
		return int64(len(p.DoubleData)), "double_data"
	case Int64:
		return int64(len(p.Int64Data)), "int64_data"
	case Uint32, Uint64:
		return int64(len(p.Uint64Data)), "uint64_data"
	case String:
		return int64(len(p.StringData)), "string_data"
	}
	return int64(len(p.Int32Data)), "int32_data"
}

// checkNames refuses names that cannot be printed, compared or stored as the text that ONNX says they are.
func checkNames(where string, names ...string) error {
	for _, s := range names {
		if strings.IndexByte(s, 0) >= 0 {
			return invalid(where, "the name %.100q contains a zero byte", s)
		}
		if !utf8.ValidString(s) {
			return invalid(where, "the name %.100q is not valid UTF-8", s)
		}
	}
	return nil
}

// held validates the tensors of messages that Model keeps without showing them.
func (r *reader) heldTensor(where string, p *onnxpb.TensorProto) error {
	if p == nil {
		return nil
	}
	where += " " + tensorWhere(p.GetName())
	if p.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		// These are written back as they are, and would then point to a file that is not there.
		return invalid(where, "external data is not supported here")
	}
	if _, err := r.tensorData(p); err != nil {
		return invalid(where, "%w", err)
	}
	return checkNames(where, p.GetName())
}

func (r *reader) heldSparse(where string, p *onnxpb.SparseTensorProto) error {
	if p == nil {
		return nil
	}
	if _, err := elements(p.Dims); err != nil {
		return invalid(where, "%w", err)
	}
	if err := r.heldTensor(where+" values", p.Values); err != nil {
		return err
	}
	return r.heldTensor(where+" indices", p.Indices)
}

func (r *reader) heldGraph(where string, g *onnxpb.GraphProto) error {
	if g == nil {
		return nil
	}
	for _, t := range g.Initializer {
		if err := r.heldTensor(where, t); err != nil {
			return err
		}
	}
	for _, s := range g.SparseInitializer {
		if err := r.heldSparse(where+" sparse initializer", s); err != nil {
			return err
		}
	}
	for _, n := range g.Node {
		for _, a := range n.Attribute {
			if err := r.heldAttribute(where+" "+nodeWhere(n.GetName(), n.GetOpType()), a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) heldAttribute(where string, a *onnxpb.AttributeProto) error {
	where += fmt.Sprintf(" attribute %q", a.GetName())
	if err := r.heldTensor(where, a.T); err != nil {
		return err
	}
	for _, t := range a.Tensors {
		if err := r.heldTensor(where, t); err != nil {
			return err
		}
	}
	if err := r.heldSparse(where, a.SparseTensor); err != nil {
		return err
	}
	for _, s := range a.SparseTensors {
		if err := r.heldSparse(where, s); err != nil {
			return err
		}
	}
	if err := r.heldGraph(where, a.G); err != nil {
		return err
	}
	for _, g := range a.Graphs {
		if err := r.heldGraph(where, g); err != nil {
			return err
		}
	}
	return nil
}

func nodeWhere(name, op string) string {
	if name == "" {
		return fmt.Sprintf("unnamed %s node", op)
	}
	return fmt.Sprintf("node %q (%s)", name, op)
}
