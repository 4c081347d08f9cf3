package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

// rule infers the axes of a node's outputs. It returns a reason when the node is not of a form that the rule covers.
type rule func(s *state, n *graph.Node) string

// rules maps domain and operator to rule; built once, never changed.
var rules map[opKey]rule

type opKey struct{ domain, op string }

const ms = "com.microsoft"

func init() {
	rules = map[opKey]rule{}
	add := func(r rule, domain string, ops ...string) {
		for _, op := range ops {
			rules[opKey{domain, op}] = r
		}
	}
	add(elementwise, "", "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mod", "Equal", "Less", "Greater", "LessOrEqual",
		"GreaterOrEqual", "And", "Or", "Xor", "Where", "PRelu", "Sum", "Mean", "BitwiseAnd", "BitwiseOr")
	add(elementwise, ms, "BiasGelu", "FastGelu")
	add(unary, "", "Cast", "CastLike", "Erf", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Softplus", "Softsign",
		"HardSigmoid", "HardSwish", "Mish", "Sqrt", "Exp", "Neg", "Sin", "Cos", "Not", "Reciprocal", "Clip", "Floor", "Ceil", "Round",
		"Log", "Abs", "Sign", "Gelu", "Trilu", "CumSum", "Dropout", "Identity", "IsNaN", "IsInf", "ThresholdedRelu", "Swish")
	add(unary, ms, "Gelu", "QuickGelu")
	add(softmax, "", "Softmax", "LogSoftmax", "Hardmax")
	add(reduce, "", "ReduceMean", "ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
		"ReduceLogSum", "ReduceLogSumExp", "ArgMax", "ArgMin")
	add(layerNorm, "", "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
	add(layerNorm, ms, "SimplifiedLayerNormalization")
	add(skipNorm, ms, "SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
	add(embedNorm, ms, "EmbedLayerNormalization")
	add(batchNorm, "", "BatchNormalization")
	add(matmul, "", "MatMul")
	add(matmul, ms, "FusedMatMul")
	add(gemm, "", "Gemm")
	add(conv, "", "Conv")
	add(pool, "", "MaxPool", "AveragePool", "LpPool")
	add(globalPool, "", "GlobalAveragePool", "GlobalMaxPool")
	add(shapeOf, "", "Shape", "Size")
	add(gather, "", "Gather")
	add(gatherElements, "", "GatherElements")
	add(scatterElements, "", "ScatterElements", "ScatterND", "TensorScatter")
	add(slice, "", "Slice")
	add(split, "", "Split")
	add(concat, "", "Concat")
	add(reshape, "", "Reshape", "Flatten")
	add(squeeze, "", "Squeeze")
	add(unsqueeze, "", "Unsqueeze")
	add(transpose, "", "Transpose")
	add(expand, "", "Expand")
	add(tile, "", "Tile")
	add(constantOfShape, "", "ConstantOfShape")
	add(rangeOp, "", "Range")
	add(attention, "", "Attention")
	add(msAttention, ms, "Attention")
	add(multiHeadAttention, ms, "MultiHeadAttention")
	add(groupQueryAttention, ms, "GroupQueryAttention")
	add(rotary, "", "RotaryEmbedding")
	add(rotary, ms, "RotaryEmbedding")
	add(pad, "", "Pad")
	add(nonZero, "", "NonZero")
	add(oneHot, "", "OneHot")
	add(constantNode, "", "Constant")
}

func (s *state) apply(n *graph.Node) {
	r := rules[opKey{n.Domain, n.Op}]
	if r == nil {
		s.noRule(n, fmt.Sprintf("operator %s has no growth rule", opName(n)))
		return
	}
	for i, v := range n.In {
		// a required operand of unknown rank makes the outputs unknown too
		if v != nil && s.axes[v] == nil && (v.Const == nil || len(v.Const.Dims) > 0) && s.unknown(v) && i == 0 {
			s.noRule(n, fmt.Sprintf("the rank of %s is not known", v.Name))
			return
		}
	}
	if why := r(s, n); why != "" {
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
	_, ok := s.axes[v]
	return !ok || (s.axes[v] == nil)
}

// set stores the axes of an output; a scalar gets an empty, not a nil, list.
func (s *state) setAxes(v *graph.Value, axes []*node) {
	if v == nil {
		return
	}
	if axes == nil {
		axes = []*node{}
	}
	s.axes[v] = axes
}

// evaluate follows the values of small integer tensors and scalars through a node.
func (s *state) evaluate(n *graph.Node) {
	if len(n.Out) == 0 || n.Out[0] == nil || n.Domain != "" {
		return
	}
	out := n.Out[0]
	if s.vals[out] != nil {
		return // the rule did it
	}
	switch n.Op {
	case "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mod", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or",
		"Xor", "Where", "Sum", "Neg", "Abs", "Not", "Identity", "Cast", "Floor", "Ceil", "Sqrt", "Reciprocal", "Sign", "Exp", "Log":
	default:
		return
	}
	var ins []*static
	isInt, size := true, 1
	for _, v := range n.In {
		if v == nil {
			return
		}
		st := s.vals[v]
		if st == nil {
			return
		}
		for i, e := range st.elems {
			if !e.isInt && !(n.Op == "Where" && i == 0 && len(ins) == 0) {
				isInt = false
			}
		}
		ins = append(ins, st)
		size = max(size, len(st.elems))
	}
	if len(ins) == 0 || size > maxStatic {
		return
	}
	switch n.Op {
	case "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Not", "Xor":
		isInt = true // the result is a boolean
	case "Cast":
		to := n.Int("to", 0)
		isInt = to != 1 && to != 10 && to != 11 && to != 16
	case "Sqrt", "Reciprocal":
		isInt = false
	}
	shape := shapeOfAxes(s.axes[out])
	if !isInt && size != 1 {
		return // only scalars of floating type are followed: a small weight is data
	}
	if !isInt && !anyComputed(ins) && n.Op != "Cast" && n.Op != "Identity" {
		// a scalar made of literals alone is still a literal computation: follow it, scales are written that way
		_ = shape
	}
	res := &static{shape: shape}
	for i := range size {
		args := make([]*sym, len(ins))
		for j, st := range ins {
			k := broadcastIndex(st, shape, i, size)
			if k < 0 {
				return
			}
			args[j] = st.elems[k]
		}
		var y *sym
		switch {
		case n.Op == "Identity" || (n.Op == "Cast" && (args[0].isInt == isInt)):
			y = args[0]
		case n.Op == "Where":
			y = args[1]
			if args[0].ival == 0 {
				y = args[2]
			}
			if args[0].run() && args[1] != args[2] {
				y = opSym("Where", isInt, args...)
			}
		default:
			y = opSym(n.Op, isInt, args...)
		}
		if y == nil {
			return
		}
		res.elems = append(res.elems, y)
	}
	s.vals[out] = res
}

func anyComputed(ins []*static) bool {
	for _, st := range ins {
		for _, e := range st.elems {
			if e.computed() {
				return true
			}
		}
	}
	return false
}

func shapeOfAxes(axes []*node) []int64 {
	shape := make([]int64, len(axes))
	for i, a := range axes {
		shape[i] = a.find().size
	}
	return shape
}

// broadcastIndex is the element of st that meets element i of a result with the given shape; -1 when the shapes do not fit.
func broadcastIndex(st *static, shape []int64, i, size int) int {
	if len(st.elems) == size {
		return i
	}
	if len(st.elems) == 1 {
		return 0
	}
	if len(st.shape) > len(shape) {
		return -1
	}
	idx, stride, k := i, 1, 0
	off := len(shape) - len(st.shape)
	for d := len(shape) - 1; d >= 0; d-- {
		if shape[d] == 0 {
			return -1
		}
		c := idx % int(shape[d])
		idx /= int(shape[d])
		if d >= off {
			z := int(st.shape[d-off])
			if z != 1 {
				k += c * stride
			}
			stride *= z
		}
	}
	if k >= len(st.elems) {
		return -1
	}
	return k
}
