package cli_test

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// zoo lists the model folders below $LIGOONNX_TESTDATA.
func zoo(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(fixtures.TestData(t), "models", "*", "*", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("LIGOONNX_TESTDATA has no models")
	}
	for i, f := range found {
		found[i] = filepath.Dir(f)
	}
	return found
}

// Every model of the zoo gives the outputs that came with it: PyTorch's, or ONNX Runtime's for files of other projects.
func TestRunGivesTheStoredOutputs(t *testing.T) {
	for i, dir := range zoo(t) {
		if testing.Short() && i%8 != 0 {
			continue
		}
		t.Run(modelName(dir), func(t *testing.T) {
			ok(t, "run", filepath.Join(dir, "model.onnx"), "--inputs", filepath.Join(dir, "test_data_set_0"), "--expect")
		})
	}
}

// What run saves is what ONNX Runtime computes from the same file and inputs.
func TestRunGivesONNXRuntimesOutputs(t *testing.T) {
	dirs := zoo(t)
	fixtures.Python(t)
	for i, dir := range dirs {
		if testing.Short() && i%8 != 0 {
			continue
		}
		t.Run(modelName(dir), func(t *testing.T) {
			model, set := filepath.Join(dir, "model.onnx"), filepath.Join(dir, "test_data_set_0")
			saved := filepath.Join(t.TempDir(), "outputs.npz")
			ok(t, "run", model, "--inputs", set, "-o", saved)
			got, err := dataset.ReadNPZ(context.Background(), saved)
			if err != nil {
				t.Fatal(err)
			}
			want := fixtures.ORT(t, model, inputsOf(t, model, set))
			if len(want) == 0 || len(got) != len(want) {
				t.Fatalf("%d outputs were saved, ONNX Runtime gives %d", len(got), len(want))
			}
			for name, w := range want {
				if g := got[name]; g == nil {
					t.Errorf("output %q was not saved", name)
				} else {
					near(t, name, g, w)
				}
			}
		})
	}
}

func modelName(dir string) string { return filepath.Base(filepath.Dir(dir)) + "/" + filepath.Base(dir) }

// inputsOf reads a test_data_set folder.
func inputsOf(t *testing.T, model, set string) map[string]*onnxio.Tensor {
	t.Helper()
	m, err := onnxio.Read(model, onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	sets, err := dataset.Load(context.Background(), []string{set}, dataset.Signature{Inputs: m.Graph.Inputs, Outputs: m.Graph.Outputs})
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) != 1 {
		t.Fatalf("%s has %d sets", set, len(sets))
	}
	return sets[0].Inputs
}

// near compares with the tolerances that run --expect has.
func near(t *testing.T, name string, got, want *onnxio.Tensor) {
	t.Helper()
	if !slices.Equal(got.Dims, want.Dims) {
		t.Errorf("output %q has shape %v, want %v", name, got.Dims, want.Dims)
		return
	}
	g, err := got.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	w, err := want.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	for i := range w {
		if same := g[i] == w[i] || math.IsNaN(g[i]) && math.IsNaN(w[i]); !same && !(math.Abs(g[i]-w[i]) <= 1e-5+1e-4*math.Abs(w[i])) {
			t.Errorf("output %q: element %d is %g, want %g", name, i, g[i], w[i])
			return
		}
	}
}
