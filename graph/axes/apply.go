package axes

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// rule infers the axes of a node's outputs. It returns a reason when the node is not of a form that the rule covers.
type rule func(s *state, n *graph.Node) string

// covered is what is known of an operator: its rule, and how many leading operands a node must have.
type covered struct {
	rule rule
	in   int
}

// rules maps domain and operator to rule; built once, never changed.
var rules map[opKey]covered

type opKey struct{ domain, op string }

const ms = "com.microsoft"

func init() {
	rules = map[opKey]covered{}
	add := func(r rule, domain string, in int, ops ...string) {
		for _, op := range ops {
			rules[opKey{domain, op}] = covered{r, in}
		}
	}
	add(elementwise, "", 1, "Min", "Max", "Sum", "Mean")
	add(elementwise, "", 2, "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And",
		"Or", "Xor", "PRelu", "BitwiseAnd", "BitwiseOr")
	add(elementwise, "", 3, "Where")
	add(elementwise, ms, 2, "BiasGelu")
	add(elementwise, ms, 1, "FastGelu")
	add(unary, "", 1, "Cast", "Erf", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Softplus", "Softsign",
		"HardSigmoid", "HardSwish", "Mish", "Sqrt", "Exp", "Neg", "Sin", "Cos", "Not", "Reciprocal", "Clip", "Floor", "Ceil", "Round",
		"Log", "Abs", "Sign", "Gelu", "Trilu", "Dropout", "Identity", "IsNaN", "IsInf", "ThresholdedRelu", "Swish")
	add(unary, "", 2, "CastLike", "CumSum")
	add(unary, ms, 1, "Gelu", "QuickGelu")
	add(softmax, "", 1, "Softmax", "LogSoftmax", "Hardmax")
	add(reduce, "", 1, "ReduceMean", "ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
		"ReduceLogSum", "ReduceLogSumExp", "ArgMax", "ArgMin")
	add(layerNorm, "", 2, "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
	add(layerNorm, ms, 2, "SimplifiedLayerNormalization")
	add(skipNorm, ms, 3, "SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
	add(embedNorm, ms, 1, "EmbedLayerNormalization")
	add(batchNorm, "", 5, "BatchNormalization")
	add(matmul, "", 2, "MatMul")
	add(matmul, ms, 2, "FusedMatMul")
	add(gemm, "", 2, "Gemm")
	add(gemm, ms, 2, "FusedGemm")
	add(conv, "", 2, "Conv")
	add(pool, "", 1, "MaxPool", "AveragePool", "LpPool")
	add(globalPool, "", 1, "GlobalAveragePool", "GlobalMaxPool")
	add(shapeOf, "", 1, "Shape", "Size")
	add(gather, "", 2, "Gather")
	add(gatherElements, "", 2, "GatherElements")
	add(gatherND, "", 2, "GatherND")
	add(scatterElements, "", 2, "TensorScatter")
	add(scatterElements, "", 3, "ScatterElements", "ScatterND")
	add(slice, "", 1, "Slice")
	add(split, "", 1, "Split")
	add(concat, "", 1, "Concat")
	add(reshape, "", 1, "Reshape", "Flatten")
	add(squeeze, "", 1, "Squeeze")
	add(unsqueeze, "", 1, "Unsqueeze")
	add(transpose, "", 1, "Transpose")
	add(expand, "", 2, "Expand")
	add(tile, "", 2, "Tile")
	add(constantOfShape, "", 1, "ConstantOfShape")
	add(rangeOp, "", 3, "Range")
	add(attention, "", 3, "Attention")
	add(msAttention, ms, 2, "Attention")
	add(multiHeadAttention, ms, 1, "MultiHeadAttention")
	add(groupQueryAttention, ms, 1, "GroupQueryAttention")
	add(rotary, "", 1, "RotaryEmbedding")
	add(rotary, ms, 1, "RotaryEmbedding")
	add(pad, "", 1, "Pad")
	add(nonZero, "", 1, "NonZero")
	add(oneHot, "", 3, "OneHot")
	add(constantNode, "", 0, "Constant")
}

// wellFormed checks that a node of a known operator has the operands and the output without which it means nothing: rules, and the
// searches for norms and scores, rely on it.
func wellFormed(n *graph.Node) error {
	c, known := rules[opKey{n.Domain, n.Op}]
	if !known {
		return nil
	}
	for i := range c.in {
		if i >= len(n.In) || n.In[i] == nil {
			return &graph.InvalidError{Where: n.String(), Problem: fmt.Sprintf("operand %d is missing, %s needs %d", i, opName(n), c.in)}
		}
	}
	if len(n.Out) == 0 || (n.Out[0] == nil && n.Op != "Split") {
		return &graph.InvalidError{Where: n.String(), Problem: fmt.Sprintf("%s without an output", opName(n))}
	}
	return nil
}

// apply infers the outputs of one node.
func (s *state) apply(n *graph.Node) {
	c, known := rules[opKey{n.Domain, n.Op}]
	if !known {
		s.noRule(n, fmt.Sprintf("operator %s has no growth rule", opName(n)))
		return
	}
	if c.in > 0 && s.unknown(n.In[0]) {
		s.noRule(n, fmt.Sprintf("the rank of %s is not known", n.In[0].Name))
		return
	}
	if why := c.rule(s, n); why != "" {
		if !slices.ContainsFunc(n.In, func(v *graph.Value) bool { return v != nil && s.unknown(v) }) {
			s.uncovered++
		}
		s.noRule(n, why)
	}
	s.evaluate(n)
}

func opName(n *graph.Node) string {
	if n.Domain == "" {
		return n.Op
	}
	return n.Domain + "." + n.Op
}

// unknown reports whether the rank of v is not known (a scalar has axes of length 0, an unknown value has none).
func (s *state) unknown(v *graph.Value) bool {
	return s.axes[v] == nil
}

// setAxes stores the axes of an output; a scalar gets an empty, not a nil, list.
func (s *state) setAxes(v *graph.Value, axes []*node) {
	if v == nil {
		return
	}
	if axes == nil {
		axes = []*node{}
	}
	s.axes[v] = axes
}

// evaluate follows the values of small integer tensors and of scalars through an element-wise node. Small float tensors are data.
func (s *state) evaluate(n *graph.Node) {
	if n.Domain != "" || n.Out[0] == nil || s.vals[n.Out[0]] != nil || s.axes[n.Out[0]] == nil {
		return // the rule did it, or the node has no rule
	}
	var isInt bool
	switch n.Op {
	case "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Not", "Xor":
		isInt = true // booleans
	case "Cast":
		switch onnxio.DType(n.Int("to", 0)) {
		case onnxio.Float, onnxio.Float16, onnxio.Double, onnxio.BFloat16:
		default:
			isInt = true
		}
	case "Sqrt", "Reciprocal", "Exp", "Log":
	case "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mod", "Where", "Sum", "Neg", "Abs", "Identity", "Floor", "Ceil", "Sign":
		isInt = true
		for i, v := range n.In {
			if n.Op == "Where" && i == 0 {
				continue
			}
			for _, y := range s.ints(v) {
				isInt = isInt && y.isInt
			}
		}
	default:
		return
	}
	shape := shapeOfAxes(s.axes[n.Out[0]])
	size := volume(shape)
	if size > maxStatic || (!isInt && size != 1) {
		return
	}
	args := make([]*sym, len(n.In))
	res := &static{shape: shape, elems: make([]*sym, size)}
	for i := range res.elems {
		for j, v := range n.In {
			st := s.vals[v]
			if v == nil || st == nil {
				return
			}
			k := st.meeting(shape, i)
			if k < 0 {
				return
			}
			args[j] = st.elems[k]
		}
		if res.elems[i] = element(n.Op, isInt, args); res.elems[i] == nil {
			return
		}
	}
	s.vals[n.Out[0]] = res
}

// element applies an operator to one element of each operand; nil when its value cannot be followed.
func element(op string, isInt bool, args []*sym) *sym {
	switch {
	case op == "Identity" || (op == "Cast" && args[0].isInt == isInt):
		return args[0]
	case op == "Where" && (!args[0].run() || args[1] == args[2]):
		if args[0].ival != 0 {
			return args[1]
		}
		return args[2]
	}
	return opSym(op, isInt, slices.Clone(args)...)
}

func shapeOfAxes(axes []*node) []int64 {
	shape := make([]int64, len(axes))
	for i, a := range axes {
		shape[i] = a.find().size
	}
	return shape
}

// meeting is the element of st that meets element i of a broadcast result with the given shape; -1 when the shapes do not fit.
func (st *static) meeting(shape []int64, i int) int {
	if len(st.shape) > len(shape) {
		return -1
	}
	k, stride := 0, 1
	off := len(shape) - len(st.shape)
	for d := len(shape) - 1; d >= off; d-- {
		z := int(st.shape[d-off])
		if z != 1 && int64(z) != shape[d] {
			return -1
		}
		if z != 1 {
			k += i % z * stride
		}
		i /= int(shape[d])
		stride *= z
	}
	if k >= len(st.elems) {
		return -1
	}
	return k
}
