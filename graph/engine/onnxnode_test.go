package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// nodeTests is where Debian's libonnx-testdata puts ONNX's operator tests.
const nodeTests = "/usr/share/libonnx-testdata/data/node"

// TestONNXNodes runs ONNX's own tests of the operators that the engine has. testdata/onnx_node_tests.txt lists them: a name alone
// must pass, a name followed by a reason is left out. Every test of the package whose operators are all supported must be listed. The
// share of those left out is counted without the reasons that begin with "kind:", which are about values that are no dense tensors
// of numbers.
func TestONNXNodes(t *testing.T) {
	if _, err := os.Stat(nodeTests); err != nil {
		t.Skipf("ONNX OPERATOR TESTS SKIPPED: %s is missing (apt-get install libonnx-testdata)", nodeTests)
	}
	listed := readList(t, "testdata/onnx_node_tests.txt")
	left, counted := 0, 0
	for _, e := range listed {
		if !strings.HasPrefix(e.reason, "kind:") {
			counted++
			if e.reason != "" {
				left++
			}
		}
		if e.reason != "" {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			if err := runNodeTest(filepath.Join(nodeTests, e.name)); err != nil {
				t.Error(err)
			}
		})
	}
	if share := float64(counted-left) / float64(counted); share < 0.99 {
		t.Errorf("%d of %d tests of supported operators are left out", left, counted)
	}
	names := map[string]bool{}
	for _, e := range listed {
		names[e.name] = true
	}
	all, err := filepath.Glob(filepath.Join(nodeTests, "*", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		name := filepath.Base(filepath.Dir(f))
		if !names[name] && covered(f) {
			t.Errorf("%s: its operators are supported, but it is not listed", name)
		}
	}
}

type listEntry struct{ name, reason string }

func readList(t *testing.T, path string) []listEntry {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []listEntry
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		out = append(out, listEntry{name, strings.TrimSpace(reason)})
	}
	return out
}

// covered reports whether every operator of a model is supported.
func covered(model string) bool {
	m, err := onnxio.Read(model, onnxio.ReadOptions{})
	if err != nil {
		return false
	}
	defer m.Close()
	g, err := graph.FromModel(m)
	if err != nil {
		return false
	}
	_, err = New(g, Options{})
	return err == nil
}

func runNodeTest(dir string) error {
	m, err := onnxio.Read(filepath.Join(dir, "model.onnx"), onnxio.ReadOptions{})
	if err != nil {
		return err
	}
	defer m.Close()
	g, err := graph.FromModel(m)
	if err != nil {
		return err
	}
	e, err := New(g, Options{Threads: 2})
	if err != nil {
		return err
	}
	sets, err := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		return errors.New("no data")
	}
	for _, set := range sets {
		in := map[string]*onnxio.Tensor{}
		for i, v := range m.Graph.Inputs {
			x, err := onnxio.ReadTensorFile(filepath.Join(set, fmt.Sprintf("input_%d.pb", i)))
			if err != nil {
				return err
			}
			if in[v.Name], err = asBFloat16(x, v.Type); err != nil {
				return err
			}
		}
		out, err := e.Run(context.Background(), in)
		if err != nil {
			return err
		}
		for i, v := range g.Outputs {
			want, err := onnxio.ReadTensorFile(filepath.Join(set, fmt.Sprintf("output_%d.pb", i)))
			if err != nil {
				return err
			}
			if want, err = asBFloat16(want, v.Type); err != nil {
				return err
			}
			tol := tolerance{1e-3, 1e-7}
			if want.DType == onnxio.BFloat16 {
				tol.rel = 1.0 / 128 // ONNX 1.12 made this data by truncation: one unit in the last place
			}
			if err := compare(out[v.Name], want, tol); err != nil {
				return fmt.Errorf("output %q: %w", v.Name, err)
			}
		}
	}
	return nil
}

// asBFloat16 undoes what ONNX 1.12 did to bfloat16 test data: numpy has no such type, so it was written as uint16.
func asBFloat16(t *onnxio.Tensor, declared *onnxio.Type) (*onnxio.Tensor, error) {
	if declared == nil || declared.Elem != onnxio.BFloat16 || t.DType != onnxio.Uint16 {
		return t, nil
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	dims := t.Dims
	if len(dims) == 1 && dims[0] == 1 && len(declared.Dims) == 2 {
		// CastLike's second operand, of which only the type counts, was written with another shape than the model declares.
		dims = []int64{declared.Dims[0].Value, declared.Dims[1].Value}
		raw = bytes.Repeat(raw, int(dims[0]*dims[1]))
	}
	return onnxio.FromBytes(t.Name, onnxio.BFloat16, dims, raw)
}
