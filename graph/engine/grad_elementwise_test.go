package engine

import (
	"context"
	"math"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestGradientsOfBinaryOperators(t *testing.T) {
	var cases []gradientCase
	shapes := map[string][2][]int64{"one shape": {{3, 256}, {3, 256}}, "row": {{3, 256}, {256}}, "column": {{3, 256}, {3, 1}},
		"scalar": {{3, 256}, {1}}, "outer": {{3, 1, 1}, {4, 256}}, "first is smaller": {{256}, {2, 3, 256}}}
	for name, s := range shapes {
		for _, op := range []string{"Add", "Sub", "Mul", "Min", "Max", "Sum", "Mean"} {
			cases = append(cases, gradientCase{name: op + " " + name, consts: two(random("a", 1, s[0]...), random("b", 2, s[1]...)),
				nodes: one(node(op, "a,b", "y"))})
		}
		away := two(random("a", 1, s[0]...), between("b", 2, 0.5, 2, s[1]...))
		positive := two(between("a", 1, 0.5, 2, s[0]...), random("b", 2, s[1]...))
		cases = append(cases,
			gradientCase{name: "Div " + name, consts: away, nodes: one(node("Div", "a,b", "y"))},
			gradientCase{name: "Pow " + name, consts: positive, nodes: one(node("Pow", "a,b", "y"))},
			gradientCase{name: "Mod " + name, consts: away, nodes: one(node("Mod", "a,b", "y", graph.IntAttr("fmod", 1)))},
		)
		if name != "outer" { // a slope does not enlarge
			cases = append(cases, gradientCase{name: "PRelu " + name, consts: two(random("a", 1, 2, 3, 256), random("b", 2, s[1]...)),
				nodes: one(node("PRelu", "a,b", "y"))})
		}
	}
	a := []*onnxio.Tensor{random("a", 1, 3, 256)}
	with := func(k *onnxio.Tensor) []*onnxio.Tensor { return append(a[:1:1], k) }
	cases = append(cases,
		gradientCase{name: "operand on both sides", consts: a, nodes: []*onnxio.Node{node("Mul", "a,a", "s"), node("Div", "s,a", "q"), node("Sub", "s,q", "y")}},
		gradientCase{name: "three operands", consts: append(two(random("a", 1, 3, 256), random("b", 2, 256)), random("c", 3, 3, 1)),
			nodes: one(node("Max", "a,b,c", "y"))},
		gradientCase{name: "Pow 0", consts: with(scalar("k", 0)), frozen: []string{"k"}, nodes: one(node("Pow", "a,k", "y"))},
		gradientCase{name: "Pow 1", consts: with(scalar("k", 1)), frozen: []string{"k"}, nodes: one(node("Pow", "a,k", "y"))},
		gradientCase{name: "Pow 2", consts: with(scalar("k", 2)), frozen: []string{"k"}, nodes: one(node("Pow", "a,k", "y"))},
		gradientCase{name: "Pow 3", consts: with(scalar("k", 3)), frozen: []string{"k"}, nodes: one(node("Pow", "a,k", "y"))},
		gradientCase{name: "Pow -2", consts: []*onnxio.Tensor{between("a", 1, 0.5, 2, 3, 256), scalar("k", -2)}, frozen: []string{"k"}, nodes: one(node("Pow", "a,k", "y"))},
		gradientCase{name: "Pow by an integer", consts: with(onnxio.FromInt64s("k", nil, []int64{3})), nodes: one(node("Pow", "a,k", "y"))},
		gradientCase{name: "Pow by a double", consts: []*onnxio.Tensor{between("a", 1, 0.5, 2, 3, 256), onnxio.FromFloat64s("k", []int64{256}, make([]float64, 256))},
			nodes: one(node("Pow", "a,k", "y"))},
		gradientCase{name: "Mod of floats", consts: two(random("a", 1, 3, 256), between("b", 2, 0.5, 2, 256)), nodes: one(node("Mod", "a,b", "y"))},
		gradientCase{name: "Add along an axis", opset: 6, consts: two(random("a", 1, 3, 256), random("b", 2, 3)),
			nodes: one(node("Add", "a,b", "y", graph.IntAttr("broadcast", 1), graph.IntAttr("axis", 0)))},
		gradientCase{name: "Clip", consts: append(a[:1:1], scalar("lo", -0.5), scalar("hi", 0.7)), nodes: one(node("Clip", "a,lo,hi", "y"))},
		gradientCase{name: "Clip above", consts: append(a[:1:1], scalar("hi", 0.7)), nodes: one(node("Clip", "a,,hi", "y"))},
		gradientCase{name: "Clip by attributes", opset: 6, consts: a, nodes: one(node("Clip", "a", "y", graph.FloatAttr("min", -0.5), graph.FloatAttr("max", 0.5)))},
		gradientCase{name: "Where", consts: append(two(random("a", 1, 3, 256), random("b", 2, 256)), mask("c", 3, 1)), nodes: one(node("Where", "c,a,b", "y"))},
		gradientCase{name: "Where broadcast", consts: append(two(random("a", 1, 3, 1), random("b", 2, 1)), mask("c", 256)), nodes: one(node("Where", "c,a,b", "y"))},
		gradientCase{name: "constants block", consts: a, nodes: []*onnxio.Node{node("Floor", "a", "f"), node("Ceil", "a", "g"), node("Round", "a", "h"),
			node("Sign", "a", "s"), node("Greater", "a,f", "m"), node("Where", "m,a,f", "w"), node("Sum", "w,f,g,h,s", "y")}},
	)
	checkAll(t, cases)
}

func TestGradientsOfCasts(t *testing.T) {
	a := []*onnxio.Tensor{random("a", 1, 3, 256)}
	to := func(dt onnxio.DType) *onnxio.Attribute { return graph.IntAttr("to", int64(dt)) }
	checkAll(t, []gradientCase{
		{name: "to double and back", consts: a, nodes: []*onnxio.Node{node("Cast", "a", "d", to(onnxio.Double)), node("Mul", "d,d", "s"), node("Cast", "s", "y", to(onnxio.Float))}},
		{name: "through a narrow type", consts: a, nodes: []*onnxio.Node{node("Cast", "a", "n", to(onnxio.Float16)), node("Cast", "n", "y", to(onnxio.Float))}},
		{name: "like a double", consts: append(a[:1:1], onnxio.FromFloat64s("d", []int64{2}, []float64{1, 2})),
			nodes: []*onnxio.Node{node("CastLike", "a,d", "w"), node("CastLike", "w,a", "y")}},
		{name: "to integers", consts: a, nodes: []*onnxio.Node{node("Cast", "a", "i", to(onnxio.Int32)), node("Cast", "i", "f", to(onnxio.Float)), node("Add", "a,f", "y")}},
	})
}

// TestGradientsInABranch: the nodes of the branch that is taken are differentiated.
func TestGradientsInABranch(t *testing.T) {
	branch := func(op string) *onnxio.Graph {
		return &onnxio.Graph{Name: op, Nodes: one(node(op, "a,b", "r")), Outputs: []*onnxio.ValueInfo{{Name: "r"}}}
	}
	for _, cond := range []bool{true, false} {
		checkAll(t, []gradientCase{{name: "If", consts: append(two(random("a", 1, 3, 256), random("b", 2, 256)), onnxio.FromBools("c", nil, []bool{cond})),
			nodes: one(node("If", "c", "y", &onnxio.Attribute{Name: "then_branch", Kind: onnxio.AttrGraph, G: branch("Mul")},
				&onnxio.Attribute{Name: "else_branch", Kind: onnxio.AttrGraph, G: branch("Sub")}))}})
	}
}

func scalar(name string, v float32) *onnxio.Tensor {
	return onnxio.FromFloat32s(name, nil, []float32{v})
}

// mask is a constant of alternating truths.
func mask(name string, dims ...int64) *onnxio.Tensor {
	v := make([]bool, product(toInts(dims)))
	for i := range v {
		v[i] = i%3 != 1
	}
	return onnxio.FromBools(name, dims, v)
}

func TestGradientsOfUnaryOperators(t *testing.T) {
	wide := []*onnxio.Tensor{between("a", 1, -4, 4, 3, 257)}
	positive := []*onnxio.Tensor{between("a", 1, 0.2, 4, 3, 257)}
	within := []*onnxio.Tensor{between("a", 1, -0.9, 0.9, 3, 257)}
	above := []*onnxio.Tensor{between("a", 1, 1.2, 4, 3, 257)}
	var cases []gradientCase
	add := func(consts []*onnxio.Tensor, n *onnxio.Node, name string) {
		cases = append(cases, gradientCase{name: name, opset: 22, consts: consts, nodes: one(n)})
	}
	for _, op := range []string{"Exp", "Tanh", "Erf", "Sigmoid", "Relu", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh", "Softplus", "Softsign", "HardSwish",
		"Mish", "LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "Swish", "HardSigmoid", "Gelu", "Neg", "Abs", "Floor", "Ceil", "Round", "Sign"} {
		add(wide, node(op, "a", "y"), op)
	}
	for _, op := range []string{"Log", "Sqrt", "Reciprocal"} {
		add(positive, node(op, "a", "y"), op)
	}
	for _, op := range []string{"Asin", "Acos", "Atanh", "Tan"} {
		add(within, node(op, "a", "y"), op)
	}
	add(above, node("Acosh", "a", "y"), "Acosh")
	for _, op := range []string{"LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "Swish", "HardSigmoid"} {
		add(wide, node(op, "a", "y", graph.FloatAttr("alpha", 0.3)), op+" with alpha")
	}
	add(wide, node("Selu", "a", "y", graph.FloatAttr("gamma", 0.7)), "Selu with gamma")
	add(wide, node("HardSigmoid", "a", "y", graph.FloatAttr("beta", 0.3)), "HardSigmoid with beta")
	add(wide, node("Gelu", "a", "y", graph.StringAttr("approximate", "tanh")), "Gelu by tanh")
	for _, op := range []string{"Gelu", "QuickGelu", "FastGelu"} {
		n := node(op, "a", "y")
		n.Domain = microsoft
		add(wide, n, op+" of ONNX Runtime")
	}
	for _, op := range []string{"BiasGelu", "FastGelu"} {
		n := node(op, "a,b", "y")
		n.Domain = microsoft
		add(two(wide[0], random("b", 2, 257)), n, op+" with bias")
	}
	checkAll(t, cases)
}

// TestDerivativesFarOut looks at arguments where a slope computed carelessly is infinity times zero, or overflows.
func TestDerivativesFarOut(t *testing.T) {
	inf := math.Inf(1)
	x := []float64{-inf, -1e30, -200, -100, -30, -12, 0, 12, 30, 100, 200, 1e30, inf}
	step := func(lo, hi float64) []float64 {
		return []float64{lo, lo, lo, lo, lo, lo, math.NaN(), hi, hi, hi, hi, hi, hi}
	}
	for name, k := range map[string]struct {
		f    kernel.Unary
		want []float64
	}{
		"Gelu": {kernel.Gelu, step(0, 1)}, "GeluTanh": {kernel.GeluTanh, step(0, 1)}, "SiLU": {kernel.SiLU(1.702), step(0, 1)},
		"Sigmoid": {kernel.Sigmoid, step(0, 0)}, "Tanh": {kernel.Tanh, step(0, 0)}, "Erf": {kernel.Erf, step(0, 0)},
		"Softplus": {kernel.Softplus, step(0, 1)}, "Relu": {kernel.Relu, step(0, 1)}, "Elu": {kernel.Elu(1), step(0, 1)},
	} {
		x32, y32, d32, ones32 := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
		y, d, ones := make([]float64, len(x)), make([]float64, len(x)), make([]float64, len(x))
		for i, v := range x {
			x32[i], ones32[i], ones[i] = float32(v), 1, 1
		}
		k.f.F32(y32, x32)
		k.f.F64(y, x)
		k.f.Grad.F32(d32, ones32, x32, y32)
		k.f.Grad.F64(d, ones, x, y)
		for i, want := range k.want {
			if math.IsNaN(want) {
				continue
			}
			for _, got := range []float64{float64(d32[i]), d[i]} {
				if !(math.Abs(got-want) <= 1e-3) {
					t.Errorf("%s: slope %g at %g, want %g", name, got, x[i], want)
				}
			}
		}
	}
}

// TestGradientAtTies: both sides of a tie share the gradient, a bound leaves it to what it bounds, and zero has the slope zero.
func TestGradientAtTies(t *testing.T) {
	for _, k := range []struct {
		op, in string
		a, b   float32
		want   [2]float64
	}{
		{"Max", "a,b", 1, 1, [2]float64{0.5, 0.5}}, {"Min", "a,b", 1, 1, [2]float64{0.5, 0.5}},
		{"Clip", "a,b", 1, 1, [2]float64{1, 0.5}}, {"Clip", "a,,b", 1, 1, [2]float64{1, 0.5}},
		{"Relu", "a", 0, 0, [2]float64{0, 0}}, {"Abs", "a", 0, 0, [2]float64{0, 0}}, {"Pow", "a,b", 0, 2, [2]float64{0, 0}},
		{"Pow", "a,b", 0, 0, [2]float64{0, 0}},
	} {
		c := gradientCase{consts: two(onnxio.FromFloat32s("a", []int64{1}, []float32{k.a}), onnxio.FromFloat32s("b", []int64{1}, []float32{k.b}))}
		c.nodes = []*onnxio.Node{node(k.op, k.in, "y")}
		g, params := c.lossGraph(t)
		tr, err := NewTrainer(g, "loss", params, Options{Float64: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Gradients(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		w, err := g.Value("loss_w0").Const.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range tr.Params() {
			if got := append(p.Grad.F64, 0)[0] / w[0]; math.Abs(got-k.want[i]) > 1e-12 {
				t.Errorf("%s at %g, %g: gradient by %s is %g, want %g", k.op, k.a, k.b, p.Name, got, k.want[i])
			}
		}
	}
}
