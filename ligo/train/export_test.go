package train

import (
	"bytes"
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// start is what the parameters are before a run.
func start(t testing.TB, task *Task, o Options) []engine.Floats {
	t.Helper()
	o.Steps = 0
	return mustRun(t, task, fixed{}, o).Values
}

// The values of a model written back give its file, byte for byte.
func TestExportOfNothingIsTheFile(t *testing.T) {
	for _, name := range fixtures.Models(t) {
		t.Run(name, func(t *testing.T) {
			g := open(t, fixtures.Path(t, name))
			task := mustTask(t, g, lossFor(name))
			for _, double := range []bool{false, true} {
				m, err := task.Export(start(t, task, Options{Float64: double}))
				if err != nil {
					t.Fatal(err)
				}
				want, err := onnxio.Encode(g.Model)
				if err != nil {
					t.Fatal(err)
				}
				got, err := onnxio.Encode(m)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes, the file has %d, and they differ", len(got), len(want))
				}
			}
		})
	}
}

// Trained values reach the file, where everything else is as before, and come back.
func TestExportChangesOnlyParameters(t *testing.T) {
	for _, name := range []string{"bert_s_op13", "gpt2_s_op17", "llama_s_op17", "vit_s_op17", "cait_s_op17", "hf_gpt2_dyn18", "hf_gemma2_dyn18"} {
		t.Run(name, func(t *testing.T) {
			g := open(t, fixtures.Path(t, name))
			task := mustTask(t, g, lossFor(name))
			values := start(t, task, Options{Init: "random", Seed: 3})
			m, err := task.Export(values)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "model.onnx")
			if err := onnxio.Write(context.Background(), m, path, onnxio.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			h := open(t, path)
			back := mustTask(t, h, Spec{Loss: task.Spec.Loss})
			if len(back.Params) < len(task.Params) {
				t.Fatalf("%d parameters, %d before", len(back.Params), len(task.Params))
			}
			again := start(t, back, Options{})
			for i, p := range back.Params {
				j := slices.IndexFunc(task.Params, func(q *Param) bool { return q.Name == p.Name })
				if j < 0 || !slices.Equal(again[i].F32, values[j].F32) {
					t.Errorf("%s is not what was written", p.Name)
				}
			}
			if a, b := len(h.Model.Graph.Nodes), len(g.Model.Graph.Nodes); a != b {
				t.Errorf("%d nodes, %d before", a, b)
			}
			trained := map[string]bool{}
			for _, p := range task.Params {
				for _, c := range p.copies {
					trained[task.source.Value(c.value).Origin] = true
				}
			}
			for i, was := range g.Model.Graph.Initializers {
				now := h.Model.Graph.Initializers[i]
				same, err := now.Equal(was)
				if err != nil {
					t.Fatal(err)
				}
				if now.Name != was.Name || !same && !trained[was.Name] {
					t.Errorf("initializer %s is %s now, equal: %v", was.Name, now.Name, same)
				}
			}
		})
	}
}

// model is a graph of nodes with constants and an input "x" of n rows.
func model(t testing.TB, opset, width int64, consts []*onnxio.Tensor, outputs []string, nodes ...*onnxio.Node) *graph.Graph {
	t.Helper()
	f := &onnxio.Graph{Name: "test", Initializers: consts, Nodes: nodes,
		Inputs: []*onnxio.ValueInfo{{Name: "x", Type: onnxio.TensorType(onnxio.Float, onnxio.Dim{Param: "n", Value: -1}, onnxio.Dim{Value: width})}}}
	for _, o := range outputs {
		f.Outputs = append(f.Outputs, &onnxio.ValueInfo{Name: o})
	}
	g, err := graph.FromModel(&onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: opset}}, Graph: f})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func op(kind, in, out string) *onnxio.Node {
	return &onnxio.Node{Name: out, OpType: kind, Inputs: strings.Split(in, ","), Outputs: strings.Split(out, ",")}
}

func numbers(name string, seed float64, dims ...int64) *onnxio.Tensor {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(seed + float64(i)*1.7))
	}
	return onnxio.FromFloat32s(name, dims, v)
}

// Exporters store equal biases once. They are trained apart, and the file that comes of it has one for each.
func TestEqualBiasesBecomeDifferent(t *testing.T) {
	zero := onnxio.FromFloat32s("zero", []int64{4}, make([]float32, 4))
	g := model(t, 17, 4, []*onnxio.Tensor{numbers("w1", 1, 4, 4), numbers("w2", 2, 4, 4), zero}, []string{"y"},
		op("MatMul", "x,w1", "a"), op("Add", "a,zero", "b"), op("Tanh", "b", "c"), op("MatMul", "c,w2", "d"), op("Add", "d,zero", "y"))
	task := mustTask(t, g, Spec{Loss: MSE})
	if n := task.Elements(); n != 16+16+4+4 {
		t.Fatalf("%d elements", n)
	}
	for pattern, left := range map[string]int{"zero": 32, "zero_2": 36, "zero*": 32, "w?": 8} {
		if n := mustTask(t, g, Spec{Loss: MSE, Freeze: []string{pattern}}).Elements(); n != left {
			t.Errorf("without %s, %d elements are trained, not %d", pattern, n, left)
		}
	}
	data := fixed{"x": numbers("", 5, 3, 4), "target": numbers("", 6, 3, 4)}
	r := mustRun(t, task, data, Options{Steps: 5, LR: 0.1})
	m, err := task.Export(r.Values)
	if err != nil {
		t.Fatal(err)
	}
	after, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	check := mustRun(t, mustTask(t, after, Spec{Loss: MSE}), data, Options{Steps: 1})
	next := mustRun(t, task, data, Options{Steps: 6, LR: 0.1})
	if got, want := check.Curve[0].Loss, next.Curve[5].Loss; got != want {
		t.Errorf("the written model has loss %v, the run %v", got, want)
	}
	// In a run of rate 0 nothing differs, and the file stays as it is.
	if m, err = task.Export(start(t, task, Options{})); err != nil || len(m.Graph.Initializers) != 3 {
		t.Errorf("%d initializers (%v)", len(m.Graph.Initializers), err)
	}
}

// A weight that two layers share is one parameter, with the gradient of both uses.
func TestSharedWeightIsOne(t *testing.T) {
	nodes := []*onnxio.Node{op("MatMul", "x,w", "a"), op("Tanh", "a", "b"), op("MatMul", "b,w", "y")}
	task := mustTask(t, model(t, 17, 4, []*onnxio.Tensor{numbers("w", 1, 4, 4)}, []string{"y"}, nodes...), Spec{Loss: MSE})
	if len(task.Params) != 1 || len(task.Params[0].copies) != 2 {
		t.Fatalf("%d parameters", len(task.Params))
	}
	data := fixed{"x": numbers("", 5, 3, 4), "target": numbers("", 6, 3, 4)}
	o := Options{Steps: 1, LR: 1, Optimizer: SGD, Float64: true}
	shared := mustRun(t, task, data, o)
	// Apart, the two layers' changes add up to the shared one's.
	nodes[2] = op("MatMul", "b,v", "y")
	consts := []*onnxio.Tensor{numbers("w", 1, 4, 4), numbers("v", 1, 4, 4)}
	apart := mustTask(t, model(t, 17, 4, consts, []string{"y"}, nodes...), Spec{Loss: MSE})
	if len(apart.Params) != 2 {
		t.Fatalf("layers that are equal were tied: %d parameters", len(apart.Params))
	}
	if n := len(mustTask(t, model(t, 17, 4, consts, []string{"y"}, nodes...), Spec{Loss: MSE, TieEqual: true}).Params); n != 1 {
		t.Errorf("TieEqual leaves %d parameters", n)
	}
	was, r := start(t, apart, o), mustRun(t, apart, data, o)
	for i, v := range shared.Values[0].F64 {
		want := was[0].F64[i] + (r.Values[0].F64[i] - was[0].F64[i]) + (r.Values[1].F64[i] - was[1].F64[i])
		if math.Abs(v-want) > 1e-14 {
			t.Fatalf("element %d is %v, the two changes give %v", i, v, want)
		}
	}
}

func TestChoosingParameters(t *testing.T) {
	path := "testdata/tiny_gpt.onnx"
	all := mustTask(t, open(t, path), Spec{Loss: CausalLM})
	frozen := mustTask(t, open(t, path), Spec{Loss: CausalLM, Freeze: []string{"*ln_*", "wpe.weight"}})
	only := mustTask(t, open(t, path), Spec{Loss: CausalLM, Only: []string{"*ln_*", "wpe.weight"}})
	if a, b, c := all.Elements(), frozen.Elements(), only.Elements(); a != b+c || c != 3*2*16+8*16 {
		t.Errorf("%d of %d and %d elements", b, c, a)
	}
	// The head is the table, stored a second time and turned; either name means both.
	for _, p := range all.Params {
		if p.Name == "wte.weight" && (len(p.copies) != 2 || p.copies[0].transposed == p.copies[1].transposed) {
			t.Errorf("%s has copies %v", p.Name, p.copies)
		}
	}
	_, err := NewTask(context.Background(), open(t, path), Spec{Loss: CausalLM, Freeze: []string{"*lnf*"}})
	if err == nil || !strings.Contains(err.Error(), `"*lnf*"`) {
		t.Errorf("error %v", err)
	}
	if _, err := Run(context.Background(), mustTask(t, open(t, path), Spec{Loss: CausalLM, Freeze: []string{"*"}}), fixed{}, Options{}); err == nil || !strings.Contains(err.Error(), "nothing is trained") {
		t.Errorf("error %v", err)
	}
	// A frozen parameter does not change.
	g := readGolden(t)
	r := mustRun(t, only, &goldenBatches{g: g, task: only, size: 3}, adamw)
	m, err := only.Export(r.Values)
	if err != nil {
		t.Fatal(err)
	}
	for i, was := range all.source.Model.Graph.Initializers {
		same, err := m.Graph.Initializers[i].Equal(was)
		if err != nil {
			t.Fatal(err)
		}
		if trained := strings.Contains(was.Name, "ln_") || was.Name == "wpe.weight"; trained == same && was.DType.Growable() {
			t.Errorf("%s: equal %v, trained %v", was.Name, same, trained)
		}
	}
}

// Narrow types are trained in float32 and rounded once, to what they are in the file.
func TestNarrowTypesAreRoundedOnce(t *testing.T) {
	for _, dt := range []onnxio.DType{onnxio.Float16, onnxio.BFloat16, onnxio.Double} {
		w, err := onnxio.FromFloats("w", dt, []int64{2, 2}, []float64{0.1, -2, 3, 0.7})
		if err != nil {
			t.Fatal(err)
		}
		g := model(t, 17, 2, []*onnxio.Tensor{w}, []string{"y"}, op("MatMul", "x,w", "y"))
		g.Inputs[0].Type = onnxio.TensorType(dt, onnxio.Dim{Param: "n", Value: -1}, onnxio.Dim{Value: 2})
		g.Outputs[0].Type = onnxio.TensorType(dt, onnxio.Dim{Param: "n", Value: -1}, onnxio.Dim{Value: 2})
		task := mustTask(t, g, Spec{Loss: MSE})
		data := fixed{}
		for _, name := range []string{"x", "target"} {
			if data[name], err = onnxio.FromFloats("", dt, []int64{1, 2}, []float64{1, 0.25}); err != nil {
				t.Fatal(err)
			}
		}
		r := mustRun(t, task, data, Options{Steps: 3, LR: 1e-3})
		m, err := task.Export(r.Values)
		if err != nil {
			t.Fatal(err)
		}
		kept := make([]float64, 4)
		for i := range kept {
			if dt == onnxio.Double {
				kept[i] = r.Values[0].F64[i]
			} else {
				kept[i] = float64(r.Values[0].F32[i])
			}
		}
		want, err := onnxio.FromFloats("w", dt, []int64{2, 2}, kept)
		if err != nil {
			t.Fatal(err)
		}
		got := m.Graph.Initializers[0]
		if same, err := got.Equal(want); err != nil || !same || got.DType != dt {
			t.Errorf("%v: written as %v, equal %v (%v)", dt, got.DType, same, err)
		}
		if same, _ := got.Equal(w); same {
			t.Errorf("%v: nothing was trained", dt)
		}
		if a, b := r.Curve[0].Loss, r.Curve[2].Loss; !(b < a) {
			t.Errorf("%v: the loss went from %v to %v", dt, a, b)
		}
	}
}
