package blocks

import "github.com/ligoonnx/ligoonnx/graph"

// isView says that the first output holds the elements of the first operand unchanged (in another shape, order or type).
func isView(n *graph.Node) bool {
	if n.Domain != "" || len(n.In) == 0 || n.In[0] == nil || len(n.Out) == 0 || n.Out[0] == nil {
		return false
	}
	switch n.Op {
	case "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Identity", "Cast", "Dropout":
		return true
	}
	return false
}

// isScaling says that the use multiplies the value by a constant: some models weight the stream against the branch.
func isScaling(u graph.Use) bool {
	n := u.Node
	if n.Domain != "" || len(n.In) != 2 || len(n.Out) == 0 || n.Out[0] == nil || (n.Op != "Mul" && n.Op != "Div") {
		return false
	}
	return n.In[1-u.Index].IsConst()
}

// isSkipNorm says that the operator adds its first two operands (and a bias) before it norms them.
func isSkipNorm(n *graph.Node) bool {
	if n.Domain != "com.microsoft" {
		return false
	}
	return n.Op == "SkipLayerNormalization" || n.Op == "SkipSimplifiedLayerNormalization"
}

// skipNormBias is the operand of a fused skip-norm that holds the bias of the sum.
func skipNormBias(n *graph.Node) int {
	if n.Op == "SkipLayerNormalization" {
		return 4
	}
	return 3
}

// skipNormSum is the output of a fused skip-norm that holds the sum.
const skipNormSum = 3

// isNormOp says that the first output is a norm of a sum that the operator can give, too.
func isNormOp(n *graph.Node) bool {
	return isSkipNorm(n) || (n.Domain == "com.microsoft" && n.Op == "EmbedLayerNormalization")
}

// addends lists the operands that the operator sums up.
func addends(n *graph.Node) []int {
	switch {
	case isSkipNorm(n):
		return []int{0, 1}
	case n.Domain == "" && (n.Op == "Add" || n.Op == "Sum"):
		out := make([]int, len(n.In))
		for i := range out {
			out[i] = i
		}
		return out
	}
	return nil
}

// commutes says that the order of the operands does not matter. Exporters write `bias + x` as often as `x + bias`.
func commutes(n *graph.Node) bool {
	if n.Domain != "" {
		return false
	}
	switch n.Op {
	case "Add", "Mul", "Sum", "Max", "Min", "And", "Or", "Equal":
		return true
	}
	return false
}

// keepsZero says that the operator gives zero where its first operand is zero.
func keepsZero(n *graph.Node) bool {
	if len(n.In) == 0 {
		return false
	}
	if isView(n) {
		return true
	}
	switch n.Domain {
	case "":
		switch n.Op {
		case "Expand", "Slice", "Split", "Gather", "Tile", "Relu", "LeakyRelu", "Gelu", "Tanh", "Erf", "Abs", "Neg", "Sqrt", "Sin",
			"Div", "ReduceMean", "ReduceSum", "AveragePool", "GlobalAveragePool", "MaxPool":
			return true
		}
	case "com.microsoft":
		return n.Op == "Gelu" || n.Op == "QuickGelu"
	}
	return false
}
