package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// fusionCase is a graph with the output "y", of parameters and known numbers.
type fusionCase struct {
	name   string
	inputs map[string]*onnxio.Tensor
	consts []*onnxio.Tensor
	nodes  string   // "Op a,b -> y; …", with attributes as name=1,2
	want   string   // what the program is made of, sorted; "": not checked
	not    string   // an operator that it must not have
	keep   []string // values that are returned besides y
	opset  int64
}

// num is a constant with one element.
func num(name string, v float64) *onnxio.Tensor {
	return onnxio.FromFloat32s(name, nil, []float32{float32(v)})
}

func (k fusionCase) gradient(t *testing.T) gradientCase {
	t.Helper()
	g := gradientCase{name: k.name, opset: k.opset, inputs: k.inputs, consts: k.consts, outputs: append([]string{"y"}, k.keep...)}
	for _, c := range k.consts {
		if c.NumElements() == 1 || strings.HasPrefix(c.Name, "mask") {
			g.frozen = append(g.frozen, c.Name)
		}
	}
	for i, line := range strings.Split(k.nodes, ";") {
		left, out, ok := strings.Cut(line, "->")
		f := strings.Fields(left)
		if !ok || len(f) < 2 {
			t.Fatalf("node %q", line)
		}
		n := node(f[0], f[1], strings.TrimSpace(out))
		n.Name = fmt.Sprintf("%s_%d", f[0], i)
		for _, a := range f[2:] {
			name, list, _ := strings.Cut(a, "=")
			var v []int64
			for _, s := range strings.Split(list, ",") {
				var x int64
				if _, err := fmt.Sscan(s, &x); err != nil {
					t.Fatal(err)
				}
				v = append(v, x)
			}
			if len(v) == 1 && name != "axes" {
				n.Attrs = append(n.Attrs, graph.IntAttr(name, v[0]))
			} else {
				n.Attrs = append(n.Attrs, graph.IntsAttr(name, v...))
			}
		}
		g.nodes = append(g.nodes, n)
	}
	return g
}

// check compares a case's operators with what is expected, its result with that of the plain program, and its gradients with central
// differences.
func (k fusionCase) check(t *testing.T) {
	t.Helper()
	c := k.gradient(t)
	g, _ := c.lossGraph(t)
	outs := append([]string{"y"}, k.keep...)
	ops := liveOps(t, g, k.inputs, Options{})
	// The loss is a product and a sum for each output, and their sum.
	ops["binary2"] -= len(outs)
	ops["binary0"] -= len(outs) - 1
	ops["*engine.reduceOp"] -= len(outs)
	var have []string
	for _, name := range sortedKeys(ops) {
		if n := ops[name]; n > 0 && name != "engine.viewOp" {
			have = append(have, fmt.Sprint(strings.TrimPrefix(name, "*engine."), ":", n))
		}
	}
	got := strings.Join(have, " ")
	if k.want != "" && got != k.want {
		t.Errorf("the program is %s, want %s", got, k.want)
	}
	if k.not != "" && strings.Contains(got, k.not) {
		t.Errorf("the program is %s, want no %s", got, k.not)
	}
	run := func(noFusion bool) map[string]*onnxio.Tensor {
		out, err := mustNew(t, g, Options{Float64: true, NoFusion: noFusion, Outputs: outs}).Run(context.Background(), k.inputs)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	plain, fused := run(true), run(false)
	for _, o := range outs {
		if err := closeTo(fused[o], plain[o], 1e-12); err != nil {
			t.Errorf("output %q: %v", o, err)
		}
	}
	checkGradients(t, c)
}

func sortedKeys(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func TestFuseLinear(t *testing.T) {
	x, w, b := random("x", 1, 2, 3, 256), random("w", 2, 256, 8), random("b", 3, 8)
	wt, x2 := random("w", 2, 8, 256), random("x", 1, 6, 256)
	for _, k := range []fusionCase{
		{name: "bias last", consts: []*onnxio.Tensor{x, w, b}, nodes: "MatMul x,w -> p; Add p,b -> y", want: "linearOp:1"},
		{name: "bias first", consts: []*onnxio.Tensor{x, w, b}, nodes: "MatMul x,w -> p; Add b,p -> y", want: "linearOp:1"},
		{name: "transposed weight", consts: []*onnxio.Tensor{x, wt, b}, nodes: "Transpose w perm=1,0 -> wt; MatMul x,wt -> p; Add b,p -> y", want: "linearOp:1"},
		{name: "view between", consts: []*onnxio.Tensor{x2, w, b, onnxio.FromInt64s("s", []int64{3}, []int64{2, 3, 8})}, nodes: "MatMul x,w -> p; Reshape p,s -> q; Add q,b -> y", want: "linearOp:1"},
		{name: "Gemm", consts: []*onnxio.Tensor{x2, wt, b}, nodes: "Gemm x,w transB=1 -> p; Add p,b -> y", want: "linearOp:1"},
		{name: "bias of rank 3", consts: []*onnxio.Tensor{x, w, random("b", 3, 1, 1, 8)}, nodes: "MatMul x,w -> p; Add p,b -> y", want: "linearOp:1"},
		{name: "bias of rows", consts: []*onnxio.Tensor{x, w, random("b", 3, 3, 1)}, nodes: "MatMul x,w -> p; Add p,b -> y", not: "linearOp"},
		{name: "product used elsewhere", consts: []*onnxio.Tensor{x, w, b}, nodes: "MatMul x,w -> p; Add p,b -> q; Mul p,q -> y", not: "linearOp"},
		{name: "product returned", consts: []*onnxio.Tensor{x, w, b}, nodes: "MatMul x,w -> p; Add p,b -> y", keep: []string{"p"}, not: "linearOp"},
		{name: "stack of weights", consts: []*onnxio.Tensor{x, random("w", 2, 2, 256, 8), b}, nodes: "MatMul x,w -> p; Add p,b -> y", not: "linearOp"},
		{name: "view of the columns", consts: []*onnxio.Tensor{x2, w, random("b", 3, 4), onnxio.FromInt64s("s", []int64{2}, []int64{12, 4})}, nodes: "MatMul x,w -> p; Reshape p,s -> q; Add q,b -> y", not: "linearOp"},
	} {
		t.Run(k.name, k.check)
	}
}

func TestFuseNorm(t *testing.T) {
	consts := []*onnxio.Tensor{random("x", 1, 2, 3, 256), between("g", 2, 0.5, 1.5, 256), random("b", 3, 256), num("eps", 1e-5), num("two", 2), num("one", 1), num("half", 0.5), num("minus", -0.5),
		between("rows", 4, 0.5, 1, 2, 3, 1)}
	const centred = "ReduceMean x axes=-1 -> m; Sub x,m -> d; Pow d,two -> q; ReduceMean q axes=-1 -> v; Add v,eps -> e; "
	const squared = "Mul x,x -> q; ReduceMean q axes=-1 -> v; Add eps,v -> e; "
	for _, k := range []fusionCase{
		{name: "by division", nodes: centred + "Sqrt e -> s; Div d,s -> n; Mul n,g -> a; Add a,b -> y", want: "layerNorm:1"},
		{name: "affine the other way", nodes: centred + "Sqrt e -> s; Div d,s -> n; Mul g,n -> a; Add b,a -> y", want: "layerNorm:1"},
		{name: "no bias", nodes: centred + "Sqrt e -> s; Div d,s -> n; Mul n,g -> y", want: "layerNorm:1"},
		{name: "no gain", nodes: centred + "Sqrt e -> s; Div d,s -> n; Add n,b -> y", want: "layerNorm:1"},
		{name: "nothing", nodes: centred + "Sqrt e -> s; Div d,s -> y", want: "layerNorm:1"},
		{name: "by power", nodes: centred + "Pow e,half -> s; Div d,s -> n; Mul n,g -> a; Add a,b -> y", want: "layerNorm:1"},
		{name: "by inverse power", nodes: centred + "Pow e,minus -> s; Mul s,d -> n; Mul n,g -> a; Add a,b -> y", want: "layerNorm:1"},
		{name: "by Reciprocal", nodes: centred + "Sqrt e -> s; Reciprocal s -> r; Mul d,r -> n; Mul n,g -> a; Add a,b -> y", want: "layerNorm:1"},
		{name: "by one over", nodes: centred + "Sqrt e -> s; Div one,s -> r; Mul d,r -> n; Mul n,g -> a; Add a,b -> y", want: "layerNorm:1"},
		{name: "centred twice", nodes: "ReduceMean x axes=-1 -> m; Sub x,m -> d; Sub x,m -> d2; Mul d2,d2 -> q; ReduceMean q axes=-1 -> v; Add v,eps -> e; Sqrt e -> s; Div d,s -> n; Mul n,g -> a; Add a,b -> y", want: "layerNorm:1"},
		{name: "means without dimensions", nodes: "ReduceMean x axes=-1 keepdims=0 -> m0; Unsqueeze m0,axis -> m; Sub x,m -> d; Pow d,two -> q; ReduceMean q axes=-1 -> v; Add v,eps -> e; Sqrt e -> s; Div d,s -> n; Mul n,g -> a; Add a,b -> y", want: "layerNorm:1"},
		{name: "casts to the same type", nodes: "Cast x to=1 -> z; ReduceMean z axes=-1 -> m; Sub z,m -> d; Pow d,two -> q; ReduceMean q axes=-1 -> v; Add v,eps -> e; Sqrt e -> s; Div d,s -> n0; Cast n0 to=1 -> n; Mul n,g -> a; Add a,b -> y", want: "layerNorm:1"},
		{name: "rms", nodes: squared + "Sqrt e -> s; Div x,s -> n; Mul n,g -> y", want: "rmsNorm:1"},
		{name: "rms by one over", nodes: "Pow x,two -> q; ReduceMean q axes=-1 -> v; Add v,eps -> e; Sqrt e -> s; Div one,s -> r; Mul x,r -> n; Mul g,n -> y", want: "rmsNorm:1"},
		{name: "rms with a bias behind", nodes: squared + "Sqrt e -> s; Div x,s -> n; Mul n,g -> a; Add a,b -> y", want: "binary0:1 rmsNorm:1"},
		{name: "norm read twice", nodes: centred + "Sqrt e -> s; Div d,s -> n; Mul n,g -> a; Mul n,b -> c; Add a,c -> y", want: "binary0:1 binary2:2 layerNorm:1"},

		{name: "wrong axis", nodes: "ReduceMean x axes=1 -> m; Sub x,m -> d; Pow d,two -> q; ReduceMean q axes=1 -> v; Add v,eps -> e; Sqrt e -> s; Div d,s -> n; Mul n,g -> y", not: "Norm"},
		{name: "two axes", nodes: "ReduceMean x axes=1 -> m; Sub x,m -> d; Pow d,two -> q; ReduceMean q axes=-1 -> v; Add v,eps -> e; Sqrt e -> s; Div d,s -> y", not: "layerNorm"},
		{name: "eps for each row", nodes: centred[:strings.Index(centred, "Add v,eps")] + "Add v,rows -> e; Sqrt e -> s; Div d,s -> y", not: "Norm"},
		{name: "eps outside the root", nodes: "ReduceMean x axes=-1 -> m; Sub x,m -> d; Mul d,d -> q; ReduceMean q axes=-1 -> v; Sqrt v -> s0; Add s0,eps -> s; Div d,s -> y", not: "Norm"},
		{name: "another operand's square", nodes: "Mul x,g -> z; Mul z,z -> q; ReduceMean q axes=-1 -> v; Add v,eps -> e; Sqrt e -> s; Div x,s -> y", not: "Norm"},
		{name: "deviation returned", nodes: centred + "Sqrt e -> s; Div d,s -> y", keep: []string{"s"}, not: "Norm"},
		{name: "gain for each row", nodes: centred + "Sqrt e -> s; Div d,s -> n; Mul n,rows -> y", want: "binary2:1 layerNorm:1"},
	} {
		k.consts = append([]*onnxio.Tensor{onnxio.FromInt64s("axis", []int64{1}, []int64{-1})}, consts...)
		t.Run(k.name, k.check)
	}
}

func TestFuseActivation(t *testing.T) {
	consts := []*onnxio.Tensor{random("x", 1, 3, 256), num("root2", math.Sqrt2), num("inv", 0.70710678), num("one", 1), num("half", 0.5), num("three", 3), num("two", 2),
		num("a", 0.044715), num("c", 0.7978845608), num("alpha", 1.702), random("v", 2, 256)}
	for _, k := range []fusionCase{
		{name: "erf", nodes: "Div x,root2 -> u; Erf u -> e; Add e,one -> g; Mul x,g -> p; Mul p,half -> y", want: "Gelu:1"},
		{name: "erf, half first", nodes: "Mul x,inv -> u; Erf u -> e; Add one,e -> g; Mul half,x -> h; Mul h,g -> y", want: "Gelu:1"},
		{name: "erf, half of the gate", nodes: "Mul inv,x -> u; Erf u -> e; Add e,one -> g; Mul g,half -> p; Mul x,p -> y", want: "Gelu:1"},
		{name: "erf, halved", nodes: "Div x,root2 -> u; Erf u -> e; Add e,one -> g; Mul g,x -> p; Div p,two -> y", want: "Gelu:1"},
		{name: "erf, half in the gate", nodes: "Div x,root2 -> u; Erf u -> e; Mul e,half -> e2; Add e2,half -> g; Mul x,g -> y", want: "Gelu:1"},
		{name: "tanh, power", nodes: "Pow x,three -> q; Mul q,a -> r; Add x,r -> s; Mul s,c -> u; Tanh u -> e; Add e,one -> g; Mul x,half -> h; Mul h,g -> y", want: "Gelu:1"},
		{name: "tanh, products", nodes: "Mul x,x -> q; Mul q,x -> z; Mul a,z -> r; Add r,x -> s; Mul c,s -> u; Tanh u -> e; Add one,e -> g; Mul x,g -> h; Mul h,half -> y", want: "Gelu:1"},
		{name: "tanh, factored", nodes: "Mul x,x -> q; Mul q,a -> r; Add r,one -> s; Mul x,c -> t; Mul s,t -> u; Tanh u -> e; Add one,e -> g; Mul g,half -> h; Mul h,x -> y", want: "Gelu:1"},
		{name: "silu", nodes: "Sigmoid x -> s; Mul x,s -> y", want: "Swish:1"},
		{name: "quick gelu", nodes: "Mul x,alpha -> u; Sigmoid u -> s; Mul s,x -> y", want: "Swish:1"},
		{name: "gated", nodes: "Sigmoid x -> s; Mul x,s -> z; Mul z,v -> y", want: "Swish:1 binary2:1"},

		{name: "another x", nodes: "Sigmoid x -> s; Mul v,s -> y", not: "Swish"},
		{name: "no half", nodes: "Div x,root2 -> u; Erf u -> e; Add e,one -> g; Mul x,g -> y", not: "Gelu"},
		{name: "another scale", nodes: "Mul x,half -> u; Erf u -> e; Add e,one -> g; Mul x,g -> p; Mul p,half -> y", not: "Gelu"},
		{name: "scale is no scalar", nodes: "Mul x,v -> u; Sigmoid u -> s; Mul x,s -> y", not: "Swish"},
		{name: "erf returned", nodes: "Div x,root2 -> u; Erf u -> e; Add e,one -> g; Mul x,g -> p; Mul p,half -> y", keep: []string{"e"}, not: "Gelu"},
		{name: "gate plus two", nodes: "Div x,root2 -> u; Erf u -> e; Add e,two -> g; Mul x,g -> p; Mul p,half -> y", not: "Gelu"},
		{name: "tanh of the square", nodes: "Mul x,x -> q; Mul q,a -> r; Add x,r -> s; Mul s,c -> u; Tanh u -> e; Add e,one -> g; Mul x,half -> h; Mul h,g -> y", not: "Gelu"},
	} {
		k.consts = consts
		t.Run(k.name, k.check)
	}
}
