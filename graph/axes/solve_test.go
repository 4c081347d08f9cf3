package axes

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// doubled gives every width twice its size, head sizes apart: the growth that every family takes exactly.
func doubled(r *Result) Sizes {
	z := Sizes{}
	for _, a := range r.Atoms {
		if a.Growable() && a.Role != RoleHeadDim && !(a.Role == RoleHeads && a.Groups != nil) {
			z[a] = 2 * a.Size
		}
	}
	return z
}

// TestSolveDoubled solves the integers of every model of the test data for doubled widths.
func TestSolveDoubled(t *testing.T) {
	dir := os.Getenv("LIGOONNX_TESTDATA")
	if dir == "" {
		t.Skip("LIGOONNX_TESTDATA is not set: the exporters' models are not tested")
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "models", "*", "*", "model.onnx"))
	for _, p := range paths {
		t.Run(filepath.Base(filepath.Dir(p)), func(t *testing.T) {
			r, err := Infer(context.Background(), load(t, p), Options{})
			if err != nil {
				t.Fatal(err)
			}
			e, probs := r.Solve(doubled(r))
			for _, q := range probs {
				t.Errorf("%s: %s", q.Code, q.Text)
			}
			if e != nil {
				t.Logf("%d constants, %d nodes with attributes, %d types", len(e.Consts), len(e.Attrs), len(e.Types))
			}
		})
	}
}
