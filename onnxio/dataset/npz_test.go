package dataset

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Everything NumPy writes is read as the numbers that were written (testdata/make.py).
func TestReadWhatNumPyWrites(t *testing.T) {
	arrays, err := ReadNPZ(context.Background(), "testdata/numpy.npz")
	if err != nil {
		t.Fatal(err)
	}
	grid := func(scale, shift float64) []float64 {
		v := make([]float64, 6)
		for i := range v {
			v[i] = float64(i)*scale + shift
		}
		return v
	}
	cube := make([]float64, 24)
	for i := range cube {
		cube[i] = float64(i)
	}
	for name, want := range map[string]struct {
		dtype  onnxio.DType
		dims   []int64
		values []float64
	}{
		"float16": {onnxio.Float16, []int64{2, 3}, grid(0.5, 0)},
		"float32": {onnxio.Float, []int64{2, 3}, grid(0.25, 0)},
		"float64": {onnxio.Double, []int64{2, 3}, grid(0.125, 0)},
		"int8":    {onnxio.Int8, []int64{2, 3}, grid(1, -3)},
		"int16":   {onnxio.Int16, []int64{2, 3}, grid(1, -3)},
		"int32":   {onnxio.Int32, []int64{2, 3}, grid(1, -3)},
		"int64":   {onnxio.Int64, []int64{2, 3}, grid(1, -3)},
		"uint8":   {onnxio.Uint8, []int64{2, 3}, grid(1, 0)},
		"uint16":  {onnxio.Uint16, []int64{2, 3}, grid(1, 0)},
		"uint32":  {onnxio.Uint32, []int64{2, 3}, grid(1, 0)},
		"uint64":  {onnxio.Uint64, []int64{2, 3}, grid(1, 0)},
		"bool":    {onnxio.Bool, []int64{2, 3}, []float64{0, 1, 0, 1, 0, 1}},
		"fortran": {onnxio.Int32, []int64{2, 3}, grid(1, 0)},
		"big":     {onnxio.Float, []int64{2, 3}, grid(1, 0)},
		"cube":    {onnxio.Int64, []int64{2, 3, 4}, cube},
		"scalar":  {onnxio.Float, []int64{}, []float64{1.5}},
		"empty":   {onnxio.Float, []int64{0, 3}, []float64{}},
	} {
		got := arrays[name]
		if got == nil {
			t.Errorf("%s: missing", name)
			continue
		}
		values, err := got.Float64s()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.DType != want.dtype || !reflect.DeepEqual(got.Dims, want.dims) || !reflect.DeepEqual(values, want.values) {
			t.Errorf("%s: got %v %v %v, want %v %v %v", name, got.DType, got.Dims, values, want.dtype, want.dims, want.values)
		}
	}
	raw, err := arrays["complex"].Bytes()
	if err != nil {
		t.Fatal(err)
	}
	// 1+1i is the second element: the halves of a big-endian complex number are turned one by one.
	if got := raw[8:16]; !bytes.Equal(got, []byte{0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f}) {
		t.Errorf("complex: got % x", got)
	}
}

func TestWriteNPZ(t *testing.T) {
	half, err := onnxio.FromFloats("half", onnxio.BFloat16, []int64{2}, []float64{1.5, -3})
	if err != nil {
		t.Fatal(err)
	}
	tensors := map[string]*onnxio.Tensor{
		"ids":    onnxio.FromInt64s("ids", []int64{2, 3}, []int64{1, 2, 3, 4, 5, -6}),
		"logits": onnxio.FromFloat32s("logits", []int64{2}, []float32{0.5, -1}),
		"mask":   onnxio.FromBools("mask", []int64{3}, []bool{true, false, true}),
		"one":    onnxio.FromFloat64s("one", nil, []float64{7}),
		"half":   half,
		"../up":  onnxio.FromFloat64s("../up", []int64{0}, nil), // a name, never a path
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x.npz")
	if err := WriteNPZ(path, tensors); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(dir, "y.npz")
	if err := WriteNPZ(again, tensors); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(path)
	b, _ := os.ReadFile(again)
	if !bytes.Equal(a, b) {
		t.Error("the same tensors gave two different files")
	}
	got, err := ReadNPZ(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range tensors {
		if name == "half" {
			want = onnxio.FromFloat32s("half", []int64{2}, []float32{1.5, -3})
		}
		equal, err := want.Equal(got[name])
		if err != nil || !equal {
			t.Errorf("%s: read back as %v (%v)", name, got[name], err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, want the two files alone", entries)
	}
}

func TestWriteNPZLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	bad := onnxio.NewTensor("w", onnxio.Float8E4M3FN, []int64{1}, nil)
	err := WriteNPZ(filepath.Join(dir, "x.npz"), map[string]*onnxio.Tensor{"w": bad})
	if err == nil || !strings.Contains(err.Error(), "float8e4m3fn") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// npy is an array file with any header.
func npy(header string, elements int) []byte {
	out := []byte("\x93NUMPY\x01\x00")
	out = binary.LittleEndian.AppendUint16(out, uint16(len(header)))
	return append(append(out, header...), make([]byte, elements)...)
}

func archive(t testing.TB, entries ...any) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for i := 0; i < len(entries); i += 2 {
		e, err := w.Create(entries[i].(string))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(entries[i+1].([]byte)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestMalformedArrays(t *testing.T) {
	const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "does not begin"},
		{"text", []byte("version https://git-lfs.github.com/spec/v1\n"), "does not begin"},
		{"version", append([]byte("\x93NUMPY\x09\x00"), make([]byte, 40)...), "version 9"},
		{"no length", []byte("\x93NUMPY\x01\x00\x01"), "within its header"},
		{"cut header", npy(good, 0)[:30], "within its header"},
		{"huge header", append([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), 0), "header of 4294967295 bytes"},
		{"short", npy(good, 7), "has 7 bytes of elements, shape [2] of float32 needs 8"},
		{"long", npy(good, 9), "has 9 bytes"},
		{"overflow", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 8), "more than"},
		{"overflow twice", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }", 8), "more than"},
		{"huge", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }", 8), "more than"},
		{"negative", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", 8), "expected a size"},
		{"too large a size", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }", 8), "expected a size"},
		{"deep", npy("{'descr': '<f8', 'fortran_order': False, 'shape': ("+strings.Repeat("1,", 33)+"), }", 8), "33 axes"},
		{"object", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8), "|O"},
		{"text elements", npy("{'descr': '<U8', 'fortran_order': False, 'shape': (1,), }", 32), "<U8"},
		{"structured", npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4), "structured"},
		{"code", npy("{'descr': __import__('os').system('id'), 'fortran_order': False, 'shape': (1,), }", 4), "expected a string"},
		{"no shape", npy("{'descr': '<f4', 'fortran_order': False, }", 4), `lacks "shape"`},
		{"twice", npy("{'shape': (1,), 'shape': (1,), }", 4), "twice"},
		{"unknown key", npy("{'x': 1}", 4), "unknown key"},
		{"trailing", npy(strings.TrimRight(good, "\n")+"1", 8), "end of the header"},
		{"unterminated", npy("{'descr", 4), "string with an end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := readNPY(context.Background(), bytes.NewReader(test.data), int64(len(test.data)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestMalformedArchives(t *testing.T) {
	array := npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", 4)
	zeros := npy("{'descr': '<f4', 'fortran_order': False, 'shape': (250000,), }\n", 1_000_000)
	bomb := archive(t, "x.npy", zeros)
	// The size in the central directory, which is the one that readers believe, becomes 4 GB.
	at := bytes.LastIndex(bomb, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(bomb[at+24:], 0xFFFF_FFF0)
	wrong := archive(t, "x.npy", array)
	at = bytes.LastIndex(wrong, []byte("PK\x01\x02"))
	wrong[at+16] ^= 1 // the checksum
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "not an .npz file"},
		{"not a zip", array, "not an .npz file"},
		{"other file", archive(t, "readme.txt", array), `holds "readme.txt"`},
		{"twice", archive(t, "x.npy", array, "x.npy", array), `"x" twice`},
		{"bomb", bomb, "claims 4294967280 bytes"},
		{"checksum", wrong, `array "x": zip: checksum error`},
		{"bad array", archive(t, "x.npy", array[:60]), `array "x"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := readNPZ(context.Background(), bytes.NewReader(test.data), int64(len(test.data)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
	if _, err := readNPZ(context.Background(), bytes.NewReader(archive(t, "../../x.npy", array)), int64(len(archive(t, "../../x.npy", array)))); err != nil {
		t.Errorf("a name is not a path: %v", err)
	}
}

// Whatever the bytes: an error or arrays, never a panic, and arrays survive being written and read again.
func FuzzNPZ(f *testing.F) {
	seed, err := os.ReadFile("testdata/numpy.npz")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(archive(f, "x.npy", npy("{'descr': '>c8', 'fortran_order': True, 'shape': (1, 2), }\n", 16)))
	f.Add(archive(f, "x.npy", npy("{'descr': '|b1', 'fortran_order': False, 'shape': (), }\n", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx := context.Background()
		// Half of the inputs are taken for an array, so that the fuzzer need not find out about checksums.
		if len(data)%2 == 1 {
			_, _ = readNPY(ctx, bytes.NewReader(data), int64(len(data)))
			return
		}
		arrays, err := readNPZ(ctx, bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		var buf bytes.Buffer
		if err := writeNPZ(&buf, arrays); err != nil {
			if strings.Contains(err.Error(), "name") { // longer than a zip file can hold
				return
			}
			t.Fatal(err)
		}
		again, err := readNPZ(ctx, bytes.NewReader(buf.Bytes()), int64(buf.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(len(again)), fmt.Sprint(len(arrays)); got != want {
			t.Fatalf("%s arrays became %s", want, got)
		}
		for name, a := range arrays {
			if equal, err := a.Equal(again[name]); err != nil || !equal {
				t.Fatalf("%q changed (%v)", name, err)
			}
		}
	})
}
