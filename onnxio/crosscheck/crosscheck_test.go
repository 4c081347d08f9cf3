package crosscheck

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

func tree(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) == ".onnx" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		t.Skipf("NO MODELS in %s: %v", dir, err)
	}
	return paths
}

func compareAll(t *testing.T, paths []string, atLeast float64) {
	decoded, nodes, tensors := 0, 0, 0
	for _, path := range paths {
		m, err := onnxio.Read(path, onnxio.ReadOptions{})
		if err != nil {
			t.Error(err)
			continue
		}
		r, err := Compare(m)
		m.Close()
		switch {
		case err != nil:
			t.Errorf("%s: %v", path, err)
		case len(r.Differences) > 0:
			t.Errorf("%s: %s", path, strings.Join(r.Differences, "; "))
		case !r.Decoded && r.Why == "":
			t.Errorf("%s: not decoded for no reason", path)
		case r.Decoded:
			decoded++
			nodes += r.Nodes
			tensors += r.Tensors
		default:
			if testing.Verbose() && strings.Contains(r.Why, "second reader p") {
				t.Logf("%s: %s", path, r.Why)
			}
		}
	}
	t.Logf("the second reader agrees on %d of %d models, %d nodes, %d tensors", decoded, len(paths), nodes, tensors)
	if float64(decoded) < atLeast*float64(len(paths)) {
		t.Errorf("only %d of %d models could be decoded", decoded, len(paths))
	}
}

func TestStandardModels(t *testing.T) {
	compareAll(t, tree(t, "/usr/share/libonnx-testdata/data"), 0.8)
}

func TestExportedModels(t *testing.T) {
	dir := os.Getenv("LIGOONNX_TESTDATA")
	if dir == "" {
		t.Skip("LIGOONNX_TESTDATA is not set: exported models are not tested")
	}
	compareAll(t, tree(t, filepath.Join(dir, "models")), 0.8)
}

// sample is a model of every type of tensor and attribute that both readers know.
func sample() *onnxio.Model {
	half, _ := onnxio.FromFloats("half", onnxio.Float16, []int64{3}, []float64{1, -2, 0.5})
	bytes, _ := onnxio.FromBytes("bytes", onnxio.Uint8, []int64{2, 2}, []byte{1, 2, 3, 255})
	ints32, _ := onnxio.FromBytes("ints32", onnxio.Int32, []int64{1}, []byte{0xfe, 0xff, 0xff, 0xff})
	return &onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: 17}}, Graph: &onnxio.Graph{
		Name: "g",
		Nodes: []*onnxio.Node{
			{Name: "n", OpType: "Op", Inputs: []string{"x", "", "x"}, Outputs: []string{"a", "", "b"}, Attrs: []*onnxio.Attribute{
				{Name: "f", Kind: onnxio.AttrFloat, F: 1.5}, {Name: "i", Kind: onnxio.AttrInt}, {Name: "s", Kind: onnxio.AttrString},
				{Name: "fs", Kind: onnxio.AttrFloats, Floats: []float32{1}}, {Name: "is", Kind: onnxio.AttrInts, Ints: []int64{-1, 2}},
				{Name: "ss", Kind: onnxio.AttrStrings, Strings: [][]byte{[]byte("a")}},
				{Name: "t", Kind: onnxio.AttrTensor, T: onnxio.FromBools("", []int64{3}, []bool{true, false, true})},
			}},
			{Name: "c", OpType: "Constant", Outputs: []string{"y"}},
		},
		Initializers: []*onnxio.Tensor{half, bytes, ints32, onnxio.FromFloat32s("w", []int64{2, 1}, []float32{1, 2}),
			onnxio.FromFloat64s("d", []int64{2}, []float64{1, 2}), onnxio.FromInt64s("scalar", nil, []int64{-7}),
			onnxio.FromFloat32s("one", []int64{1, 1}, []float32{3})},
		Inputs:  []*onnxio.ValueInfo{{Name: "x", Type: onnxio.TensorType(onnxio.Float, onnxio.Dim{Value: 64 << 10}, onnxio.Dim{Value: 64 << 10})}},
		Outputs: []*onnxio.ValueInfo{{Name: "y"}},
	}}
}

func TestAgreement(t *testing.T) {
	r, err := Compare(sample())
	if err != nil || !r.Decoded || r.Nodes != 2 || r.Tensors != 8 || len(r.Differences) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// The comparison must be able to fail: each change to our side alone is found.
func TestDifferencesAreFound(t *testing.T) {
	for name, change := range map[string]func(*onnxio.Graph){
		"operator": func(g *onnxio.Graph) { g.Nodes[0].OpType = "Other" },
		"inputs":   func(g *onnxio.Graph) { g.Nodes[0].Inputs = []string{"x", "x", ""} },
		"outputs":  func(g *onnxio.Graph) { g.Nodes[0].Outputs[2] = "c" },
		"node":     func(g *onnxio.Graph) { g.Nodes = g.Nodes[:1] },
		"float":    func(g *onnxio.Graph) { g.Nodes[0].Attrs[0].F = 2 },
		"int":      func(g *onnxio.Graph) { g.Nodes[0].Attrs[1].I = 2 },
		"string":   func(g *onnxio.Graph) { g.Nodes[0].Attrs[2].S = []byte("z") },
		"floats":   func(g *onnxio.Graph) { g.Nodes[0].Attrs[3].Floats = nil },
		"ints":     func(g *onnxio.Graph) { g.Nodes[0].Attrs[4].Ints = []int64{-1, 3} },
		"strings":  func(g *onnxio.Graph) { g.Nodes[0].Attrs[5].Strings = nil },
		"bools": func(g *onnxio.Graph) {
			g.Nodes[0].Attrs[6].T = onnxio.FromBools("", []int64{3}, []bool{true, true, true})
		},
		"attribute":     func(g *onnxio.Graph) { g.Nodes[0].Attrs = g.Nodes[0].Attrs[:6] },
		"attr name":     func(g *onnxio.Graph) { g.Nodes[0].Attrs[0].Name = "other" },
		"values":        func(g *onnxio.Graph) { g.Initializers[3] = onnxio.FromFloat32s("w", []int64{2, 1}, []float32{1, 3}) },
		"shape":         func(g *onnxio.Graph) { g.Initializers[3] = onnxio.FromFloat32s("w", []int64{1, 2}, []float32{1, 2}) },
		"type":          func(g *onnxio.Graph) { g.Initializers[4] = onnxio.FromInt64s("d", []int64{2}, []int64{1, 2}) },
		"sign":          func(g *onnxio.Graph) { g.Initializers[5] = onnxio.FromInt64s("scalar", nil, []int64{7}) },
		"missing value": func(g *onnxio.Graph) { g.Initializers[0] = g.Initializers[0].Renamed("gone") },
	} {
		data, err := normalised(sample())
		if err != nil {
			t.Fatal(err)
		}
		b := newBackend()
		second, err := decode(data, b)
		if err != nil {
			t.Fatal(err)
		}
		ours := sample()
		change(ours.Graph)
		c := comparison{}
		// An error, such as integers that were to be read as floats, is a difference noticed as well.
		if err := c.graphs(ours.Graph, b, second); err == nil && len(c.Differences) == 0 {
			t.Errorf("%s: not noticed", name)
		}
	}
}

func TestWhatCannotBeChecked(t *testing.T) {
	for name, change := range map[string]func(*onnxio.Graph){
		"sub-graph": func(g *onnxio.Graph) {
			g.Nodes[0].Attrs = []*onnxio.Attribute{{Name: "body", Kind: onnxio.AttrGraph, G: &onnxio.Graph{}}}
		},
		"strings":  func(g *onnxio.Graph) { g.Initializers[0] = onnxio.FromStrings("s", []int64{1}, [][]byte{nil}) },
		"empty":    func(g *onnxio.Graph) { g.Initializers[0] = onnxio.FromInt64s("e", []int64{0}, nil) },
		"no nodes": func(g *onnxio.Graph) { g.Nodes = nil },
		"outputs":  func(g *onnxio.Graph) { g.Outputs = nil },
	} {
		m := sample()
		change(m.Graph)
		r, err := Compare(m)
		if err != nil || r.Decoded || r.Why == "" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if r, err := Compare(&onnxio.Model{}); err != nil || r.Decoded || r.Why == "" {
		t.Errorf("no graph: %+v, %v", r, err)
	}
}
