package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Options configures an Engine. The zero value runs every type as the model declares it.
type Options struct {
	// Float64 computes every floating value in float64, whatever the model's type: the shadow run that separates rounding from
	// mathematics. Constants are the model's values, widened; floating outputs are double.
	Float64 bool
	// Outputs names inner values to return besides the graph's outputs.
	Outputs []string
	// MaxMemory bounds the bytes of intermediate values alive at once, together with the weights that are not in a mapped file;
	// 0 is no bound. More is refused with *MemoryError.
	MaxMemory int64
	// Frugal keeps nothing that can be made or read again: a weight in a mapped file leaves memory after each operator that has
	// read it, buffers and programs after each run. For a few runs of a large model. Outputs are not copied.
	Frugal bool
	// NoFusion computes the operators as the model has them, without putting one in the place of several: for tests, and to find out
	// where a number comes from.
	NoFusion bool
	// Threads is how many goroutines a kernel may use; 0 is GOMAXPROCS. Results do not depend on it.
	Threads int
}

// Engine runs one graph. It may be used by several goroutines; runs take turns.
type Engine struct {
	g       *graph.Graph
	opts    Options
	threads int
	steps   []*step
	outputs []string

	mu     sync.Mutex
	memory ledger
	block  block
	consts map[*onnxio.Tensor]*tensor
	params map[string]*onnxio.Tensor // of a Trainer: the constants that change between runs, by name
	cache  []*cached                 // most recently used first
	seed   maphash.Seed
	// contentInputs lists, per key of input shapes, the inputs whose content is part of the program.
	contentInputs map[string][]string
}

// cached is a program and what it was compiled for.
type cached struct {
	shapes, content string
	p               *program
}

// maxPrograms is how many programs an engine keeps.
const maxPrograms = 8

// New prepares to run g, which must not change afterwards and whose model must stay open: weights are read in place where they
// can be. Nodes without an operator are reported together as *UnsupportedError; an unknown name in Options.Outputs is an error.
func New(g *graph.Graph, o Options) (*Engine, error) {
	if g == nil {
		return nil, errors.New("engine: no graph")
	}
	e := &Engine{g: g, opts: o, threads: o.Threads, steps: mainSteps(g), consts: map[*onnxio.Tensor]*tensor{}, seed: maphash.MakeSeed(), contentInputs: map[string][]string{}}
	if e.threads <= 0 {
		e.threads = runtime.GOMAXPROCS(0)
	}
	e.memory.limit = o.MaxMemory
	if err := checkSupported(g, e.steps); err != nil {
		return nil, err
	}
	for _, v := range g.Outputs {
		e.outputs = append(e.outputs, v.Name)
	}
	for _, name := range o.Outputs {
		if g.Value(name) == nil {
			return nil, fmt.Errorf("no value of the graph is named %q", name)
		}
		if !slices.Contains(e.outputs, name) {
			e.outputs = append(e.outputs, name)
		}
	}
	return e, nil
}

// Run computes the outputs from the inputs, by name. Inputs are checked against the graph's signature: an input that is missing,
// unknown, of another type or of a shape that contradicts the declared sizes is an *InputError. Errors of the model are
// *NodeError, *UnsupportedError or *MemoryError. A cancelled context ends the run with the context's error before the next node.
func (e *Engine) Run(ctx context.Context, in map[string]*onnxio.Tensor) (map[string]*onnxio.Tensor, error) {
	out, _, err := e.run(ctx, in, task{})
	return out, err
}

func (e *Engine) run(ctx context.Context, in map[string]*onnxio.Tensor, k task) (out map[string]*onnxio.Tensor, grads []*tensor, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	// Operators recover by themselves and name their node; this is the last resort.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error of the engine: %v", r)
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	tensors, err := e.bind(in)
	if err != nil {
		return nil, nil, err
	}
	p, err := e.program(ctx, tensors, k)
	if err != nil {
		return nil, nil, err
	}
	if e.opts.Frugal {
		defer e.forget()
	}
	if err := p.run(ctx, tensors); err != nil {
		return nil, nil, err
	}
	out = make(map[string]*onnxio.Tensor, len(p.outputs))
	for name, v := range p.outputs {
		t, err := v.result(tensors)
		if err != nil {
			return nil, nil, err
		}
		if out[name], err = e.export(name, v, t); err != nil {
			return nil, nil, fmt.Errorf("output %q: %w", name, err)
		}
	}
	grads = make([]*tensor, len(p.grads))
	for i, v := range p.grads {
		if v == nil {
			continue
		}
		if grads[i], err = v.result(tensors); err != nil {
			return nil, nil, err
		}
	}
	return out, grads, nil
}

// export is a value that a program returns. A buffer of its own is handed out.
func (e *Engine) export(name string, v *value, t *tensor) (*onnxio.Tensor, error) {
	if v.slot != nil && v.slot.base().own {
		if r := wrap(name, t, e.opts.Float64); r != nil {
			return r, nil
		}
	}
	return toONNX(name, t, e.opts.Float64)
}

// constant is fromWeight with a memory: programs share what had to be converted.
func (e *Engine) constant(t *onnxio.Tensor) (*tensor, error) {
	if k := e.consts[t]; k != nil {
		return k, nil
	}
	k, held, err := fromWeight(t, e.opts.Float64)
	if err != nil {
		return nil, err
	}
	if err := e.memory.hold(held); err != nil {
		return nil, err
	}
	e.consts[t] = k
	return k, nil
}

// forget drops programs and buffers.
func (e *Engine) forget() {
	for _, c := range e.cache {
		c.p.close()
	}
	e.cache = nil
	e.block.drop()
}

// program takes the program for these inputs from the cache or compiles it.
func (e *Engine) program(ctx context.Context, in map[string]*tensor, k task) (*program, error) {
	shapes := shapeKey(in)
	if k.backward {
		shapes += " backward"
	}
	content := e.contentKey(in, e.contentInputs[shapes])
	for i, c := range e.cache {
		if c.shapes == shapes && c.content == content {
			copy(e.cache[1:i+1], e.cache[:i])
			e.cache[0] = c
			return c.p, nil
		}
	}
	bound := map[string]*tensor{}
	for _, name := range e.contentInputs[shapes] {
		bound[name] = clone(in[name])
	}
	p, err := e.build(ctx, in, bound, k)
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range bound {
		names = append(names, name)
	}
	sort.Strings(names)
	e.contentInputs[shapes] = names
	if len(e.cache) >= maxPrograms {
		e.cache[len(e.cache)-1].p.close()
		e.cache = e.cache[:len(e.cache)-1]
	}
	e.cache = slices.Insert(e.cache, 0, &cached{shapes, e.contentKey(in, names), p})
	return p, nil
}

// build compiles and links.
func (e *Engine) build(ctx context.Context, in, bound map[string]*tensor, k task) (p *program, err error) {
	err = e.settle(in, bound, func() error {
		c, err := e.compile(ctx, in, bound)
		if err != nil {
			return err
		}
		if err := c.fuse(); err != nil {
			return err
		}
		outputs, grads, err := c.goal(k)
		if err != nil {
			return err
		}
		p, err = c.link(outputs, grads)
		return err
	})
	return p, err
}

// settle compiles, binding one more input as a constant whenever a shape turns out to depend on it.
func (e *Engine) settle(in, bound map[string]*tensor, compile func() error) error {
	for {
		err := compile()
		var need *contentError
		if !errors.As(err, &need) {
			return err
		}
		if !need.v.input || bound[need.v.name] != nil {
			return fmt.Errorf("internal error: %w", err)
		}
		bound[need.v.name] = clone(in[need.v.name])
	}
}

func clone(t *tensor) *tensor {
	b := t.buf.fresh(t.size())
	for i := range t.size() {
		b.set(i, t.buf, i)
	}
	return &tensor{t.spec, b}
}

// shapeKey tells sets of input shapes apart; overridable constants that are given are inputs too.
func shapeKey(in map[string]*tensor) string {
	names := make([]string, 0, len(in))
	for name := range in {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%q%v", name, in[name].spec)
	}
	return b.String()
}

// contentKey tells the contents of inputs apart that a program depends on.
func (e *Engine) contentKey(in map[string]*tensor, names []string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%q", name)
		// Two independent 64-bit hashes: a collision would silently run the wrong program.
		for salt := range 2 {
			var h maphash.Hash
			h.SetSeed(e.seed)
			h.WriteByte(byte(salt))
			fmt.Fprintf(&h, "%v", in[name].buf.raw())
			fmt.Fprintf(&b, ":%x", h.Sum64())
		}
	}
	return b.String()
}
