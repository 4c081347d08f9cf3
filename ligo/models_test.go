package ligo_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func read(t testing.TB, path string) *onnxio.Model {
	t.Helper()
	m, err := onnxio.Read(path, onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// stored are the inputs of test_data_set_0 beside a model.
func stored(t testing.TB, g *graph.Graph, model string) map[string]*onnxio.Tensor {
	t.Helper()
	in := map[string]*onnxio.Tensor{}
	for i, v := range g.Inputs {
		x, err := onnxio.ReadTensorFile(filepath.Join(filepath.Dir(model), "test_data_set_0", fmt.Sprintf("input_%d.pb", i)))
		if err != nil {
			t.Fatal(err)
		}
		in[v.Name] = x
	}
	return in
}

// shapes is the multiset of the shapes of float constants, every use of one on its own. A weight that one export transposes, or gives
// an axis of size 1, and another does not counts as the same.
func shapes(a *ligo.Analysis, g *graph.Graph) []string {
	var out []string
	for _, v := range g.Consts {
		if v.Const.DType.Growable() && v.Const.NumElements() > 1 {
			dims := slices.DeleteFunc(slices.Clone(v.Const.Dims), func(d int64) bool { return d == 1 })
			slices.Sort(dims)
			out = append(out, fmt.Sprint(dims))
		}
	}
	slices.Sort(out)
	return out
}

// single is the tolerance of models whose weights are float32: grown weights are rounded once.
const single = 1e-5

// TestExports grows the exporters' small models to the sizes of their larger ones: the function stays, and the constants have the
// shapes that the exporter itself gives them.
func TestExports(t *testing.T) {
	root := filepath.Join(fixtures.TestData(t), "models", "plain")
	paths, err := filepath.Glob(filepath.Join(root, "*_s_*", "model.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no models below %s (%v)", root, err)
	}
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		for _, size := range []string{"b", "hd"} {
			t.Run(name+"/"+size, func(t *testing.T) {
				large := strings.Replace(strings.TrimSuffix(strings.TrimSuffix(name, "_nofold"), "_static"), "_s_", "_"+size+"_", 1)
				like := analyse(t, read(t, filepath.Join(root, large, "model.onnx")))
				a := analyse(t, read(t, path))
				p, g := grow(t, a, ligo.Target{Like: like}, ligo.Options{Seed: 3})
				d := difference(t, a.Graph, g, stored(t, a.Graph, path))
				t.Logf("%s -> %s: %s, off %.2g", p.From, p.To, p.Promise, d)
				for _, r := range p.Reasons {
					t.Logf("  %s: %s (%s %s)", r.Code, r.Text, r.Node, r.Tensor)
				}
				for _, r := range p.Notes {
					t.Logf("  note %s: %s", r.Code, r.Text)
				}
				if p.Promise == ligo.Exact && d > single {
					t.Errorf("promised exact, off %g", d)
				}
				if strings.HasSuffix(name, "_static") {
					return // tables that the dynamic export computes are constants here
				}
				if got, want := shapes(a, g.Graph), shapes(like, like.Axes.Graph); !slices.Equal(got, want) {
					t.Errorf("constants have shapes\n%v, the exporter's\n%v", got, want)
				}
				if strings.HasSuffix(name, "_nofold") {
					return
				}
				if err := sameGraph(g.Graph, like.Axes.Graph); err != nil {
					t.Errorf("not the exporter's graph: %v", err)
				}
			})
		}
	}
}

// TestDefaultTarget doubles everything that the test data holds.
func TestDefaultTarget(t *testing.T) {
	root := filepath.Join(fixtures.TestData(t), "models")
	for _, kind := range []string{"plain", "trained", "thirdparty", "extdata"} {
		paths, err := filepath.Glob(filepath.Join(root, kind, "*", "model.onnx"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no models below %s (%v)", root, err)
		}
		for _, path := range paths {
			t.Run(kind+"/"+filepath.Base(filepath.Dir(path)), func(t *testing.T) {
				a := analyse(t, read(t, path))
				p, g := grow(t, a, ligo.Target{}, ligo.Options{})
				d := difference(t, a.Graph, g, stored(t, a.Graph, path))
				t.Logf("%s -> %s: %s, off %.2g", p.From, p.To, p.Promise, d)
				for _, r := range p.Reasons {
					t.Logf("  %s: %s (%s %s)", r.Code, r.Text, r.Node, r.Tensor)
				}
				for _, r := range p.Notes {
					t.Logf("  note %s: %s", r.Code, r.Text)
				}
				if p.Promise == ligo.Exact && d > single {
					t.Errorf("promised exact, off %g", d)
				}
			})
		}
	}
}
