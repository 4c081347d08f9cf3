package train

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestSpecsAreChecked(t *testing.T) {
	two := []*onnxio.Node{op("MatMul", "x,w", "y"), op("MatMul", "x,v", "z"), op("ArgMax", "y", "best")}
	consts := []*onnxio.Tensor{numbers("w", 1, 4, 3), numbers("v", 2, 4, 5)}
	outs := []string{"y", "z", "best"}
	for want, s := range map[string]Spec{
		`loss "hinge" does not exist`:                  {Loss: "hinge"},
		"one must be named: y (rank 2), z (rank 2)":    {Loss: Classify},
		"no output has the rank that loss causal-lm":   {Loss: CausalLM},
		`no output "q"; it has y (rank 2), z (rank 2)`: {Loss: Classify, Output: "q"},
		"temperature is -1":                            {Loss: Distill, Output: "y", Temperature: -1},
		"share of the labels is 1":                     {Loss: Distill, Output: "y", HardWeight: 1},
	} {
		_, err := NewTask(context.Background(), model(t, 17, 4, consts, outs, two...), s)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v", want, err)
		}
	}
	// A head is trained by its name; the other's weight has no influence.
	task := mustTask(t, model(t, 17, 4, consts, outs, two...), Spec{Loss: Classify, Output: "z"})
	if len(task.Params) != 1 || task.Params[0].Name != "v" {
		t.Errorf("%d parameters", len(task.Params))
	}
}

// The label that is not counted can be any, 0 included; accuracy is of the others.
func TestIgnoredLabels(t *testing.T) {
	zero := int64(0)
	g := model(t, 17, 3, []*onnxio.Tensor{onnxio.FromFloat32s("w", []int64{3, 3}, []float32{1, 0, 0, 0, 1, 0, 0, 0, 1})}, []string{"y"}, op("MatMul", "x,w", "y"))
	task := mustTask(t, g, Spec{Loss: Classify, IgnoreIndex: &zero})
	data := fixed{"x": onnxio.FromFloat32s("", []int64{4, 3}, []float32{9, 0, 0, 0, 2, 0, 0, 0, 5, 0, 3, 0}), "labels": onnxio.FromInt64s("", []int64{4}, []int64{0, 1, 2, 2})}
	p := mustRun(t, task, data, Options{Steps: 1, Float64: true}).Curve[0]
	want := (math.Log(1+2*math.Exp(-2)) + math.Log(1+2*math.Exp(-5)) + math.Log(2+math.Exp(3))) / 3
	if math.Abs(p.Loss-want) > 1e-12 || p.Counted != 3 || p.Elements != 4 || *p.Accuracy != 2./3 {
		t.Errorf("point %+v with accuracy %v, the loss should be %v", p, *p.Accuracy, want)
	}
}

// The loss is made of forms that old operator sets have too.
func TestOldOperatorSets(t *testing.T) {
	first := map[int]float64{}
	for _, opset := range []int64{9, 11, 12, 13, 18, 23} {
		g := model(t, opset, 4, []*onnxio.Tensor{numbers("w", 1, 4, 5)}, []string{"y"}, op("MatMul", "x,w", "y"))
		for i, s := range []Spec{{Loss: Classify}, {Loss: Distill, Temperature: 2}, {Loss: Distill, HardWeight: .5}, {Loss: MSE}} {
			task := mustTask(t, g, s)
			data := fixed{"x": numbers("", 5, 3, 4), "labels": onnxio.FromInt64s("", []int64{3}, []int64{1, 4, -100}), "teacher_logits": numbers("", 6, 3, 5), "target": numbers("", 7, 3, 5)}
			r := mustRun(t, task, data, Options{Steps: 30, LR: 0.1})
			a, b := r.Curve[0].Loss, r.Curve[29].Loss
			if !(b < a) {
				t.Errorf("opset %d, loss %d went from %v to %v", opset, i, a, b)
			}
			if opset == 9 {
				first[i] = a
			} else if a != first[i] {
				t.Errorf("opset %d, loss %d is %v, %v in opset 9", opset, i, a, first[i])
			}
		}
	}
}

func TestRandomIsBySeedAndName(t *testing.T) {
	all := mustTask(t, open(t, "testdata/tiny_gpt.onnx"), Spec{Loss: CausalLM})
	some := mustTask(t, open(t, "testdata/tiny_gpt.onnx"), Spec{Loss: CausalLM, Only: []string{"*mlp_proj*", "*ln_2*"}})
	a, b, c := start(t, all, Options{Init: "random", Seed: 1}), start(t, all, Options{Init: "random", Seed: 2}), start(t, some, Options{Init: "random", Seed: 1})
	for i, p := range all.Params {
		v := a[i].F32
		switch p.Role {
		case RoleGain:
			if slices.Min(v) != 1 || slices.Max(v) != 1 {
				t.Errorf("%s is not one", p.Name)
			}
		case RoleBias:
			if slices.Min(v) != 0 || slices.Max(v) != 0 {
				t.Errorf("%s is not zero", p.Name)
			}
		default:
			var mean, square float64
			for _, x := range v {
				mean += float64(x) / float64(len(v))
				square += float64(x) * float64(x) / float64(len(v))
			}
			// four standard errors
			n := math.Sqrt(float64(len(v)))
			if math.Abs(mean) > 4*initStd/n || math.Abs(math.Sqrt(square)-initStd) > 4*initStd/n {
				t.Errorf("%s has mean %v and deviation %v", p.Name, mean, math.Sqrt(square))
			}
			if slices.Equal(v, b[i].F32) {
				t.Errorf("%s does not depend on the seed", p.Name)
			}
		}
		if j := slices.IndexFunc(some.Params, func(q *Param) bool { return q.Name == p.Name }); j >= 0 && !slices.Equal(v, c[j].F32) {
			t.Errorf("%s depends on what else is trained", p.Name)
		}
	}
}

// The variance of a matrix is 2/(in+out), that of a table 1/width; a convolution's window counts with its channels.
func TestGlorot(t *testing.T) {
	vit, err := graph.FromModel(fixtures.ViT(fixtures.Config{Hidden: 32}))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range []*Task{mustTask(t, open(t, "testdata/tiny_gpt.onnx"), Spec{Loss: CausalLM}), mustTask(t, vit, Spec{Loss: Classify})} {
		values := start(t, task, Options{Init: "glorot", Seed: 1})
		matrices := 0
		for i, p := range task.Params {
			v := values[i].F32
			switch p.Role {
			case RoleGain:
				if slices.Min(v) != 1 || slices.Max(v) != 1 {
					t.Errorf("%s is not one", p.Name)
				}
				continue
			case RoleBias:
				if slices.Min(v) != 0 || slices.Max(v) != 0 {
					t.Errorf("%s is not zero", p.Name)
				}
				continue
			}
			variance := 1 / float64(p.Shape[len(p.Shape)-1])
			switch {
			case p.Role == RoleMatrix && len(p.Shape) == 4: // patches of 8 x 8, 3 channels, 32 features
				variance = 2. / ((32 + 3) * 64)
			case p.Role == RoleMatrix:
				variance = 2 / float64(p.Shape[0]+p.Shape[1])
			}
			matrices++
			var square float64
			for _, x := range v {
				square += float64(x) * float64(x) / float64(len(v))
			}
			// four standard errors
			if want := math.Sqrt(variance); math.Abs(math.Sqrt(square)-want) > 4*want/math.Sqrt(2*float64(len(v))) {
				t.Errorf("%s of shape %v has deviation %v, want %v", p.Name, p.Shape, math.Sqrt(square), want)
			}
		}
		if matrices < 5 {
			t.Errorf("%d matrices and tables", matrices)
		}
	}
}
