package engine

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// tolerance is numpy's: |got - want| <= abs + rel |want|.
type tolerance struct{ rel, abs float64 }

// compare reports the first and the worst difference of two tensors; equal NaNs and infinities agree.
func compare(got, want *onnxio.Tensor, tol tolerance) error {
	if fmt.Sprint(got.Dims) != fmt.Sprint(want.Dims) {
		return fmt.Errorf("shape %v, want %v", got.Dims, want.Dims)
	}
	if got.DType != want.DType {
		return fmt.Errorf("type %v, want %v", got.DType, want.DType)
	}
	g, err := got.Float64s()
	if err != nil {
		return err
	}
	w, err := want.Float64s()
	if err != nil {
		return err
	}
	if !want.DType.Growable() {
		tol = tolerance{}
	}
	bad, worst, at := 0, 0.0, 0
	for i := range w {
		if g[i] == w[i] || math.IsNaN(g[i]) && math.IsNaN(w[i]) {
			continue
		}
		d := math.Abs(g[i] - w[i])
		if !(d <= tol.abs+tol.rel*math.Abs(w[i])) {
			bad++
			if !(d <= worst) {
				worst, at = d, i
			}
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d elements differ, worst at %d: %g, want %g", bad, len(w), at, g[at], w[at])
	}
	return nil
}

// loadCase reads a folder with model.onnx and test_data_set_0.
func loadCase(t testing.TB, dir string) (*graph.Graph, map[string]*onnxio.Tensor, []*onnxio.Tensor) {
	t.Helper()
	m, err := onnxio.Read(filepath.Join(dir, "model.onnx"), onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	in, want := loadData(t, g, filepath.Join(dir, "test_data_set_0"))
	return g, in, want
}

func loadData(t testing.TB, g *graph.Graph, dir string) (map[string]*onnxio.Tensor, []*onnxio.Tensor) {
	t.Helper()
	in := map[string]*onnxio.Tensor{}
	for i, v := range g.Inputs {
		x, err := onnxio.ReadTensorFile(filepath.Join(dir, fmt.Sprintf("input_%d.pb", i)))
		if err != nil {
			t.Fatal(err)
		}
		in[v.Name] = x
	}
	var want []*onnxio.Tensor
	for i := range g.Outputs {
		x, err := onnxio.ReadTensorFile(filepath.Join(dir, fmt.Sprintf("output_%d.pb", i)))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, x)
	}
	return in, want
}

// testModels lists the model folders below $LIGOONNX_TESTDATA.
func testModels(t testing.TB) []string {
	root := os.Getenv("LIGOONNX_TESTDATA")
	if root == "" {
		t.Skip("LIGOONNX_TESTDATA is not set: the exported test models are not checked")
	}
	var dirs []string
	for _, kind := range []string{"plain", "trained", "thirdparty", "extdata"} {
		found, err := filepath.Glob(filepath.Join(root, "models", kind, "*", "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	if len(dirs) == 0 {
		t.Fatalf("no models below %s", root)
	}
	return dirs
}

// Every exported model reproduces the outputs that PyTorch or ONNX Runtime gave; the float64 run agrees with the float32 run to
// rounding; and one thread and two give the same bits.
func TestModels(t *testing.T) {
	for i, dir := range testModels(t) {
		if testing.Short() && i%8 != 0 {
			continue
		}
		t.Run(filepath.Base(filepath.Dir(dir))+"/"+filepath.Base(dir), func(t *testing.T) {
			g, in, want := loadCase(t, dir)
			run := func(o Options) map[string]*onnxio.Tensor {
				e, err := New(g, o)
				if err != nil {
					t.Fatal(err)
				}
				out, err := e.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			one, two, wide := run(Options{Threads: 1}), run(Options{Threads: 2}), run(Options{Float64: true})
			for i, v := range g.Outputs {
				if err := compare(one[v.Name], want[i], tolerance{1e-4, 1e-5}); err != nil {
					t.Errorf("output %q: %v", v.Name, err)
				}
				if same, err := one[v.Name].Equal(two[v.Name]); err != nil || !same {
					t.Errorf("output %q depends on the number of threads (%v)", v.Name, err)
				}
				f, err := wide[v.Name].Float32s()
				if err != nil {
					t.Fatal(err)
				}
				if err := compare(onnxio.FromFloat32s("", wide[v.Name].Dims, f), one[v.Name], tolerance{1e-4, 1e-5}); err != nil {
					t.Errorf("output %q in float64: %v", v.Name, err)
				}
			}
		})
	}
}
