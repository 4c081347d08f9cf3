//go:build unix

package onnxio

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzDecode: any bytes are a model or a typed error, and what is read can be written and read again.
func FuzzDecode(f *testing.F) {
	for _, data := range fixtures(f) {
		f.Add(data)
	}
	for place := range places {
		f.Add(modelWith(f, place, externalTensor("location", "data.bin")))
	}
	f.Add(modelOf(nested(50, 1, 5, 6)))
	f.Add(modelOf(bytes.Repeat([]byte{6<<3 | 3, 6<<3 | 4}, 20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data, ReadOptions{})
		mustBeTyped(t, "Decode", err)
		if err == nil {
			touch(t, m)
		}
	})
}

// FuzzExternalData: whatever a reference says, it is refused or gives bytes of a plain file in the model's folder.
func FuzzExternalData(f *testing.F) {
	dir := attackDir(f)
	for _, loc := range []string{"data.bin", "./data.bin", "sub/data.bin", "../secret.bin", "link.bin", "linkdir/secret.bin", "hard.bin",
		"fifo", "zero", "/etc/passwd", `..\secret.bin`, "sub/../../secret.bin", ".", "empty.bin"} {
		f.Add(loc, "0", "16", "checksum", "x")
	}
	f.Add("data.bin", "1e30", "-1", "offset", "48")
	f.Add("data.bin", "9223372036854775807", "9223372036854775807", "basepath", "/")
	path := filepath.Join(dir, "fuzz.onnx")
	f.Fuzz(func(t *testing.T, loc, offset, length, key, value string) {
		data := modelWith(t, "initializer", externalTensor("location", loc, "offset", offset, "length", length, key, value))
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := Read(path, ReadOptions{})
		mustBeTyped(t, "Read", err)
		if err != nil {
			return
		}
		defer m.Close()
		raw, err := m.Graph.Initializers[0].Bytes()
		if err != nil || len(raw) != 16 || bytes.Contains(raw, []byte("secret")) {
			t.Errorf("%q at %q gives %q (%v)", loc, offset, raw, err)
		}
	})
}
