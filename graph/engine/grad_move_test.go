package engine

import (
	"context"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// ints64 is an integer constant of one dimension.
func ints64(name string, v ...int64) *onnxio.Tensor {
	return onnxio.FromInt64s(name, []int64{int64(len(v))}, v)
}

func TestGradientsOfMoves(t *testing.T) {
	a := random("a", 1, 2, 3, 256)
	only := []*onnxio.Tensor{a}
	slice := func(starts, ends, axes, steps []int64) []*onnxio.Tensor {
		return []*onnxio.Tensor{a, ints64("s", starts...), ints64("e", ends...), ints64("x", axes...), ints64("k", steps...)}
	}
	cases := []gradientCase{
		{name: "Identity", consts: only, nodes: one(node("Identity", "a", "y"))},
		{name: "Dropout", consts: only, nodes: one(node("Dropout", "a", "y"))},
		{name: "Flatten", consts: only, nodes: one(node("Flatten", "a", "y", graph.IntAttr("axis", 2)))},
		{name: "Reshape", consts: append(only[:1:1], ints64("s", 3, -1, 2)), nodes: one(node("Reshape", "a,s", "y"))},
		{name: "Squeeze and Unsqueeze", consts: append(only[:1:1], ints64("x", 0, 2)), nodes: []*onnxio.Node{node("Unsqueeze", "a,x", "u"), node("Squeeze", "u,x", "y")}},
		{name: "Transpose", consts: only, nodes: one(node("Transpose", "a", "y", graph.IntsAttr("perm", 2, 0, 1)))},
		{name: "Transpose backwards", consts: only, nodes: one(node("Transpose", "a", "y"))},
		{name: "Expand", consts: two(random("a", 1, 3, 1), ints64("s", 2, 1, 256)), nodes: one(node("Expand", "a,s", "y"))},
		{name: "Tile", consts: append(only[:1:1], ints64("r", 2, 1, 3)), nodes: one(node("Tile", "a,r", "y"))},
		{name: "Concat", consts: append(two(a, random("b", 2, 2, 1, 256)), random("c", 3, 2, 2, 256)), nodes: one(node("Concat", "a,b,c", "y", graph.IntAttr("axis", -2)))},
		{name: "Concat of itself", consts: only, nodes: one(node("Concat", "a,a", "y", graph.IntAttr("axis", 2)))},
		{name: "Concat of scalars", consts: two(scalar("a", 1), scalar("b", 2)), nodes: one(node("Concat", "a,b", "y", graph.IntAttr("axis", 0)))},
		{name: "Slice", consts: slice([]int64{1, 10}, []int64{3, -5}, []int64{1, -1}, []int64{1, 1}), nodes: one(node("Slice", "a,s,e,x,k", "y"))},
		{name: "Slice with steps", consts: slice([]int64{0, 10}, []int64{3, 250}, []int64{1, 2}, []int64{2, 3}), nodes: one(node("Slice", "a,s,e,x,k", "y"))},
		{name: "Slice backwards", consts: slice([]int64{-1, 250}, []int64{-10, 3}, []int64{1, 2}, []int64{-1, -3}), nodes: one(node("Slice", "a,s,e,x,k", "y"))},
		{name: "Slice by attributes", opset: 9, consts: only, nodes: one(node("Slice", "a", "y", graph.IntsAttr("starts", 3), graph.IntsAttr("ends", 200), graph.IntsAttr("axes", 2)))},
		{name: "Split, one part unused", outputs: []string{"p", "r"}, consts: append(only[:1:1], ints64("n", 100, 56, 100)),
			nodes: one(node("Split", "a,n", "p,q,r", graph.IntAttr("axis", 2)))},
		{name: "Split, parts used twice", outputs: []string{"y", "p", "q"}, consts: append(only[:1:1], ints64("n", 128, 128)),
			nodes: []*onnxio.Node{node("Split", "a,n", "p,q", graph.IntAttr("axis", 2)), node("Mul", "p,q", "y")}},
		{name: "slices overlap", outputs: []string{"p", "q"}, consts: slice([]int64{0}, []int64{200}, []int64{2}, []int64{1}),
			nodes: []*onnxio.Node{node("Slice", "a,s,e,x,k", "p"), node("Slice", "a,s,e,x", "q")}},
		{name: "even and odd", outputs: []string{"p", "q", "a2"}, consts: append(only[:1:1], ints64("z", 0), ints64("o", 1), ints64("e", 256), ints64("x", 2), ints64("k", 2)),
			nodes: []*onnxio.Node{node("Slice", "a,z,e,x,k", "p"), node("Slice", "a,o,e,x,k", "q"), node("Mul", "a,a", "a2")}},
	}
	checkAll(t, cases)
}

func TestGradientsOfPadding(t *testing.T) {
	var cases []gradientCase
	a := []*onnxio.Tensor{random("a", 1, 2, 3, 256)}
	pads := func(name string, mode string, v ...int64) {
		cases = append(cases, gradientCase{name: mode + " " + name, consts: append(a[:1:1], ints64("p", v...), scalar("f", 0.5)),
			nodes: one(node("Pad", "a,p,f", "y", graph.StringAttr("mode", mode)))})
	}
	for _, mode := range []string{"constant", "edge", "reflect"} {
		pads("both ends", mode, 1, 0, 2, 0, 1, 3)
		pads("nothing", mode, 0, 0, 0, 0, 0, 0)
	}
	pads("both ends", "wrap", 1, 0, 2, 0, 1, 3)
	pads("cut", "constant", 0, -1, -3, 0, 2, -4)
	cases = append(cases, gradientCase{name: "by attributes", opset: 10, consts: a, nodes: one(node("Pad", "a", "y", graph.IntsAttr("pads", 0, 1, 2, 0, 0, 1)))})
	for i := range cases {
		if cases[i].opset == 0 {
			cases[i].opset = 19
		}
	}
	checkAll(t, cases)
}

// TestDisjointSlicesAreOneGradient: the gradients by the parts of a Split become the whole's in one step, without zeros or sums.
func TestDisjointSlicesAreOneGradient(t *testing.T) {
	k := gradientCase{outputs: []string{"p", "q", "r"}, consts: two(random("a", 1, 2, 256), random("b", 2, 256)),
		nodes: []*onnxio.Node{node("Mul", "a,b", "m"), node("Split", "m", "p,q,r", graph.IntAttr("axis", 1), graph.IntAttr("num_outputs", 3))}, opset: 18}
	g, params := k.lossGraph(t)
	tr, err := NewTrainer(g, "loss", params, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Gradients(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	places, sums := 0, 0
	for _, p := range tr.e.cache {
		for _, o := range p.p.ops {
			switch op := o.call.op.(type) {
			case *placeOp:
				places++
				if !op.full {
					t.Error("the parts leave a gap")
				}
			case *binaryOp:
				if strings.HasPrefix(o.call.label, "gradient of") && len(o.call.in) == 2 && o.call.in[0].op() != nil {
					if _, ok := o.call.in[0].op().(*placeOp); ok && op.op == 0 {
						sums++
					}
				}
			}
		}
	}
	if places != 1 || sums != 0 {
		t.Errorf("%d calls that place parts and %d sums of them, want one and none", places, sums)
	}
}
