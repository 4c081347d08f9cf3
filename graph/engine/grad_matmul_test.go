package engine

import (
	"context"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// checkAll runs the cases of a family: central differences in float64, then float32 against float64 with several numbers of threads.
func checkAll(t *testing.T, cases []gradientCase) {
	t.Helper()
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			checkGradients(t, k)
			checkSingle(t, k)
		})
	}
}

func two(a, b *onnxio.Tensor) []*onnxio.Tensor { return []*onnxio.Tensor{a, b} }

func one(n *onnxio.Node) []*onnxio.Node { return []*onnxio.Node{n} }

func TestGradientsOfMatMul(t *testing.T) {
	plain := one(node("MatMul", "a,b", "y"))
	cases := []gradientCase{
		{name: "matrices", consts: two(random("a", 1, 7, 260), random("b", 2, 260, 300))},
		{name: "rows of a batch", consts: two(random("a", 1, 2, 5, 256), random("b", 2, 256, 96))},
		{name: "two batch dimensions", consts: two(random("a", 1, 2, 3, 5, 256), random("b", 2, 2, 3, 256, 8))},
		{name: "first is shared", consts: two(random("a", 1, 5, 256), random("b", 2, 3, 256, 8))},
		{name: "second is broadcast in part", consts: two(random("a", 1, 2, 3, 5, 256), random("b", 2, 3, 256, 8))},
		{name: "both are broadcast in part", consts: two(random("a", 1, 2, 1, 5, 256), random("b", 2, 1, 3, 256, 8))},
		{name: "leading ones", consts: two(random("a", 1, 1, 1, 5, 256), random("b", 2, 1, 256, 8))},
		{name: "vector and matrix", consts: two(random("a", 1, 256), random("b", 2, 256, 12))},
		{name: "matrix and vector", consts: two(random("a", 1, 12, 256), random("b", 2, 256))},
		{name: "vectors", consts: two(random("a", 1, 256), random("b", 2, 256))},
		{name: "vector and stack", consts: two(random("a", 1, 256), random("b", 2, 3, 256, 12))},
		{name: "stack and vector", consts: two(random("a", 1, 3, 12, 256), random("b", 2, 256))},
		{name: "frozen weight", consts: two(random("a", 1, 3, 256), random("b", 2, 256, 12)), frozen: []string{"b"}},
	}
	for i := range cases {
		cases[i].nodes = plain
	}
	cases = append(cases,
		gradientCase{name: "itself transposed", consts: []*onnxio.Tensor{random("a", 1, 5, 256)},
			nodes: []*onnxio.Node{node("Transpose", "a", "t"), node("MatMul", "a,t", "y")}},
		gradientCase{name: "weight is used twice", consts: two(random("a", 1, 5, 256), random("b", 2, 256, 256)),
			nodes: []*onnxio.Node{node("MatMul", "a,b", "h"), node("MatMul", "h,b", "y")}},
	)
	// Frozen weights that are read as they are stored, either way round.
	half := func(k *onnxio.Tensor) *onnxio.Tensor {
		v, err := k.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		h, err := onnxio.FromFloats(k.Name, onnxio.Float16, k.Dims, v)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	back := node("Cast", "h", "y", graph.IntAttr("to", int64(onnxio.Float)))
	cases = append(cases,
		gradientCase{name: "frozen half weight", consts: two(half(random("a", 1, 5, 256)), half(random("b", 2, 256, 128))), frozen: []string{"b"},
			nodes: []*onnxio.Node{node("MatMul", "a,b", "h"), back}},
		gradientCase{name: "frozen half weight, transposed product", consts: two(half(random("a", 1, 256, 5)), half(random("b", 2, 128, 256))), frozen: []string{"b"},
			nodes: []*onnxio.Node{node("Gemm", "a,b", "h", graph.IntAttr("transA", 1), graph.IntAttr("transB", 1)), back}},
	)
	checkAll(t, cases)
}

func TestGradientsOfTransposedProducts(t *testing.T) {
	var cases []gradientCase
	flip := func(trans bool, dims ...int64) []int64 {
		if n := len(dims); trans {
			dims[n-2], dims[n-1] = dims[n-1], dims[n-2]
		}
		return dims
	}
	name := func(op string, ta, tb bool) string {
		for _, k := range []struct {
			on   bool
			text string
		}{{ta, " transA"}, {tb, " transB"}} {
			if k.on {
				op += k.text
			}
		}
		return op
	}
	bit := map[bool]int64{true: 1}
	for _, ta := range []bool{false, true} {
		for _, tb := range []bool{false, true} {
			flags := []*onnxio.Attribute{graph.IntAttr("transA", bit[ta]), graph.IntAttr("transB", bit[tb]), graph.FloatAttr("alpha", 0.5)}
			fused := node("FusedMatMul", "a,b", "y", flags...)
			fused.Domain = microsoft
			for _, k := range []struct {
				name string
				a, b []int64
			}{
				{"FusedMatMul", flip(ta, 6, 256), flip(tb, 256, 9)},
				{"FusedMatMul stacks", flip(ta, 2, 3, 6, 256), flip(tb, 2, 3, 256, 9)},
				{"FusedMatMul shared second", flip(ta, 3, 6, 256), flip(tb, 256, 9)},
				{"FusedMatMul shared first", flip(ta, 6, 256), flip(tb, 3, 256, 9)},
				{"FusedMatMul broadcast", flip(ta, 2, 3, 6, 256), flip(tb, 3, 256, 9)},
			} {
				cases = append(cases, gradientCase{name: name(k.name, ta, tb), nodes: one(fused),
					consts: two(random("a", 1, k.a...), random("b", 2, k.b...))})
			}
			scaled := append(flags[:2:2], graph.FloatAttr("alpha", 0.5), graph.FloatAttr("beta", 2))
			for c, dims := range map[string][]int64{"matrix": {6, 9}, "row": {9}, "column": {6, 1}, "scalar": {1}} {
				cases = append(cases, gradientCase{name: name("Gemm with C a "+c, ta, tb), nodes: one(node("Gemm", "a,b,c", "y", scaled...)),
					consts: append(two(random("a", 1, flip(ta, 6, 256)...), random("b", 2, flip(tb, 256, 9)...)), random("c", 3, dims...))})
			}
			cases = append(cases, gradientCase{name: name("Gemm without C", ta, tb), nodes: one(node("Gemm", "a,b", "y", flags...)),
				consts: two(random("a", 1, flip(ta, 6, 256)...), random("b", 2, flip(tb, 256, 9)...))})
		}
	}
	for _, a := range []string{"Relu", "Tanh", "Sigmoid", "Softplus", "Softsign", "LeakyRelu", "Elu"} {
		n := node("FusedGemm", "a,b,c", "y", graph.StringAttr("activation", a))
		n.Domain = microsoft
		cases = append(cases, gradientCase{name: "FusedGemm " + a, nodes: one(n),
			consts: append(two(random("a", 1, 6, 256), between("b", 2, -0.1, 0.1, 256, 9)), random("c", 3, 9))})
	}
	checkAll(t, cases)
}

// TestProductsAddToTheSum: where one value goes into several products, each adds its gradient to what is there.
func TestProductsAddToTheSum(t *testing.T) {
	k := gradientCase{outputs: []string{"q", "k", "v", "h"}, consts: append(two(random("a", 1, 2, 5, 256), random("s", 2, 256)),
		random("wq", 3, 256, 256), random("wk", 4, 256, 64), random("wv", 5, 256, 64)),
		nodes: []*onnxio.Node{node("Mul", "a,s", "h"), node("MatMul", "h,wq", "q"), node("MatMul", "h,wk", "k"), node("MatMul", "h,wv", "v")}}
	checkGradients(t, k)
	checkSingle(t, k)
	g, params := k.lossGraph(t)
	tr, err := NewTrainer(g, "loss", params, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Gradients(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	products, sums := 0, 0
	for _, c := range tr.e.cache {
		for _, o := range c.p.ops {
			switch op := o.call.op.(type) {
			case *matmulOp:
				if len(o.call.in) == 3 {
					products++
				}
			case *binaryOp:
				if op.op == kernel.Add && strings.HasPrefix(o.call.label, "gradient of") {
					sums++
				}
			}
		}
	}
	if products != 3 || sums != 0 {
		t.Errorf("%d products add to the sum, and %d sums are left, want three and none", products, sums)
	}
}

// TestSharedContributionIsNotComputedTwice: a product that is the gradient of two operands at once is one product.
func TestSharedContributionIsNotComputedTwice(t *testing.T) {
	k := gradientCase{outputs: []string{"y", "a2", "b2"}, consts: append(two(random("a", 1, 5, 256), random("b", 2, 5, 256)), random("w", 3, 256, 64)),
		nodes: []*onnxio.Node{node("Add", "a,b", "h"), node("MatMul", "h,w", "y"), node("Mul", "a,a", "a2"), node("Mul", "b,b", "b2")}}
	checkGradients(t, k)
	g, params := k.lossGraph(t)
	tr, err := NewTrainer(g, "loss", params, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Gradients(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	products := 0
	for _, c := range tr.e.cache {
		for _, o := range c.p.ops {
			if _, ok := o.call.op.(*matmulOp); ok {
				products++
			}
		}
	}
	if products != 3 { // forward, by h, by w
		t.Errorf("%d products, want 3", products)
	}
}
