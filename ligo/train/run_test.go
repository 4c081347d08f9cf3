package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func mustRun(t testing.TB, task *Task, b Batches, o Options) *Result {
	t.Helper()
	r, err := Run(context.Background(), task, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bits is the floats of a result as bit patterns, parameters and moments, in order.
func bits(r *Result) []uint64 {
	var out []uint64
	put := func(f engine.Floats) {
		for _, v := range f.F32 {
			out = append(out, uint64(math.Float32bits(v)))
		}
		for _, v := range f.F64 {
			out = append(out, math.Float64bits(v))
		}
	}
	for _, v := range r.Values {
		put(v)
	}
	for _, m := range r.State.Moments {
		put(m.First)
		put(m.Second)
	}
	return append(out, uint64(r.State.Step))
}

// Four micro-batches of two sequences are one batch of eight, though they count different numbers of labels.
func TestAccumulationIsOneLargeBatch(t *testing.T) {
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	o := adamw
	o.Float64, o.Accumulate = true, 4
	small := mustRun(t, task, &goldenBatches{g: g, task: task, size: 2}, o)
	o.Accumulate = 1
	large := mustRun(t, task, &goldenBatches{g: g, task: task, size: 8}, o)
	for i, p := range small.Curve {
		if q := large.Curve[i]; p.Counted != q.Counted || math.Abs(p.Loss-q.Loss) > 1e-12*q.Loss || math.Abs(p.GradNorm-q.GradNorm) > 1e-12*q.GradNorm {
			t.Errorf("step %d: loss %v and norm %v of %d, at once %v and %v of %d", p.Step, p.Loss, p.GradNorm, p.Counted, q.Loss, q.GradNorm, q.Counted)
		}
	}
	for i, v := range small.Values {
		for j, x := range v.F64 {
			if y := large.Values[i].F64[j]; math.Abs(x-y) > 1e-10 {
				t.Fatalf("%s[%d] is %v, at once %v", task.Params[i].Name, j, x, y)
			}
		}
	}
}

func TestResultsDoNotDependOnThreads(t *testing.T) {
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	o := adamw
	o.Threads = 1
	one := mustRun(t, task, &goldenBatches{g: g, task: task, size: 8}, o)
	o.Threads = 5
	if !slices.Equal(bits(one), bits(mustRun(t, task, &goldenBatches{g: g, task: task, size: 8}, o))) {
		t.Error("five threads give other parameters than one")
	}
}

func TestEvaluationChangesNothing(t *testing.T) {
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	plain := mustRun(t, task, &goldenBatches{g: g, task: task, size: 3}, adamw)
	o := adamw
	o.Eval, o.EvalEvery, o.EvalBatches = &goldenBatches{g: g, task: task, size: 5}, 6, 2
	var seen []Point
	o.Progress = func(p Point) { seen = append(seen, p) }
	r := mustRun(t, task, &goldenBatches{g: g, task: task, size: 3}, o)
	if !slices.Equal(bits(plain), bits(r)) {
		t.Error("a run that measures gives other parameters")
	}
	var at []int
	for _, p := range r.Curve {
		if p.Eval != nil {
			at = append(at, p.Step)
			if e := p.Eval; e.Counted == 0 || !(e.Loss > 0) || e.Accuracy == nil || !(*e.Accuracy >= 0 && *e.Accuracy <= 1) {
				t.Errorf("step %d: evaluation %+v", p.Step, *e)
			}
		}
	}
	if !slices.Equal(at, []int{6, 12, 18, 20}) {
		t.Errorf("measured after steps %v", at)
	}
	if len(seen) != goldenSteps || seen[5].Eval == nil {
		t.Errorf("progress was told of %d steps", len(seen))
	}
	// The loss on the first batches is what a run over the same labels without updates says.
	o = Options{Steps: 1, Eval: &goldenBatches{g: g, task: task, size: 3}, EvalBatches: 2, Accumulate: 2}
	still := mustRun(t, task, &goldenBatches{g: g, task: task, size: 3}, o)
	if p := still.Curve[0]; p.Loss != p.Eval.Loss || *p.Accuracy != *p.Eval.Accuracy {
		t.Errorf("a step of rate 0 has loss %v, the evaluation %v", p.Loss, p.Eval.Loss)
	}
}

// linear is y = x W + b with the given W; the loss is of y.
func linearModel(t testing.TB, w []float32, rows, cols int64) *graph.Graph {
	t.Helper()
	dim := func(n int64) onnxio.Dim { return onnxio.Dim{Value: n} }
	g, err := graph.FromModel(&onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: 17}}, Graph: &onnxio.Graph{Name: "linear",
		Inputs:       []*onnxio.ValueInfo{{Name: "x", Type: onnxio.TensorType(onnxio.Float, onnxio.Dim{Param: "n"}, dim(rows))}},
		Outputs:      []*onnxio.ValueInfo{{Name: "y", Type: onnxio.TensorType(onnxio.Float, onnxio.Dim{Param: "n"}, dim(cols))}},
		Initializers: []*onnxio.Tensor{onnxio.FromFloat32s("weight", []int64{rows, cols}, w), onnxio.FromFloat32s("bias", []int64{cols}, make([]float32, cols))},
		Nodes: []*onnxio.Node{{Name: "product", OpType: "MatMul", Inputs: []string{"x", "weight"}, Outputs: []string{"xw"}},
			{Name: "sum", OpType: "Add", Inputs: []string{"xw", "bias"}, Outputs: []string{"y"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// fixed gives the same batch every time.
type fixed map[string]*onnxio.Tensor

func (f fixed) Batch(context.Context, int) (map[string]*onnxio.Tensor, error) { return f, nil }
func (f fixed) ID() string                                                    { return "fixed" }

func TestNotANumberStopsTheRun(t *testing.T) {
	task := mustTask(t, linearModel(t, []float32{1, 2, 3, float32(math.Inf(1))}, 2, 2), Spec{Loss: MSE})
	data := fixed{"x": onnxio.FromFloat32s("", []int64{1, 2}, []float32{1, 1}), "target": onnxio.FromFloat32s("", []int64{1, 2}, []float32{0, 0})}
	r, err := Run(context.Background(), task, data, Options{Steps: 3, LR: 1})
	if err == nil || !strings.Contains(err.Error(), `step 1:`) || !strings.Contains(err.Error(), `"weight"`) || !strings.Contains(err.Error(), "not applied") {
		t.Fatalf("error %v", err)
	}
	if r == nil || len(r.Curve) != 0 || r.Values[0].F32[0] != 1 {
		t.Errorf("the step was applied: %+v", r)
	}
}

// One step by hand: the loss is the mean of squares, the gradient 2 x (y - target) / elements.
func TestMeanSquaresByHand(t *testing.T) {
	task := mustTask(t, linearModel(t, []float32{1, 2, 3, 4}, 2, 2), Spec{Loss: MSE})
	data := fixed{"x": onnxio.FromFloat32s("", []int64{1, 2}, []float32{1, 2}), "target": onnxio.FromFloat32s("", []int64{1, 2}, []float32{6, 10}), "extra": onnxio.FromInt64s("", nil, []int64{1})}
	r := mustRun(t, task, data, Options{Steps: 1, LR: 0.5, Optimizer: SGD})
	// y = 7, 10; differences 1, 0
	if p := r.Curve[0]; p.Loss != 0.5 || math.Abs(p.GradNorm-math.Sqrt(1+1+4)) > 1e-6 || p.Counted != 2 || p.Accuracy != nil {
		t.Errorf("point %+v", p)
	}
	if got := r.Values[0].F32; !slices.Equal(got, []float32{0.5, 2, 2, 4}) {
		t.Errorf("weight %v", got)
	}
	if got := r.Values[1].F32; !slices.Equal(got, []float32{-0.5, 0}) {
		t.Errorf("bias %v", got)
	}
}

func TestBatchErrorsSayWhichBatch(t *testing.T) {
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	broken := errors.New("broken")
	b := &goldenBatches{g: g, task: task, size: 2, fault: func(i int) error {
		if i == 5 {
			return broken
		}
		return nil
	}}
	r, err := Run(context.Background(), task, b, adamw)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "step 3: batch 5") {
		t.Errorf("error %v", err)
	}
	if len(r.Curve) != 2 {
		t.Errorf("%d steps were applied", len(r.Curve))
	}
	_, err = Run(context.Background(), task, fixed{"input_ids": onnxio.FromInt64s("", []int64{1, 2}, []int64{1, 2})}, adamw)
	if err == nil || !strings.Contains(err.Error(), `nothing for input "labels"`) {
		t.Errorf("error %v", err)
	}
	none := fixed{"input_ids": onnxio.FromInt64s("", []int64{1, 2}, []int64{1, 2}), "labels": onnxio.FromInt64s("", []int64{1, 2}, []int64{-100, -100})}
	_, err = Run(context.Background(), task, none, adamw)
	if err == nil || !strings.Contains(err.Error(), "no label of the batch is counted") {
		t.Errorf("error %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	for want, o := range map[string]Options{
		"schedule":              {Schedule: "step"},
		"optimizer":             {Optimizer: "adam"},
		"learning rate is -1":   {LR: -1},
		"learning rate is NaN":  {LR: math.NaN()},
		"betas":                 {Beta1: 1, Beta2: 0.9},
		"nesterov":              {Optimizer: SGD, Nesterov: true},
		"above the largest":     {LR: 1, MinLR: 2},
		"initialisation":        {Init: "xavier"},
		"number of steps is -1": {Steps: -1},
		"holds no checkpoint":   {Resume: t.TempDir()},
		"no such file":          {Resume: "testdata/nowhere"},
	} {
		if _, err := Run(context.Background(), task, &goldenBatches{g: g, task: task, size: 1}, o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v", want, err)
		}
	}
}
