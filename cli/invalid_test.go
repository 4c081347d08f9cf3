package cli_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
)

// Invalid models are written byte by byte: our own writer refuses to.

// bytesField is a length-delimited protobuf field, numberField a varint.
func bytesField(n int, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	out := binary.AppendUvarint(nil, uint64(n)<<3|2)
	return append(binary.AppendUvarint(out, uint64(len(body))), body...)
}

func stringField(n int, s string) []byte { return bytesField(n, []byte(s)) }

func numberField(n int, v int64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(n)<<3), uint64(v))
}

func node(op, out string, in ...string) []byte {
	var parts [][]byte
	for _, name := range in {
		parts = append(parts, stringField(1, name))
	}
	return bytesField(1, append(parts, stringField(2, out), stringField(3, "node_"+out), stringField(4, op))...)
}

func initializer(name string, dtype int64, dim int64, raw []byte) []byte {
	return bytesField(5, numberField(1, dim), numberField(2, dtype), stringField(8, name), bytesField(9, raw))
}

func value(field int, name string) []byte {
	shape := bytesField(2, bytesField(1, numberField(1, 2)))
	return bytesField(field, stringField(1, name), bytesField(2, bytesField(1, numberField(1, 1), shape)))
}

func model(opset int64, graph ...[]byte) []byte {
	graph = append([][]byte{stringField(2, "g"), value(11, "x"), value(12, "y")}, graph...)
	return slices.Concat(numberField(1, 8), bytesField(8, numberField(2, opset)), bytesField(7, graph...))
}

func TestInvalidModels(t *testing.T) {
	weight := initializer("w", 1, 2, make([]byte, 8))
	whole, err := os.ReadFile(save(t, fixtures.GPT2(fixtures.Config{})))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		data  []byte
		parts []string
	}{
		{"truncated", whole[:len(whole)/2], nil},
		{"empty", nil, []string{"empty"}},
		{"git-lfs pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), []string{"git-lfs", "git lfs pull"}},
		{"garbage", []byte("this is no model\n"), nil},
		{"zip", []byte("PK\x03\x04rest"), []string{"zip"}},
		{"cyclic", model(17, node("Add", "a", "x", "b"), node("Relu", "b", "a"), node("Relu", "y", "b")), []string{"cycle", "node_a", "node_b"}},
		{"duplicate initializers", model(17, weight, weight, node("Add", "y", "x", "w")), []string{"w"}},
		{"duplicate values", model(17, node("Relu", "a", "x"), node("Neg", "a", "x"), node("Relu", "y", "a")), []string{"node_a", `"a"`}},
		{"missing tensor", model(17, node("Add", "y", "x", "gone")), []string{"node_y", `"gone"`}},
		{"missing output", model(17, node("Relu", "z", "x")), []string{"y"}},
		{"short raw_data", model(17, initializer("w", 1, 2, make([]byte, 7)), node("Add", "y", "x", "w")), []string{`"w"`, "7 bytes", "8"}},
		{"unknown dtype", model(17, initializer("w", 99, 2, make([]byte, 8)), node("Add", "y", "x", "w")), []string{`"w"`, "99"}},
		{"negative size", model(17, initializer("w", 1, -2, make([]byte, 8)), node("Add", "y", "x", "w")), []string{`"w"`, "-2"}},
		{"opset 999", model(999, node("Relu", "y", "x")), []string{"999"}},
		{"no graph", slices.Concat(numberField(1, 8), bytesField(8, numberField(2, 17))), []string{"graph"}},
		{"unknown operator", model(17, node("Mystery", "y", "x")), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.onnx")
			if err := os.WriteFile(path, c.data, 0o666); err != nil {
				t.Fatal(err)
			}
			commands := [][]string{{"inspect", path}, {"plan", path}, {"expand", path, beside(path, "out.onnx")}, {"verify", path, path}, {"run", path}}
			if c.name == "unknown operator" {
				commands = commands[3:] // it can be looked at, but not run
			}
			for _, args := range commands {
				refused(t, 4, append([]string{path}, c.parts...), args...)
			}
			if names := files(t, filepath.Dir(path)); names != "bad.onnx" {
				t.Errorf("left behind: %s", names)
			}
		})
	}
}

func TestOutputsThatCannotBeWritten(t *testing.T) {
	in := gpt2(t)
	dir := filepath.Dir(in)
	before, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, 2, []string{"small.onnx", "the input itself"}, "expand", in, in, "--force")
	refused(t, 2, []string{"small.onnx", "the input itself"}, "expand", in, filepath.Join(dir, ".", "small.onnx"), "--force")
	refused(t, 1, []string{"missing"}, "expand", in, filepath.Join(dir, "missing", "out.onnx"))
	refused(t, 2, []string{"a directory"}, "expand", in, dir)
	refused(t, 1, []string{"small.onnx"}, "expand", in, filepath.Join(in, "out.onnx"))
	if os.Geteuid() != 0 {
		closed := filepath.Join(dir, "closed")
		if err := os.Mkdir(closed, 0o555); err != nil {
			t.Fatal(err)
		}
		refused(t, 1, []string{"closed", "not writable"}, "expand", in, filepath.Join(closed, "out.onnx"))
		if err := os.Remove(closed); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := os.ReadFile(in); err != nil || string(after) != string(before) {
		t.Errorf("the input was changed, %v", err)
	}
	if names := files(t, dir); names != "small.onnx" {
		t.Errorf("left behind: %s", names)
	}
}

func TestModelsThatAreNotThere(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone.onnx")
	for _, args := range [][]string{{"inspect", gone}, {"expand", gone, beside(gone, "out.onnx")}, {"verify", gone, gone}, {"run", gone}} {
		refused(t, 1, []string{gone, "there is no such file"}, args...)
	}
	refused(t, 4, []string{"a directory"}, "inspect", filepath.Dir(gone))
}

// An input that does not fit the model is a mistake in the call, not in the model.
func TestInputsThatDoNotFit(t *testing.T) {
	in := gpt2(t)
	bad := beside(in, "ids.npy")
	if err := os.WriteFile(bad, []byte("\x93NUMPY garbage"), 0o666); err != nil {
		t.Fatal(err)
	}
	refused(t, 2, []string{"ids.npy"}, "run", in, "--inputs", "input_ids="+bad)
	set := filepath.Join(fixtures.Dir(t, "vit_s_op17"), "test_data_set_0")
	refused(t, 2, []string{"input_ids"}, "run", in, "--inputs", set)
}
