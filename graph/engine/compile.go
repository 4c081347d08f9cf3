package engine

import (
	"context"
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// operator is one computation. It becomes a gorgonia operator through gop; a gradient is one more optional method.
type operator interface {
	// infer checks the operands (nil: left out) and returns the outputs' types. An operand whose content decides a shape is
	// read with content.
	infer(in []*value) ([]spec, error)
	// forward computes the outputs, whose buffers are allocated and hold anything. Outputs nobody reads are nil.
	forward(x *exec, in, out []*tensor) error
}

// viewer is an operator whose only output is its first operand's data under another shape.
type viewer interface{ view() }

// heavy is an operator that is not worth computing at compile time only because its operands are known.
type heavy interface{ heavy() }

// exec is what a running operator may use.
type exec struct {
	threads int
	shadow  bool // every floating type is computed in float64
}

// value is an edge of the graph while it is compiled.
type value struct {
	spec
	name string
	c    *compiler
	// known is the content where it is known at compile time.
	known *tensor
	// weight is the model's constant behind a value that stays an operand of the program.
	weight *onnxio.Tensor
	// trained says that the weight changes between runs.
	trained bool
	// input is set for graph inputs.
	input bool
	from  *call
	index int // among from.out

	node *gorgonia.Node // once emitted
	slot *slot
}

// call is one application of an operator.
type call struct {
	label string
	op    operator
	in    []*value
	out   []*value
}

// content returns the value's content, computing it if it follows from constants and bound inputs. If it depends on an input
// that is not bound, the error is a *contentError naming that input.
func (v *value) content() (*tensor, error) {
	switch {
	case v.known != nil:
		return v.known, nil
	case v.trained:
		return nil, fmt.Errorf("the content of %q decides a shape, so it cannot be trained", v.name)
	case v.weight != nil:
		t, err := v.c.e.constant(v.weight)
		if err != nil {
			return nil, err
		}
		return (&tensor{v.spec, t.buf}).widened(v.c.x)
	case v.from == nil:
		return nil, &contentError{v}
	}
	in := make([]*tensor, len(v.from.in))
	for i, o := range v.from.in {
		if o == nil {
			continue
		}
		t, err := o.content()
		if err != nil {
			return nil, err
		}
		in[i] = t
	}
	if err := v.c.evaluate(v.from, in); err != nil {
		return nil, err
	}
	return v.known, nil
}

// ints returns the content as integers.
func (v *value) ints() ([]int64, error) {
	t, err := v.content()
	if err != nil {
		return nil, err
	}
	return t.ints()
}

// foldLimit bounds the elements of values that are computed at compile time without having been asked for. It covers masks and
// position tables, and keeps compiling cheap.
const foldLimit = 1 << 16

// compiler turns the graph into calls for one set of input shapes.
type compiler struct {
	e     *Engine
	ctx   context.Context
	x     *exec
	env   map[string]*value
	bound map[string]*tensor // inputs whose content is constant
	calls []*call            // in order of execution
	depth int                // of nested sub-graphs
}

// maxDepth bounds nested sub-graphs.
const maxDepth = 64

// compile builds the calls. Inputs that must be constants are reported as *contentError; the caller binds them and starts again.
func (e *Engine) compile(ctx context.Context, in map[string]*tensor, bound map[string]*tensor) (*compiler, error) {
	c := &compiler{e: e, ctx: ctx, x: &exec{threads: e.threads, shadow: e.opts.Float64}, env: map[string]*value{}, bound: bound}
	for _, v := range e.g.Consts {
		w, err := c.constant(v.Name, v.Const)
		if err != nil {
			return nil, err
		}
		c.env[v.Name] = w
	}
	for name, t := range in {
		v := &value{spec: t.spec, name: name, c: c, input: true}
		if b := bound[name]; b != nil {
			v.known = b
		} else if t.size() == 0 {
			v.known = t
		}
		c.env[name] = v
	}
	if err := c.run(e.steps, c.env); err != nil {
		return nil, err
	}
	return c, nil
}

// run builds the calls of a list of steps, naming values in env.
func (c *compiler) run(steps []*step, env map[string]*value) error {
	for _, s := range steps {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.step(s, env); err != nil {
			return atNode(s.label, err)
		}
	}
	return nil
}

func (c *compiler) step(s *step, env map[string]*value) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	ent, ok := lookup(s.domain, s.op)
	if !ok {
		return &UnsupportedError{[]UnsupportedNode{{Node: s.label, Op: s.op, Domain: s.domain}}}
	}
	in := make([]*value, len(s.in))
	for i, name := range s.in {
		if name == "" {
			continue
		}
		if in[i] = env[name]; in[i] == nil {
			return fmt.Errorf("operand %q has no value", name)
		}
	}
	if err := ent.checkOperands(in); err != nil {
		return err
	}
	scope := scoped{c, env}
	outs, err := scope.build(ent, s, in)
	if err != nil {
		return err
	}
	for i, name := range s.out {
		if name == "" {
			continue
		}
		if i >= len(outs) || outs[i] == nil {
			return fmt.Errorf("output %d (%q) is not computed by the engine", i, name)
		}
		env[name] = outs[i]
	}
	return nil
}

// scoped remembers the names that a node's sub-graphs can see.
type scoped struct {
	c   *compiler
	env map[string]*value
}

func (sc scoped) build(ent entry, s *step, in []*value) ([]*value, error) {
	outer := sc.c.env
	sc.c.env = sc.env
	defer func() { sc.c.env = outer }()
	return ent.build(sc.c, s, in)
}

// constant makes the value of a constant of the model. Floating tensors with at least one dimension stay operands of the program,
// by reference: they are what training changes. Everything else is content.
func (c *compiler) constant(name string, t *onnxio.Tensor) (*value, error) {
	if t == nil {
		return nil, fmt.Errorf("constant %q has no dense tensor", name)
	}
	v := &value{spec: spec{t.DType, toInts(t.Dims)}, name: name, c: c}
	if p := c.e.params[name]; p != nil && c.depth == 0 {
		v.weight, v.trained = p, true
		return v, nil
	}
	if isFloat(t.DType) && len(t.Dims) > 0 && v.size() > 1 {
		v.weight = t
		return v, nil
	}
	if elemBytes(t.DType, c.x.shadow) == 0 {
		return v, nil // an error only if something reads it
	}
	k, err := fromONNX(t, c.x.shadow)
	if err != nil {
		return nil, err
	}
	v.known = k
	return v, nil
}

// fixed makes a value with known content.
func (c *compiler) fixed(t *tensor) *value { return &value{spec: t.spec, c: c, known: t} }

// apply adds a call and returns its outputs. It is folded when its operands are known and the work is small; an output without
// elements is always known.
func (c *compiler) apply(label string, op operator, in ...*value) ([]*value, error) {
	specs, err := op.infer(in)
	if err != nil {
		return nil, err
	}
	if w, err := c.viewed(op, in, specs); w != nil || err != nil {
		return []*value{w}, err
	}
	k := &call{label: label, op: op, in: in}
	size, known := 0, true
	for _, v := range in {
		if v != nil {
			known = known && v.known != nil
			size = max(size, v.size())
		}
	}
	empty := true
	for i, s := range specs {
		if err := checkShape(s.shape); err != nil {
			return nil, err
		}
		if need := int64(s.size()) * elemBytes(s.dt, c.x.shadow); c.e.opts.MaxMemory > 0 && need > c.e.opts.MaxMemory {
			return nil, &MemoryError{need, c.e.opts.MaxMemory}
		}
		k.out = append(k.out, &value{spec: s, c: c, from: k, index: i})
		size = max(size, s.size())
		empty = empty && s.size() == 0
	}
	if empty {
		for _, v := range k.out {
			b, err := newBuffer(v.dt, c.x.shadow, 0)
			if err != nil {
				return nil, err
			}
			v.known, v.from = &tensor{v.spec, b}, nil
		}
		return k.out, nil
	}
	if _, h := op.(heavy); known && !h && size <= foldLimit {
		if _, err := k.out[0].content(); err != nil {
			return nil, err
		}
		return k.out, nil
	}
	c.calls = append(c.calls, k)
	return k.out, nil
}

// viewed is a view of a weight that is read as it is stored: the same weight with another shape, as its elements are nowhere else.
func (c *compiler) viewed(op operator, in []*value, specs []spec) (*value, error) {
	if _, ok := op.(viewer); !ok || in[0].weight == nil {
		return nil, nil
	}
	t, err := c.e.constant(in[0].weight)
	if err != nil {
		return nil, err
	}
	if _, ok := t.buf.(*stored); !ok {
		return nil, nil
	}
	return &value{spec: specs[0], name: in[0].name, c: c, weight: in[0].weight}, nil
}

// one is apply for operators with one output.
func (c *compiler) one(label string, op operator, in ...*value) (*value, error) {
	out, err := c.apply(label, op, in...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// evaluate runs a call at compile time and stores the contents of its outputs.
func (c *compiler) evaluate(k *call, in []*tensor) (err error) {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = atNode(k.label, fmt.Errorf("internal error: %v", r))
		}
	}()
	out := make([]*tensor, len(k.out))
	for i, v := range k.out {
		out[i] = &tensor{spec: v.spec}
		if _, ok := k.op.(viewer); ok {
			out[i].buf = in[0].buf
			continue
		}
		if out[i].buf, err = newBuffer(v.dt, c.x.shadow, v.size()); err != nil {
			return atNode(k.label, err)
		}
	}
	if _, ok := k.op.(viewer); !ok {
		if err := k.op.forward(c.x, in, out); err != nil {
			return atNode(k.label, err)
		}
	}
	for i, v := range k.out {
		v.known = out[i]
	}
	return nil
}

// checkSupported lists the nodes that have no operator, in the main graph and in If's branches.
func checkSupported(g *graph.Graph, steps []*step) error {
	var missing []UnsupportedNode
	var visit func(steps []*step, depth int) error
	visit = func(steps []*step, depth int) error {
		if depth > maxDepth {
			return errors.New("sub-graphs are nested too deeply")
		}
		for _, s := range steps {
			if !Supported(s.domain, s.op) {
				missing = append(missing, UnsupportedNode{Node: s.label, Op: s.op, Domain: s.domain})
				continue
			}
			for _, a := range s.attrs {
				if a.G == nil {
					continue
				}
				sub, err := subSteps(a.G, g.Opsets)
				if err != nil {
					return atNode(s.label, err)
				}
				if err := visit(sub, depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := visit(steps, 0); err != nil {
		return err
	}
	if len(missing) > 0 {
		return &UnsupportedError{missing}
	}
	return nil
}
