package train

import (
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func with(n *onnxio.Node, attrs ...*onnxio.Attribute) *onnxio.Node {
	n.Attrs = append(n.Attrs, attrs...)
	return n
}

// attention is the nodes of one attention layer of two heads of size 4 over x [n, t, 8]; mask nodes take "scores" to "masked".
func attention(mask ...*onnxio.Node) ([]*onnxio.Tensor, []*onnxio.Node) {
	consts := []*onnxio.Tensor{numbers("wq", 1, 8, 8), numbers("wk", 2, 8, 8), numbers("wv", 3, 8, 8), numbers("wo", 4, 8, 8), onnxio.FromInt64s("split", []int64{4}, []int64{0, 0, 2, 4}),
		onnxio.FromInt64s("merge", []int64{3}, []int64{0, 0, 8}), onnxio.FromFloat32s("root", nil, []float32{2})}
	var nodes []*onnxio.Node
	for _, k := range []struct {
		name string
		perm []int64
	}{{"q", []int64{0, 2, 1, 3}}, {"k", []int64{0, 2, 3, 1}}, {"v", []int64{0, 2, 1, 3}}} {
		nodes = append(nodes, op("MatMul", "h,w"+k.name, k.name+"1"), op("Reshape", k.name+"1,split", k.name+"2"), with(op("Transpose", k.name+"2", k.name), graph.IntsAttr("perm", k.perm...)))
	}
	nodes = append(nodes, op("MatMul", "q,k", "raw"), op("Div", "raw,root", "scores"))
	nodes = append(nodes, mask...)
	nodes = append(nodes, with(op("Softmax", "masked", "p"), graph.IntAttr("axis", -1)), op("MatMul", "p,v", "c"), with(op("Transpose", "c", "ct"), graph.IntsAttr("perm", 0, 2, 1, 3)),
		op("Reshape", "ct,merge", "cm"), op("MatMul", "cm,wo", "y"))
	return consts, nodes
}

// What is trained in small graphs, each about one rule.
func TestWhatIsAParameter(t *testing.T) {
	embed := func(nodes ...*onnxio.Node) []*onnxio.Node {
		return append([]*onnxio.Node{op("MatMul", "x,w", "h")}, nodes...)
	}
	f32 := onnxio.FromFloat32s
	weights := []string{"w", "wk", "wo", "wq", "wv"}
	cases := map[string]struct {
		width  int64
		consts []*onnxio.Tensor
		nodes  []*onnxio.Node
		want   []string
	}{
		"linear":        {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), numbers("b", 2, 8)}, embed(op("Add", "b,h", "y")), []string{"b", "w"}},
		"one unit":      {4, []*onnxio.Tensor{numbers("w", 1, 4, 1), numbers("b", 2, 1)}, embed(op("Add", "h,b", "y")), []string{"b", "w"}},
		"turned weight": {4, []*onnxio.Tensor{numbers("w", 1, 8, 4)}, []*onnxio.Node{op("Transpose", "w", "wt"), op("MatMul", "x,wt", "y")}, []string{"w"}},
		"input normalisation": {4, []*onnxio.Tensor{numbers("mean", 1, 4), numbers("std", 2, 4), numbers("w", 3, 4, 8)},
			[]*onnxio.Node{op("Sub", "x,mean", "a"), op("Div", "a,std", "b"), op("MatMul", "b,w", "y")}, []string{"w"}},
		"scalars":          {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), f32("half", nil, []float32{.5}), f32("one", []int64{1}, []float32{1})}, embed(op("Mul", "h,half", "a"), op("Add", "a,one", "y")), []string{"w"}},
		"layer scale":      {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), numbers("gamma", 2, 8)}, embed(op("Mul", "gamma,h", "y")), []string{"gamma", "w"}},
		"gain minus one":   {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), numbers("g", 2, 8), f32("one", nil, []float32{1})}, embed(op("Add", "g,one", "g1"), op("Mul", "h,g1", "y")), []string{"g", "w"}},
		"positions":        {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), numbers("pos", 2, 1, 5, 8)}, embed(op("Add", "h,pos", "y")), []string{"pos", "w"}},
		"mask of products": {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), numbers("table", 2, 5, 8)}, embed(op("Mul", "h,table", "y")), []string{"w"}},
		"frequencies": {1, []*onnxio.Tensor{numbers("freq", 1, 1, 4), numbers("w", 3, 4, 8)},
			[]*onnxio.Node{op("MatMul", "x,freq", "a"), op("Cos", "a", "c"), op("MatMul", "c,w", "y")}, []string{"w"}},
		"coordinates": {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), numbers("coords", 2, 8, 2), numbers("c1", 3, 2, 6), numbers("cb", 4, 6), numbers("c2", 5, 6, 8)},
			embed(op("MatMul", "coords,c1", "a"), op("Add", "a,cb", "b"), op("Relu", "b", "c"), op("MatMul", "c,c2", "d"), op("MatMul", "h,d", "y")), []string{"c1", "c2", "cb", "w"}},
		"low rank": {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), numbers("a", 2, 8, 2), numbers("b", 3, 2, 8), numbers("base", 4, 8, 8)},
			embed(op("MatMul", "a,b", "ab"), op("Add", "base,ab", "sum"), op("MatMul", "h,sum", "y")), []string{"a", "b", "base", "w"}},
		"norm without bias": {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), numbers("g", 2, 8)},
			embed(with(&onnxio.Node{Name: "none", OpType: "Constant", Outputs: []string{"none"}}, graph.TensorAttr("value", f32("", []int64{8}, make([]float32, 8)))), op("LayerNormalization", "h,g,none", "y")), []string{"g", "w"}},
		"layer norm": {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), numbers("g", 2, 8), numbers("b", 3, 8)}, embed(op("LayerNormalization", "h,g,b", "y")), []string{"b", "g", "w"}},
		"batch norm": {4, []*onnxio.Tensor{numbers("w", 1, 4, 8), numbers("g", 2, 8), numbers("b", 3, 8), numbers("mean", 4, 8), f32("var", []int64{8}, []float32{1, 2, 3, 4, 5, 6, 7, 8})},
			embed(op("BatchNormalization", "h,g,b,mean,var", "y")), []string{"b", "g", "w"}},
		"quantised": {4, []*onnxio.Tensor{numbers("w", 1, 8, 8), f32("scale", []int64{4}, []float32{1, 2, 3, 4}), onnxio.FromInt64s("axis", nil, []int64{0})},
			[]*onnxio.Node{with(op("DequantizeLinear", "q8,scale", "h")), op("MatMul", "x,h", "a"), op("MatMul", "a,w", "y")}, []string{"w"}},
	}
	q8, err := onnxio.FromBytes("q8", onnxio.Int8, []int64{4, 8}, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	k := cases["quantised"]
	k.consts = append(k.consts, q8)
	cases["quantised"] = k
	for name, mask := range map[string]struct {
		consts []*onnxio.Tensor
		nodes  []*onnxio.Node
		more   string
	}{
		"no mask":    {nil, []*onnxio.Node{op("Identity", "scores", "masked")}, ""},
		"added mask": {[]*onnxio.Tensor{numbers("mask", 9, 1, 1, 5, 5)}, []*onnxio.Node{op("Add", "scores,mask", "masked")}, ""},
		"sliced mask": {[]*onnxio.Tensor{numbers("mask", 9, 1, 1, 9, 9), onnxio.FromInt64s("zero", []int64{2}, []int64{0, 0}), onnxio.FromInt64s("five", []int64{2}, []int64{5, 5}), onnxio.FromInt64s("last", []int64{2}, []int64{2, 3})},
			[]*onnxio.Node{op("Slice", "mask,zero,five,last", "cut"), op("Add", "cut,scores", "masked")}, ""},
		"chosen mask":        {[]*onnxio.Tensor{numbers("mask", 9, 1, 1, 5, 5), onnxio.FromBools("keep", []int64{1, 1, 5, 5}, make([]bool, 25))}, []*onnxio.Node{op("Where", "keep,scores,mask", "masked")}, ""},
		"heads' temperature": {[]*onnxio.Tensor{numbers("tau", 9, 2, 1, 1)}, []*onnxio.Node{op("Mul", "scores,tau", "masked")}, "tau"},
		"talking heads": {[]*onnxio.Tensor{numbers("talk", 9, 2, 2), numbers("tb", 8, 2)}, []*onnxio.Node{with(op("Transpose", "scores", "s1"), graph.IntsAttr("perm", 0, 2, 3, 1)), op("MatMul", "s1,talk", "s2"), op("Add", "tb,s2", "s3"),
			with(op("Transpose", "s3", "masked"), graph.IntsAttr("perm", 0, 3, 1, 2))}, "talk tb"},
		"relative positions": {[]*onnxio.Tensor{numbers("rel", 9, 9, 2), onnxio.FromInt64s("at", []int64{5, 5}, slices.Repeat([]int64{0, 1, 2, 3, 4}, 5)), onnxio.FromInt64s("zero", []int64{1}, []int64{0})},
			[]*onnxio.Node{op("Gather", "rel,at", "r1"), with(op("Transpose", "r1", "r2"), graph.IntsAttr("perm", 2, 0, 1)), op("Unsqueeze", "r2,zero", "r3"), op("Add", "scores,r3", "masked")}, "rel"},
	} {
		consts, nodes := attention(mask.nodes...)
		want := append([]string(nil), weights...)
		for _, s := range []string{"rel", "talk", "tau", "tb"} {
			for _, c := range mask.consts {
				if c.Name == s && slices.Contains([]string{mask.more, "talk", "tb"}, s) {
					want = append(want, s)
				}
			}
		}
		slices.Sort(want)
		cases["attention, "+name] = struct {
			width  int64
			consts []*onnxio.Tensor
			nodes  []*onnxio.Node
			want   []string
		}{4, append(append(consts, numbers("w", 7, 4, 8), onnxio.FromInt64s("batch", []int64{3}, []int64{-1, 5, 4})), mask.consts...),
			append([]*onnxio.Node{op("Reshape", "x,batch", "x3"), op("MatMul", "x3,w", "h")}, nodes...), want}
	}
	for name, k := range cases {
		t.Run(name, func(t *testing.T) {
			task := mustTask(t, model(t, 17, k.width, k.consts, []string{"y"}, k.nodes...), Spec{Loss: MSE})
			var got []string
			for _, p := range task.Params {
				got = append(got, p.Name)
			}
			slices.Sort(got)
			if !slices.Equal(got, k.want) {
				t.Errorf("%v are trained, not %v", got, k.want)
			}
		})
	}
}

func TestRoles(t *testing.T) {
	task := mustTask(t, open(t, "testdata/tiny_gpt.onnx"), Spec{Loss: CausalLM})
	want := map[string]Role{"wte.weight": RoleTable, "wpe.weight": RoleTable, "h.0.ln_1.weight": RoleGain, "h.0.ln_1.bias": RoleBias, "h.0.c_attn.weight": RoleMatrix, "h.0.c_attn.bias": RoleBias,
		"h.0.c_proj.weight": RoleMatrix, "h.0.c_proj.bias": RoleBias, "h.0.ln_2.weight": RoleGain, "h.0.ln_2.bias": RoleBias, "h.0.c_fc.weight": RoleMatrix, "h.0.c_fc.bias": RoleBias,
		"h.0.mlp_proj.weight": RoleMatrix, "h.0.mlp_proj.bias": RoleBias, "ln_f.weight": RoleGain, "ln_f.bias": RoleBias}
	for _, p := range task.Params {
		if want[p.Name] != p.Role {
			t.Errorf("%s is a %s, not a %s", p.Name, p.Role, want[p.Name])
		}
		delete(want, p.Name)
	}
	for name := range want {
		t.Errorf("%s is not trained", name)
	}
}
