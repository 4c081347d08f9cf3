package engine

import (
	"context"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// growIndexes repeats n rows in turn until there are to.
func growIndexes(name string, n, to int64) *onnxio.Tensor {
	v := make([]int64, to)
	for i := range v {
		v[i] = int64(i) % n
	}
	v[to-1] = 0 // a row of its own
	return onnxio.FromInt64s(name, []int64{to}, v)
}

func growNode(in string) *onnxio.Node {
	n := node("Grow", in, "y")
	n.Domain = Domain
	return n
}

func TestGradientsOfGrow(t *testing.T) {
	x, v := random("x", 1, 24, 256), random("x", 1, 256)
	rows, cols := growIndexes("rows", 24, 61), growIndexes("cols", 256, 700)
	r, c := random("r", 2, 61), random("c", 3, 700)
	checkAll(t, []gradientCase{
		{name: "both sides", consts: []*onnxio.Tensor{x, rows, r, cols, c}, nodes: []*onnxio.Node{growNode("x,rows,r,cols,c")}},
		{name: "rows", consts: []*onnxio.Tensor{x, rows, r}, nodes: []*onnxio.Node{growNode("x,rows,r")}},
		{name: "columns", consts: []*onnxio.Tensor{x, cols, c}, nodes: []*onnxio.Node{growNode("x,,,cols,c")}},
		{name: "copies", consts: []*onnxio.Tensor{x, rows, cols}, nodes: []*onnxio.Node{growNode("x,rows,,cols")}},
		{name: "factors alone", consts: []*onnxio.Tensor{x, random("r", 2, 24), random("c", 3, 256)}, nodes: []*onnxio.Node{growNode("x,,r,,c")}},
		{name: "a vector", consts: []*onnxio.Tensor{v, growIndexes("rows", 256, 700), random("r", 2, 700)}, nodes: []*onnxio.Node{growNode("x,rows,r")}},
		{name: "frozen", consts: []*onnxio.Tensor{x, rows, r, cols, c}, frozen: []string{"x", "c"}, nodes: []*onnxio.Node{growNode("x,rows,r,cols,c")}},
		{name: "large", consts: []*onnxio.Tensor{random("x", 1, 300, 256), growIndexes("rows", 300, 613), random("r", 2, 613), cols, c}, nodes: []*onnxio.Node{growNode("x,rows,r,cols,c")}},
	})
}

// Grow is two lookups and two products.
func TestGrowIsLookupsAndProducts(t *testing.T) {
	consts := []*onnxio.Tensor{random("x", 1, 24, 256), growIndexes("rows", 24, 61), random("r", 2, 61, 1), growIndexes("cols", 256, 700), random("c", 3, 700),
		onnxio.FromInt64s("flat", []int64{1}, []int64{61})}
	g := model(t, nil, []string{"y", "z"}, consts,
		node("Reshape", "r,flat", "r1"), growNode("x,rows,r1,cols,c"),
		node("Gather", "x,rows", "a"), &onnxio.Node{Name: "columns", OpType: "Gather", Inputs: []string{"a", "cols"}, Outputs: []string{"b"}, Attrs: []*onnxio.Attribute{{Name: "axis", Kind: onnxio.AttrInt, I: 1}}},
		node("Mul", "b,r", "d"), node("Mul", "d,c", "z"))
	out, err := mustNew(t, g, Options{Float64: true}).Run(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := closeTo(out["y"], out["z"], 1e-14); err != nil {
		t.Error(err)
	}
}

func TestGrowRefuses(t *testing.T) {
	for want, n := range map[string]*onnxio.Node{
		"index 24 of 24":       growNode("x,bad"),
		"factors":              growNode("x,rows,c"),
		"columns for a vector": growNode("v,,,rows"),
		"expected a floating":  growNode("rows"),
	} {
		consts := []*onnxio.Tensor{random("x", 1, 24, 4), random("v", 1, 24), growIndexes("rows", 24, 61), random("c", 3, 7), onnxio.FromInt64s("bad", []int64{1}, []int64{24})}
		_, err := mustNew(t, model(t, nil, []string{"y"}, consts, n), Options{}).Run(context.Background(), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
