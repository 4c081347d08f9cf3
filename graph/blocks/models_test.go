package blocks

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func inferred(t testing.TB, m *onnxio.Model) *axes.Result {
	t.Helper()
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	return infer(t, g)
}

func infer(t testing.TB, g *graph.Graph) *axes.Result {
	t.Helper()
	r, err := axes.Infer(context.Background(), g, axes.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t testing.TB, path string) *onnxio.Model {
	t.Helper()
	m, err := onnxio.Read(path, onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func found(t testing.TB, r *axes.Result) *Structure {
	t.Helper()
	s, err := Find(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// layersOf lists the number of layers of each stage.
func layersOf(s *Structure) []int {
	var out []int
	for _, st := range s.Stages {
		out = append(out, len(st.Blocks))
	}
	return out
}

// zooLayers is how many layers the exported model of that name was made with, by stage.
func zooLayers(t *testing.T, name string) []int {
	t.Helper()
	for prefix, layers := range map[string][]int{
		"CCT_": {2}, "bert_toy": {5}, "genai_tiny_gpt2": {5}, "gpt2_pt14": {12}, "optimum_distilbert": {2}, "tfbert_mrpc": {12},
		"bert_mlm_shakespeare": {3}, "gpt2_shakespeare": {3}, "vit_mnist": {3},
	} {
		if strings.HasPrefix(name, prefix) {
			return layers
		}
	}
	parts := strings.Split(name, "_")
	layers := []int{map[string]int{"s": 2, "b": 4, "hd": 3}[parts[1]]}
	if parts[0] == "cait" {
		layers = append(layers, 2)
	}
	return layers
}

func zoo(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(fixtures.TestData(t), "models", "*", "*", "model.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no models: %v", err)
	}
	return paths
}

func TestLayersOfTheZoo(t *testing.T) {
	for _, p := range zoo(t) {
		name := filepath.Base(filepath.Dir(p))
		t.Run(name, func(t *testing.T) {
			r := inferred(t, read(t, p))
			s := found(t, r)
			if got, want := layersOf(s), zooLayers(t, name); !slices.Equal(got, want) {
				t.Fatalf("layers %v, want %v", got, want)
			}
			post := strings.HasPrefix(name, "bert") || strings.Contains(name, "distilbert") || strings.HasPrefix(name, "tfbert") || strings.HasPrefix(name, "CCT")
			for _, st := range s.Stages {
				checkStage(t, st, post)
			}
		})
	}
}

// checkStage checks what holds for every stage of a model that can be deepened.
func checkStage(t *testing.T, st *Stage, post bool) {
	t.Helper()
	if st.Why != "" {
		t.Errorf("cannot be deepened: %s", st.Why)
	}
	if st.PostNorm != post {
		t.Errorf("post-norm %v, want %v", st.PostNorm, post)
	}
	if len(st.Zero) == 0 {
		t.Error("nothing silences a layer")
	}
	if post != (len(st.Shift) > 0) {
		t.Errorf("%d norms on the stream", len(st.Shift))
	}
	seen := map[*graph.Node]int{}
	for i, b := range st.Blocks {
		if i > 0 && b.In[0] != st.Blocks[i-1].Out[0] {
			t.Errorf("block %d does not start where block %d ends", i, i-1)
		}
		for _, n := range b.Nodes {
			if j, taken := seen[n]; taken {
				t.Errorf("node %s is in blocks %d and %d", n, j, i)
			}
			seen[n] = i
		}
	}
	taken := map[string]bool{}
	for _, m := range st.Modules {
		if taken[m.Name] || len(m.Consts) != len(st.Blocks) {
			t.Errorf("module %q: %d constants", m.Name, len(m.Consts))
		}
		taken[m.Name] = true
		for i, c := range m.Consts {
			if j, ok := seen[c.Uses[0].Node]; !ok || j != i {
				t.Errorf("module %q: constant %q is not block %d's", m.Name, c.Name, i)
			}
		}
	}
}

// TestBuiltModels are the cases that the zoo lacks.
func TestBuiltModels(t *testing.T) {
	for _, c := range []struct {
		name   string
		model  *onnxio.Model
		layers []int
		post   bool
	}{
		{"gpt2 with cache", fixtures.GPT2(fixtures.Config{Layers: 3, Cache: true}), []int{3}, false},
		{"gpt1", fixtures.GPT2(fixtures.Config{Layers: 3, PostNorm: true}), []int{3}, true},
		{"gpt2 merged tensors", fixtures.GPT2(fixtures.Config{DefaultInit: true}), []int{2}, false},
		{"llama with cache", fixtures.Llama(fixtures.Config{Layers: 4, KVHeads: 1, Cache: true}), []int{4}, false},
		{"llama qk-norm", fixtures.Llama(fixtures.Config{Layers: 3, QKNorm: true}), []int{3}, false},
		{"llama computed rotary", fixtures.Llama(fixtures.Config{RotaryComputed: true}), []int{2}, false},
		{"bert, other embedding width", fixtures.BERT(fixtures.Config{Layers: 3, Embedding: 16}), []int{3}, true},
		{"bert merged tensors", fixtures.BERT(fixtures.Config{Layers: 3, DefaultInit: true}), []int{3}, true},
		{"cait", fixtures.CaiT(fixtures.Config{Layers: 5, ClassLayers: 3, DefaultInit: true}), []int{5, 3}, false},
		{"deit", fixtures.ViT(fixtures.Config{Layers: 4, Distilled: true, Unfolded: true}), []int{4}, false},
		{"two widths", fixtures.TwoWidths(fixtures.Config{Layers: 2}, fixtures.Config{Layers: 3, Hidden: 48, Heads: 3}), []int{2, 3}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := inferred(t, c.model)
			s := found(t, r)
			if got := layersOf(s); !slices.Equal(got, c.layers) {
				t.Fatalf("layers %v, want %v", got, c.layers)
			}
			for _, st := range s.Stages {
				checkStage(t, st, c.post)
			}
			checkGrowths(t, r, fixtures.Inputs(c.model, 1, map[string]int{"sequence": 5, "past_sequence": 3, "total_sequence": 8}))
		})
	}
}

// TestCachesOfNewLayers compares the signature with that of a deeper model.
func TestCachesOfNewLayers(t *testing.T) {
	r := inferred(t, fixtures.GPT2(fixtures.Config{Layers: 2, Cache: true}))
	want := inferred(t, fixtures.GPT2(fixtures.Config{Layers: 4, Cache: true})).Graph
	s := found(t, r)
	d, err := Deepen(r.Graph, s, [][]Layer{{{0, false}, {0, true}, {1, false}, {1, true}}})
	if err != nil {
		t.Fatal(err)
	}
	names := func(vs []*graph.Value) string {
		var out []string
		for _, v := range vs {
			out = append(out, v.Name)
		}
		return strings.Join(out, " ")
	}
	if got, want := names(d.Graph.Inputs), names(want.Inputs); got != want {
		t.Errorf("inputs\n%s, want\n%s", got, want)
	}
	if got, want := names(d.Graph.Outputs), names(want.Outputs); got != want {
		t.Errorf("outputs\n%s, want\n%s", got, want)
	}
	for _, v := range slices.Concat(d.Graph.Inputs, d.Graph.Outputs) {
		if v.Type == nil || fmt.Sprint(v.Type.Dims) != fmt.Sprint(want.Value(v.Name).Type.Dims) {
			t.Errorf("%s: type %+v", v.Name, v.Type)
		}
	}
	// Every parameter of the deeper model has its name here.
	for _, c := range want.Consts {
		named := c.FromNode == nil && !strings.HasPrefix(c.Name, "onnx::")
		if named && c.Const.DType == onnxio.Float && c.Const.NumElements() > 1 && d.Graph.Value(c.Name) == nil {
			t.Errorf("no constant is named %q", c.Name)
		}
	}
}

// TestLayersGo removes layers and checks that the rest is a model with these layers alone.
func TestLayersGo(t *testing.T) {
	m := fixtures.GPT2(fixtures.Config{Layers: 4, Cache: true})
	r := inferred(t, m)
	s := found(t, r)
	d, err := Deepen(r.Graph, s, [][]Layer{{{1, false}, {3, true}, {2, false}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Graph.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := layersOf(found(t, infer(t, d.Graph))); !slices.Equal(got, []int{3}) {
		t.Errorf("layers %v, want 3", got)
	}
	in := map[string]*onnxio.Tensor{}
	all := fixtures.Inputs(m, 1, nil)
	for _, v := range d.Graph.Inputs {
		in[v.Name] = all[d.Values[v].Name]
	}
	// Four caches go, two come, and one stays without its layer: all layers read the length of the past from it.
	if len(in) != len(all)-1 || in["past_key_values.0.key"] == nil {
		t.Errorf("%d inputs, want %d", len(in), len(all)-1)
	}
	run(t, d.Graph, in)
}

func TestDeepenRefuses(t *testing.T) {
	r := inferred(t, fixtures.GPT2(fixtures.Config{}))
	s := found(t, r)
	for want, layers := range map[string][][]Layer{
		"layers for 0 stages":            {},
		"no layers are left":             {{}},
		"made from layer 2 of 2":         {{{2, true}}},
		"keeps layer 0 after layer 1":    {{{1, false}, {0, false}}},
		"keeps layer 1 after layer 1":    {{{0, false}, {1, false}, {1, false}}},
		"layers for 2 stages, the model": {nil, nil},
	} {
		_, err := Deepen(r.Graph, s, layers)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %q", layers, err, want)
		}
	}
}

func TestDeepModelsAreFast(t *testing.T) {
	r := inferred(t, fixtures.GPT2(fixtures.Config{Layers: 48}))
	start := time.Now()
	s := found(t, r)
	if got := layersOf(s); !slices.Equal(got, []int{48}) {
		t.Fatalf("layers %v", got)
	}
	took := time.Since(start)
	t.Logf("%d nodes: %v", len(r.Graph.Nodes), took)
	if took > 3*time.Second { // far from the 50 ms it takes, for machines under load
		t.Errorf("%d nodes took %v", len(r.Graph.Nodes), took)
	}
	if _, err := Deepen(r.Graph, s, [][]Layer{growths[0].layers(48)}); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkFind(b *testing.B) {
	r := inferred(b, fixtures.GPT2(fixtures.Config{Layers: 24}))
	b.ReportMetric(float64(len(r.Graph.Nodes)), "nodes")
	for b.Loop() {
		found(b, r)
	}
}

func BenchmarkDeepen(b *testing.B) {
	r := inferred(b, fixtures.GPT2(fixtures.Config{Layers: 24}))
	s := found(b, r)
	for b.Loop() {
		if _, err := Deepen(r.Graph, s, [][]Layer{growths[0].layers(24)}); err != nil {
			b.Fatal(err)
		}
	}
}
