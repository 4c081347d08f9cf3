package engine

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	process "os/exec"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// The gradients of whole models are PyTorch's: every parameter, at width 256 and above, in float32 to 1e-4 and in float64 as far as the
// file goes, whose constants (1/sqrt(2), the scale of attention) are rounded to float32. With $LIGOONNX_TORCH, a Python that has
// PyTorch, every single element is compared (make torch-gradients).
func TestGradientsArePyTorchs(t *testing.T) {
	for _, family := range fixtures.GradientFamilies {
		t.Run(family, func(t *testing.T) {
			want := fixtures.LoadGradients(t, family)
			full := fullGradients(t, family)
			for _, o := range []Options{{}, {Float64: true}} {
				tolerance := 1e-4
				if o.Float64 {
					tolerance = 1e-7
				}
				got, loss := modelGradients(t, want, o)
				if d := math.Abs(loss-want.Loss) / want.Loss; !(d <= tolerance/10) {
					t.Errorf("%+v: the loss is %.10g, PyTorch's %.10g", o, loss, want.Loss)
				}
				checkWholeGradients(t, want, got, full, tolerance)
			}
		})
	}
}

// checkWholeGradients compares relative to each gradient. A bias that softmax makes irrelevant (that of attention's keys) has a gradient
// of exactly zero, which rounding makes some number: what is below a thousandth of the largest gradient is compared with that.
func checkWholeGradients(t *testing.T, want *fixtures.Gradients, got, full map[string][]float64, tolerance float64) {
	t.Helper()
	floorNorm, floorLargest := 0.0, 0.0
	for _, p := range want.Params {
		floorNorm, floorLargest = max(floorNorm, p.Norm/1000), max(floorLargest, p.Largest/1000)
	}
	worst, at := 0.0, ""
	for _, p := range want.Params {
		g := got[p.Name]
		norm := max(p.Norm, floorNorm)
		e := math.Sqrt(meanSquare(products(p, g), p.Products)) / norm
		for i, j := range fixtures.HashedBelow(p.Name+" positions", len(p.Elements), p.Size()) {
			e = max(e, math.Abs(g[j]-p.Elements[i])/max(p.Largest, floorLargest))
		}
		if f := full[p.Name]; f != nil {
			e = max(e, math.Sqrt(meanSquare(g, f)*float64(len(f)))/norm)
		}
		if !(e <= tolerance) {
			t.Errorf("gradient by %s differs from PyTorch's by %.3g of its norm %.3g, %.3g is allowed", p.Name, e, p.Norm, tolerance)
		}
		if e > worst {
			worst, at = e, p.Name
		}
	}
	t.Logf("largest relative difference of %d gradients: %.3g (%s); allowed %.3g", len(want.Params), worst, at, tolerance)
}

func meanSquare(a, b []float64) float64 {
	s := 0.0
	for i := range b {
		s += (a[i] - b[i]) * (a[i] - b[i])
	}
	return s / float64(len(b))
}

func products(p fixtures.GradientParam, g []float64) []float64 {
	out := make([]float64, len(p.Products))
	for i, bits := range fixtures.HashedBits(p.Name+" signs", len(g)) {
		for r := range out {
			if bits>>r&1 == 1 {
				out[r] += g[i]
			} else {
				out[r] -= g[i]
			}
		}
	}
	return out
}

// modelGradients are the gradients by PyTorch's parameters, in their layout, and the loss.
func modelGradients(t *testing.T, want *fixtures.Gradients, o Options) (map[string][]float64, float64) {
	t.Helper()
	m := *want.Model
	f := *want.Model.Graph
	m.Graph = &f
	appendCrossEntropy(&f, len(want.Labels))
	g, err := graph.FromModel(&m)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range want.Params {
		for _, init := range p.Initializers {
			names = append(names, init.Name)
		}
	}
	tr, err := NewTrainer(g, "loss", names, o)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]*onnxio.Tensor{"labels": onnxio.FromInt64s("labels", []int64{int64(len(want.Labels))}, want.Labels)}
	for name, x := range want.Inputs {
		in[name] = x
	}
	out, err := tr.Gradients(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	loss, err := out["loss"].Float64s()
	if err != nil {
		t.Fatal(err)
	}
	grads, next := map[string][]float64{}, tr.Params()
	for _, p := range want.Params {
		sum := make([]float64, p.Size())
		for _, init := range p.Initializers {
			d := next[0].Grad
			next = next[1:]
			if d.Len() != len(sum) {
				t.Fatalf("the gradient by %s has %d elements, want %d", init.Name, d.Len(), len(sum))
			}
			for i := range sum {
				j := i
				if init.Transposed {
					j = i%p.Shape[1]*p.Shape[0] + i/p.Shape[1]
				}
				if o.Float64 {
					sum[i] += d.F64[j]
				} else {
					sum[i] += float64(d.F32[j])
				}
			}
		}
		grads[p.Name] = sum
	}
	return grads, loss[0]
}

// appendCrossEntropy adds the mean cross-entropy of all rows of logits.
func appendCrossEntropy(f *onnxio.Graph, rows int) {
	f.Initializers = append(f.Initializers[:len(f.Initializers):len(f.Initializers)], onnxio.FromInt64s("loss_shape", []int64{2}, []int64{int64(rows), -1}))
	f.Nodes = append(f.Nodes[:len(f.Nodes):len(f.Nodes)], node("Reshape", "logits,loss_shape", "loss_rows"),
		&onnxio.Node{Name: "loss", OpType: "SoftmaxCrossEntropyLoss", Inputs: []string{"loss_rows", "labels"}, Outputs: []string{"loss"},
			Attrs: []*onnxio.Attribute{graph.IntAttr("ignore_index", -100)}})
	f.Inputs = append(f.Inputs[:len(f.Inputs):len(f.Inputs)], &onnxio.ValueInfo{Name: "labels", Type: onnxio.TensorType(onnxio.Int64, onnxio.Dim{Value: int64(rows)})})
	f.Outputs = []*onnxio.ValueInfo{{Name: "loss"}}
}

// fullGradients asks PyTorch for all elements; nil without one.
func fullGradients(t *testing.T, family string) map[string][]float64 {
	t.Helper()
	python := os.Getenv("LIGOONNX_TORCH")
	if python == "" {
		return nil
	}
	path := filepath.Join(t.TempDir(), "gradients")
	script := filepath.Join(fixtures.Dir(t, ""), "..", "export", "gradients.py")
	if out, err := process.Command(python, script, "--full", family, path).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	full := map[string][]float64{}
	for _, p := range fixtures.LoadGradients(t, family).Params {
		v := make([]float64, p.Size())
		for i := range v {
			v[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		raw = raw[8*len(v):]
		full[p.Name] = v
	}
	if len(raw) > 0 {
		t.Fatalf("%d bytes are left of PyTorch's gradients", len(raw))
	}
	return full
}
