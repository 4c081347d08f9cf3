package engine

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	dense "gorgonia.org/tensor"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// gop is an operator of this package as a gorgonia operator: one instance per output of a call. The instance of output 0 computes
// all outputs; those of the others take it as their only operand and hand out what it has computed.
type gop struct {
	// id is unique among the instances of a program. It is part of the hash: gorgonia merges nodes with equal hashes.
	id   uint64
	p    *program
	call *call
	// args are the operands: static content, or the next child.
	args []arg
	out  []*slot
	pick int // the output handed out, above 0
	// seq is the place of the call in the program.
	seq int
	// scratch, by operand, is where a weight that the operator cannot read as it is stored is widened to; nil for other operands.
	scratch []*region
	widened []*tensor
}

// arg is one operand of a call: left out, known at compile time, or a child of the node.
type arg struct {
	spec   spec
	static *tensor
	slot   *slot // of the child; nil for inputs and weights
	child  bool
	// stored is the content of a child that is a weight read as it is stored.
	stored *tensor
	// forget is a weight whose pages are given back when the operator has run.
	forget *onnxio.Tensor
}

// node is the type that the operand has to gorgonia.
func (a arg) node() spec {
	if a.stored != nil {
		return bytesSpec(a.stored.buf.(*stored))
	}
	return a.spec
}

func bytesSpec(s *stored) spec { return spec{onnxio.Uint8, []int{len(s.encoded)}} }

func nodeType(s spec, t dense.Dtype) hm.Type {
	return gorgonia.TensorType{Dims: len(denseShape(s.shape)), Of: t}
}

func (o *gop) Arity() int {
	if o.pick > 0 {
		return 1
	}
	n := 0
	for _, a := range o.args {
		if a.child {
			n++
		}
	}
	return n
}

// Type is a function type without variables: every operand's type is known.
func (o *gop) Type() hm.Type {
	var types []hm.Type
	if o.pick > 0 {
		types = append(types, o.typeOf(o.call.out[0].spec))
	} else {
		for _, a := range o.args {
			if a.child {
				types = append(types, o.typeOf(a.node()))
			}
		}
	}
	return hm.NewFnType(append(types, o.typeOf(o.call.out[o.pick].spec))...)
}

func (o *gop) typeOf(s spec) hm.Type {
	// The specs were checked when the call was made; a type without a buffer cannot get here.
	b, err := newBuffer(s.dt, o.p.x.shadow, 0)
	if err != nil {
		panic(err)
	}
	return nodeType(s, denseType(b))
}

// InferShape repeats what the operator's own inference gave; that the children have the shapes it was given is checked.
func (o *gop) InferShape(in ...gorgonia.DimSizer) (dense.Shape, error) {
	i := 0
	for _, a := range o.args {
		if !a.child || o.pick > 0 {
			continue
		}
		s, ok := in[i].(dense.Shape)
		if want := denseShape(a.node().shape); !ok || !s.Eq(want) {
			return nil, fmt.Errorf("%s: operand %d has shape %v, %v was inferred", o.call.label, i, in[i], want)
		}
		i++
	}
	return denseShape(o.call.out[o.pick].shape), nil
}

// Do runs the operator. It runs in the machine's goroutine, where a panic would end the process, so it is turned into an error
// here.
func (o *gop) Do(vals ...gorgonia.Value) (v gorgonia.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = atNode(o.call.label, fmt.Errorf("internal error: %v", r))
		}
		if err != nil {
			// The machine wraps errors in text; the program keeps the original.
			o.p.err = atNode(o.call.label, err)
		}
	}()
	if o.pick > 0 {
		return o.out[o.pick].dense, nil
	}
	if err := o.p.ctx.Err(); err != nil {
		return nil, err
	}
	if o.seq <= o.p.at {
		return nil, fmt.Errorf("internal error: call %d runs after call %d", o.seq, o.p.at)
	}
	o.p.at = o.seq
	in := make([]*tensor, len(o.args))
	for i, a := range o.args {
		switch {
		case a.static != nil:
			in[i] = a.static
		case a.stored != nil:
			in[i] = a.stored
			vals = vals[1:]
		case a.child:
			b, err := fromDense(vals[0])
			if err != nil {
				return nil, err
			}
			in[i] = &tensor{a.spec, b}
			vals = vals[1:]
		}
	}
	if err := o.run(in); err != nil {
		return nil, err
	}
	return o.out[0].dense, nil
}

// run computes the outputs that somebody reads.
func (o *gop) run(in []*tensor) error {
	if _, ok := o.call.op.(viewer); !ok {
		for i, t := range o.widened {
			if t != nil {
				in[i].buf.(*stored).widenTo(o.p.x, t.buf, 0)
				in[i] = t
			}
		}
		out := make([]*tensor, len(o.out))
		for i, s := range o.out {
			out[i] = s.t
		}
		if err := o.call.op.forward(o.p.x, in, out); err != nil {
			return err
		}
	}
	for _, a := range o.args {
		if a.forget != nil {
			a.forget.Forget()
		}
	}
	return nil
}

// readsStored reports whether the operator reads that operand as it is stored.
func (o *gop) readsStored(operand int) bool {
	r, ok := o.call.op.(storedReader)
	return ok && r.readsStored(operand)
}

// bind gives the call's outputs and scratch their memory.
func (o *gop) bind(b *block) error {
	for i, s := range o.out {
		if s.t == nil && i > 0 && s.region == nil {
			continue // nobody reads it
		}
		mem, err := s.buffer(b, o.p.x.shadow)
		if err != nil {
			return err
		}
		s.t = &tensor{s.spec, mem}
		s.dense = toDense(s.t)
	}
	o.widened = make([]*tensor, len(o.scratch))
	for i, r := range o.scratch {
		if r == nil {
			continue
		}
		mem, err := b.within(r, o.args[i].spec, o.p.x.shadow)
		if err != nil {
			return err
		}
		o.widened[i] = &tensor{o.args[i].spec, mem}
	}
	return nil
}

// buffer is the slot's memory; that of a view is its operand's, which is bound by then.
func (s *slot) buffer(b *block, shadow bool) (buffer, error) {
	switch {
	case s.of != nil:
		return s.of.t.buf, nil
	case s.src != nil:
		return s.src, nil
	case s.own:
		return newBuffer(s.spec.dt, shadow, s.spec.size())
	}
	return b.within(s.region.root(), s.spec, shadow)
}

func (o *gop) ReturnsPtr() bool     { return false }
func (o *gop) CallsExtern() bool    { return false }
func (o *gop) OverwritesInput() int { return -1 }

func (o *gop) WriteHash(h hash.Hash) {
	// A hash never returns an error.
	_ = binary.Write(h, binary.LittleEndian, o.id)
}

func (o *gop) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

func (o *gop) String() string { return o.call.label }
