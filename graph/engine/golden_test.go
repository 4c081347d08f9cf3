package engine

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// The operators of ONNX Runtime give its outputs (testdata/contrib.py), and those that are newer than the packaged test data pass
// ONNX's own tests (testdata/recent.py).
func TestGolden(t *testing.T) {
	for _, pack := range []string{"contrib", "recent"} {
		t.Run(pack, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range unpack(t, filepath.Join("testdata", pack+".tar.gz"), dir) {
				t.Run(name, func(t *testing.T) {
					if err := runNodeTest(filepath.Join(dir, name)); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// unpack writes an archive of this package's testdata below dir and returns its top folders.
func unpack(t *testing.T, path, dir string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(to) == "model.onnx" {
			names = append(names, filepath.Base(filepath.Dir(to)))
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
