package crosscheck

import (
	"fmt"
	"math"
	"slices"

	onnx "github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Result says what the second reader saw.
type Result struct {
	Decoded     bool     // it could read the model
	Why         string   // if not, why not
	Nodes       int      // nodes compared
	Tensors     int      // tensors compared, initializers and attributes
	Differences []string // where the readers disagree; the first few
}

const (
	// maxBytes bounds the weights of a model that is checked: the second reader holds several copies of them.
	maxBytes = 256 << 20
	// maxDifferences is how many are listed: when the readers disagree about one thing they often do about many.
	maxDifferences = 20
)

// Compare encodes a model, lets the second reader decode it and compares node by node and tensor by tensor. A model that the second
// reader cannot decode is not an error: Result says why.
func Compare(m *onnxio.Model) (Result, error) {
	if m.Graph == nil {
		return Result{Why: "the model has no graph"}, nil
	}
	if why := unsupported(m.Graph); why != "" {
		return Result{Why: why}, nil
	}
	data, err := normalised(m)
	if err != nil {
		return Result{}, fmt.Errorf("cross-check: %w", err)
	}
	b := newBackend()
	second, err := decode(data, b)
	if err != nil {
		return Result{Why: err.Error()}, nil
	}
	c := comparison{Result: Result{Decoded: true}}
	if err := c.graphs(m.Graph, b, second); err != nil {
		return Result{}, fmt.Errorf("cross-check: %w", err)
	}
	return c.Result, nil
}

// decode runs the second reader. Its panics are properties of the reader, which the caller wants to hear about as a reason.
func decode(data []byte, b *backend) (m *onnx.Model, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the second reader panicked: %.200v", r)
		}
	}()
	m = onnx.NewModel(b)
	if err := m.UnmarshalBinary(data); err != nil {
		return nil, fmt.Errorf("the second reader refuses it: %.200v", err)
	}
	return m, nil
}

type comparison struct{ Result }

func (c *comparison) differ(format string, args ...any) {
	if len(c.Differences) < maxDifferences {
		c.Differences = append(c.Differences, fmt.Sprintf(format, args...))
	}
}

func (c *comparison) graphs(g *onnxio.Graph, b *backend, second *onnx.Model) error {
	if len(g.Nodes) != len(b.ops) {
		c.differ("%d nodes, the second reader sees %d", len(g.Nodes), len(b.ops))
	}
	for i, n := range g.Nodes {
		if i == len(b.ops) {
			break
		}
		c.Nodes++
		if err := c.node(fmt.Sprintf("node %d %q", i, n.Name), n, b.ops[i]); err != nil {
			return err
		}
	}
	for _, t := range g.Initializers {
		where := fmt.Sprintf("initializer %q", t.Name)
		v, ok := second.GetNodeByName(t.Name)
		if !ok {
			c.differ("%s: missing", where)
			continue
		}
		if err := c.tensor(where, t, v.(*value).tensor); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) node(where string, n *onnxio.Node, o operation) error {
	if n.OpType != o.name {
		c.differ("%s: operator %s, the second reader sees %s", where, n.OpType, o.name)
	}
	if !slices.Equal(n.Outputs, o.outputs) {
		c.differ("%s: outputs %q, the second reader sees %q", where, n.Outputs, o.outputs)
	}
	inputs := n.Inputs
	if len(inputs) == 0 && len(n.Outputs) > 0 {
		inputs = []string{n.Name + "/input"} // invented by the second reader, whose graph needs an edge
	}
	if len(n.Outputs) > 0 && !slices.Equal(inputs, o.inputs) {
		c.differ("%s: inputs %q, the second reader sees %q", where, inputs, o.inputs)
	}
	if len(n.Attrs) != len(o.attrs) {
		c.differ("%s: %d attributes, the second reader sees %d", where, len(n.Attrs), len(o.attrs))
	}
	for _, a := range n.Attrs {
		got, ok := o.attrs[a.Name]
		at := fmt.Sprintf("%s attribute %q", where, a.Name)
		if !ok {
			c.differ("%s: missing", at)
			continue
		}
		if err := c.attribute(at, a, got); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) attribute(where string, a *onnxio.Attribute, got any) error {
	same := true
	switch a.Kind {
	case onnxio.AttrFloat:
		v, ok := got.(float32)
		same = ok && math.Float32bits(v) == math.Float32bits(a.F)
	case onnxio.AttrInt:
		same = got == any(a.I)
	case onnxio.AttrString:
		same = got == any(string(a.S))
	case onnxio.AttrFloats:
		v, ok := got.([]float32)
		same = ok && slices.EqualFunc(v, a.Floats, sameBits32)
	case onnxio.AttrInts:
		v, ok := got.([]int64)
		same = ok && slices.Equal(v, a.Ints)
	case onnxio.AttrStrings:
		v, ok := got.([]string)
		same = ok && slices.EqualFunc(v, a.Strings, func(s string, b []byte) bool { return s == string(b) })
	case onnxio.AttrTensor:
		t, ok := got.(tensor.Tensor)
		if ok {
			return c.tensor(where, a.T, t)
		}
		same = false
	default:
		// unsupported has turned away every other kind.
		same = false
	}
	if !same {
		c.differ("%s: the second reader sees %.100v", where, got)
	}
	return nil
}

func (c *comparison) tensor(where string, t *onnxio.Tensor, got tensor.Tensor) error {
	c.Tensors++
	if got == nil {
		c.differ("%s: the second reader sees no data", where)
		return nil
	}
	shape := make([]int64, 0, len(t.Dims))
	for _, d := range got.Shape() {
		shape = append(shape, int64(d))
	}
	if !slices.Equal(shape, t.Dims) {
		c.differ("%s: shape %v, the second reader sees %v", where, t.Dims, shape)
		return nil
	}
	if want := widened(t.DType); got.Dtype() != want {
		c.differ("%s: %v, which the second reader should see as %v and sees as %v", where, t.DType, want, got.Dtype())
		return nil
	}
	var same bool
	var err error
	switch data := got.Data().(type) {
	case float32:
		same, err = equal([]float32{data}, t.Float32s, sameBits32)
	case []float32:
		same, err = equal(data, t.Float32s, sameBits32)
	case float64:
		same, err = equal([]float64{data}, t.Float64s, sameBits64)
	case []float64:
		same, err = equal(data, t.Float64s, sameBits64)
	case int64:
		same, err = equal([]int64{data}, t.Int64s, sameInt[int64])
	case []int64:
		same, err = equal(data, t.Int64s, sameInt[int64])
	case int32:
		same, err = equal([]int32{data}, t.Int64s, sameInt[int32])
	case []int32:
		same, err = equal(data, t.Int64s, sameInt[int32])
	case bool:
		same, err = equal([]bool{data}, t.Bools, func(a, b bool) bool { return a == b })
	case []bool:
		same, err = equal(data, t.Bools, func(a, b bool) bool { return a == b })
	default:
		c.differ("%s: %v, the second reader sees %T", where, t.DType, data)
		return nil
	}
	if err != nil {
		return err
	}
	if !same {
		c.differ("%s: the values differ", where)
	}
	t.Forget()
	return nil
}

// widened is the type in which the second reader gets elements of type dt: see widen.
func widened(dt onnxio.DType) tensor.Dtype {
	switch dt {
	case onnxio.Float, onnxio.Float16, onnxio.BFloat16:
		return tensor.Float32
	case onnxio.Double:
		return tensor.Float64
	case onnxio.Int32:
		return tensor.Int32
	case onnxio.Bool:
		return tensor.Bool
	}
	return tensor.Int64
}

// equal compares the second reader's values with ours.
func equal[A, B any](theirs []A, ours func() ([]B, error), same func(A, B) bool) (bool, error) {
	v, err := ours()
	if err != nil {
		return false, err
	}
	return slices.EqualFunc(theirs, v, same), nil
}

func sameBits32(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
func sameBits64(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

func sameInt[T int32 | int64](a T, b int64) bool { return int64(a) == b }
