package engine

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// liveOps counts the operators of the program that g is compiled to for these inputs, by type.
func liveOps(t testing.TB, g *graph.Graph, in map[string]*onnxio.Tensor, o Options) map[string]int {
	t.Helper()
	e := mustNew(t, g, o)
	if _, err := e.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, op := range e.cache[0].p.ops {
		n[opName(op.call.op)]++
	}
	return n
}

// opName is an operator's type, with the function of an elementwise one.
func opName(op operator) string {
	switch op := op.(type) {
	case unaryOp:
		return op.name
	case *layerNormOp:
		if op.rms {
			return "rmsNorm"
		}
		return "layerNorm"
	case *lossOp:
		if op.picked {
			return "pickedLoss"
		}
		return "crossEntropy"
	case *binaryOp:
		return fmt.Sprint("binary", op.op)
	}
	return fmt.Sprintf("%T", op)
}

// fusionModels are the model folders of the fixtures, and those below $LIGOONNX_TESTDATA if it is set.
func fusionModels(t testing.TB) []string {
	t.Helper()
	roots := []string{"../../fixtures"}
	if root := os.Getenv("LIGOONNX_TESTDATA"); root != "" {
		roots = append(roots, root)
	}
	var dirs []string
	for _, root := range roots {
		for _, kind := range []string{"", "plain", "trained", "thirdparty", "extdata"} {
			found, err := filepath.Glob(filepath.Join(root, "models", kind, "*", "test_data_set_0"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				dirs = append(dirs, filepath.Dir(f))
			}
		}
	}
	if len(dirs) < 8 {
		t.Fatalf("%d models found", len(dirs))
	}
	return dirs
}

// loadFusionCase is loadCase for folders whose model may be packed.
func loadFusionCase(t testing.TB, dir string) (*graph.Graph, map[string]*onnxio.Tensor) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "model.onnx")); err == nil {
		g, in, _ := loadCase(t, dir)
		return g, in
	}
	m, err := onnxio.Read(fixtures.Path(t, filepath.Base(dir)), onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]*onnxio.Tensor{}
	for i, v := range g.Inputs {
		if in[v.Name], err = onnxio.ReadTensorFile(filepath.Join(dir, "test_data_set_0", fmt.Sprintf("input_%d.pb", i))); err != nil {
			t.Fatal(err)
		}
	}
	return g, in
}

// A fused program computes what the operators by themselves compute: in float64 outputs and the gradients by all floating weights
// agree to 1e-12 of the largest element, in float32 to its rounding.
func TestFusedModelsAgree(t *testing.T) {
	for i, dir := range fusionModels(t) {
		if testing.Short() && i%8 != 0 {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			g, in := loadFusionCase(t, dir)
			outputs := func(o Options) map[string]*onnxio.Tensor {
				out, err := mustNew(t, g, o).Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			plain, fused := outputs(Options{Float64: true, NoFusion: true}), outputs(Options{Float64: true})
			single, fusedSingle := outputs(Options{NoFusion: true}), outputs(Options{})
			for _, v := range g.Outputs {
				if err := closeTo(fused[v.Name], plain[v.Name], 1e-12); err != nil {
					t.Errorf("output %q in float64: %v", v.Name, err)
				}
				// Errors of float32 that the plain program makes itself are no measure: both are compared with float64.
				before, after := distance(t, single[v.Name], plain[v.Name]), distance(t, fusedSingle[v.Name], plain[v.Name])
				if !(after <= 2*before+1e-6) {
					t.Errorf("output %q in float32: %.3g of the largest element away from float64, without fusion %.3g", v.Name, after, before)
				}
			}
			gradientsAgree(t, g, in)
		})
	}
}

// distance is the largest difference relative to want's largest element.
func distance(t *testing.T, got, want *onnxio.Tensor) float64 {
	t.Helper()
	g, err := got.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	w, err := want.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	return relative(g, w)
}

func relative(got, want []float64) float64 {
	d, largest := farthest(got, want), 0.0
	for _, v := range want {
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			largest = max(largest, math.Abs(v))
		}
	}
	if d == 0 {
		return 0
	}
	return d / largest
}

// farthest is the largest difference. Equal infinities, and NaNs, are no difference; a NaN in one place only is NaN.
func farthest(got, want []float64) (worst float64) {
	for i, v := range want {
		if got[i] != v && !(math.IsNaN(got[i]) && math.IsNaN(v)) {
			worst = math.Max(worst, math.Abs(got[i]-v))
		}
	}
	return worst
}

func closeTo(got, want *onnxio.Tensor, tol float64) error {
	g, err := got.Float64s()
	if err != nil {
		return err
	}
	w, err := want.Float64s()
	if err != nil {
		return err
	}
	if fmt.Sprint(got.Dims, got.DType) != fmt.Sprint(want.Dims, want.DType) {
		return fmt.Errorf("%v%v, want %v%v", got.DType, got.Dims, want.DType, want.Dims)
	}
	if d := relative(g, w); !(d <= tol) {
		return fmt.Errorf("%.3g of the largest element apart", d)
	}
	return nil
}

// gradientsAgree compares the gradients of a weighted sum of the outputs by all floating weights, with fusion and without.
func gradientsAgree(t *testing.T, g *graph.Graph, in map[string]*onnxio.Tensor) {
	t.Helper()
	out, err := mustNew(t, g, Options{Float64: true}).Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	var sum *graph.Value
	call := func(op string, attrs []*onnxio.Attribute, in ...*graph.Value) *graph.Value {
		v := g.NewValue("weighted_"+op, nil)
		g.NewNode(op, "", "weighted_"+op, in, []*graph.Value{v}, attrs...)
		return v
	}
	var params []string
	for _, v := range g.Consts {
		if isFloat(v.Const.DType) && v.Const.NumElements() > 1 {
			params = append(params, v.Name)
		}
	}
	for i, v := range slices.Clone(g.Outputs) {
		y := out[v.Name]
		if !isFloat(y.DType) {
			continue
		}
		flat := call("Reshape", nil, v, g.NewConst("weighted_shape", onnxio.FromInt64s("", []int64{2}, []int64{1, -1})))
		flat = call("Cast", []*onnxio.Attribute{graph.IntAttr("to", int64(onnxio.Float))}, flat)
		part := call("MatMul", nil, flat, g.NewConst("weighted_by", random("", uint64(i), y.NumElements(), 1)))
		if sum == nil {
			sum = part
		} else {
			sum = call("Add", nil, sum, part)
		}
	}
	if sum == nil {
		t.Fatal("no floating output")
	}
	gradients := func(noFusion bool) []*Param {
		tr, err := NewTrainer(g, sum.Name, params, Options{Float64: true, NoFusion: noFusion})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = tr.Gradients(context.Background(), in); err != nil {
			t.Fatalf("fusion %v: %v", !noFusion, err)
		}
		return tr.Params()
	}
	plain, fused := gradients(true), gradients(false)
	largest := 0.0
	for _, p := range plain {
		for _, v := range p.Grad.F64 {
			largest = max(largest, math.Abs(v))
		}
	}
	for i, p := range plain {
		want, got := p.Grad.F64, fused[i].Grad.F64
		if len(got) != len(want) {
			t.Errorf("gradient by %q has %d elements, %d without fusion", p.Name, len(got), len(want))
			continue
		}
		// Gradients that are zero but for rounding are compared with the model's others.
		own := 0.0
		for _, v := range want {
			own = max(own, math.Abs(v))
		}
		if d := farthest(got, want); !(d <= 1e-11*own+1e-14*largest) {
			t.Errorf("gradient by %q is %.3g away, its largest element is %.3g", p.Name, d, own)
		}
	}
}

// What the sites of each model become: attentions, norms, gated activations, products with a bias and rotations; and what is left of softmaxes
// and of products without one. A pattern that is no longer found shows here.
func TestFusedSites(t *testing.T) {
	type sites struct{ attention, norm, gate, linear, rotary, softmax, matmul int }
	want := map[string]sites{
		"bert_s_op13": {2, 6, 3, 14, 0, 0, 0}, "bert_s_op17": {2, 6, 3, 14, 0, 0, 0}, "bert_s_op17_nofold": {2, 6, 3, 14, 0, 0, 0},
		"gpt2_s_op13": {2, 5, 2, 8, 0, 0, 1}, "gpt2_s_op17": {2, 5, 2, 8, 0, 0, 1}, "gpt2_s_op17_static": {2, 5, 2, 8, 0, 0, 1},
		"llama_s_op17": {2, 5, 2, 0, 4, 0, 15}, "vit_s_op17": {2, 5, 2, 9, 0, 0, 0},
		// Two attentions mix their heads between scores and weights.
		"cait_s_op17":        {2, 9, 4, 25, 0, 2, 4},
		"hf_clip_text_dyn18": {2, 5, 2, 13, 0, 0, 0}, "hf_gemma2_dyn18": {2, 9, 2, 0, 4, 0, 16}, "hf_gpt2_dyn18": {2, 5, 2, 8, 0, 0, 1}, "hf_gpt2_ts17": {2, 5, 2, 8, 0, 0, 1},
		"hf_gptj_dyn18": {2, 3, 2, 5, 0, 0, 8}, "hf_gptneox_ts17": {2, 5, 2, 8, 4, 0, 1}, "hf_llama_past_dyn23": {2, 5, 2, 0, 4, 0, 16}, "hf_llama_past_ts17": {2, 5, 2, 0, 4, 0, 15},
		// Its masked scores are bounded from below, which changes rows that see nothing.
		"hf_opt_ts17": {0, 5, 0, 12, 0, 2, 5}, "hf_phi_dyn18": {2, 3, 2, 13, 4, 0, 0},
	}
	for _, dir := range fusionModels(t) {
		name := filepath.Base(dir)
		if filepath.Dir(filepath.Dir(filepath.Dir(dir))) != "../.." {
			continue
		}
		w, ok := want[name]
		if !ok {
			t.Errorf("%s: not in the table", name)
			continue
		}
		delete(want, name)
		g, in := loadFusionCase(t, dir)
		n := liveOps(t, g, in, Options{})
		got := sites{n["*engine.attentionOp"], n["layerNorm"] + n["rmsNorm"], n["Gelu"] + n["Swish"], n["*engine.linearOp"] + n["*engine.gemmOp"],
			n["*engine.rotaryOp"], n["*engine.softmaxOp"], n["*engine.matmulOp"]}
		if got != w {
			t.Errorf("%s: attentions, norms, gates, linear layers, rotations, softmaxes, products are %v, want %v", name, got, w)
		}
		if left := n["Erf"] + n["Sigmoid"] + n["Sqrt"]; left > 0 {
			t.Errorf("%s: %d parts of norms or activations are left", name, left)
		}
	}
	for name := range want {
		t.Errorf("%s: no such model", name)
	}
}
