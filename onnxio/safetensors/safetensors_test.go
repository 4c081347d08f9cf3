package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

func sample() []Tensor {
	return []Tensor{
		{"a", F32, []int64{2, 3}, []float32{1, -2, 3.5, 0, 1e-40, float32(math.Inf(1))}},
		{"b", F64, nil, []float64{0.1}},
		{"c", F32, []int64{0, 4}, []float32{}},
		{"d", I32, []int64{2}, []int32{-1, math.MaxInt32}},
		{"e", I64, []int64{1}, []int64{math.MinInt64}},
		{"half", F16, []int64{3}, bytes.NewReader([]byte{1, 2, 3, 4, 5, 6})},
	}
}

func written(t *testing.T, metadata map[string]string, tensors []Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	meta := map[string]string{"what": "a \"test\"", "": "x"}
	raw := written(t, meta, sample())
	f, err := Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(f.Metadata, meta) || len(f.Tensors) != 6 {
		t.Errorf("metadata %v, tensors %v", f.Metadata, f.Tensors)
	}
	a, b, d, e := make([]float32, 6), make([]float64, 1), make([]int32, 2), make([]int64, 1)
	for name, dst := range map[string]any{"a": a, "b": b, "c": []float32{}, "d": d, "e": e} {
		if err := f.Read(name, dst); err != nil {
			t.Error(err)
		}
	}
	s := sample()
	if !slices.Equal(a, s[0].Values.([]float32)) || b[0] != 0.1 || !slices.Equal(d, s[3].Values.([]int32)) || e[0] != math.MinInt64 {
		t.Error(a, b, d, e)
	}
	half, _ := f.Tensor("half")
	if got, err := io.ReadAll(f.Elements(half)); err != nil || !bytes.Equal(got, []byte{1, 2, 3, 4, 5, 6}) {
		t.Error(got, err)
	}
	for _, bad := range []struct {
		name string
		dst  any
		want string
	}{{"a", make([]float32, 5), "F32 of shape [2 3], not F32 with 5 elements"}, {"a", make([]float64, 3), "not F64"}, {"x", a, "no tensor"}, {"a", "", "string"}} {
		if err := f.Read(bad.name, bad.dst); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s into %T: %v", bad.name, bad.dst, err)
		}
	}
}

// What the format's specification says about a file.
func TestForm(t *testing.T) {
	raw := written(t, nil, sample())
	n := binary.LittleEndian.Uint64(raw)
	var header map[string]struct {
		DType   string
		Shape   []int
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(raw[8:8+n], &header); err != nil || n%8 != 0 {
		t.Fatal(n, err)
	}
	if a := header["a"]; a.DType != "F32" || len(a.Shape) != 2 || a.Offsets != [2]int{0, 24} || header["b"].Offsets != [2]int{24, 32} || len(raw) != 8+int(n)+54 {
		t.Errorf("header %+v of %d bytes", header, len(raw))
	}
}

func TestWriteRefuses(t *testing.T) {
	for want, ts := range map[string][]Tensor{
		"two tensors":           {{"a", F32, []int64{1}, []float32{1}}, {"a", F32, []int64{1}, []float32{1}}},
		metadataKey:             {{metadataKey, F32, []int64{1}, []float32{1}}},
		"have 4 bytes":          {{"a", F32, []int64{2}, []float32{1}}},
		"holds F64":             {{"a", F32, []int64{2}, []float64{1}}},
		"cannot be written":     {{"a", "X7", []int64{2}, []float64{1}}},
		"shape [-1]":            {{"a", F32, []int64{-1}, []float32{}}},
		"type string":           {{"a", F32, []int64{1}, "abcd"}},
		"have 3 bytes, F16 of ": {{"a", F16, []int64{2}, bytes.NewReader([]byte{1, 2, 3})}},
	} {
		if err := Write(io.Discard, nil, ts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", ts, err)
		}
	}
}

func TestHostile(t *testing.T) {
	file := func(header string, data int) []byte {
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), make([]byte, data)...)
	}
	one := func(entry string) []byte { return file(`{"a":`+entry+`}`, 24) }
	for name, k := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":        {nil, "no header"},
		"huge header":    {binary.LittleEndian.AppendUint64(nil, 1<<40), "bytes, the file has"},
		"negative":       {binary.LittleEndian.AppendUint64(nil, 1<<63+5), "bytes, the file has"},
		"no json":        {file("}{", 32), "header"},
		"a list":         {file("[1,2]", 32), "no JSON object"},
		"cut":            {file(`{"a":{"dtype":"F32"`, 0), "header"},
		"two objects":    {file(`{}{}`, 0), "something follows"},
		"none":           {file("{}", 32), "32 bytes follow"},
		"no object":      {one(`7`), `tensor "a"`},
		"type":           {one(`{"dtype":"F31","shape":[2,3],"data_offsets":[0,24]}`), `"F31", which is not known`},
		"no type":        {one(`{"shape":[2,3],"data_offsets":[0,24]}`), `"", which is not known`},
		"shape":          {one(`{"dtype":"F32","shape":[2,2],"data_offsets":[0,24]}`), "of shape [2 2] takes 16"},
		"negative shape": {one(`{"dtype":"F32","shape":[-2,-3],"data_offsets":[0,24]}`), "cannot be"},
		"product":        {one(`{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,24]}`), "cannot be"},
		"huge by zero":   {one(`{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}`), "cannot be"},
		"behind":         {one(`{"dtype":"F32","shape":[2,3],"data_offsets":[16,40]}`), "lies at"},
		"before":         {one(`{"dtype":"F32","shape":[2,3],"data_offsets":[-24,0]}`), "lies at"},
		"backwards":      {one(`{"dtype":"F32","shape":[2,3],"data_offsets":[24,0]}`), "lies at"},
		"overflow":       {one(`{"dtype":"F32","shape":[2,3],"data_offsets":[9223372036854775800,9223372036854775807]}`), "lies at"},
		"short":          {file(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 20), "lies at"},
		"gap":            {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "begins at byte 4"},
		"overlap":        {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12), "begins at byte 4"},
		"tail":           {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 8), "4 bytes follow"},
		"twice":          {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), "twice"},
		"metadata":       {file(`{"__metadata__":{"x":1}}`, 0), `entry "x" is no string`},
		"metadata twice": {file(`{"__metadata__":{},"__metadata__":{}}`, 0), "twice"},
		"entry twice":    {file(`{"__metadata__":{"x":"1","x":"2"}}`, 0), `entry "x" is there twice`},
		"metadata list":  {file(`{"__metadata__":[]}`, 0), "no JSON object"},
	} {
		_, err := Open(bytes.NewReader(k.file), int64(len(k.file)))
		var invalid *onnxio.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), k.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Only panics and allocations on the word of the file are wrong; what opens can be read whole.
func FuzzOpen(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, map[string]string{"k": "v"}, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := Open(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		total := int64(0)
		for _, e := range file.Tensors {
			n, err := io.Copy(io.Discard, file.Elements(e))
			if err != nil || n != e.Bytes() {
				t.Fatalf("%s: %d bytes, %v", e.Name, n, err)
			}
			total += n
		}
		if file.start+total != int64(len(raw)) {
			t.Fatalf("%d bytes of %d", file.start+total, len(raw))
		}
	})
}
