package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Trainer runs a graph forward and backward: it computes one floating number, the loss, and its gradients by constants of the
// graph, whose values the caller may change between runs. It may be used by one goroutine at a time.
type Trainer struct {
	e      *Engine
	loss   string
	params []*Param
}

// Param is a constant that is trained. Types narrower than float32 are held in float32.
type Param struct {
	Name  string
	DType onnxio.DType // as the model declares it
	Shape []int
	// Value is in use by the engine. Change its elements between runs; do not replace the slices.
	Value Floats
	// Grad is the gradient of the last Gradients call; its memory is the engine's, valid until the next run, and not to be
	// written: two parameters may share it. Empty where the loss does not depend on the parameter.
	Grad Floats
}

// Floats is a slice of one of two element types; the other is nil.
type Floats struct {
	F32 []float32
	F64 []float64
}

// Len is the number of elements.
func (f Floats) Len() int { return len(f.F32) + len(f.F64) }

// NewTrainer prepares to train the constants of g named in params. loss names the value to differentiate. Runs return that value and
// those in o.Outputs, not the graph's outputs. The trainer copies the constants; g must not change afterwards. A node that has no
// gradient is reported by Gradients, as it may not be on the way from a parameter to the loss.
func NewTrainer(g *graph.Graph, loss string, params []string, o Options) (*Trainer, error) {
	o.Frugal = false
	e, err := New(g, o)
	if err != nil {
		return nil, err
	}
	if g.Value(loss) == nil {
		return nil, fmt.Errorf("no value of the graph is named %q", loss)
	}
	e.outputs = []string{loss}
	for _, name := range o.Outputs {
		if name != loss {
			e.outputs = append(e.outputs, name)
		}
	}
	t := &Trainer{e: e, loss: loss}
	e.params = map[string]*onnxio.Tensor{}
	for _, name := range params {
		v := g.Value(name)
		switch {
		case !v.IsConst():
			return nil, fmt.Errorf("parameter %q is no constant of the graph", name)
		case !isFloat(v.Const.DType):
			return nil, fmt.Errorf("parameter %q has type %v, only floating types can be trained", name, v.Const.DType)
		case e.params[name] != nil:
			return nil, fmt.Errorf("parameter %q is listed twice", name)
		}
		p, err := e.train(name, v.Const)
		if err != nil {
			return nil, err
		}
		t.params = append(t.params, p)
	}
	return t, nil
}

// train makes a constant a parameter. It gets a tensor of its own as its identity: several constants may share one.
func (e *Engine) train(name string, t *onnxio.Tensor) (*Param, error) {
	k, err := fromONNX(t, e.opts.Float64)
	if err != nil {
		return nil, err
	}
	k = clone(k)
	if err := e.memory.hold(k.buf.bytes()); err != nil {
		return nil, err
	}
	own := t.Renamed(name)
	e.params[name] = own
	e.consts[own] = k
	return &Param{Name: name, DType: t.DType, Shape: k.shape, Value: floats(k.buf)}, nil
}

func floats(b buffer) Floats {
	switch b := b.(type) {
	case buf[float32]:
		return Floats{F32: b}
	case buf[float64]:
		return Floats{F64: b}
	}
	return Floats{}
}

// Params are the parameters in the order they were named in.
func (t *Trainer) Params() []*Param { return t.params }

// Forward computes the loss and the values of Options.Outputs with the parameters as they are.
func (t *Trainer) Forward(ctx context.Context, in map[string]*onnxio.Tensor) (map[string]*onnxio.Tensor, error) {
	return t.run(ctx, in, false)
}

// Gradients is Forward, and sets every parameter's Grad. It adds to nothing: the last run's gradients are gone.
func (t *Trainer) Gradients(ctx context.Context, in map[string]*onnxio.Tensor) (map[string]*onnxio.Tensor, error) {
	return t.run(ctx, in, true)
}

func (t *Trainer) run(ctx context.Context, in map[string]*onnxio.Tensor, backward bool) (map[string]*onnxio.Tensor, error) {
	for _, p := range t.params {
		p.Grad = Floats{}
	}
	out, grads, err := t.e.run(ctx, in, task{backward: backward, loss: t.loss, params: t.params})
	if err != nil {
		return nil, err
	}
	for i, g := range grads {
		if g != nil {
			t.params[i].Grad = floats(g.buf)
		}
	}
	return out, nil
}

// task says what a program is for.
type task struct {
	backward bool
	loss     string
	params   []*Param
}

// goal is what a compiled program returns: outputs by name, and gradients by parameter.
func (c *compiler) goal(k task) (outputs map[string]*value, grads []*value, err error) {
	outputs = map[string]*value{}
	for _, name := range c.e.outputs {
		v := c.env[name]
		if v == nil {
			return nil, nil, fmt.Errorf("output %q has no value", name)
		}
		outputs[name] = v
	}
	if !k.backward {
		return outputs, nil, nil
	}
	by := make([]*value, len(k.params))
	for i, p := range k.params {
		if by[i] = c.env[p.Name]; by[i] == nil {
			return nil, nil, errors.New("internal error: parameter without a value")
		}
	}
	grads, err = c.differentiate(outputs[k.loss], by)
	return outputs, grads, err
}
