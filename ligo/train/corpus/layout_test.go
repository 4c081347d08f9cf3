package corpus

import (
	"reflect"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func input(name string, dt onnxio.DType, dims ...any) *onnxio.ValueInfo {
	var shape []onnxio.Dim
	for _, d := range dims {
		if n, ok := d.(int); ok {
			shape = append(shape, onnxio.Dim{Value: int64(n)})
		} else {
			shape = append(shape, onnxio.Dim{Param: d.(string)})
		}
	}
	return &onnxio.ValueInfo{Name: name, Type: onnxio.TensorType(dt, shape...)}
}

func weight(name string, dims ...int64) *onnxio.Tensor {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return onnxio.FromFloat32s(name, dims, make([]float32, n))
}

func call(op, domain, out string, in ...string) *onnxio.Node {
	return &onnxio.Node{Name: out, OpType: op, Domain: domain, Inputs: in, Outputs: []string{out}}
}

// manyInputs has an input of every role. The names say nothing: a table of positions is larger than the vocabulary, for one.
func manyInputs(t *testing.T) *graph.Graph {
	t.Helper()
	m := &onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: 17}, {Domain: "com.microsoft", Version: 1}}, Graph: &onnxio.Graph{
		Inputs: []*onnxio.ValueInfo{
			input("a", onnxio.Int64, "n", "s"), input("b", onnxio.Int64, "n", "s"), input("c", onnxio.Int32, "n", "s"), input("d", onnxio.Bool, "n", "p + s"),
			input("e", onnxio.Int64, "s"), input("f", onnxio.Float, 2, "n", 4, "p", 8), input("g", onnxio.Int32, "n"), input("h", onnxio.Int32), input("i", onnxio.Int64, "n", "s"),
		},
		Outputs: []*onnxio.ValueInfo{input("y", onnxio.Float, "n", "s", 9)},
		Initializers: []*onnxio.Tensor{weight("words", 9, 8), weight("places", 20, 8), weight("kinds", 2, 8), weight("frequencies", 4), weight("cos", 20, 4), weight("sin", 20, 4),
			weight("head", 8, 9)},
		Nodes: []*onnxio.Node{
			call("Gather", "", "x1", "words", "a"), call("Gather", "", "x2", "places", "b"), call("Gather", "", "x3", "kinds", "c"),
			call("Add", "", "x4", "x1", "x2"), call("Add", "", "x5", "x4", "x3"),
			call("Cast", "", "e1", "e"), call("Mul", "", "e2", "e1", "frequencies"), call("Cos", "", "e3", "e2"),
			call("RotaryEmbedding", "com.microsoft", "x6", "x5", "i", "cos", "sin"),
			call("GroupQueryAttention", "com.microsoft", "x7", "x6", "x5", "x5", "f", "f", "g", "h"),
			call("Where", "", "x8", "d", "x7", "x5"), call("MatMul", "", "y", "x8", "head"), call("Identity", "", "unused", "e3"),
		},
	}}
	m.Graph.Nodes[5].Attrs = []*onnxio.Attribute{{Name: "to", Kind: onnxio.AttrInt, I: int64(onnxio.Float)}}
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestInputsAreFilledByWhatTheyAreUsedFor(t *testing.T) {
	g := manyInputs(t)
	if name, vocabulary := TokenInput(g); name != "a" || vocabulary != 9 {
		t.Errorf("tokens are %q of %d", name, vocabulary)
	}
	path := write(t, "a.jsonl", []byte(`{"a": [1, 2, 3, 4]}`+"\n"+`{"a": [5, 6]}`))
	c := open(t, g, Options{Objective: NextToken, Batch: 2}, path)
	b, err := c.EvalBatch(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		dims   []int64
		values []int64
	}{
		"a": {[]int64{2, 3}, []int64{1, 2, 3, 5, 0, 0}},
		"b": {[]int64{2, 3}, []int64{0, 1, 2, 0, 1, 2}},
		"c": {[]int64{2, 3}, []int64{0, 0, 0, 0, 0, 0}},
		"d": {[]int64{2, 3}, []int64{1, 1, 1, 1, 0, 0}},
		"e": {[]int64{3}, []int64{0, 1, 2}},
		"g": {[]int64{2}, []int64{2, 0}},
		"h": {[]int64{}, []int64{3}},
		"i": {[]int64{2, 3}, []int64{0, 1, 2, 0, 1, 2}},
	} {
		x := b.Inputs[name]
		if !reflect.DeepEqual(x.Dims, want.dims) || !reflect.DeepEqual(values(t, x), want.values) {
			t.Errorf("%s is %v %v, want %v %v", name, x.Dims, values(t, x), want.dims, want.values)
		}
	}
	if got := b.Inputs["f"].Dims; !reflect.DeepEqual(got, []int64{2, 2, 4, 0, 8}) {
		t.Errorf("the cache has shape %v", got)
	}
	if !reflect.DeepEqual(values(t, b.Labels), []int64{2, 3, 4, 6, IgnoreIndex, IgnoreIndex}) {
		t.Errorf("labels are %v", values(t, b.Labels))
	}

	long := write(t, "a.jsonl", []byte(`{"a": [`+strings.Repeat("1, ", 21)+`1]}`))
	if _, err := Open(t.Context(), g, []string{long}, Options{Objective: NextToken}); err == nil || !strings.Contains(err.Error(), `input "b": sequences have 21 tokens, the table of positions has 20 rows`) {
		t.Errorf("too long a sequence: %v", err)
	}
	// What the data gives is taken, and cut where the sequence is.
	givenToo := write(t, "a.jsonl", []byte(`{"a": [1, 2, 3], "b": [7, 8, 9], "c": [1, 1, 1], "d": [true, true, false]}`))
	b, err = open(t, g, Options{Objective: NextToken, Batch: 1}, givenToo).EvalBatch(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(values(t, b.Inputs["b"]), []int64{7, 8}) || !reflect.DeepEqual(values(t, b.Inputs["d"]), []int64{1, 1}) ||
		!reflect.DeepEqual(values(t, b.Labels), []int64{2, IgnoreIndex}) {
		t.Errorf("positions %v, mask %v, labels %v", values(t, b.Inputs["b"]), values(t, b.Inputs["d"]), values(t, b.Labels))
	}
}

// A signature that fixes its sizes decides them.
func TestFixedSizes(t *testing.T) {
	m := &onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: 17}}, Graph: &onnxio.Graph{
		Inputs: []*onnxio.ValueInfo{input("a", onnxio.Int64, 2, 5), input("m", onnxio.Int64, 2, 5)}, Outputs: []*onnxio.ValueInfo{input("y", onnxio.Float, 2, 5, 9)},
		Initializers: []*onnxio.Tensor{weight("words", 9, 8), weight("head", 8, 9)},
		Nodes: []*onnxio.Node{call("Gather", "", "x", "words", "a"), call("Cast", "", "f", "m"), call("Unsqueeze", "", "u", "f", "axes"),
			call("Mul", "", "z", "x", "u"), call("MatMul", "", "y", "z", "head")},
	}}
	m.Graph.Initializers = append(m.Graph.Initializers, onnxio.FromInt64s("axes", []int64{1}, []int64{2}))
	m.Graph.Nodes[1].Attrs = []*onnxio.Attribute{{Name: "to", Kind: onnxio.AttrInt, I: int64(onnxio.Float)}}
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	path := counting(t, 24, 9) // four rows and a rest
	c := open(t, g, Options{Objective: NextToken}, path)
	if b := batch(t, c, 0); !reflect.DeepEqual(b.Labels.Dims, []int64{2, 5}) || c.BatchSize() != 2 || c.Examples() != 4 || c.EvalBatches(3) != 1 {
		t.Errorf("labels %v, batches of %d, %d examples", b.Labels.Dims, c.BatchSize(), c.Examples())
	}
	for _, o := range []Options{{Objective: NextToken, Batch: 3}, {Objective: NextToken, SeqLen: 4}} {
		if _, err := Open(t.Context(), g, []string{path}, o); err == nil || !strings.Contains(err.Error(), "the model takes") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	lines := write(t, "a.jsonl", []byte("{\"a\": [1, 2, 3]}\n{\"a\": [4, 5]}"))
	b := batch(t, open(t, g, Options{Objective: NextToken}, lines), 0)
	if !reflect.DeepEqual(b.Inputs["a"].Dims, []int64{2, 5}) || !reflect.DeepEqual(b.Inputs["m"].Dims, []int64{2, 5}) || b.Targets != 3 {
		t.Errorf("shorter rows: %v, %d targets", b.Inputs["a"].Dims, b.Targets)
	}
}
