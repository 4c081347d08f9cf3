package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	register("", "SoftmaxCrossEntropyLoss", 2, 3, func(c *compiler, s *step, in []*value) ([]*value, error) { return lossNode(c, s, in, false) })
	register("", "NegativeLogLikelihoodLoss", 2, 3, func(c *compiler, s *step, in []*value) ([]*value, error) { return lossNode(c, s, in, true) })
}

// reduction says what becomes of the losses of the rows.
type reduction int

const (
	meanLoss reduction = iota // weighted by the rows' weights
	sumLoss
	noReduction
)

var reductions = map[string]reduction{"mean": meanLoss, "sum": sumLoss, "none": noReduction}

// lossNode brings the classes, which are dimension 1, to the end.
func lossNode(c *compiler, s *step, in []*value, picked bool) ([]*value, error) {
	x, labels := in[0], in[1]
	if x.rank() < 2 {
		return nil, fmt.Errorf("scores of shape %v", x.shape)
	}
	op := &lossOp{picked: picked}
	var ok bool
	if op.reduction, ok = reductions[s.str("reduction", "mean")]; !ok {
		return nil, fmt.Errorf("unknown reduction %q", s.str("reduction", "mean"))
	}
	if s.has("ignore_index") {
		op.ignores, op.ignored = true, s.int("ignore_index", 0)
	}
	x, err := c.lastAxis(s.label, x, 1)
	if err != nil {
		return nil, err
	}
	y, err := c.one(s.label, op, x, labels, operand(in, 2))
	if err != nil || picked || !s.wants(1) {
		return []*value{y}, err
	}
	log, err := c.one(s.label, &softmaxOp{log: true, axis: x.rank() - 1}, x)
	if err != nil {
		return nil, err
	}
	log, err = c.transpose(s.label, log, moved(x.rank(), x.rank()-1, 1)...)
	return []*value{y, log}, err
}

// lastAxis moves an axis to the end. A transposition that brought it from there is undone instead.
func (c *compiler) lastAxis(label string, v *value, axis int) (*value, error) {
	if axis == v.rank()-1 {
		return v, nil
	}
	perm := moved(v.rank(), axis, v.rank()-1)
	if v.from != nil {
		if t, ok := v.from.op.(*transposeOp); ok && slices.Equal(t.perm, moved(v.rank(), v.rank()-1, axis)) {
			return v.from.in[0], nil
		}
	}
	return c.transpose(label, v, perm...)
}

// moved is the permutation of a transposition that moves one axis to another place.
func moved(rank, from, to int) []int64 {
	var perm []int64
	for i := range rank {
		perm = append(perm, int64(i))
	}
	perm = slices.Delete(perm, from, from+1)
	return slices.Insert(perm, to, int64(from))
}

// lossOp is the negative logarithm of the probability of a label, by row: operands are scores [..., classes] (with picked set,
// logarithms of probabilities), labels [...], and weights of the classes (optional). Outputs: the loss, of shape [] or, without a
// reduction, that of the labels; and the logarithms of the sums of e^score, one for each label, which the gradient needs.
type lossOp struct {
	picked    bool
	reduction reduction
	// ignored is a label that has no loss, if ignores is set.
	ignores bool
	ignored int64
}

func (o *lossOp) infer(in []*value) ([]spec, error) {
	x, labels, weights := in[0], in[1], operand(in, 2)
	rows := x.shape[:x.rank()-1]
	if !isFloat(x.dt) {
		return nil, fmt.Errorf("scores of type %v", x.dt)
	}
	if labels.dt != onnxio.Int64 && labels.dt != onnxio.Int32 {
		return nil, fmt.Errorf("labels of type %v, expected int64 or int32", labels.dt)
	}
	if !slices.Equal(labels.shape, rows) {
		return nil, fmt.Errorf("labels of shape %v, expected %v", labels.shape, rows)
	}
	classes := x.shape[len(rows)]
	if classes == 0 {
		return nil, fmt.Errorf("scores of shape %v: no classes", x.shape)
	}
	if weights != nil && (weights.rank() != 1 || weights.shape[0] != classes) {
		return nil, fmt.Errorf("weights of shape %v for %d classes", weights.shape, classes)
	}
	y := []int{}
	if o.reduction == noReduction {
		y = rows
	}
	return []spec{x.with(y), x.with(rows)}, nil
}

func (o *lossOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, lossForward[float32], lossForward[float64])
}

func lossForward[T kernel.Float](x *exec, o *lossOp, in, out []*tensor) error {
	rows, err := readLoss[T](o, in)
	if err != nil {
		return err
	}
	var lse []T
	if !o.picked {
		if out[1] != nil {
			lse = out[1].buf.(buf[T])
		} else {
			lse = make([]T, len(rows.label))
		}
		kernel.LogSumExp(x.threads, lse, rows.x, rows.classes)
	}
	y := out[0].buf.(buf[T])
	var sum float64
	for r, w := range rows.weight {
		var loss T
		if w != 0 {
			loss = -rows.x[r*rows.classes+int(rows.label[r])]
			if lse != nil {
				loss += lse[r]
			}
			loss *= w
		}
		if o.reduction == noReduction {
			y[r] = loss
		}
		sum += float64(loss)
	}
	switch o.reduction {
	case meanLoss:
		y[0] = T(sum / rows.total())
	case sumLoss:
		y[0] = T(sum)
	}
	return nil
}

// lossRows are the operands of a loss: scores, and a label and a weight per row, 0 for those that are ignored.
type lossRows[T kernel.Float] struct {
	x       []T
	classes int
	label   []int64
	weight  []T
}

// total is the sum of the weights.
func (l *lossRows[T]) total() float64 {
	var s float64
	for _, w := range l.weight {
		s += float64(w)
	}
	return s
}

func readLoss[T kernel.Float](o *lossOp, in []*tensor) (*lossRows[T], error) {
	x, err := floatsOf[T](in[0])
	if err != nil {
		return nil, err
	}
	l := &lossRows[T]{x: x, classes: in[0].shape[in[0].rank()-1]}
	if l.label, err = in[1].ints(); err != nil {
		return nil, err
	}
	var weights []T
	if len(in) > 2 && in[2] != nil {
		if weights, err = floatsOf[T](in[2]); err != nil {
			return nil, err
		}
	}
	l.weight = make([]T, len(l.label))
	for r, c := range l.label {
		switch {
		case o.ignores && c == o.ignored:
		case c < 0 || c >= int64(l.classes):
			return nil, fmt.Errorf("label %d, number %d of the labels, is outside the %d classes", c, r, l.classes)
		case weights != nil:
			l.weight[r] = weights[c]
		default:
			l.weight[r] = 1
		}
	}
	return l, nil
}

func (o *lossOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	if b.wants(operand(k.in, 2)) {
		return nil, errors.New("has no gradient by the weights of its classes")
	}
	var lse *value
	if !o.picked {
		lse = k.out[1]
	}
	d, err := b.call(&lossGradOp{o}, k.in[0], k.in[1], operand(k.in, 2), lse, dy[0])
	return []*value{d, nil, nil}[:len(k.in)], err
}

// lossGradOp is the gradient of a loss by its scores. Operands: the loss' operands, the logarithms of the sums, and the gradient by the loss.
type lossGradOp struct{ of *lossOp }

func (o *lossGradOp) infer(in []*value) ([]spec, error) { return []spec{in[0].spec}, nil }

func (o *lossGradOp) inPlace(operand int) bool { return operand == 0 }

func (o *lossGradOp) forward(x *exec, in, out []*tensor) error {
	return inFloats(x, o, in, out, lossBackward[float32], lossBackward[float64])
}

func lossBackward[T kernel.Float](x *exec, o *lossGradOp, in, out []*tensor) error {
	rows, err := readLoss[T](o.of, in[:3])
	if err != nil {
		return err
	}
	p, err := floatLists[T](in[3:], out)
	if err != nil {
		return err
	}
	lse, dy, dx := p[0], p[1], p[2]
	total := 1.0
	if o.of.reduction == meanLoss {
		total = rows.total()
	}
	by := rows.weight
	for r, w := range by {
		if w != 0 { // an ignored row has no part in a mean of nothing
			d := dy[0]
			if o.of.reduction == noReduction {
				d = dy[r]
			}
			by[r] = T(float64(d) * float64(w) / total)
		}
	}
	if o.of.picked {
		kernel.PickGrad(x.threads, dx, by, rows.label, rows.classes)
	} else {
		kernel.CrossEntropyGrad(x.threads, dx, rows.x, lse, by, rows.label, rows.classes)
	}
	return nil
}
