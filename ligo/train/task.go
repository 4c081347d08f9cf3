package train

import (
	"context"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Loss names an objective.
type Loss string

// Losses. N stands for the elements that are counted.
const (
	// CausalLM is cross-entropy of logits [.., V] and labels [..], which the data has shifted: labels[t] is the token after t.
	CausalLM Loss = "causal-lm"
	// MaskedLM is the same with labels where tokens were masked and IgnoreIndex elsewhere.
	MaskedLM Loss = "masked-lm"
	// Classify is cross-entropy of logits [B, C] and labels [B].
	Classify Loss = "classify"
	// MSE is the mean of the squared differences of an output and a target of its shape.
	MSE Loss = "mse"
	// Distill is KL(softmax(teacher/T) || softmax(logits/T)) * T², the mean over all tokens (Hinton et al. 2015), and with HardWeight
	// w: (1-w) of it and w of the cross-entropy with labels, the mean over those that are not ignored.
	Distill Loss = "distill"
)

// Spec says what is trained, and for what. The zero value of everything but Loss is a good choice.
type Spec struct {
	Loss Loss
	// Output names the model's output that the loss is of. Empty: the only floating output whose rank fits (2 for Classify, 3 for
	// language models).
	Output string
	// IgnoreIndex is the label that is not counted; nil is -100.
	IgnoreIndex *int64
	// Temperature is Distill's T; 0 is 1.
	Temperature float64
	// HardWeight is the share of the labels' cross-entropy in Distill, from 0 (no labels) up to, but without, 1.
	HardWeight float64
	// Only and Freeze choose parameters by patterns of the names of their initializers (every copy's counts), in which * stands for any
	// text and ? for a character; nil Only is all. A pattern that fits nothing is an error.
	Only, Freeze []string
	// Params, where not nil, are the constants of the graph that are trained, by name: the graph is taken as it is, and nothing is
	// tied. It is for graphs that were made to be trained, such as ligo.Learnable's.
	Params []string
	// TieEqual makes all constants that hold the same numbers one parameter, not only those of one initializer and those of an
	// embedding and its output matrix. It suits an exporter that has written shared layers as copies; it is wrong for a model whose
	// layers have been stacked, as they are to become different.
	TieEqual bool
}

// Task is a model with a loss. It may be used by several runs, one after the other or at once.
type Task struct {
	// Graph is the normalised graph with the nodes of the loss behind it.
	Graph *graph.Graph
	Spec  Spec
	// Output is the name of the output that the loss is of.
	Output string
	// Inputs is what a batch must carry: the inputs of the model that the loss depends on, the labels and the teacher's logits.
	Inputs []*onnxio.ValueInfo
	// Labels and Teacher name those inputs of the loss; empty where it has none.
	Labels, Teacher string
	// Params is what is trained, in the order of the file.
	Params []*Param

	// Names of values of Graph: the sum of the losses, the number of counted elements (int64), that of all elements, and how many of
	// the counted ones were predicted right (empty where nothing is predicted).
	loss, count, total, correct string

	source *graph.Graph // normalised, without the loss
}

// Param is one parameter: a constant of the task's graph, or several that hold the same numbers.
type Param struct {
	// Name is the initializer's in the file; further constants of one initializer that are trained apart have a suffix.
	Name  string
	Role  Role
	DType onnxio.DType // as the file declares it
	Shape []int

	value  string // the constant of Task.Graph
	copies []copied
}

// copied is a constant of the normalised graph that holds a parameter.
type copied struct {
	value      string
	transposed bool
}

// Len is the number of elements.
func (p *Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Elements is the number of trained numbers.
func (t *Task) Elements() int {
	n := 0
	for _, p := range t.Params {
		n += p.Len()
	}
	return n
}

// NewTask appends the loss to a copy of g and decides what is trained. g may be normalised or not; it is not changed, shares its tensors
// with the task, and its model must stay open.
func NewTask(ctx context.Context, g *graph.Graph, s Spec) (*Task, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	source := g.Clone()
	var r *axes.Result
	if s.Params == nil {
		var err error
		if r, err = axes.Infer(ctx, g, axes.Options{}); err != nil {
			return nil, err
		}
		if err := source.Normalize(); err != nil {
			return nil, err
		}
	}
	t := &Task{Graph: source.Clone(), Spec: s, source: source}
	out, err := t.output(r)
	if err != nil {
		return nil, err
	}
	t.Output = out.Name
	if err := t.appendLoss(out, rankOf(out, r)); err != nil {
		return nil, err
	}
	t.Graph.Outputs = nil
	for _, name := range t.observed() {
		t.Graph.AddOutput(t.Graph.Value(name))
	}
	t.Graph.Prune()
	for _, v := range slices.Clone(t.Graph.Inputs) {
		if len(v.Uses) == 0 {
			t.Graph.RemoveInput(v)
			continue
		}
		t.Inputs = append(t.Inputs, &onnxio.ValueInfo{Name: v.Name, Type: v.Type, Doc: v.Doc})
	}
	if s.Params != nil {
		err = t.takeParams()
	} else {
		err = t.findParams(r)
	}
	if err != nil {
		return nil, err
	}
	if err := t.Graph.Sort(); err != nil {
		return nil, err
	}
	return t, nil
}

// observed lists the values that a run returns.
func (t *Task) observed() []string {
	out := []string{t.loss, t.count, t.total}
	if t.correct != "" {
		out = append(out, t.correct)
	}
	return out
}

func (s Spec) check() error {
	switch s.Loss {
	case CausalLM, MaskedLM, Classify, MSE, Distill:
	default:
		return fmt.Errorf("loss %q does not exist; there are %s, %s, %s, %s, %s", s.Loss, CausalLM, MaskedLM, Classify, MSE, Distill)
	}
	if !(s.Temperature >= 0) {
		return fmt.Errorf("temperature is %v, it must be above 0", s.Temperature)
	}
	if !(s.HardWeight >= 0 && s.HardWeight < 1) {
		return fmt.Errorf("the share of the labels is %v, it must be in [0, 1)", s.HardWeight)
	}
	return nil
}

func (s Spec) ignore() int64 {
	if s.IgnoreIndex == nil {
		return -100
	}
	return *s.IgnoreIndex
}
