package blocks

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// silence makes the new layers of a deepened graph inert, as the documentation of Stage says.
func silence(t *testing.T, s *Structure, d *Deep, layers [][]Layer) {
	t.Helper()
	fill := func(v *graph.Value, x float64) {
		data := make([]float64, v.Const.NumElements())
		for i := range data {
			data[i] = x
		}
		c, err := onnxio.FromFloats(v.Name, v.Const.DType, v.Const.Dims, data)
		if err != nil {
			t.Fatal(err)
		}
		v.Const = c
	}
	for i, st := range s.Stages {
		at := func(layer int, m *Module) *graph.Value { return d.Consts[i][layer][slices.Index(st.Modules, m)] }
		each := func(norms []StreamNorm, f func(m *Module, neutral float64)) {
			for _, n := range norms {
				if n.Gain != nil {
					f(n.Gain, 1)
				}
				if n.Bias != nil {
					f(n.Bias, 0)
				}
			}
		}
		for k, l := range layers[i] {
			if !l.New {
				continue
			}
			take := func(m *Module, _ float64) { at(k, m).Const = at(k-1, m).Const }
			for _, m := range st.Zero {
				fill(at(k, m), 0)
			}
			each(st.Trail, take)
			if n := len(st.Shift); n > 0 {
				each(st.Shift[n-1:], take)
				each(st.Shift[n-1:], func(m *Module, x float64) { fill(at(k-1, m), x) })
				each(st.Shift[:n-1], func(m *Module, x float64) { fill(at(k, m), x) })
			}
			for _, m := range st.Late {
				take(m, 0)
			}
			for _, m := range st.LateZero {
				fill(at(k-1, m), 0)
			}
		}
	}
}

// growths are ways to deepen a stage, the one that a short test takes first.
var growths = []struct {
	name   string
	layers func(n int) []Layer
}{
	{"each twice", func(n int) []Layer {
		var ls []Layer
		for i := range n {
			ls = append(ls, Layer{i, false}, Layer{i, true})
		}
		return ls
	}},
	{"one more", func(n int) []Layer { return slices.Insert(kept(n), 1, Layer{0, true}) }},
	{"three at the end", func(n int) []Layer { return append(kept(n), Layer{n - 1, true}, Layer{0, true}, Layer{n - 1, true}) }},
	{"from others", func(n int) []Layer { return slices.Insert(kept(n), 1, Layer{n - 1, true}, Layer{0, true}) }},
}

func kept(n int) []Layer {
	ls := make([]Layer, n)
	for i := range ls {
		ls[i].Source = i
	}
	return ls
}

func run(t *testing.T, g *graph.Graph, in map[string]*onnxio.Tensor) map[string][]float64 {
	t.Helper()
	e, err := engine.New(g, engine.Options{Float64: true})
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	res := map[string][]float64{}
	for name, x := range out {
		if x.DType.Growable() {
			if res[name], err = x.Float64s(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return res
}

// difference is the largest |a - b|, relative to the largest |a|.
func difference(a, b []float64) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	worst, size := 0.0, 1e-30
	for i := range a {
		worst, size = max(worst, math.Abs(a[i]-b[i])), max(size, math.Abs(a[i]))
	}
	return worst / size
}

func storedInputs(t *testing.T, g *graph.Graph, dir string) map[string]*onnxio.Tensor {
	t.Helper()
	in := map[string]*onnxio.Tensor{}
	for i, v := range g.Inputs {
		x, err := onnxio.ReadTensorFile(filepath.Join(dir, "test_data_set_0", fmt.Sprintf("input_%d.pb", i)))
		if err != nil {
			t.Fatal(err)
		}
		in[v.Name] = x
	}
	return in
}

// TestSilentLayers deepens every model of the zoo in several ways with inert layers and compares all outputs in float64.
func TestSilentLayers(t *testing.T) {
	for _, p := range zoo(t) {
		t.Run(filepath.Base(filepath.Dir(p)), func(t *testing.T) {
			r := inferred(t, read(t, p))
			checkGrowths(t, r, storedInputs(t, r.Graph, filepath.Dir(p)))
		})
	}
}

// checkGrowths deepens every stage of a model with inert layers and checks that the outputs stay, that the file form is found to
// have the layers that it should, and, where there is one, that ONNX Runtime agrees.
func checkGrowths(t *testing.T, r *axes.Result, in map[string]*onnxio.Tensor) {
	t.Helper()
	s := found(t, r)
	want := run(t, r.Graph, in)
	for k, growth := range growths {
		if k > 0 && testing.Short() {
			return
		}
		how, tol := growth.name, 1e-9
		layers := make([][]Layer, len(s.Stages))
		for i, st := range s.Stages {
			layers[i] = growth.layers(len(st.Blocks))
			if st.PostNorm {
				tol = 1e-4 // a norm of a norm differs by its epsilon
			}
		}
		d, err := Deepen(r.Graph, s, layers)
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if err := d.Graph.Validate(); err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		silence(t, s, d, layers)
		inputs := map[string]*onnxio.Tensor{}
		for _, v := range d.Graph.Inputs {
			inputs[v.Name] = in[d.Values[v].Name] // a new cache gets its source's contents
		}
		compare(t, how, want, run(t, d.Graph, inputs), tol)

		m, err := d.Graph.ToModel()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "deep.onnx")
		if err := onnxio.Write(context.Background(), m, path, onnxio.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		again := layersOf(found(t, inferred(t, read(t, path))))
		for i, n := range again {
			if n != len(layers[i]) {
				t.Errorf("%s: stage %d of the deepened model has %d layers, want %d", how, i, n, len(layers[i]))
			}
		}
		if os.Getenv("LIGOONNX_PYTHON") != "" { // the whole zoo takes long: only where Python is asked for
			ort := map[string][]float64{}
			for name, x := range fixtures.ORT(t, path, inputs) {
				if x.DType.Growable() {
					if ort[name], err = x.Float64s(); err != nil {
						t.Fatal(err)
					}
				}
			}
			compare(t, how+" in ONNX Runtime", want, ort, 1e-4)
		}
	}
}

func compare(t *testing.T, how string, want, got map[string][]float64, tol float64) {
	t.Helper()
	for name, w := range want {
		if diff := difference(w, got[name]); !(diff <= tol) {
			t.Errorf("%s: output %q differs by %g", how, name, diff)
		}
	}
}
