package axes

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func load(t *testing.T, path string) *graph.Graph {
	t.Helper()
	m, err := onnxio.Read(path, onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestModels infers every model of the test data: no conflicts, and the widths that the exporter used.
func TestModels(t *testing.T) {
	dir := os.Getenv("LIGOONNX_TESTDATA")
	if dir == "" {
		t.Skip("LIGOONNX_TESTDATA is not set: the exporters' models are not tested")
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "models", "*", "*", "model.onnx"))
	for _, p := range paths {
		name := filepath.Base(filepath.Dir(p))
		t.Run(name, func(t *testing.T) {
			r, err := Infer(context.Background(), load(t, p), Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range r.Conflicts {
				t.Errorf("conflict at %v: %s", c.Node, c.Reason)
			}
			for _, a := range r.Atoms {
				if a.Growable() || os.Getenv("ALL") != "" {
					t.Logf("%-12s %5d %s parts %d flags %x %v", a.Name, a.Size, a.Role, a.Parts, a.Flags, a.Why)
				}
			}
			t.Logf("norms %d scores %d weights %d", len(r.Norms), len(r.Scores), len(r.Weights))
			for _, s := range r.Scores {
				t.Logf("score %v inner %s batch %v scales %+v", s.Node, s.Inner, s.Batch, s.Scales)
			}
		})
	}
}
