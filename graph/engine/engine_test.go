package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func dim(n int64) onnxio.Dim { return onnxio.Dim{Value: n} }

func sym(name string) onnxio.Dim { return onnxio.Dim{Param: name, Value: -1} }

// model makes a graph of nodes given as "Op(in, ...) out, ...".
func model(t testing.TB, inputs []*onnxio.ValueInfo, outputs []string, inits []*onnxio.Tensor, nodes ...*onnxio.Node) *graph.Graph {
	t.Helper()
	f := &onnxio.Graph{Name: "test", Inputs: inputs, Initializers: inits, Nodes: nodes}
	for _, o := range outputs {
		f.Outputs = append(f.Outputs, &onnxio.ValueInfo{Name: o})
	}
	g, err := graph.FromModel(&onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Domain: "", Version: 17}, {Domain: microsoft, Version: 1}}, Graph: f})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func node(op, in, out string, attrs ...*onnxio.Attribute) *onnxio.Node {
	split := func(s string) []string {
		if s == "" {
			return nil
		}
		return strings.Split(s, ",")
	}
	return &onnxio.Node{Name: "n_" + op, OpType: op, Inputs: split(in), Outputs: split(out), Attrs: attrs}
}

func floatIn(name string, dims ...onnxio.Dim) *onnxio.ValueInfo {
	return &onnxio.ValueInfo{Name: name, Type: onnxio.TensorType(onnxio.Float, dims...)}
}

func intIn(name string, dims ...onnxio.Dim) *onnxio.ValueInfo {
	return &onnxio.ValueInfo{Name: name, Type: onnxio.TensorType(onnxio.Int64, dims...)}
}

func mustNew(t testing.TB, g *graph.Graph, o Options) *Engine {
	t.Helper()
	e, err := New(g, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func f32(dims []int64, v ...float32) *onnxio.Tensor { return onnxio.FromFloat32s("", dims, v) }

func i64(dims []int64, v ...int64) *onnxio.Tensor { return onnxio.FromInt64s("", dims, v) }

func TestUnsupportedNodesAreListed(t *testing.T) {
	g := model(t, []*onnxio.ValueInfo{floatIn("x", dim(1))}, []string{"z"}, nil,
		node("Frobnicate", "x", "y"), node("LSTM", "y", "z"))
	_, err := New(g, Options{})
	var u *UnsupportedError
	if !errors.As(err, &u) || len(u.Nodes) != 2 || u.Nodes[0].Op != "Frobnicate" || u.Nodes[1].Op != "LSTM" {
		t.Fatalf("got %v", err)
	}
	if Supported("", "LSTM") || !Supported("ai.onnx", "MatMul") || !Supported(microsoft, "Attention") || Supported("other", "MatMul") {
		t.Error("Supported is wrong")
	}
}

func TestInputsAreChecked(t *testing.T) {
	g := model(t, []*onnxio.ValueInfo{floatIn("x", sym("b"), dim(2)), floatIn("y", sym("b"), dim(2))}, []string{"z"}, nil, node("Add", "x,y", "z"))
	e := mustNew(t, g, Options{})
	good := f32([]int64{1, 2}, 1, 2)
	for want, in := range map[string]map[string]*onnxio.Tensor{
		`input "y": is missing`:                                    {"x": good},
		`input "q": the model has no such input; it has x, y`:      {"x": good, "y": good, "q": good},
		`input "y": has type int64, the model wants float32`:       {"x": good, "y": i64([]int64{1, 2}, 1, 2)},
		`input "y": has shape [2], the model wants rank 2`:         {"x": good, "y": f32([]int64{2}, 1, 2)},
		`input "y": has shape [1 1], the model wants 2 in dimens`:  {"x": good, "y": f32([]int64{1, 1}, 1)},
		`input "y": dimension 0 (b) is 2, but input "x" has 1 the`: {"x": good, "y": f32([]int64{2, 2}, 1, 2, 3, 4)},
	} {
		_, err := e.Run(context.Background(), in)
		var ie *InputError
		if !errors.As(err, &ie) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %s…", err, want)
		}
	}
}

// A shape that depends on the content of an input makes a program per content, and the right one is found again.
func TestShapesThatDependOnContent(t *testing.T) {
	g := model(t, []*onnxio.ValueInfo{intIn("mask", sym("n"))}, []string{"at", "ramp"}, nil,
		node("NonZero", "mask", "at"),
		node("ReduceSum", "mask", "sum", graph.IntAttr("keepdims", 0)),
		node("Constant", "", "zero", graph.IntAttr("value_int", 0)),
		node("Constant", "", "one", graph.IntAttr("value_int", 1)),
		node("Range", "zero,sum,one", "ramp"))
	e := mustNew(t, g, Options{})
	for range 2 {
		for _, c := range []struct {
			mask, at, ramp []int64
		}{
			{[]int64{1, 0, 1}, []int64{0, 2}, []int64{0, 1}},
			{[]int64{0, 1, 0}, []int64{1}, []int64{0}},
			{[]int64{0, 0, 0}, nil, nil},
			{[]int64{1, 1}, []int64{0, 1}, []int64{0, 1}},
		} {
			out, err := e.Run(context.Background(), map[string]*onnxio.Tensor{"mask": i64([]int64{int64(len(c.mask))}, c.mask...)})
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]*onnxio.Tensor{"at": i64([]int64{1, int64(len(c.at))}, c.at...), "ramp": i64([]int64{int64(len(c.ramp))}, c.ramp...)} {
				if err := compare(out[name], want, tolerance{}); err != nil {
					t.Errorf("mask %v: %s: %v", c.mask, name, err)
				}
			}
		}
	}
	if len(e.cache) != 4 {
		t.Errorf("%d programs cached, want 4", len(e.cache))
	}
}

func TestProgramsAreCachedPerShape(t *testing.T) {
	g := model(t, []*onnxio.ValueInfo{floatIn("x", sym("n"))}, []string{"y"}, nil, node("Exp", "x", "e"), node("Neg", "e", "y"))
	e := mustNew(t, g, Options{})
	for n := int64(1); n <= 2*maxPrograms; n++ {
		for range 2 {
			out, err := e.Run(context.Background(), map[string]*onnxio.Tensor{"x": f32([]int64{n}, make([]float32, n)...)})
			if err != nil {
				t.Fatal(err)
			}
			want := make([]float32, n)
			for i := range want {
				want[i] = -1
			}
			if err := compare(out["y"], f32([]int64{n}, want...), tolerance{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(e.cache) != maxPrograms {
		t.Errorf("%d programs cached", len(e.cache))
	}
}

func TestIfTakesTheBranchOfTheCondition(t *testing.T) {
	branch := func(op string) *onnxio.Graph {
		return &onnxio.Graph{Nodes: []*onnxio.Node{{OpType: "Neg", Inputs: []string{"w"}, Outputs: []string{"o"}}, {OpType: op, Inputs: []string{"x"}, Outputs: []string{"w"}}},
			Outputs: []*onnxio.ValueInfo{{Name: "o"}}}
	}
	g := model(t, []*onnxio.ValueInfo{floatIn("x", sym("n"))}, []string{"y"}, []*onnxio.Tensor{i64(nil, 1).Renamed("two")},
		node("Size", "x", "s"), node("Greater", "s,two", "c"),
		node("If", "c", "y", &onnxio.Attribute{Name: "then_branch", Kind: onnxio.AttrGraph, G: branch("Exp")},
			&onnxio.Attribute{Name: "else_branch", Kind: onnxio.AttrGraph, G: branch("Abs")}))
	e := mustNew(t, g, Options{})
	for n, want := range map[int64]float32{1: -0, 2: -1} {
		out, err := e.Run(context.Background(), map[string]*onnxio.Tensor{"x": f32([]int64{n}, make([]float32, n)...)})
		if err != nil {
			t.Fatal(err)
		}
		v, err := out["y"].Float32s()
		if err != nil || v[0] != want {
			t.Errorf("n=%d: %v (%v), want %g", n, v, err, want)
		}
	}
}

func TestFloat64WidensEverything(t *testing.T) {
	g := model(t, []*onnxio.ValueInfo{floatIn("x", dim(2))}, []string{"y", "h"}, []*onnxio.Tensor{f32([]int64{2}, 3, 3).Renamed("w")},
		node("Div", "x,w", "q"), node("Cast", "q", "h", graph.IntAttr("to", int64(onnxio.Float16))), node("Mul", "q,w", "y"))
	e := mustNew(t, g, Options{Float64: true, Outputs: []string{"q"}})
	out, err := e.Run(context.Background(), map[string]*onnxio.Tensor{"x": f32([]int64{2}, 1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"q": 1.0 / 3, "h": 1.0 / 3, "y": 1} {
		v, err := out[name].Float64s()
		if err != nil || out[name].DType != onnxio.Double || v[0] != want {
			t.Errorf("%s is %v %v (%v), want %v", name, out[name].DType, v, err, want)
		}
	}
	if _, err := New(g, Options{Outputs: []string{"nothing"}}); err == nil {
		t.Error("an unknown extra output is accepted")
	}
}

// A Gemm that ONNX Runtime fused with its activation gives what the two nodes give.
func TestFusedGemm(t *testing.T) {
	fused := func(activation string) *onnxio.Node {
		n := node("FusedGemm", "x,w,c", "y", graph.IntAttr("transB", 1), &onnxio.Attribute{Name: "activation", Kind: onnxio.AttrString, S: []byte(activation)})
		n.Domain = microsoft
		return n
	}
	inits := []*onnxio.Tensor{f32([]int64{3, 2}, 1, -2, 3, 4, -5, 6).Renamed("w"), f32([]int64{3}, 1, -20, 3).Renamed("c")}
	for _, activation := range []string{"Relu", "Tanh", "Sigmoid", "Softplus", "Softsign", "LeakyRelu", "Elu"} {
		g := model(t, []*onnxio.ValueInfo{floatIn("x", dim(2), dim(2))}, []string{"y", "want"}, inits, fused(activation),
			node("Gemm", "x,w,c", "h", graph.IntAttr("transB", 1)), node(activation, "h", "want"))
		out, err := mustNew(t, g, Options{}).Run(context.Background(), map[string]*onnxio.Tensor{"x": f32([]int64{2, 2}, 1, 2, -3, 0.5)})
		if err != nil {
			t.Fatal(err)
		}
		y, _ := out["y"].Float32s()
		want, _ := out["want"].Float32s()
		if len(y) != 6 || !slices.Equal(y, want) {
			t.Errorf("%s: %v, want %v", activation, y, want)
		}
	}
	g := model(t, []*onnxio.ValueInfo{floatIn("x", dim(2), dim(2))}, []string{"y"}, inits, fused("Cube"))
	if _, err := mustNew(t, g, Options{}).Run(context.Background(), map[string]*onnxio.Tensor{"x": f32([]int64{2, 2}, 1, 2, 3, 4)}); err == nil {
		t.Error("an unknown activation runs")
	}
}

func TestHalfPrecisionRoundsAtCastsAndOutputs(t *testing.T) {
	g := model(t, []*onnxio.ValueInfo{floatIn("x", dim(1))}, []string{"back", "half"}, nil,
		node("Cast", "x", "half", graph.IntAttr("to", int64(onnxio.Float16))), node("Cast", "half", "back", graph.IntAttr("to", int64(onnxio.Float))))
	out, err := mustNew(t, g, Options{}).Run(context.Background(), map[string]*onnxio.Tensor{"x": f32([]int64{1}, 0.1)})
	if err != nil {
		t.Fatal(err)
	}
	v, err := out["back"].Float32s()
	if err != nil || v[0] != 0.099975586 || out["half"].DType != onnxio.Float16 {
		t.Errorf("%v %v (%v)", v, out["half"].DType, err)
	}
}

func TestErrorsNameTheNode(t *testing.T) {
	x := []*onnxio.ValueInfo{floatIn("x", sym("n"))}
	for name, c := range map[string]struct {
		g    *graph.Graph
		want string
	}{
		"at compile time": {model(t, x, []string{"y"}, []*onnxio.Tensor{f32([]int64{7, 2}, make([]float32, 14)...).Renamed("w")}, node("MatMul", "x,w", "y")),
			"n_MatMul (MatMul): shapes [3] and [7 2] do not multiply"},
		"at run time": {model(t, []*onnxio.ValueInfo{floatIn("x", sym("n"))}, []string{"y"}, nil,
			node("Cast", "x", "i", graph.IntAttr("to", int64(onnxio.Int64))), node("Gather", "x,i", "y")),
			"n_Gather (Gather): index 9 is outside a dimension of 3"},
		"a missing operand": {model(t, x, []string{"y"}, nil, node("Add", "x", "y")), "n_Add (Add): operand 1 is missing"},
	} {
		_, err := mustNew(t, c.g, Options{}).Run(context.Background(), map[string]*onnxio.Tensor{"x": f32([]int64{3}, 9, 9, 9)})
		var ne *NodeError
		if !errors.As(err, &ne) || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	g := model(t, []*onnxio.ValueInfo{floatIn("x", dim(1)), intIn("n", dim(1))}, []string{"y"}, nil,
		node("Expand", "x,n", "big"), node("Exp", "big", "y"))
	e := mustNew(t, g, Options{MaxMemory: 1 << 20})
	for _, n := range []int64{100_000, 300_000, 100_000, 1 << 40, 60_000, 100_000} { // what fits does not depend on what ran before
		fits := n <= 100_000
		_, err := e.Run(context.Background(), map[string]*onnxio.Tensor{"x": f32([]int64{1}, 1), "n": i64([]int64{1}, n)})
		var me *MemoryError
		if fits && err != nil || !fits && !errors.As(err, &me) {
			t.Errorf("%d elements: %v", n, err)
		}
	}
	_, err := mustNew(t, g, Options{}).Run(context.Background(), map[string]*onnxio.Tensor{"x": f32([]int64{1}, 1), "n": i64([]int64{1}, 1<<62)})
	if err == nil {
		t.Error("a shape beyond the address space is accepted")
	}
}

func TestCancelledRunsEnd(t *testing.T) {
	g := model(t, []*onnxio.ValueInfo{floatIn("x", dim(1))}, []string{"y"}, nil, node("Exp", "x", "y"))
	e := mustNew(t, g, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	in := map[string]*onnxio.Tensor{"x": f32([]int64{1}, 1)}
	if _, err := e.Run(ctx, in); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := e.Run(context.Background(), in); err != nil {
		t.Fatalf("after a cancelled run: %v", err)
	}
}

// Slices and splits whose bounds agree in their low byte stay apart (stock gorgonia takes one for the other), and so do equal nodes.
func TestEqualLookingNodesStayApart(t *testing.T) {
	const n = 3 * 256
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)
	}
	g := model(t, []*onnxio.ValueInfo{floatIn("x", dim(1), dim(n))}, []string{"a", "b", "c", "p", "q"}, nil,
		node("Split", "x", "a,b,c", graph.IntAttr("axis", 1)), node("Exp", "x", "p"), node("Exp", "x", "q"))
	out, err := mustNew(t, g, Options{}).Run(context.Background(), map[string]*onnxio.Tensor{"x": f32([]int64{1, n}, v...)})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a", "b", "c"} {
		if err := compare(out[name], f32([]int64{1, 256}, v[i*256:(i+1)*256]...), tolerance{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := compare(out["p"], out["q"], tolerance{}); err != nil {
		t.Error(err)
	}
}

func TestEnginesRunConcurrently(t *testing.T) {
	g := model(t, []*onnxio.ValueInfo{floatIn("x", sym("n"))}, []string{"y"}, nil, node("Add", "x,x", "d"), node("Neg", "d", "y"))
	e := mustNew(t, g, Options{})
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for k := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			n := int64(k%3 + 1)
			x := f32([]int64{n}, make([]float32, n)...)
			out, err := e.Run(context.Background(), map[string]*onnxio.Tensor{"x": x})
			if err == nil && out["y"].Dims[0] != n {
				err = fmt.Errorf("shape %v for %d", out["y"].Dims, n)
			}
			errs <- err
		}()
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// A second run of the same program needs no new buffers.
func TestBuffersAreReused(t *testing.T) {
	const n = 1 << 16
	nodes := []*onnxio.Node{node("Exp", "x", "v0")}
	for i := range 10 {
		nodes = append(nodes, node("Neg", fmt.Sprintf("v%d", i), fmt.Sprintf("v%d", i+1)))
	}
	g := model(t, []*onnxio.ValueInfo{floatIn("x", dim(n))}, []string{"v10"}, nil, nodes...)
	e := mustNew(t, g, Options{Threads: 1})
	in := map[string]*onnxio.Tensor{"x": f32([]int64{n}, make([]float32, n)...)}
	if _, err := e.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	if got := e.cache[0].p.bytes; got > 4*n {
		t.Errorf("a chain of ten operators that may write over their operands takes %d bytes", got)
	}
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	if _, err := e.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&m1)
	// The output's own copy (two of them: slice and bytes) is all that grows with the tensor.
	if grown := m1.TotalAlloc - m0.TotalAlloc; grown > 3*4*n {
		t.Errorf("the second run allocated %d bytes", grown)
	}
}
