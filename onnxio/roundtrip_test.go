package onnxio

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// debianModels is where Debian's libonnx-testdata keeps ONNX's own node and model tests.
const debianModels = "/usr/share/libonnx-testdata/data"

// models lists the .onnx files below dir; without them the test is skipped, saying what is missing.
func models(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) == ".onnx" {
			out = append(out, path)
		}
		return err
	})
	if err != nil || len(out) == 0 {
		t.Skipf("NO MODELS in %s (apt-get install libonnx-testdata): %v", dir, err)
	}
	return out
}

// ownModels lists the models of the folder that LIGOONNX_TESTDATA names.
func ownModels(t testing.TB) []string {
	t.Helper()
	dir := os.Getenv("LIGOONNX_TESTDATA")
	if dir == "" {
		t.Skip("LIGOONNX_TESTDATA is not set: exported models are not tested")
	}
	return models(t, filepath.Join(dir, "models"))
}

func TestRoundTripIsByteIdentical(t *testing.T) {
	all := models(t, debianModels)
	if len(all) < 900 {
		t.Errorf("only %d models in %s", len(all), debianModels)
	}
	roundTrip(t, all)
}

func TestRoundTripOfExportedModels(t *testing.T) { roundTrip(t, ownModels(t)) }

// The schema and the generated code alone must give back the same bytes, or nothing above them can.
func TestMessagesRoundTrip(t *testing.T) {
	for _, path := range models(t, debianModels) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var pb onnxpb.ModelProto
		if err := pb.Unmarshal(data); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if out, err := pb.Marshal(); err != nil || !bytes.Equal(out, data) {
			t.Errorf("%s: %d bytes became %d (%v)", path, len(data), len(out), err)
		}
	}
}

func roundTrip(t *testing.T, paths []string) {
	out := filepath.Join(t.TempDir(), "out.onnx")
	same := 0
	for _, path := range paths {
		m, err := Read(path, ReadOptions{})
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if m.External {
			m.Close() // the reference to the data is rewritten: TestExternalRoundTrip
			continue
		}
		if err := Write(context.Background(), m, out, WriteOptions{Force: true, External: ExternalNever}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		m.Close()
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got) {
			t.Errorf("%s: %d bytes became %d", path, len(want), len(got))
			continue
		}
		same++
	}
	t.Logf("%d of %d models byte-identical", same, len(paths))
}
