package blocks

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func inferred(t *testing.T, path string) *axes.Result {
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
	r, err := axes.Infer(context.Background(), g, axes.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestModels(t *testing.T) {
	dir := os.Getenv("LIGOONNX_TESTDATA")
	if dir == "" {
		t.Skip("LIGOONNX_TESTDATA is not set: the exporters' models are not tested")
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "models", "*", "*", "model.onnx"))
	for _, p := range paths {
		t.Run(filepath.Base(filepath.Dir(p)), func(t *testing.T) {
			r := inferred(t, p)
			start := time.Now()
			s, err := Find(r)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d nodes %v", len(r.Graph.Nodes), time.Since(start))
			for _, st := range s.Stages {
				t.Logf("layers %d nodes/block %d post %v modules %d zero %s shift %d trail %d numbering %v io %d/%d why %q", len(st.Blocks), len(st.Blocks[0].Nodes), st.PostNorm, len(st.Modules), names(st.Zero), len(st.Shift), len(st.Trail), st.numbering, len(st.Blocks[0].Inputs), len(st.Blocks[0].Outputs), st.Why)
				t.Logf("   in %s out %s", st.Blocks[0].In[0].Name, st.Blocks[0].Out[0].Name)
			}
			if len(s.Stages) == 0 {
				t.Errorf("no stages")
			}
		})
	}
}

func names(ms []*Module) []string {
	var out []string
	for _, m := range ms {
		out = append(out, m.Name)
	}
	return out
}
