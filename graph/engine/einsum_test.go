package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// einsumCases are equations and the shapes of their operands.
var einsumCases = []struct {
	equation string
	shapes   [][]int64
}{
	{"bqd,bkd->bqk", [][]int64{{2, 3, 256}, {2, 4, 256}}},
	{"bhqk,bkhd->bqhd", [][]int64{{2, 3, 4, 5}, {2, 5, 3, 256}}},
	{"...ij,...jk->...ik", [][]int64{{2, 1, 3, 4}, {5, 4, 6}}},
	{"i...,...i", [][]int64{{3, 2, 4}, {2, 4, 3}}},
	{"ij,jk,kl->il", [][]int64{{3, 4}, {4, 5}, {5, 6}}},
	{"ii->i", [][]int64{{4, 4}}},
	{"biji,j", [][]int64{{2, 3, 4, 3}, {4}}},
	{"ab,cd->dbca", [][]int64{{2, 3}, {4, 5}}},
	{"ba", [][]int64{{2, 3}}},
	{"abc->", [][]int64{{2, 3, 4}}},
	{"ab,ab->ab", [][]int64{{2, 3}, {2, 3}}},
	{"a,a,a->a", [][]int64{{256}, {256}, {256}}},
	{"ijk,kj->i", [][]int64{{2, 3, 4}, {4, 3}}},
	{"hd,nlhd->nlh", [][]int64{{2, 256}, {2, 3, 2, 256}}},
}

// What the equation says, term by term.
func TestEinsumIsItsEquation(t *testing.T) {
	for i, k := range einsumCases {
		t.Run(k.equation, func(t *testing.T) {
			c := einsumCase(i)
			f := &onnxio.Graph{Name: "test", Initializers: c.consts, Nodes: c.nodes, Outputs: []*onnxio.ValueInfo{{Name: "y"}}}
			g, err := graph.FromModel(&onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: 17}}, Graph: f})
			if err != nil {
				t.Fatal(err)
			}
			out, err := mustNew(t, g, Options{Float64: true}).Run(context.Background(), nil)
			if err != nil {
				t.Fatal(err)
			}
			var xs [][]float64
			for _, x := range c.consts {
				v, err := x.Float64s()
				if err != nil {
					t.Fatal(err)
				}
				xs = append(xs, v)
			}
			if err := compare(out["y"], sumOfProducts(t, k.equation, k.shapes, xs), tolerance{1e-12, 1e-12}); err != nil {
				t.Error(err)
			}
		})
	}
}

// sumOfProducts walks over all values of all labels.
func sumOfProducts(t *testing.T, text string, shapes [][]int64, xs [][]float64) *onnxio.Tensor {
	t.Helper()
	var ranks []int
	for _, s := range shapes {
		ranks = append(ranks, len(s))
	}
	e, err := parseEquation(text, ranks)
	if err != nil {
		t.Fatal(err)
	}
	size := map[rune]int64{}
	var labels []rune
	for i, term := range e.in {
		for j, l := range term {
			if size[l] == 0 {
				labels = append(labels, l)
			}
			size[l] = max(size[l], shapes[i][j])
		}
	}
	dims, n := make([]int64, len(e.out)), int64(1)
	for i, l := range e.out {
		dims[i] = size[l]
		n *= size[l]
	}
	y := make([]float64, n)
	at := map[rune]int64{}
	offset := func(term []rune, shape []int64) int64 {
		o := int64(0)
		for j, l := range term {
			o = o*shape[j] + at[l]%shape[j]
		}
		return o
	}
	var walk func(i int)
	walk = func(i int) {
		if i < len(labels) {
			for v := range size[labels[i]] {
				at[labels[i]] = v
				walk(i + 1)
			}
			return
		}
		p := 1.0
		for j, term := range e.in {
			p *= xs[j][offset(term, shapes[j])]
		}
		y[offset(e.out, dims)] += p
	}
	walk(0)
	return onnxio.FromFloat64s("y", dims, y)
}

func TestEinsumRefuses(t *testing.T) {
	for text, shapes := range map[string][][]int64{
		"ij,jk->ik": {{2, 3}, {4, 5}},
		"ij->ik":    {{2, 3}},
		"ij->ii":    {{2, 2}},
		"ij,jk":     {{2, 3}},
		"i1->i":     {{2, 3}},
		"ijk":       {{2, 3}},
		"ii->i":     {{2, 3}},
	} {
		f := &onnxio.Graph{Name: "test", Outputs: []*onnxio.ValueInfo{{Name: "y"}}}
		var names []string
		for j, s := range shapes {
			names = append(names, fmt.Sprintf("x%d", j))
			f.Initializers = append(f.Initializers, random(names[j], 1, s...))
		}
		n := node("Einsum", strings.Join(names, ","), "y")
		n.Attrs = []*onnxio.Attribute{graph.StringAttr("equation", text)}
		f.Nodes = []*onnxio.Node{n}
		g, err := graph.FromModel(&onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: 17}}, Graph: f})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mustNew(t, g, Options{}).Run(context.Background(), nil); err == nil {
			t.Errorf("%s of operands %v was computed", text, shapes)
		}
	}
}
