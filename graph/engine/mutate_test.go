package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Nodes with attributes, operands and input shapes that make no sense are refused with an error that names the node; no check may be
// left to the recovery from panics.
func TestMutatedNodesAreRefused(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	dirs, err := filepath.Glob(filepath.Join(nodeTests, "*"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, pack := range []string{"contrib", "recent"} {
		for _, name := range unpack(t, filepath.Join("testdata", pack+".tar.gz"), root) {
			dirs = append(dirs, filepath.Join(root, name))
		}
	}
	r := rand.New(rand.NewPCG(11, 12))
	seen := map[string]bool{}
	for _, dir := range dirs {
		path := filepath.Join(dir, "model.onnx")
		if !covered(path) {
			continue
		}
		for range rounds {
			if err := mutateAndRun(path, r); err != nil && strings.Contains(err.Error(), "internal error") {
				op, _, _ := strings.Cut(err.Error(), ":")
				if !seen[op+filepath.Base(dir)] {
					t.Errorf("%s: %v", filepath.Base(dir), err)
				}
				seen[op+filepath.Base(dir)] = true
			}
		}
	}
}

func mutateAndRun(path string, r *rand.Rand) error {
	m, err := onnxio.Read(path, onnxio.ReadOptions{})
	if err != nil {
		return err
	}
	defer m.Close()
	ints := []int64{-3, -2, -1, 0, 1, 2, 3, 5, 100, 1 << 40}
	pick := func() int64 { return ints[r.IntN(len(ints))] }
	for _, in := range m.Graph.Inputs {
		in.Type = nil // any shape is let in
	}
	for _, n := range m.Graph.Nodes {
		for _, a := range n.Attrs {
			if r.IntN(3) != 0 {
				continue
			}
			switch a.Kind {
			case onnxio.AttrInt:
				a.I = pick()
			case onnxio.AttrInts:
				if len(a.Ints) > 0 && r.IntN(2) == 0 {
					a.Ints[r.IntN(len(a.Ints))] = pick()
				} else {
					a.Ints = append(a.Ints, pick())
				}
			case onnxio.AttrFloat:
				a.F = float32(pick())
			case onnxio.AttrString:
				a.S = []byte("nonsense")
			}
		}
		if len(n.Inputs) > 0 && r.IntN(6) == 0 {
			n.Inputs[r.IntN(len(n.Inputs))] = ""
		}
		if len(n.Inputs) > 1 && r.IntN(6) == 0 {
			n.Inputs[r.IntN(len(n.Inputs))] = n.Inputs[r.IntN(len(n.Inputs))]
		}
	}
	g, err := graph.FromModel(m)
	if err != nil {
		return err
	}
	in := map[string]*onnxio.Tensor{}
	for i, v := range g.Inputs {
		x, err := onnxio.ReadTensorFile(filepath.Join(filepath.Dir(path), "test_data_set_0", "input_"+string(rune('0'+i))+".pb"))
		if err != nil {
			return err
		}
		in[v.Name] = mutateTensor(x, r)
	}
	e, err := New(g, Options{Threads: 1, MaxMemory: 1 << 22})
	if err != nil {
		return err
	}
	_, err = e.Run(context.Background(), in)
	var node *NodeError
	var memory *MemoryError
	if err != nil && !errors.As(err, &node) && !errors.As(err, &memory) && !strings.HasPrefix(err.Error(), "input ") {
		return errors.New("internal error: the error names no node: " + err.Error())
	}
	return err
}

// mutateTensor changes the shape, or the integers in it.
func mutateTensor(x *onnxio.Tensor, r *rand.Rand) *onnxio.Tensor {
	n := x.NumElements()
	switch r.IntN(5) {
	case 0:
		if y, err := onnxio.FromBytes(x.Name, x.DType, []int64{n}, must(x.Bytes())); err == nil {
			return y
		}
	case 1:
		if y, err := onnxio.FromBytes(x.Name, x.DType, append([]int64{1}, x.Dims...), must(x.Bytes())); err == nil {
			return y
		}
	case 2:
		if y, err := onnxio.FromBytes(x.Name, x.DType, []int64{0, 2}, nil); err == nil {
			return y
		}
	case 3:
		if v, err := x.Int64s(); err == nil && x.DType == onnxio.Int64 && n > 0 {
			v[r.IntN(int(n))] = []int64{-5, -1, 0, 1, 7, 1 << 33, -1 << 63}[r.IntN(7)]
			return onnxio.FromInt64s(x.Name, x.Dims, v)
		}
	}
	return x
}

func must(b []byte, err error) []byte {
	if err != nil {
		return nil
	}
	return b
}
