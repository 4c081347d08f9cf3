package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// onDisk writes a model and reads it again, so that its weights are in a mapped file, at any address, if it is large enough.
func onDisk(t testing.TB, m *onnxio.Model) *graph.Graph {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnxio.Write(context.Background(), m, path, onnxio.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := onnxio.Read(path, onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	g, err := graph.FromModel(r)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// withStoredFrom sets the size from which on weights are read as they are stored.
func withStoredFrom(n int, f func()) {
	old := storedFrom
	storedFrom = n
	defer func() { storedFrom = old }()
	f()
}

// sameBits runs g with all weights converted, with all weights as they are stored, and frugally.
func sameBits(t *testing.T, g *graph.Graph, in map[string]*onnxio.Tensor, o Options) {
	t.Helper()
	run := func(from int, o Options) (out []map[string]*onnxio.Tensor) {
		withStoredFrom(from, func() {
			e := mustNew(t, g, o)
			for range 2 {
				r, err := e.Run(context.Background(), in)
				if err != nil {
					t.Fatalf("%+v: %v", o, err)
				}
				out = append(out, r)
			}
		})
		return out
	}
	want := run(math.MaxInt, o)[0]
	frugal := o
	frugal.Frugal = true
	for name, got := range map[string][]map[string]*onnxio.Tensor{"stored": run(1, o), "stored, frugal": run(1, frugal), "frugal": run(math.MaxInt, frugal)} {
		for i := range got {
			for out, w := range want {
				if same, err := got[i][out].Equal(w); err != nil || !same {
					t.Errorf("%s, run %d: output %q has other bits (%v)", name, i, out, err)
				}
			}
		}
	}
}

// A weight gives the same bits whether it is widened as a whole or while it is read.
func TestStoredWeightsGiveTheSameBits(t *testing.T) {
	config := func(dt onnxio.DType) fixtures.Config {
		return fixtures.Config{DType: dt, Hidden: 96, Heads: 3, Vocab: 3001, Positions: 64}
	}
	for _, dt := range []onnxio.DType{onnxio.Float16, onnxio.Float, onnxio.BFloat16, onnxio.Double} {
		if testing.Short() && dt != onnxio.Float16 {
			break
		}
		for name, m := range map[string]*onnxio.Model{
			"bert": fixtures.BERT(config(dt)), "gpt2": fixtures.GPT2(config(dt)), "llama": fixtures.Llama(config(dt)),
			"vit": fixtures.ViT(fixtures.Config{DType: dt, Hidden: 96, Heads: 3}), "cait": fixtures.CaiT(fixtures.Config{DType: dt, Hidden: 96, Heads: 3}),
			"bert, unfolded": fixtures.BERT(fixtures.Config{DType: dt, Unfolded: true, Head: fixtures.HeadTied}),
		} {
			t.Run(fmt.Sprintf("%s/%v", name, dt), func(t *testing.T) {
				g := onDisk(t, m)
				for _, sizes := range []map[string]int{{"batch": 1, "sequence": 1}, {"batch": 2, "sequence": 5}} {
					in := fixtures.Inputs(m, 3, sizes)
					for _, o := range []Options{{}, {Float64: true}} {
						sameBits(t, g, in, o)
					}
				}
			})
		}
	}
}

// Every way in which an operator may come by a weight: read as it is stored, copied for it, through a view, and as an output.
func TestStoredWeightsReachEveryOperator(t *testing.T) {
	for _, dt := range []onnxio.DType{onnxio.Float, onnxio.Float16} {
		weight := func(name string, dims ...int64) *onnxio.Tensor {
			n := int64(1)
			for _, d := range dims {
				n *= d
			}
			v := make([]float64, n)
			for i := range v {
				v[i] = math.Sin(float64(i) * 0.7)
			}
			w, err := onnxio.FromFloats(name, dt, dims, v)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		ints := func(name string, v ...int64) *onnxio.Attribute {
			return &onnxio.Attribute{Name: name, Kind: onnxio.AttrInts, Ints: v}
		}
		flag := func(name string) *onnxio.Attribute { return &onnxio.Attribute{Name: name, Kind: onnxio.AttrInt, I: 1} }
		shape := i64([]int64{2}, 40, 30)
		shape.Name = "shape"
		rows := i64([]int64{3}, 4, -1, 0)
		rows.Name = "rows"
		inits := []*onnxio.Tensor{weight("w", 30, 40), weight("batched", 2, 40, 7), weight("gain", 40), weight("kernel", 4, 2, 3, 3), shape, rows}
		x := &onnxio.ValueInfo{Name: "x", Type: onnxio.TensorType(dt, sym("m"), dim(40))}
		y := &onnxio.ValueInfo{Name: "y", Type: onnxio.TensorType(dt, sym("m"), dim(30))}
		img := &onnxio.ValueInfo{Name: "img", Type: onnxio.TensorType(dt, dim(1), dim(2), dim(5), dim(6))}
		outs := []string{"a", "b", "c", "d", "e", "f", "h", "i", "j", "k", "l", "w"}
		nodes := []*onnxio.Node{
			node("MatMul", "y,w", "a"), node("MatMul", "x,batched", "b"), node("Gemm", "x,w", "c", flag("transB")),
			node("Gemm", "w,x", "d", flag("transB")), node("Transpose", "w", "wt", ints("perm", 1, 0)), node("MatMul", "x,wt", "e"),
			node("Reshape", "w,shape", "view"), node("MatMul", "x,view", "f"), node("Gather", "w,rows", "h"),
			node("Add", "x,gain", "i"), node("Conv", "img,kernel", "j"), node("MatMul", "w,wt", "k"),
			node("Gather", "w,rows", "l", flag("axis")),
		}
		for i, n := range nodes {
			n.Name = fmt.Sprintf("n%d", i)
		}
		g := model(t, []*onnxio.ValueInfo{x, y, img}, outs, inits, nodes...)
		value := func(name string, dims ...int64) *onnxio.Tensor { return weight(name, dims...) }
		for _, m := range []int64{1, 2, 3, 4, 50} {
			in := map[string]*onnxio.Tensor{"x": value("x", m, 40), "y": value("y", m, 30), "img": value("img", 1, 2, 5, 6)}
			sameBits(t, g, in, Options{})
			sameBits(t, g, in, Options{Float64: true})
		}
	}
}

// large is a model whose memory is two weights of 6 million elements, and an input for it.
func large(t testing.TB, dt onnxio.DType) (*onnxio.Model, map[string]*onnxio.Tensor) {
	t.Helper()
	const rows, cols = 12000, 500
	filled := func(name string, dims ...int64) *onnxio.Tensor {
		v := make([]float64, dims[0]*dims[1])
		for i := range v {
			v[i] = float64(i%7) - 3
		}
		w, err := onnxio.FromFloats(name, dt, dims, v)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	m := &onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: 17}}, Graph: &onnxio.Graph{Name: "large",
		Inputs:       []*onnxio.ValueInfo{intIn("ids", sym("n"))},
		Outputs:      []*onnxio.ValueInfo{{Name: "y"}},
		Initializers: []*onnxio.Tensor{filled("table", rows, cols), filled("w", cols, rows)},
		Nodes:        []*onnxio.Node{node("Gather", "table,ids", "x"), node("MatMul", "x,w", "y")},
	}}
	return m, map[string]*onnxio.Tensor{"ids": i64([]int64{8}, 0, 1, 2, 3, 11999, 5, 6, 7)}
}

// A run needs memory for what it computes, not for its weights in another type.
func TestWeightsAreNeverWidenedAsAWhole(t *testing.T) {
	for _, c := range []struct {
		dt onnxio.DType
		o  Options
	}{{onnxio.Float, Options{}}, {onnxio.Float, Options{Float64: true}}, {onnxio.Float16, Options{}}, {onnxio.Float16, Options{Float64: true}}} {
		m, in := large(t, c.dt)
		g := onDisk(t, m)
		m = nil
		e := mustNew(t, g, c.o)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := e.Run(context.Background(), in); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		// Allocations, whether collected or not. Widened weights would be 48 MB at least; the race detector makes pools forget.
		if n := after.TotalAlloc - before.TotalAlloc; n > 20<<20 {
			t.Errorf("%v, %+v: a run allocated %d bytes", c.dt, c.o, n)
		}
	}
}

// A frugal run leaves no weights in memory.
func TestFrugalRunsForgetWeights(t *testing.T) {
	resident := func() (kib int64) {
		f, err := os.Open("/proc/self/status")
		if err != nil {
			t.Skip("only Linux tells what of a file is in memory")
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if rest, ok := strings.CutPrefix(s.Text(), "RssFile:"); ok {
				if _, err := fmt.Sscan(rest, &kib); err != nil {
					t.Fatal(err)
				}
				return kib
			}
		}
		t.Skip("no RssFile")
		return 0
	}
	m, in := large(t, onnxio.Float)
	g := onDisk(t, m)
	grows := func(o Options) int64 {
		for _, v := range g.Consts {
			v.Const.Forget()
		}
		before := resident()
		if _, err := mustNew(t, g, o).Run(context.Background(), in); err != nil {
			t.Fatal(err)
		}
		return resident() - before
	}
	if kib := grows(Options{}); kib < 20<<10 {
		t.Fatalf("a run brought %d KiB into memory: the test measures nothing", kib)
	}
	if kib := grows(Options{Frugal: true}); kib > 4<<10 {
		t.Errorf("after a frugal run, %d KiB more of files are in memory", kib)
	}
}

// Weights count where they take memory of their own.
func TestMemoryOfWeightsIsBounded(t *testing.T) {
	m, in := large(t, onnxio.Float)
	onHeap, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	run := func(g *graph.Graph, limit int64) error {
		_, err := mustNew(t, g, Options{MaxMemory: limit}).Run(context.Background(), in)
		return err
	}
	var me *MemoryError
	if err := run(onHeap, 40<<20); !errors.As(err, &me) {
		t.Errorf("48 MB of weights on the heap within 40 MB: %v", err)
	}
	if err := run(onHeap, 60<<20); err != nil {
		t.Errorf("48 MB of weights on the heap within 60 MB: %v", err)
	}
	if err := run(onDisk(t, m), 4<<20); err != nil {
		t.Errorf("weights in a file count: %v", err)
	}
}
