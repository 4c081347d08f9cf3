package onnxio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

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

func TestDepthLimit(t *testing.T) {
	var limit *LimitError
	for name, deep := range map[string]func(int) []byte{
		// node → attribute → graph → node …
		"subgraphs": func(n int) []byte { return nested(n, 1, 5, 6) },
		// value_info → type → sequence → type …
		"types": func(n int) []byte {
			b := nested(n-2, 4, 1)
			return field(nil, 13, field(nil, 2, b))
		},
		"groups": func(n int) []byte {
			return append(bytes.Repeat([]byte{100<<3&0x7f | 0x80 | 3, 100 >> 4}, n), bytes.Repeat([]byte{100<<3&0x7f | 0x80 | 4, 100 >> 4}, n)...)
		},
	} {
		// The model and its graph are the first two of the hundred.
		if _, err := Decode(modelOf(deep(maxDepth-2)), ReadOptions{}); errors.As(err, &limit) {
			t.Errorf("%s: depth %d is refused: %v", name, maxDepth, err)
		}
		for _, n := range []int{maxDepth - 1, 5000, 200_000} {
			data := modelOf(deep(n))
			start := time.Now()
			_, err := Decode(data, ReadOptions{})
			if !errors.As(err, &limit) {
				t.Errorf("%s: depth %d: %v, want a LimitError", name, n+2, err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("%s: depth %d took %v", name, n+2, d)
			}
		}
	}
}

// Ten megabytes of empty messages would be gigabytes of objects.
func TestAmplification(t *testing.T) {
	for name, graph := range map[string][]byte{
		"nodes":        bytes.Repeat([]byte{1<<3 | 2, 0}, 5<<20),
		"initializers": bytes.Repeat([]byte{5<<3 | 2, 0}, 5<<20),
		"value infos":  bytes.Repeat([]byte{13<<3 | 2, 0}, 5<<20),
		"attributes":   field(nil, 1, bytes.Repeat([]byte{5<<3 | 2, 0}, 5<<20)),
		"inputs":       field(nil, 1, bytes.Repeat([]byte{1<<3 | 2, 0}, 10<<20)),
		"groups":       bytes.Repeat([]byte{6<<3 | 3, 6<<3 | 4}, 5<<20),
		"packed":       field(nil, 5, field(nil, 7, make([]byte, maxNumbers+1))),
	} {
		data := modelOf(graph)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(data, ReadOptions{})
		runtime.ReadMemStats(&after)
		var limit *LimitError
		if !errors.As(err, &limit) {
			t.Errorf("%s: %v, want a LimitError", name, err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%s: refusing it took %d bytes", name, grown)
		}
	}
}

func TestMalformed(t *testing.T) {
	long := bytes.Repeat([]byte{0xff}, 10)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":             {nil, "empty"},
		"lfs":               {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"), "git lfs pull"},
		"zip":               {[]byte("PK\x03\x04 and more"), "zip"},
		"text":              {[]byte("hello, world\n"), "not an ONNX model"},
		"varint of 10 ff":   {append([]byte{8}, long...), "cut off or longer"},
		"varint of 11":      {append(append([]byte{8}, bytes.Repeat([]byte{0x80}, 10)...), 1), "longer than 10"},
		"tag too large":     {append(bytes.Repeat([]byte{0xff}, 5), 0x0f), "not possible"},
		"field zero":        {[]byte{0x02, 0}, "field number 0"},
		"wire type 6":       {[]byte{0x0e}, "wire type 6"},
		"length beyond end": {[]byte{7<<3 | 2, 50}, "50 bytes"},
		"huge length":       {append([]byte{7<<3 | 2}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "bytes"},
		"end without group": {[]byte{6<<3 | 4}, "not begun"},
		"group not closed":  {[]byte{6<<3 | 3}, "does not end"},
		"wrong group end":   {[]byte{6<<3 | 3, 9<<3 | 4}, "ends as group 9"},
		"graph as number":   {varint(varint(nil, 1, 8), 7, 1), "not an ONNX model"},
		"no graph":          {varint(nil, 1, 8), "no graph"},
		"no version":        {field(nil, 7, nil), "ir_version is 0"},
		"no operator set":   {field(varint(nil, 1, 8), 7, nil), "operator set"},
		"ir 999":            {field(varint(nil, 1, 999), 7, nil), "ir_version is 999"},
		"opset 999":         {field(field(varint(nil, 1, 8), 8, varint(nil, 2, 999)), 7, nil), "version 999"},
		"opset 0":           {field(field(varint(nil, 1, 8), 8, nil), 7, nil), "version 0"},
	} {
		_, err := Decode(c.data, ReadOptions{})
		var inv *InvalidError
		if !errors.As(err, &inv) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an InvalidError with %q", name, err, c.want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", name, err)
		}
	}
	ir14 := field(field(varint(nil, 1, 14), 8, varint(nil, 2, 17)), 7, nil)
	if _, err := Decode(ir14, ReadOptions{ForceIR: true}); err != nil {
		t.Errorf("ForceIR: %v", err)
	}
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

// mustBeTyped fails for an error that is not one of this package's.
func mustBeTyped(t testing.TB, what string, err error) {
	t.Helper()
	var inv *InvalidError
	var lim *LimitError
	if err != nil && !errors.As(err, &inv) && !errors.As(err, &lim) {
		t.Errorf("%s: untyped error %v", what, err)
	}
}

func TestEveryPrefixIsRefusedOrRead(t *testing.T) {
	for name, data := range fixtures(t) {
		stride := max(1, len(data)/2000)
		for n := 0; n < len(data); n += stride {
			m, err := Decode(data[:n], ReadOptions{})
			mustBeTyped(t, name, err)
			if err == nil {
				touch(t, m)
			}
		}
	}
}

func TestMutations(t *testing.T) {
	const seed1, seed2 = 20230501, 7
	rng := rand.New(rand.NewPCG(seed1, seed2))
	end := time.Now().Add(3 * time.Second)
	all := fixtures(t)
	names := slices.Sorted(maps.Keys(all))
	tried, read := 0, 0
	for ; tried < 20_000*len(names) && time.Now().Before(end); tried++ {
		name := names[tried%len(names)]
		data := bytes.Clone(all[name])
		at, b := rng.IntN(len(data)), byte(rng.Uint32())
		data[at] = b
		m, err := Decode(data, ReadOptions{})
		mustBeTyped(t, name, err)
		if err == nil {
			touch(t, m)
			read++
		}
	}
	t.Logf("%d mutations (seed %d, %d), %d still read", tried, seed1, seed2, read)
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

// Placeholders of the reader's own making, forged in a file, must stay the bytes that they are.
func TestForgedPlaceholder(t *testing.T) {
	forged := make([]byte, placeholderLen)
	tensor := varint(varint(nil, 1, placeholderLen), 2, uint64(Uint8))
	graph := field(nil, 5, field(field(tensor, 8, []byte("t")), rawDataField, forged))
	m, err := Decode(modelOf(graph), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := m.Graph.Initializers[0].Bytes(); err != nil || !bytes.Equal(raw, forged) {
		t.Errorf("%v (%v)", raw, err)
	}
}

// What the library does not know must survive reading and writing, also in messages that were changed.
func TestUnknownFieldsSurvive(t *testing.T) {
	data := sample(t)
	m, err := Decode(data, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Producer = "changed"
	out, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	var pb onnxpb.ModelProto
	if err := pb.Unmarshal(out); err != nil || !bytes.Contains(pb.XXX_unrecognized, []byte("later version")) {
		t.Errorf("the unknown field is lost (%v)", err)
	}
}
