package ligo

import (
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// parameters counts the floating-point constants of a graph that hold more than one element, and their bytes. Constants that
// share an origin and a tensor are one initializer in the file and count once.
func parameters(g *graph.Graph) (params, bytes int64) {
	type key struct {
		origin string
		tensor any
	}
	seen := map[key]bool{}
	for _, v := range g.Consts {
		k := key{v.Origin, v.Const}
		if v.Recipe != "" {
			k.tensor = v.Recipe
		}
		if seen[k] {
			continue
		}
		seen[k] = true
		bytes += v.Const.ByteLen()
		if n := v.Const.NumElements(); n > 1 && v.Const.DType.Growable() {
			params += n
		}
	}
	return params, bytes
}

// elements is the number of elements that a weight has under s.
func elements(w *axes.Weight, s axes.Sizes) int64 {
	n := int64(1)
	for _, e := range w.Axes {
		n *= s.Eval(e)
	}
	return n
}

// flops counts the forward operations that the weights cost for one token: a multiplication and an addition for every element of
// a matrix or convolution kernel. Tables that are looked up cost none; attention products grow with the sequence and are not
// counted.
func flops(r *axes.Result, s axes.Sizes) int64 {
	total := int64(0)
	for _, v := range r.Graph.Consts {
		if !v.Const.DType.Growable() || len(v.Const.Dims) < 2 || !multiplied(v) {
			continue
		}
		if w := r.Weight(v); w != nil {
			total += 2 * elements(w, s)
		} else {
			total += 2 * v.Const.NumElements()
		}
	}
	return total
}

// multiplied reports whether a constant is an operand of a matrix product or convolution, directly or through views.
func multiplied(v *graph.Value) bool {
	for _, u := range v.Uses {
		switch u.Node.Op {
		case "MatMul", "Gemm", "FusedGemm", "FusedMatMul", "Conv", "Attention", "MatMulInteger", "Einsum":
			return true
		}
		if view(u.Node) && u.Index == 0 && multiplied(u.Node.Out[0]) {
			return true
		}
	}
	return false
}

// view reports whether a node only rearranges or converts its first operand.
func view(n *graph.Node) bool {
	if n.Domain != "" || len(n.Out) == 0 || n.Out[0] == nil {
		return false
	}
	switch n.Op {
	case "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast", "Dropout", "Expand", "Slice", "Split":
		return true
	}
	return false
}
