package engine

import (
	"context"
	"fmt"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// contraction is an operator whose work is products.
type contraction interface {
	// flops is the number of multiplications and additions that a call of it takes.
	flops(k *call) int64
}

func (o *matmulOp) flops(*call) int64 {
	return 2 * int64(o.m) * int64(o.n) * int64(o.k) * int64(product(o.batch))
}

func (o *gemmOp) flops(*call) int64 { return 2 * int64(o.m) * int64(o.n) * int64(o.k) }

func (o *convOp) flops(k *call) int64 {
	return 2 * int64(o.cin) * int64(product(o.window.Kernel)) * int64(k.out[0].size())
}

// flops counts the scores and the values that they weigh; keys that a mask hides are among them.
func (o *attentionOp) flops(*call) int64 {
	p := o.p
	return 2 * int64(p.Batch) * int64(p.Heads) * int64(p.Queries) * int64(p.Keys) * int64(p.HeadSize+p.ValueSize)
}

// FLOPs counts the multiplications and additions of a run of Gradients on inputs of these shapes: those of matrix products, convolutions
// and attention, two for each pair of numbers, as is usual. backward counts a product for each operand that a parameter has influence
// on: of a network twice the forward pass, all in all. What is left out (element-wise functions, norms, what attention computes again) grows
// with fewer powers of the sizes. Nothing is run.
func (t *Trainer) FLOPs(ctx context.Context, in map[string]*onnxio.Tensor) (forward, backward int64, err error) {
	e := t.e
	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error of the engine: %v", r)
		}
	}()
	tensors, err := e.bind(in)
	if err != nil {
		return 0, 0, err
	}
	bound := map[string]*tensor{}
	err = e.settle(tensors, bound, func() error {
		c, err := e.compile(ctx, tensors, bound)
		if err == nil {
			forward, backward, err = c.flops(task{loss: t.loss, params: t.params})
		}
		return err
	})
	return forward, backward, err
}

// flops counts the calls behind the loss, as they were before anything is fused.
func (c *compiler) flops(k task) (forward, backward int64, err error) {
	outputs, _, err := c.goal(k)
	if err != nil {
		return 0, 0, err
	}
	active := map[*value]bool{}
	for _, p := range k.params {
		active[c.env[p.Name]] = true
	}
	live := map[*call]bool{}
	mark(outputs[k.loss], live)
	for _, k := range c.calls {
		if !live[k] || k.out[0].known != nil {
			continue
		}
		any := false
		for _, v := range k.in {
			any = any || active[v]
		}
		for _, v := range k.out {
			active[v] = any && isFloat(v.dt)
		}
		op, ok := k.op.(contraction)
		if !ok {
			continue
		}
		n := op.flops(k)
		forward += n
		if _, ok := op.(*attentionOp); ok {
			if any {
				backward += 2 * n
			}
			continue
		}
		for _, v := range k.in[:2] {
			if active[v] {
				backward += n
			}
		}
	}
	return forward, backward, nil
}
