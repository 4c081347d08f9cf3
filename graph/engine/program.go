package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"gorgonia.org/gorgonia"
	dense "gorgonia.org/tensor"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// machine is gorgonia's tape machine.
type machine interface {
	RunAll() error
	Reset()
	Close() error
}

// program is the graph compiled for one set of input shapes.
type program struct {
	x       *exec
	e       *Engine
	ops     []*gop            // one per call, in order
	bytes   int64             // of the block
	bound   int               // the generation of the block that the slots lie in; 0: none
	inputs  map[string]buffer // what the input nodes are bound to
	outputs map[string]*value
	grads   []*value // nil: no influence
	m       machine  // nil where nothing is left to compute

	ctx context.Context // of the current run
	at  int             // the call that the current run has come to
	err error           // the first operator's error of the current run
}

// maxSalts is how many sets of instance ids are tried until no two nodes have the same hash. With n nodes a set fails with
// probability n*n / 2^33.
const maxSalts = 16

// link turns compiled calls into an expression graph and a tape for the machine. outputs and grads are what the program returns.
func (c *compiler) link(outputs map[string]*value, grads []*value) (*program, error) {
	p := &program{x: c.x, e: c.e, inputs: map[string]buffer{}, outputs: outputs, grads: grads}
	live := map[*call]bool{}
	for _, v := range p.returned() {
		mark(v, live)
	}
	for salt := range uint64(maxSalts) {
		g, err := c.emit(p, live, salt<<32)
		if err != nil {
			return nil, err
		}
		if g == nil {
			return p, nil
		}
		if !uniqueHashes(g) {
			continue
		}
		if err := onlyOurs(g); err != nil {
			return nil, err
		}
		if err := c.place(p); err != nil {
			return nil, err
		}
		p.m, err = newMachine(g)
		return p, err
	}
	return nil, errors.New("internal error: nodes of the program have equal hashes")
}

// returned lists the values that the program returns.
func (p *program) returned() []*value {
	out := slices.Collect(maps.Values(p.outputs))
	for _, v := range p.grads {
		if v != nil {
			out = append(out, v)
		}
	}
	return out
}

// mark collects the calls that a value needs. The walk is iterative: graphs can be deeper than a stack should be.
func mark(v *value, live map[*call]bool) {
	work := []*value{v}
	for len(work) > 0 {
		v, work = work[len(work)-1], work[:len(work)-1]
		if v == nil || v.known != nil || v.from == nil || live[v.from] {
			continue
		}
		live[v.from] = true
		work = append(work, v.from.in...)
	}
}

// emit makes the nodes. It returns nil if the outputs need no computation.
func (c *compiler) emit(p *program, live map[*call]bool, salt uint64) (*gorgonia.ExprGraph, error) {
	g := gorgonia.NewGraph()
	clear(p.inputs)
	p.ops = nil
	for _, v := range c.env {
		v.node, v.slot = nil, nil
	}
	for _, k := range c.calls {
		for _, v := range append(k.in[:len(k.in):len(k.in)], k.out...) {
			if v != nil {
				v.node, v.slot = nil, nil
			}
		}
	}
	read := map[*value]bool{}
	for k := range live {
		for _, v := range k.in {
			read[v] = true
		}
	}
	for _, v := range p.returned() {
		read[v] = true
	}
	id := salt
	any := false
	for _, k := range c.calls {
		if !live[k] || k.out[0].known != nil {
			continue
		}
		seq := len(p.ops) + 1
		children, args, err := c.operands(p, g, k, seq)
		if err != nil {
			return nil, atNode(k.label, err)
		}
		if len(children) == 0 {
			// Everything is known, but the work was too large to be done on suspicion.
			if _, err := k.out[0].content(); err != nil {
				return nil, err
			}
			continue
		}
		any = true
		slots := make([]*slot, len(k.out))
		for i, v := range k.out {
			slots[i] = &slot{spec: v.spec}
			if i > 0 && !read[v] {
				continue // not computed either: it has no memory
			}
			v.slot = slots[i]
			op := &gop{id: id, p: p, call: k, args: args, out: slots, pick: i, seq: seq}
			id++
			if i == 0 {
				p.ops = append(p.ops, op)
			}
			if err := c.locate(p, op, i); err != nil {
				return nil, atNode(k.label, err)
			}
			from := children
			if i > 0 {
				from = gorgonia.Nodes{k.out[0].node}
			}
			if v.node, err = gorgonia.ApplyOp(op, from...); err != nil {
				return nil, atNode(k.label, err)
			}
		}
	}
	for _, v := range p.returned() {
		if v.known == nil && v.slot != nil {
			v.slot.use(forever)
		}
	}
	if !any {
		return nil, nil
	}
	return g, nil
}

// locate decides where output i of a call will live: in a region, or where its operand does.
func (c *compiler) locate(p *program, o *gop, i int) error {
	s := o.out[i]
	if _, ok := o.call.op.(viewer); !ok {
		s.region = c.newRegion(s.spec, o.seq)
		if i == 0 {
			o.scratch = make([]*region, len(o.args))
			for j, a := range o.args {
				if a.stored != nil && !o.readsStored(j) {
					o.scratch[j] = c.newRegion(a.spec, o.seq)
				}
			}
		}
		return nil
	}
	switch v := o.call.in[0]; {
	case v.slot != nil:
		s.of = v.slot
	case v.input:
		s.src = p.inputs[v.name]
	default:
		t, err := c.e.constant(v.weight)
		if err != nil {
			return err
		}
		s.src = t.buf
	}
	return nil
}

// place decides the layout of the program's memory. What a frugal run returns gets buffers of its own.
func (c *compiler) place(p *program) error {
	var own int64
	if c.e.opts.Frugal {
		for _, v := range p.outputs {
			if v.known != nil || v.slot == nil {
				continue
			}
			if b := v.slot.base(); b.region != nil && !b.own {
				b.own = true
				own += b.region.bytes
			}
		}
	}
	p.bytes = layout(p.ops)
	return c.e.memory.room(p.bytes + own)
}

// operands finds or makes the nodes of a call's operands and notes that call number seq reads them.
func (c *compiler) operands(p *program, g *gorgonia.ExprGraph, k *call, seq int) (gorgonia.Nodes, []arg, error) {
	var children gorgonia.Nodes
	args := make([]arg, len(k.in))
	for i, v := range k.in {
		switch {
		case v == nil:
			continue
		case v.known != nil:
			args[i] = arg{spec: v.spec, static: v.known}
			continue
		case v.node == nil:
			if err := c.leaf(p, g, v); err != nil {
				return nil, nil, err
			}
		}
		if v.slot != nil {
			v.slot.use(seq)
		}
		args[i] = arg{spec: v.spec, slot: v.slot, child: true}
		if v.weight != nil {
			t, err := c.e.constant(v.weight)
			if err != nil {
				return nil, nil, err
			}
			if _, ok := t.buf.(*stored); ok {
				args[i].stored = &tensor{v.spec, t.buf}
			}
			if c.e.opts.Frugal && v.weight.Mapped() && v.weight.ByteLen() >= forgetFrom {
				args[i].forget = v.weight
			}
		}
		children = append(children, v.node)
	}
	return children, args, nil
}

// forgetFrom is the size from which on a weight's pages are given back.
const forgetFrom = 1 << 16

// leaf makes the node of a graph input or weight. To gorgonia, a weight that is read as it is stored is its bytes.
func (c *compiler) leaf(p *program, g *gorgonia.ExprGraph, v *value) error {
	var t *tensor
	kind := "weight "
	switch {
	case v.weight != nil:
		var err error
		if t, err = c.e.constant(v.weight); err != nil {
			return err
		}
		if s, ok := t.buf.(*stored); ok {
			t = &tensor{bytesSpec(s), buf[uint8](s.encoded)}
		} else {
			t = &tensor{v.spec, t.buf}
		}
	case v.input:
		kind = "input "
		b, err := newBuffer(v.dt, c.x.shadow, v.size())
		if err != nil {
			return err
		}
		p.inputs[v.name] = b
		t = &tensor{v.spec, b}
	default:
		return fmt.Errorf("operand %q is computed by no live node", v.name)
	}
	d := toDense(t)
	v.node = gorgonia.NewTensor(g, d.Dtype(), d.Dims(), gorgonia.WithShape(d.Shape()...),
		gorgonia.WithName(fmt.Sprintf("%s%q#%d", kind, v.name, g.AllNodes().Len())), gorgonia.WithValue(d))
	return nil
}

// uniqueHashes reports whether no two nodes have the same hash code: gorgonia would silently take one for the other.
func uniqueHashes(g *gorgonia.ExprGraph) bool {
	seen := map[uint32]bool{}
	for _, n := range g.AllNodes() {
		if seen[n.Hashcode()] {
			return false
		}
		seen[n.Hashcode()] = true
	}
	return true
}

// onlyOurs is an error if a node that computes something is not an operator of this package: stock operators own their memory, and
// some of them are wrong.
func onlyOurs(g *gorgonia.ExprGraph) error {
	for _, n := range g.AllNodes() {
		if op := n.Op(); op != nil {
			if _, ok := op.(*gop); !ok {
				return fmt.Errorf("internal error: the program has an operator %v of gorgonia's", op)
			}
		}
	}
	return nil
}

// newMachine compiles the graph; gorgonia reports errors there by panicking.
func newMachine(g *gorgonia.ExprGraph) (m machine, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("gorgonia: %v", r)
		}
	}()
	t := gorgonia.NewTapeMachine(g)
	// Its finalizer is for CUDA. The machine and our operators point at each other, and what is in a cycle with a finalizer is never
	// collected: every program would stay for good, weights included.
	runtime.SetFinalizer(t, nil)
	return t, nil
}

// run computes what the program returns.
func (p *program) run(ctx context.Context, in map[string]*tensor) error {
	for name, b := range p.inputs {
		t := in[name]
		one := []int{1}
		b.move(p.x.threads, kernel.NewWalk([]int{t.size()}, one, one), 0, t.buf, 0)
	}
	if p.m == nil {
		return nil
	}
	p.e.block.reserve(p.bytes)
	if g := p.e.block.generation; p.bound != g || g == 0 {
		for _, o := range p.ops {
			if err := o.bind(&p.e.block); err != nil {
				return err
			}
		}
		p.bound = g
	}
	p.ctx, p.at, p.err = ctx, 0, nil
	p.m.Reset()
	if err := p.m.RunAll(); err != nil {
		if p.err != nil {
			return p.err
		}
		return err
	}
	return nil
}

// result is what a run has computed for a value that the program returns, valid until the next run.
func (v *value) result(in map[string]*tensor) (*tensor, error) {
	switch {
	case v.known != nil:
		return v.known, nil
	case v.slot != nil:
		return v.slot.t, nil
	case v.input:
		return in[v.name], nil
	}
	return v.content()
}

func (p *program) close() {
	if p.m != nil {
		// The machine without CUDA has nothing to release and cannot fail.
		_ = p.m.Close()
	}
}

var _ gorgonia.Op = (*gop)(nil)
var _ gorgonia.Value = (*dense.Dense)(nil)
