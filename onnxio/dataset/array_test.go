package dataset

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// compressed makes the archive that numpy.savez_compressed would.
func compressed(t *testing.T, path string) string {
	t.Helper()
	in, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var buf bytes.Buffer
	out := zip.NewWriter(&buf)
	out.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, 9) })
	for _, e := range in.File {
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		w, err := out.CreateHeader(&zip.FileHeader{Name: e.Name, Method: zip.Deflate})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(t.TempDir(), "small.npz")
	if err := os.WriteFile(small, buf.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return small
}

// Rows read one at a time are those of the arrays read whole, whatever type, order and compression NumPy wrote them in.
func TestRowsAreThoseOfTheArray(t *testing.T) {
	ctx := context.Background()
	// numpy.npz as it is, with its scalar left out: it has no rows.
	whole, err := ReadNPZ(ctx, "testdata/numpy.npz")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenNPZ(ctx, "testdata/numpy.npz"); err == nil || !strings.Contains(err.Error(), `"scalar": is a single number`) {
		t.Errorf("a scalar: %v", err)
	}
	delete(whole, "scalar")
	delete(whole, "complex")
	stored := filepath.Join(t.TempDir(), "stored.npz")
	if err := WriteNPZ(stored, whole); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{stored, compressed(t, stored)} {
		arrays, file, err := OpenNPZ(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if len(arrays) != len(whole) {
			t.Fatalf("%d arrays, want %d", len(arrays), len(whole))
		}
		for _, a := range arrays {
			want, err := whole[a.Name].Bytes()
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for i := range a.Len() {
				row, err := a.Row(i)
				if err != nil {
					t.Fatal(err)
				}
				raw, err := row.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, raw...)
			}
			if a.DType != whole[a.Name].DType || !bytes.Equal(got, want) {
				t.Errorf("%s: % x, want % x", a.Where, got, want)
			}
		}
	}
}

func TestForeignOrdersAreTurned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npy")
	raw := append(npy("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 2), }\n", 0), 0, 1, 0, 3, 0, 2, 1, 4)
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	a, file, err := OpenNPY(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	row, err := a.Row(1)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := row.Int64s(); err != nil || v[0] != 3 || v[1] != 260 {
		t.Errorf("row 1 is %v (%v), want [3 260]", v, err)
	}
}

func TestTokensOfEveryType(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		dt  onnxio.DType
		raw []byte
	}{{onnxio.Uint16, []byte{1, 0, 0xFF, 0xFF}}, {onnxio.Uint32, []byte{1, 0, 0, 0, 0xFF, 0xFF, 0, 0}}} {
		path := filepath.Join(dir, c.dt.String())
		if err := os.WriteFile(path, c.raw, 0o666); err != nil {
			t.Fatal(err)
		}
		tokens, file, err := OpenTokens(path, c.dt)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		ids := make([]int64, 2)
		if err := tokens.Read(ids, 0, 1<<16); err != nil || ids[0] != 1 || ids[1] != 65535 || tokens.Len() != 2 {
			t.Errorf("%v: %v, %v", c.dt, ids, err)
		}
		if err := tokens.Read(ids[:1], 1, 65535); err == nil || !strings.Contains(err.Error(), "token 1 is 65535; the model's embedding has ids from 0 to 65534") {
			t.Errorf("%v: too large an id: %v", c.dt, err)
		}
	}
	for _, dt := range []onnxio.DType{onnxio.Int8, onnxio.Int16, onnxio.Int32, onnxio.Int64} {
		var raw []byte
		raw = append(raw, binary.LittleEndian.AppendUint64(nil, ^uint64(0))[:dt.Bits()/8]...)
		x, err := onnxio.FromBytes("", dt, []int64{1}, raw)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "a.npz")
		if err := WriteNPZ(path, map[string]*onnxio.Tensor{"x": x}); err != nil {
			t.Fatal(err)
		}
		arrays, file, err := OpenNPZ(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		tokens, err := TokensOf(arrays[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := tokens.Read(make([]int64, 1), 0, 5); err == nil || !strings.Contains(err.Error(), "token 0 is -1") {
			t.Errorf("%v: a negative id: %v", dt, err)
		}
	}
}

// A file that becomes shorter while it is read is an error, not zeros.
func TestFilesThatShrink(t *testing.T) {
	dir := t.TempDir()
	bin, array := filepath.Join(dir, "a.bin"), filepath.Join(dir, "a.npy")
	for path, raw := range map[string][]byte{bin: make([]byte, 64), array: npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }\n", 64)} {
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	tokens, f, err := OpenTokens(bin, onnxio.Uint16)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, g, err := OpenNPY(context.Background(), array)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for _, path := range []string{bin, array} {
		if err := os.Truncate(path, 60); err != nil {
			t.Fatal(err)
		}
	}
	if err := tokens.Read(make([]int64, 4), 28, 0); err == nil || !strings.Contains(err.Error(), bin+": tokens 28 to 31") {
		t.Errorf("tokens: %v", err)
	}
	if _, err := a.Row(3); err == nil || !strings.Contains(err.Error(), array+": row 3") {
		t.Errorf("rows: %v", err)
	}
}

// Lines of any length, with any end, are found; blank ones are not counted as objects.
func TestLines(t *testing.T) {
	long := strings.Repeat("1,", 1<<20) + "1" // longer than the buffer
	text := "{\"a\": 1}\r\n\n   \n{\"a\": [" + long + "]}\n{\"b\": {\"c\": \"\\n\"}}"
	path := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLines(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Len() != 3 || l.Where(1) != path+": line 4" || l.Where(2) != path+": line 5" {
		t.Fatalf("%d objects, %s, %s", l.Len(), l.Where(1), l.Where(2))
	}
	for i, key := range []string{"a", "a", "b"} {
		object, err := l.Object(int64(i))
		if err != nil || object[key] == nil {
			t.Errorf("object %d: %v, %v", i, object, err)
		}
	}
	object, err := l.Object(1)
	if err != nil {
		t.Fatal(err)
	}
	x, err := FromJSON("a", object["a"], onnxio.Int32)
	if err != nil || x.Dims[0] != 1<<20+1 || x.DType != onnxio.Int32 {
		t.Errorf("%v, %v", x, err)
	}
}

func TestNothingFollowsAnObject(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.WriteFile(path, []byte("{\"a\": 1} {\"b\": 2}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLines(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Object(0); err == nil || !strings.Contains(err.Error(), "line 1: something follows") {
		t.Errorf("got %v", err)
	}
}

func TestFromJSON(t *testing.T) {
	for _, c := range []struct {
		text string
		dt   onnxio.DType
		want string // "dims values", or a part of the error
	}{
		{`3`, onnxio.Int64, "[] [3]"},
		{`[[1, 2], [3, 4]]`, onnxio.Int64, "[2 2] [1 2 3 4]"},
		{`[1.5, -2e3]`, onnxio.Float, "[2] [1.5 -2000]"},
		{`[true, false, 1]`, onnxio.Bool, "[3] [1 0 1]"},
		{`[]`, onnxio.Int64, "[0] []"},
		{`[[], []]`, onnxio.Float, "[2 0] []"},
		{`[300]`, onnxio.Int8, "does not fit"},
		{`[9223372036854775808]`, onnxio.Int64, "whole number"},
		{`[1e400]`, onnxio.Double, "beyond float64"},
		{`[1, [2]]`, onnxio.Int64, "ragged"},
		{`[[1], 2]`, onnxio.Int64, "ragged"},
		{`[[1, 2], [3]]`, onnxio.Int64, "ragged"},
		{`[null]`, onnxio.Int64, "holds null"},
		{`{"a": 1}`, onnxio.Int64, "an object"},
		{strings.Repeat("[", 40) + "1" + strings.Repeat("]", 40), onnxio.Int64, "nested deeper"},
	} {
		x, err := FromJSON("x", []byte(c.text), c.dt)
		got := fmt.Sprint(err)
		if err == nil {
			v, err := x.Float64s()
			if x.DType == onnxio.Bool || x.DType.Integer() {
				v = nil
				raw, _ := x.Bytes()
				for at := 0; at < len(raw); at += x.DType.Bits() / 8 {
					v = append(v, float64(raw[at]))
				}
				err = nil
			}
			if v == nil {
				v = []float64{}
			}
			got = fmt.Sprint(x.Dims, " ", v, " ", err)
		}
		if !strings.Contains(strings.ReplaceAll(got, "  ", " "), c.want) {
			t.Errorf("%.40s as %v: %s, want %s", c.text, c.dt, got, c.want)
		}
	}
}

// Whatever a line holds: values or one line of error.
func FuzzLines(f *testing.F) {
	for _, text := range []string{"{\"a\": [1, 2.5, true]}\n", "{\"a\": [[1], [2, 3]]}", "null\n[]\n\"x\"", "{\"a\": 1e999}", "\x00\xff\n{", "{\"a\":{\"b\":[null]}}"} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "a.jsonl")
		if err := os.WriteFile(path, text, 0o666); err != nil {
			t.Fatal(err)
		}
		l, err := OpenLines(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for i := range l.Len() {
			object, err := l.Object(i)
			if err != nil {
				if !strings.HasPrefix(err.Error(), path+": line ") {
					t.Errorf("%v", err)
				}
				continue
			}
			for name, field := range object {
				for _, dt := range []onnxio.DType{onnxio.Int64, onnxio.Float, onnxio.Bool, onnxio.Uint8} {
					if x, err := FromJSON(name, field, dt); err == nil && (x.DType != dt || x.NumElements() < 0) {
						t.Errorf("%s became %v", field, x)
					}
				}
			}
		}
	})
}
