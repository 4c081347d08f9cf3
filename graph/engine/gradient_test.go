package engine

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// gradientCase is a small graph whose gradients are compared with central differences. All floating constants are parameters.
type gradientCase struct {
	name    string
	opset   int64 // 0: 17
	inputs  map[string]*onnxio.Tensor
	consts  []*onnxio.Tensor
	outputs []string // floating ones, whose weighted sum is the loss; nil: "y"
	nodes   []*onnxio.Node
	frozen  []string // floating constants that are not parameters
}

// random makes a constant of normal numbers.
func random(name string, seed uint64, dims ...int64) *onnxio.Tensor {
	return randomBy(name, seed, func(r *rand.Rand) float64 { return r.NormFloat64() }, dims...)
}

// between makes a constant of uniform numbers in [lo, hi).
func between(name string, seed uint64, lo, hi float64, dims ...int64) *onnxio.Tensor {
	return randomBy(name, seed, func(r *rand.Rand) float64 { return lo + (hi-lo)*r.Float64() }, dims...)
}

func randomBy(name string, seed uint64, draw func(*rand.Rand) float64, dims ...int64) *onnxio.Tensor {
	r := rand.New(rand.NewPCG(seed, 17))
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(draw(r))
	}
	return onnxio.FromFloat32s(name, dims, v)
}

// lossGraph appends loss = sum over the outputs of sum(output * fixed random weights).
func (k gradientCase) lossGraph(t testing.TB) (*graph.Graph, []string) {
	t.Helper()
	opset := k.opset
	if opset == 0 {
		opset = 17
	}
	outputs := k.outputs
	if outputs == nil {
		outputs = []string{"y"}
	}
	build := func(outs []string, consts []*onnxio.Tensor, nodes []*onnxio.Node) *graph.Graph {
		f := &onnxio.Graph{Name: "test", Initializers: consts, Nodes: nodes}
		for name, v := range k.inputs {
			f.Inputs = append(f.Inputs, &onnxio.ValueInfo{Name: name, Type: onnxio.TensorType(v.DType)})
			f.Inputs[len(f.Inputs)-1].Type.HasShape = false
		}
		for _, o := range outs {
			f.Outputs = append(f.Outputs, &onnxio.ValueInfo{Name: o})
		}
		g, err := graph.FromModel(&onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Domain: "", Version: opset}, {Domain: microsoft, Version: 1}}, Graph: f})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	probe, err := mustNew(t, build(outputs, k.consts, k.nodes), Options{Float64: true}).Run(context.Background(), k.inputs)
	if err != nil {
		t.Fatal(err)
	}
	consts, nodes := append([]*onnxio.Tensor(nil), k.consts...), append([]*onnxio.Node(nil), k.nodes...)
	var params []string
	for _, c := range k.consts {
		if c.DType.Growable() && !contains(k.frozen, c.Name) {
			params = append(params, c.Name)
		}
	}
	sum := ""
	for i, o := range outputs {
		w := fmt.Sprintf("loss_w%d", i)
		consts = append(consts, random(w, uint64(1000+i), probe[o].Dims...))
		nodes = append(nodes, node("Mul", o+","+w, fmt.Sprintf("loss_p%d", i)),
			&onnxio.Node{Name: "loss", OpType: "ReduceSum", Inputs: []string{fmt.Sprintf("loss_p%d", i)}, Outputs: []string{fmt.Sprintf("loss_s%d", i)},
				Attrs: []*onnxio.Attribute{graph.IntAttr("keepdims", 0)}})
		last := fmt.Sprintf("loss_s%d", i)
		if sum != "" {
			nodes = append(nodes, node("Add", sum+","+last, fmt.Sprintf("loss_t%d", i)))
			last = fmt.Sprintf("loss_t%d", i)
		}
		sum = last
	}
	nodes = append(nodes, node("Identity", sum, "loss"))
	return build([]string{"loss"}, consts, nodes), params
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// checkGradients compares the gradients of a case in float64 with central differences, at some elements of each parameter, relative
// to the largest element of the parameter's gradient.
func checkGradients(t *testing.T, k gradientCase) {
	t.Helper()
	const tolerance = 1e-6
	g, params := k.lossGraph(t)
	tr, err := NewTrainer(g, "loss", params, Options{Float64: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := tr.Gradients(ctx, k.inputs); err != nil {
		t.Fatal(err)
	}
	loss := func() float64 {
		out, err := tr.Forward(ctx, k.inputs)
		if err != nil {
			t.Fatal(err)
		}
		v, err := out["loss"].Float64s()
		if err != nil {
			t.Fatal(err)
		}
		return v[0]
	}
	grads := make([][]float64, len(params))
	for i, p := range tr.Params() {
		grads[i] = append([]float64(nil), p.Grad.F64...)
	}
	r := rand.New(rand.NewPCG(7, 7))
	for i, p := range tr.Params() {
		x, dx := p.Value.F64, grads[i]
		if len(dx) == 0 {
			dx = make([]float64, len(x)) // no influence
		}
		largest := 0.0
		for _, v := range dx {
			largest = max(largest, math.Abs(v))
		}
		at := r.Perm(len(x))
		at = at[:min(len(at), 24)]
		for _, j := range at {
			old := x[j]
			h := 1e-5 * max(1, math.Abs(old))
			x[j] = old + h
			up := loss()
			x[j] = old - h
			down := loss()
			x[j] = old
			want := (up - down) / (2 * h)
			// The difference itself is rounded: up and down agree in most digits.
			noise := 4e-16 * (math.Abs(up) + math.Abs(down)) / h
			if diff := math.Abs(dx[j] - want); !(diff <= tolerance*max(largest, math.Abs(want))+noise) {
				t.Errorf("%s: gradient by %s[%d] is %.12g, central difference %.12g (largest of the tensor %.3g)", k.name, p.Name, j, dx[j], want, largest)
				break
			}
		}
	}
}

func TestGradientsOfTheBasics(t *testing.T) {
	for _, k := range []gradientCase{
		{name: "add", consts: []*onnxio.Tensor{random("a", 1, 3, 256), random("b", 2, 256)}, nodes: []*onnxio.Node{node("Add", "a,b", "y")}},
		{name: "mul", consts: []*onnxio.Tensor{random("a", 1, 3, 1, 256), random("b", 2, 2, 1)}, nodes: []*onnxio.Node{node("Mul", "a,b", "y")}},
		{name: "sub of itself", consts: []*onnxio.Tensor{random("a", 1, 256)}, nodes: []*onnxio.Node{node("Mul", "a,a", "s"), node("Sub", "s,a", "y")}},
		{name: "mean", consts: []*onnxio.Tensor{random("a", 1, 3, 4, 256)}, nodes: []*onnxio.Node{node("ReduceMean", "a", "y", graph.IntsAttr("axes", 0, 2))}},
		{name: "no influence", consts: []*onnxio.Tensor{random("a", 1, 256), random("b", 1, 256)}, nodes: []*onnxio.Node{node("Identity", "a", "y")}},
	} {
		t.Run(k.name, func(t *testing.T) { checkGradients(t, k) })
	}
}
