package ligo

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// trace is what an independent PyTorch implementation of LiGO computed (fixtures/golden/README.md).
type trace struct {
	LR        float64            `json:"lr"`
	HLarge    int64              `json:"H_large"`
	HSmall    int64              `json:"H_small"`
	Loss64    []float64          `json:"loss_float64"`
	After64   float64            `json:"loss_after_10_steps_on_batch0_float64"`
	Loss32    []float64          `json:"loss_float32"`
	After32   float64            `json:"loss_after_10_steps_on_batch0_float32"`
	Norms64   map[string]float64 `json:"grad_norm_step0_float64"`
	NormAfter map[string]float64 `json:"op_norm_after_float64"`
	folder    string
	weights   map[string]*onnxio.Tensor
	start     map[string]*onnxio.Tensor
	batches   *onnxio.Tensor
}

func readTrace(t *testing.T, root, name string) *trace {
	t.Helper()
	tr := &trace{folder: filepath.Join(root, name)}
	b, err := os.ReadFile(filepath.Join(tr.folder, "trace.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, tr); err != nil {
		t.Fatal(err)
	}
	data := tr.folder
	if name == "tiny_untied_exact_x2_adamw" {
		data, tr.LR, tr.HSmall, tr.HLarge = filepath.Join(root, "tiny_untied_exact_x2"), 1e-3, 3, 6
	}
	ctx := context.Background()
	if tr.start, err = dataset.ReadNPZ(ctx, filepath.Join(data, "op_init.npz")); err != nil {
		t.Fatal(err)
	}
	weights := filepath.Join(data, "small_weights.npz")
	if _, err := os.Stat(weights); err != nil {
		weights = filepath.Join(root, "small_weights.npz")
	}
	if tr.weights, err = dataset.ReadNPZ(ctx, weights); err != nil {
		t.Fatal(err)
	}
	sig := dataset.Signature{Inputs: []*onnxio.ValueInfo{{Name: "batches", Type: onnxio.TensorType(onnxio.Int64, onnxio.Dim{Value: -1}, onnxio.Dim{Value: -1}, onnxio.Dim{Value: -1})}}}
	sets, err := dataset.Load(ctx, []string{"batches=" + filepath.Join(data, "batches.npy")}, sig)
	if err != nil {
		t.Fatal(err)
	}
	tr.batches = sets[0].Inputs["batches"]
	return tr
}

// element is entry i along axis 0, with the last two axes exchanged if asked for.
func element(t *testing.T, x *onnxio.Tensor, i int, transpose bool) ([]float64, []int64) {
	t.Helper()
	v, err := x.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	dims := x.Dims
	if i >= 0 {
		n := int(x.NumElements() / x.Dims[0])
		v, dims = v[i*n:(i+1)*n], dims[1:]
	}
	if transpose {
		r, c := int(dims[0]), int(dims[1])
		y := make([]float64, len(v))
		for a := range r {
			for b := range c {
				y[b*r+a] = v[a*c+b]
			}
		}
		return y, []int64{dims[1], dims[0]}
	}
	return v, dims
}

// smallModel is the traces' pre-norm GPT-2 with separate projections, as a graph of ONNX operators.
func (tr *trace) smallModel(t *testing.T, dt onnxio.DType) *onnxio.Model {
	t.Helper()
	g := &onnxio.Graph{Name: "golden"}
	layers := int(tr.weights["q_w"].Dims[0])
	hidden := tr.weights["wte"].Dims[1]
	heads := tr.HSmall
	head := hidden / heads
	node := func(op, in, out string, attrs ...*onnxio.Attribute) string {
		g.Nodes = append(g.Nodes, &onnxio.Node{Name: out + "_node", OpType: op, Inputs: strings.Split(in, ","), Outputs: []string{out}, Attrs: attrs})
		return out
	}
	weight := func(name string, v []float64, dims []int64) string {
		x, err := onnxio.FromFloats(name, dt, dims, v)
		if err != nil {
			t.Fatal(err)
		}
		g.Initializers = append(g.Initializers, x)
		return name
	}
	named := func(as, name string, i int, transpose bool) string {
		v, dims := element(t, tr.weights[name], i, transpose)
		return weight(as, v, dims)
	}
	ints := func(name string, v ...int64) string {
		g.Initializers = append(g.Initializers, onnxio.FromInt64s(name, []int64{int64(len(v))}, v))
		return name
	}
	eps := &onnxio.Attribute{Name: "epsilon", Kind: onnxio.AttrFloat, F: 1e-5}
	split, merge := ints("split", 0, 0, heads, head), ints("merge", 0, 0, hidden)
	weight("scale", []float64{1 / math.Sqrt(float64(head))}, nil)
	tokens := onnxio.Dim{Param: "tokens", Value: -1}
	g.Inputs = []*onnxio.ValueInfo{{Name: "ids", Type: onnxio.TensorType(onnxio.Int64, onnxio.Dim{Param: "batch", Value: -1}, tokens)}}
	// positions and mask from the shape of the ids
	node("Shape", "ids", "shape")
	node("Gather", "shape,"+ints("one", 1), "length1")
	node("Squeeze", "length1", "length")
	g.Initializers = append(g.Initializers, onnxio.FromInt64s("zero", nil, []int64{0}), onnxio.FromInt64s("step", nil, []int64{1}))
	node("Range", "zero,length,step", "positions")
	node("Unsqueeze", "positions,"+ints("axis1", 1), "rows")
	node("Less", "rows,positions", "ahead")
	weight("low", []float64{-1e30}, nil)
	weight("open", []float64{0}, nil)
	node("Where", "ahead,low,open", "mask")
	x := node("Add", node("Gather", named("wte", "wte", -1, false)+",ids", "words")+","+node("Gather", named("wpe", "wpe", -1, false)+",positions", "places"), "x0")
	for i := range layers {
		n := func(s string) string { return fmt.Sprintf("h.%d.%s", i, s) }
		linear := func(in, w, b, as string) string {
			return node("Add", node("MatMul", in+","+named(n(w), w, i, true), n(as+"_product"))+","+named(n(b), b, i, false), n(as))
		}
		y := node("LayerNormalization", x+","+named(n("ln1_g"), "ln1_g", i, false)+","+named(n("ln1_b"), "ln1_b", i, false), n("ln1"), eps)
		var qkv [3]string
		for j, s := range []string{"q", "k", "v"} {
			perm := []int64{0, 2, 1, 3}
			if s == "k" {
				perm = []int64{0, 2, 3, 1}
			}
			qkv[j] = node("Transpose", node("Reshape", linear(y, s+"_w", s+"_b", s)+","+split, n(s+"_split")), n(s+"_heads"), graph.IntsAttr("perm", perm...))
		}
		s := node("Mul", node("MatMul", qkv[0]+","+qkv[1], n("products"))+",scale", n("scores"))
		s = node("Softmax", node("Add", s+",mask", n("masked")), n("weights"), graph.IntAttr("axis", -1))
		y = node("Transpose", node("MatMul", s+","+qkv[2], n("values")), n("back"), graph.IntsAttr("perm", 0, 2, 1, 3))
		x = node("Add", x+","+linear(node("Reshape", y+","+merge, n("merged")), "o_w", "o_b", "o"), n("x1"))
		y = node("LayerNormalization", x+","+named(n("ln2_g"), "ln2_g", i, false)+","+named(n("ln2_b"), "ln2_b", i, false), n("ln2"), eps)
		y = node("Gelu", linear(y, "fc1_w", "fc1_b", "fc1"), n("gelu"), &onnxio.Attribute{Name: "approximate", Kind: onnxio.AttrString, S: []byte("tanh")})
		x = node("Add", x+","+linear(y, "fc2_w", "fc2_b", "fc2"), n("x2"))
	}
	x = node("LayerNormalization", x+","+named("lnf_g", "lnf_g", -1, false)+","+named("lnf_b", "lnf_b", -1, false), "lnf", eps)
	node("MatMul", x+","+named("head", "wte", -1, true), "logits")
	g.Outputs = []*onnxio.ValueInfo{{Name: "logits", Type: onnxio.TensorType(dt, onnxio.Dim{Param: "batch", Value: -1}, tokens, onnxio.Dim{Value: tr.weights["wte"].Dims[0]})}}
	return &onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Domain: "", Version: 20}}, Graph: g}
}

// goldenName gives a slot the trace's name of its matrix, and the layer for matrices that every layer has.
func goldenName(p *Plan, s segment, wp *weightPlan, tied bool) (name string, layer int) {
	tensor := wp.value.Name
	layer = -1
	if at, ok := p.slots[wp.value]; ok {
		layer = at.layer
		tensor = tensor[strings.LastIndex(tensor, ".")+1:]
	}
	tensor = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(tensor, "_w"), "_b"), "_g")
	stream := p.shared(s.expr)
	reads := s.key.kind == variantL || s.key.kind == variantF
	switch {
	case tied && stream:
		return "S_emb", -1
	case tied && tensor == "o":
		return "S_v", layer
	case tied && strings.HasPrefix(tensor, "fc"):
		return "S_f", layer
	case tied:
		return "S_" + tensor, layer
	case stream && reads:
		return "L_res", -1
	case stream && tensor == "lnf":
		return "R_lnf", -1
	case stream:
		return "R_res", -1
	case tensor == "o":
		return "L_o", layer
	case tensor == "fc1":
		return "R_f", layer
	case tensor == "fc2":
		return "L_f", layer
	}
	return "R_" + tensor, layer
}

// learner makes the learning graph of a trace, at the trace's start.
func (tr *trace) learner(t *testing.T, tied bool, dt onnxio.DType) *Learnable {
	t.Helper()
	ctx := context.Background()
	g, err := graph.FromModel(tr.smallModel(t, dt))
	if err != nil {
		t.Fatal(err)
	}
	a, err := Analyse(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	size := func(name string, axis int) int64 { return tr.start[name].Dims[axis] }
	var target Target
	if tied {
		target = Target{Hidden: a.hidden() + size("S_emb", 0), FFN: 4 * (a.hidden() + size("S_emb", 0)), Layers: size("S_q", 0), Heads: tr.HLarge}
	} else {
		target = Target{Hidden: size("R_res", 0), FFN: size("R_f", 1), Layers: size("R_q", 0), Heads: tr.HLarge}
	}
	p, err := NewPlan(ctx, a, target, Options{Method: Paper})
	if err != nil {
		t.Fatal(err)
	}
	op, err := p.Operator(ctx)
	if err != nil {
		t.Fatal(err)
	}
	o := LearnOptions{Free: FreeDense, Tie: TieNone, Additive: tr.start["N_q_w"] != nil}
	if tied {
		o.Tie = TiePaper
	}
	o.rename = func(s segment, wp *weightPlan) string {
		name, layer := goldenName(p, s, wp, tied)
		if layer >= 0 {
			return fmt.Sprintf("%s/%d", name, layer)
		}
		return name
	}
	for _, wp := range p.weights {
		for i := range wp.axes {
			for _, s := range p.segments(wp, i) {
				if p.sizes.Eval(s.expr) == s.expr.Size {
					continue
				}
				name, layer := goldenName(p, s, wp, tied)
				x := tr.start[name]
				if x == nil {
					t.Fatalf("the trace has no %s for %s", name, wp.value.Name)
				}
				v, dims := element(t, x, layer, strings.HasPrefix(name, "L_"))
				if tied {
					n := int(dims[1])
					id := make([]float64, n*n)
					for j := range n {
						id[j*n+j] = 1
					}
					v, dims = append(id, v...), []int64{dims[0] + dims[1], dims[1]}
				}
				op.Slots[o.rename(s, wp)] = linmap.Dense(int(dims[0]), int(dims[1]), v)
			}
		}
	}
	for v, at := range p.slots {
		key := moduleKey(at.stage, p.small.Blocks.Stages[at.stage], at.module)
		tensor := v.Name[strings.LastIndex(v.Name, ".")+1:]
		if op.Blends[key] == nil {
			continue
		}
		name := "w_" + tensor
		if !tied {
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_w"), "_b"), "_g")
		}
		x := tr.start[name]
		if x == nil {
			continue // scales and the like
		}
		w, _ := element(t, x, -1, false)
		n := int(x.Dims[1])
		for i := range op.Blends[key] {
			op.Blends[key][i] = slices.Clone(w[i*n : (i+1)*n])
		}
	}
	for name, x := range tr.start {
		if tensor, ok := strings.CutPrefix(name, "N_"); ok {
			for v, at := range p.slots {
				if strings.HasSuffix(v.Name, "."+tensor) {
					w, dims := element(t, x, at.layer, true)
					if op.Free[v.Name], err = onnxio.FromFloats("", dt, dims, w); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	l, err := p.Learnable(ctx, op, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (a *Analysis) hidden() int64 { return a.Axes.Hidden.Size }

// TestGoldenTraces learns as the reference does and compares losses and gradients.
func TestGoldenTraces(t *testing.T) {
	small := filepath.Join("..", "fixtures", "golden")
	for _, name := range []string{"tiny_untied_dense", "tiny_untied_dense_plusN", "tiny_untied_exact_x2", "tiny_untied_exact_x2_adamw", "tiny_tied_ligo_code"} {
		t.Run(name, func(t *testing.T) { readTrace(t, small, name).check(t, strings.Contains(name, "_tied_"), 1e-5) })
	}
	t.Run("trained", func(t *testing.T) {
		root := filepath.Join(fixtures.TestData(t), "golden")
		for name, tolerance := range map[string]float64{"trained_untied_exact_x2": 3e-5, "trained_untied_exact_x2_lr0.002": 1e-5} {
			t.Run(name, func(t *testing.T) { readTrace(t, root, name).check(t, false, tolerance) })
		}
	})
}

func (tr *trace) check(t *testing.T, tied bool, tolerance float64) {
	for _, double := range []bool{true, false} {
		want, after, dt := tr.Loss32, tr.After32, onnxio.Float
		if double {
			want, after, dt = tr.Loss64, tr.After64, onnxio.Double
		}
		if len(want) == 0 {
			continue
		}
		run := tr.learn(t, tr.learner(t, tied, dt), double)
		if double {
			tolerance := 1e-8
			for i, w := range want {
				if d := math.Abs(run.losses[i] - w); !(d <= tolerance) {
					t.Errorf("float64: loss of step %d is %.12f, the reference's %.12f", i, run.losses[i], w)
				}
			}
			for name, w := range tr.Norms64 {
				if g := run.norms[name]; math.Abs(g-w) > 1e-6*w+1e-15 {
					t.Errorf("float64: the gradient of %s has norm %.9g, the reference's %.9g", name, g, w)
				}
			}
		} else {
			for i, w := range want {
				if d := math.Abs(run.losses[i] - w); !(d <= tolerance) {
					t.Errorf("float32: loss of step %d is %.7f, the reference's %.7f", i, run.losses[i], w)
				}
			}
		}
		if d := math.Abs(run.losses[len(want)] - after); !(d <= tolerance) {
			t.Errorf("double=%v: loss after the last step is %.9f, the reference's %.9f", double, run.losses[len(want)], after)
		}
	}
}

type goldenRun struct {
	losses []float64
	norms  map[string]float64 // of the gradients of step 0
}

// learn runs the trace's ten steps of plain SGD, or of AdamW.
func (tr *trace) learn(t *testing.T, l *Learnable, double bool) goldenRun {
	t.Helper()
	g := l.Graph
	vocab := tr.weights["wte"].Dims[0]
	labels := g.NewInput("labels", onnxio.TensorType(onnxio.Int64))
	labels.Type.HasShape = false
	flat := func(v *graph.Value, dims ...int64) *graph.Value {
		out := g.NewValue("flat", nil)
		g.NewNode("Reshape", "", "flat", []*graph.Value{v, g.NewConst("shape", onnxio.FromInt64s("", []int64{int64(len(dims))}, dims))}, []*graph.Value{out})
		return out
	}
	loss := g.NewValue("loss", nil)
	g.NewNode("SoftmaxCrossEntropyLoss", "", "loss", []*graph.Value{flat(g.Value("logits"), -1, vocab), flat(labels, -1)}, []*graph.Value{loss})
	trainer, err := engine.NewTrainer(g, "loss", l.Params, engine.Options{Float64: double})
	if err != nil {
		t.Fatal(err)
	}
	b, err := tr.batches.Int64s()
	if err != nil {
		t.Fatal(err)
	}
	steps, rows, cols := int(tr.batches.Dims[0]), int(tr.batches.Dims[1]), int(tr.batches.Dims[2])
	batch := func(s int) map[string]*onnxio.Tensor {
		var ids, next []int64
		for r := range rows {
			row := b[(s*rows+r)*cols : (s*rows+r+1)*cols]
			ids, next = append(ids, row[:cols-1]...), append(next, row[1:]...)
		}
		dims := []int64{int64(rows), int64(cols - 1)}
		return map[string]*onnxio.Tensor{"ids": onnxio.FromInt64s("", dims, ids), "labels": onnxio.FromInt64s("", dims, next)}
	}
	run := goldenRun{norms: map[string]float64{}}
	ctx := context.Background()
	number := func(out map[string]*onnxio.Tensor) float64 {
		x, err := out["loss"].Float64s()
		if err != nil {
			t.Fatal(err)
		}
		return x[0]
	}
	type moments struct{ m, v []float64 }
	state := map[string]moments{}
	adamw := strings.HasSuffix(tr.folder, "_adamw")
	for s := range steps {
		out, err := trainer.Gradients(ctx, batch(s))
		if err != nil {
			t.Fatal(err)
		}
		run.losses = append(run.losses, number(out))
		for _, p := range trainer.Params() {
			name := goldenParam(p.Name, strings.Contains(tr.folder, "_tied_"))
			grad := append(slices.Clone(p.Grad.F64), widened(p.Grad.F32)...)
			if s == 0 {
				sum := run.norms[name] * run.norms[name]
				for _, x := range grad {
					sum += x * x
				}
				run.norms[name] = math.Sqrt(sum)
			}
			if adamw && state[p.Name].m == nil {
				state[p.Name] = moments{make([]float64, len(grad)), make([]float64, len(grad))}
			}
			for i, x := range grad {
				step := tr.LR * x
				if adamw {
					// torch.optim.AdamW: betas (0.9, 0.999), eps 1e-6, weight decay 0.01
					k := state[p.Name]
					k.m[i] += 0.1 * (x - k.m[i])
					k.v[i] += 0.001 * (x*x - k.v[i])
					n := float64(s + 1)
					old := 0.0
					if double {
						old = p.Value.F64[i]
					} else {
						old = float64(p.Value.F32[i])
					}
					step = tr.LR*0.01*old + tr.LR/(1-math.Pow(0.9, n))*k.m[i]/(math.Sqrt(k.v[i]/(1-math.Pow(0.999, n)))+1e-6)
				}
				if double {
					p.Value.F64[i] -= step
				} else {
					p.Value.F32[i] = float32(float64(p.Value.F32[i]) - step)
				}
			}
		}
	}
	out, err := trainer.Forward(ctx, batch(0))
	if err != nil {
		t.Fatal(err)
	}
	run.losses = append(run.losses, number(out))
	return run
}

// goldenParam is the trace's name of a parameter.
func goldenParam(name string, tied bool) string {
	if rest, ok := strings.CutPrefix(name, "w/"); ok {
		rest = rest[strings.LastIndex(rest, ".")+1:]
		if !tied {
			rest = strings.TrimSuffix(strings.TrimSuffix(rest, "_w"), "_g")
		}
		return "w_" + rest
	}
	if rest, ok := strings.CutPrefix(name, "N/"); ok {
		return "N_" + rest[strings.LastIndex(rest, ".")+1:]
	}
	name, _, _ = strings.Cut(name, "/")
	return name
}

func widened(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
