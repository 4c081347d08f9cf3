package blocks

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// growths are ways to deepen a stage of n layers.
func growths(n int) map[string][]Layer {
	old := make([]Layer, n)
	for i := range old {
		old[i].Source = i
	}
	fresh := func(src ...int) []Layer {
		var ls []Layer
		for _, s := range src {
			ls = append(ls, Layer{s, true})
		}
		return ls
	}
	var each []Layer
	for i := range old {
		each = append(each, old[i], Layer{i, true})
	}
	return map[string][]Layer{
		"each twice":   each,
		"one more":     slices.Insert(slices.Clone(old), 1, fresh(0)...),
		"three at end": append(slices.Clone(old), fresh(n-1, 0, n-1)...),
		"from others":  slices.Insert(slices.Clone(old), 1, fresh(n-1, 0)...),
	}
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

// TestSilentLayers deepens every model in several ways with inert layers and compares all outputs in float64.
func TestSilentLayers(t *testing.T) {
	dir := fixtures.TestData(t)
	paths, _ := filepath.Glob(filepath.Join(dir, "models", "*", "*", "model.onnx"))
	for _, p := range paths {
		name := filepath.Base(filepath.Dir(p))
		t.Run(name, func(t *testing.T) {
			r := inferred(t, p)
			checkGrowths(t, r, storedInputs(t, r.Graph, filepath.Dir(p)))
		})
	}
}

func checkGrowths(t *testing.T, r *axes.Result, in map[string]*onnxio.Tensor) {
	t.Helper()
	s, err := Find(r)
	if err != nil {
		t.Fatal(err)
	}
	want := run(t, r.Graph, in)
	sizes := map[string]int{}
	for _, v := range r.Graph.Inputs {
		sizes[v.Name] = 1
	}
	for how := range growths(2) {
		layers := make([][]Layer, len(s.Stages))
		post := false
		for i, st := range s.Stages {
			if st.Why == "" {
				layers[i] = growths(len(st.Blocks))[how]
			}
			post = post || st.PostNorm
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
		got := run(t, d.Graph, inputs)
		tol := 1e-9
		if post {
			tol = 1e-4 // a norm of a norm differs by its epsilon
		}
		for name, w := range want {
			if diff := difference(w, got[name]); !(diff <= tol) {
				t.Errorf("%s: output %q differs by %g", how, name, diff)
			} else {
				t.Logf("%s: %s %.1e", how, name, diff)
			}
		}
		path := filepath.Join(t.TempDir(), "deep.onnx")
		m, err := d.Graph.ToModel()
		if err != nil {
			t.Fatal(err)
		}
		if err := onnxio.Write(context.Background(), m, path, onnxio.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		again := inferred(t, path)
		s2, err := Find(again)
		if err != nil {
			t.Fatal(err)
		}
		for i, st := range s2.Stages {
			if i < len(layers) && layers[i] != nil && len(st.Blocks) != len(layers[i]) {
				t.Errorf("%s: stage %d of the deepened model has %d layers, want %d", how, i, len(st.Blocks), len(layers[i]))
			}
		}
		if os.Getenv("LIGOONNX_PYTHON") != "" {
			ort := fixtures.ORT(t, path, inputs)
			for name, w := range want {
				g, err := ort[name].Float64s()
				if err != nil {
					t.Fatal(err)
				}
				if diff := difference(w, g); !(diff <= 1e-4) {
					t.Errorf("%s: ONNX Runtime's output %q differs by %g", how, name, diff)
				}
			}
		}
		if how == "from others" && strings.Contains(t.Name(), os.Getenv("SHOW")) && os.Getenv("SHOW") != "" {
			for _, c := range d.Graph.Consts {
				t.Log(c.Name, " <- ", d.Values[c].Name, " origin ", c.Origin)
			}
			for _, n := range d.Graph.Nodes {
				t.Log(n)
			}
			for _, v := range d.Graph.Inputs {
				t.Log("in ", v.Name)
			}
			for _, v := range d.Graph.Outputs {
				t.Log("out ", v.Name)
			}
		}
	}
}
