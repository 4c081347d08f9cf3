package graph_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// models lists the model files of the repository, of the test data and of Debian's libonnx-testdata, as far as present.
func models(t *testing.T) []string {
	t.Helper()
	var out []string
	patterns := []string{"../fixtures/models/*/model.onnx", "/usr/share/libonnx-testdata/data/*/*/model.onnx"}
	if dir := os.Getenv("LIGOONNX_TESTDATA"); dir != "" {
		patterns = append(patterns, filepath.Join(dir, "models/*/*/model.onnx"))
	} else {
		t.Log("LIGOONNX_TESTDATA is not set: its models are not tested")
	}
	for _, p := range patterns {
		m, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(m) == 0 {
			t.Logf("no models at %s", p)
		}
		out = append(out, m...)
	}
	return out
}

func read(t *testing.T, path string) *onnxio.Model {
	t.Helper()
	m, err := onnxio.Read(path, onnxio.ReadOptions{})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func encode(t *testing.T, m *onnxio.Model) []byte {
	t.Helper()
	b, err := onnxio.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRoundTrip links every model and writes it again. A sorted model whose value infos are in node order comes out byte for
// byte; any other settles: linking what was written gives the same bytes.
func TestRoundTrip(t *testing.T) {
	same, all := 0, 0
	for _, path := range models(t) {
		m := read(t, path)
		g, err := graph.FromModel(m)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := g.Validate(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		out, err := g.ToModel()
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		all++
		first := encode(t, out)
		if bytes.Equal(first, encode(t, m)) {
			same++
		}
		back, err := onnxio.Decode(first, onnxio.ReadOptions{})
		if err != nil {
			t.Errorf("%s: written again: %v", path, err)
			continue
		}
		h, err := graph.FromModel(back)
		if err != nil {
			t.Errorf("%s: written again: %v", path, err)
			continue
		}
		again, err := h.ToModel()
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if !bytes.Equal(first, encode(t, again)) {
			t.Errorf("%s: does not settle", path)
		}
	}
	t.Logf("%d of %d models byte for byte", same, all)
	if same*10 < all*9 {
		t.Errorf("only %d of %d models are unchanged", same, all)
	}
}

// TestNormalize checks that normalising keeps a graph valid, gives every constant one use, and that the written form merges the
// copies again: as many initializers as aliases separated, and never two for one origin that hold the same data.
func TestNormalize(t *testing.T) {
	for _, path := range models(t) {
		m := read(t, path)
		g, err := graph.FromModel(m)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := g.Normalize(); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := g.Validate(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, c := range g.Consts {
			if len(c.Uses) > 1 && !c.Captured() {
				t.Errorf("%s: constant %s has %d uses", path, c.Name, len(c.Uses))
			}
		}
		c := g.Clone()
		if err := c.Validate(); err != nil {
			t.Errorf("%s: clone: %v", path, err)
		}
		out, err := c.ToModel()
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if n, was := len(out.Graph.Initializers), len(m.Graph.Initializers); n > was+aliases(m.Graph) {
			t.Errorf("%s: %d initializers became %d", path, was, n)
		}
		back, err := onnxio.Decode(encode(t, out), onnxio.ReadOptions{})
		if err != nil {
			t.Errorf("%s: normalised: %v", path, err)
			continue
		}
		if _, err := graph.FromModel(back); err != nil {
			t.Errorf("%s: normalised: %v", path, err)
		}
	}
}

func aliases(g *onnxio.Graph) int {
	n := 0
	for _, node := range g.Nodes {
		if node.OpType == "Identity" {
			n++
		}
	}
	return n
}
