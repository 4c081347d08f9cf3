package train

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// lossBuilder appends nodes to a graph. It uses only forms that mean the same in every operator set: no axes that moved from an
// attribute to an operand, no negative ones.
type lossBuilder struct {
	t *Task
	g *graph.Graph
	// elem is the type that the loss is computed in, the output's.
	elem onnxio.DType
}

func (b *lossBuilder) node(op string, in []*graph.Value, attrs ...*onnxio.Attribute) *graph.Value {
	out := b.g.NewValue("loss/"+op, nil)
	b.g.NewNode(op, "", "loss/"+op, in, []*graph.Value{out}, attrs...)
	return out
}

// number is a constant that is no weight.
func (b *lossBuilder) number(v float64) (*graph.Value, error) {
	t, err := onnxio.FromFloats("", b.elem, nil, []float64{v})
	if err != nil {
		return nil, err
	}
	return b.g.NewConst("loss/number", t), nil
}

func (b *lossBuilder) cast(v *graph.Value, to onnxio.DType) *graph.Value {
	return b.node("Cast", []*graph.Value{v}, graph.IntAttr("to", int64(to)))
}

func (b *lossBuilder) sum(v *graph.Value) *graph.Value {
	return b.node("ReduceSum", []*graph.Value{v}, graph.IntAttr("keepdims", 0))
}

// appendLoss appends the nodes of the loss of a value of the given rank (-1: not known; only MSE allows that).
func (t *Task) appendLoss(out *graph.Value, rank int) error {
	b := &lossBuilder{t: t, g: t.Graph, elem: onnxio.Float}
	if out.Type != nil && out.Type.Elem.Growable() {
		b.elem = out.Type.Elem
	}
	switch t.Spec.Loss {
	case MSE:
		return b.mse(out)
	case Distill:
		return b.distill(out, rank)
	}
	labels, err := b.labels(out, rank)
	if err != nil {
		return err
	}
	rows := b.rows(out, rank)
	t.loss = b.crossEntropy(rows, labels, "sum").Name
	counted := b.counted(labels)
	t.count = b.sum(b.cast(counted, onnxio.Int64)).Name
	t.total = b.node("Size", []*graph.Value{labels}).Name
	best := b.node("ArgMax", []*graph.Value{rows}, graph.IntAttr("axis", 1), graph.IntAttr("keepdims", 0))
	right := b.node("And", []*graph.Value{b.node("Equal", []*graph.Value{best, labels}), counted})
	t.correct = b.sum(b.cast(right, onnxio.Int64)).Name
	return nil
}

// rows is logits [.., V] as [N, V].
func (b *lossBuilder) rows(v *graph.Value, rank int) *graph.Value {
	if rank == 2 {
		return v
	}
	return b.node("Flatten", []*graph.Value{v}, graph.IntAttr("axis", int64(rank-1)))
}

// labels makes the input of the labels of logits of that rank and gives them as [N].
func (b *lossBuilder) labels(logits *graph.Value, rank int) (*graph.Value, error) {
	if rank < 2 {
		return nil, fmt.Errorf("output %q has rank %d, logits have at least 2 axes", logits.Name, rank)
	}
	typ := onnxio.TensorType(onnxio.Int64, b.dims(logits, rank)[:rank-1]...)
	in := b.g.NewInput("labels", typ)
	b.t.Labels = in.Name
	if rank == 2 {
		return in, nil
	}
	shape := b.g.NewConst("loss/shape", onnxio.FromInt64s("", []int64{1}, []int64{-1}))
	return b.node("Reshape", []*graph.Value{in, shape}), nil
}

// dims is the declared shape of a value, unknown sizes where there is none.
func (b *lossBuilder) dims(v *graph.Value, rank int) []onnxio.Dim {
	dims := make([]onnxio.Dim, rank)
	for i := range dims {
		dims[i] = onnxio.Dim{Value: -1}
		if v.Type != nil && v.Type.HasShape && len(v.Type.Dims) == rank {
			dims[i] = v.Type.Dims[i]
		}
	}
	return dims
}

func (b *lossBuilder) crossEntropy(rows, labels *graph.Value, reduction string) *graph.Value {
	return b.node("SoftmaxCrossEntropyLoss", []*graph.Value{rows, labels},
		graph.StringAttr("reduction", reduction), graph.IntAttr("ignore_index", b.t.Spec.ignore()))
}

// counted is a bool for each label: it is not the one to ignore.
func (b *lossBuilder) counted(labels *graph.Value) *graph.Value {
	ignore := b.g.NewConst("loss/ignore", onnxio.FromInt64s("", nil, []int64{b.t.Spec.ignore()}))
	return b.node("Not", []*graph.Value{b.node("Equal", []*graph.Value{labels, ignore})})
}

// mse is the sum of squared differences; the number is that of all elements.
func (b *lossBuilder) mse(out *graph.Value) error {
	typ := out.Type
	if typ == nil {
		typ = &onnxio.Type{Kind: "tensor", Elem: b.elem}
	}
	target := b.g.NewInput("target", typ)
	d := b.node("Sub", []*graph.Value{out, target})
	b.t.Labels, b.t.loss = target.Name, b.sum(b.node("Mul", []*graph.Value{d, d})).Name
	// Sub broadcasts; the size of the difference is the number of terms in any case.
	b.t.count = b.node("Size", []*graph.Value{d}).Name
	b.t.total = b.t.count
	return nil
}

// distill is the sum over tokens of the divergence from the teacher, mixed with the cross-entropy of the labels. With labels, both
// are of the tokens whose label is counted, so that there is one number to divide by.
func (b *lossBuilder) distill(out *graph.Value, rank int) error {
	if rank < 2 {
		return fmt.Errorf("output %q has rank %d, logits have at least 2 axes", out.Name, rank)
	}
	t := b.t.Spec.Temperature
	if t == 0 {
		t = 1
	}
	teacher := b.g.NewInput("teacher_logits", onnxio.TensorType(b.elem, b.dims(out, rank)...))
	b.t.Teacher = teacher.Name
	inverse, err := b.number(1 / t)
	if err != nil {
		return err
	}
	one := graph.IntAttr("axis", 1)
	rows := b.rows(out, rank)
	student := b.node("LogSoftmax", []*graph.Value{b.node("Mul", []*graph.Value{rows, inverse})}, one)
	scaled := b.node("Mul", []*graph.Value{b.rows(teacher, rank), inverse})
	p, logp := b.node("Softmax", []*graph.Value{scaled}, one), b.node("LogSoftmax", []*graph.Value{scaled}, one)
	terms := b.node("Mul", []*graph.Value{p, b.node("Sub", []*graph.Value{logp, student})})
	var labels *graph.Value
	if w := b.t.Spec.HardWeight; w > 0 {
		if labels, err = b.labels(out, rank); err != nil {
			return err
		}
		counted := b.counted(labels)
		b.t.count = b.sum(b.cast(counted, onnxio.Int64)).Name
		b.t.total = b.node("Size", []*graph.Value{labels}).Name
		column := b.g.NewConst("loss/shape", onnxio.FromInt64s("", []int64{2}, []int64{-1, 1}))
		weight := b.cast(b.node("Reshape", []*graph.Value{counted, column}), b.elem)
		terms = b.node("Mul", []*graph.Value{terms, weight})
	} else {
		first := b.g.NewConst("loss/shape", onnxio.FromInt64s("", nil, []int64{0}))
		b.t.count = b.node("Gather", []*graph.Value{b.node("Shape", []*graph.Value{rows}), first}).Name
		b.t.total = b.t.count
	}
	soft, err := b.number(t * t * (1 - b.t.Spec.HardWeight))
	if err != nil {
		return err
	}
	loss := b.node("Mul", []*graph.Value{b.sum(terms), soft})
	if labels != nil {
		hard, err := b.number(b.t.Spec.HardWeight)
		if err != nil {
			return err
		}
		loss = b.node("Add", []*graph.Value{loss, b.node("Mul", []*graph.Value{b.crossEntropy(rows, labels, "sum"), hard})})
	}
	b.t.loss = loss.Name
	return nil
}
