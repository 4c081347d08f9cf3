package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// Gradients are symbolic: differentiating a program adds calls to it, which become nodes of the same gorgonia graph and run on the
// same tape. gorgonia's own traversal is not used: it adds up gradients with a stock operator, which allocates its result in every
// step and may overwrite an operand, and does not know when a value is needed for the last time.

// differentiable is an operator with a gradient.
type differentiable interface {
	// gradient adds the calls that compute the gradients by k's operands. dy are those by its outputs, each of the output's type
	// and shape, nil where the output has no influence on the loss; at least one is not nil. The result has an entry per operand,
	// of the operand's type and shape; nil says that the operand has no influence. Entries that b.wants does not ask for are not
	// looked at. k.in and k.out may be operands of the new calls: what they read is kept for them.
	gradient(b *backward, k *call, dy []*value) ([]*value, error)
}

// constantOp is an operator whose outputs do not change with small changes of the operands: its gradients are zero.
type constantOp interface{ constant() }

// backward adds the gradient of one value to a program. The compiler's methods add the calls.
type backward struct {
	*compiler
	label  string // of the call that is being differentiated
	active map[*value]bool
	grads  map[*value][]*value // contributions so far
	sole   map[*value]bool     // those that nothing else reads
}

// adder is an operator that can take a last operand, of its output's type and shape, to add its result to: that is a pass less than
// adding two values up.
type adder interface {
	operator
	// adding is a copy of the operator; false if it adds already.
	adding(k *call) (operator, bool)
}

// differentiate adds the gradients of a value with one element by others, none of which is computed from another. The gradient of
// a value without influence on the loss is nil.
func (c *compiler) differentiate(loss *value, by []*value) ([]*value, error) {
	if loss.size() != 1 || !isFloat(loss.dt) {
		return nil, fmt.Errorf("the loss is %v, not one floating number", loss.spec)
	}
	b := &backward{compiler: c, active: map[*value]bool{}, grads: map[*value][]*value{}, sole: map[*value]bool{}}
	for _, v := range by {
		b.active[v] = true
	}
	live := map[*call]bool{}
	mark(loss, live)
	calls := slices.DeleteFunc(slices.Clone(c.calls), func(k *call) bool { return !live[k] || k.out[0].known != nil })
	for _, k := range calls {
		for _, v := range k.in {
			if v == nil || !b.active[v] {
				continue
			}
			for _, o := range k.out {
				b.active[o] = isFloat(o.dt)
			}
		}
	}
	one, err := c.number(loss.dt, 1)
	if err != nil {
		return nil, err
	}
	seed, err := c.reshape("gradient", one, loss.shape)
	if err != nil {
		return nil, err
	}
	b.grads[loss] = []*value{seed}
	for _, k := range slices.Backward(calls) {
		if err := b.step(k); err != nil {
			return nil, atNode(k.label, err)
		}
	}
	out := make([]*value, len(by))
	for i, v := range by {
		b.label = "gradient"
		if out[i], err = b.total(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

var errNoGradient = errors.New("has no gradient: a value that is trained goes through it")

// step differentiates one call whose outputs' gradients are complete.
func (b *backward) step(k *call) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	b.label = k.label
	dy := make([]*value, len(k.out))
	any := false
	for i, v := range k.out {
		if !b.active[v] {
			continue
		}
		if dy[i], err = b.total(v); err != nil {
			return err
		}
		any = any || dy[i] != nil
	}
	if !any || !slices.ContainsFunc(k.in, b.wants) {
		return nil
	}
	if _, ok := k.op.(constantOp); ok {
		return nil
	}
	op, ok := k.op.(differentiable)
	if !ok {
		return errNoGradient
	}
	before := len(b.calls)
	dx, err := op.gradient(b, k, dy)
	if err != nil {
		return err
	}
	b.note(dx, b.calls[before:])
	for i, d := range dx {
		if d == nil || !b.wants(k.in[i]) {
			continue
		}
		if v := k.in[i]; d.dt != v.dt || !slices.Equal(d.shape, v.shape) {
			return fmt.Errorf("internal error: operand %d is %v, its gradient %v", i, v.spec, d.spec)
		}
		b.grads[k.in[i]] = append(b.grads[k.in[i]], d)
	}
	return nil
}

// wants reports whether the gradient by v is needed.
func (b *backward) wants(v *value) bool { return v != nil && b.active[v] }

// total is the sum of v's contributions.
func (b *backward) total(v *value) (*value, error) {
	parts := b.grads[v]
	delete(b.grads, v)
	if len(parts) == 0 {
		return nil, nil
	}
	parts, err := b.placeTogether(parts)
	if err != nil {
		return nil, err
	}
	// What can add to a sum comes last, lookups after products: they touch no more of it than they looked up.
	slices.SortStableFunc(parts, func(p, q *value) int { return b.turn(p) - b.turn(q) })
	sum := parts[0]
	delete(b.sole, sum) // the sum may become several contributions
	for _, p := range parts[1:] {
		if b.turn(p) == 0 {
			sum, err = b.call(&binaryOp{op: kernel.Add}, sum, p)
		} else {
			op, _ := p.from.op.(adder).adding(p.from)
			sum, err = b.call(op, p.from.in[0], p.from.in[1], sum)
		}
		if err != nil {
			return nil, err
		}
	}
	return sum, nil
}

// note remembers which gradients of a call were made for it alone: by one of its new calls, read by none of them, and not handed out
// twice.
func (b *backward) note(dx []*value, made []*call) {
	for _, d := range dx {
		if d == nil || !slices.Contains(made, d.from) {
			continue
		}
		uses := 0
		for _, k := range made {
			if slices.Contains(k.in, d) {
				uses++
			}
		}
		for _, o := range dx {
			if o == d {
				uses++
			}
		}
		b.sole[d] = uses == 1
	}
}

// turn is when a contribution is summed: 0 if it is a term like any other, more if it can add itself to the sum.
func (b *backward) turn(p *value) int {
	if !b.sole[p] {
		return 0
	}
	a, ok := p.op().(adder)
	if !ok {
		return 0
	}
	if _, ok = a.adding(p.from); !ok {
		return 0
	}
	if _, ok = a.(*gatherGradOp); ok {
		return 2
	}
	return 1
}

// op is the operator that computes v; nil for operands of the program.
func (v *value) op() operator {
	if v.from == nil {
		return nil
	}
	return v.from.op
}

// call adds a call with one output, named after the call that is being differentiated.
func (b *backward) call(op operator, in ...*value) (*value, error) {
	return b.one("gradient of "+b.label, op, in...)
}

// view is v in another shape.
func (b *backward) view(v *value, shape []int) (*value, error) {
	return b.reshape("gradient of "+b.label, v, shape)
}

// sumTo is the gradient by an operand of that shape which was broadcast to v's: the sum over all copies.
func (b *backward) sumTo(v *value, shape []int) (*value, error) {
	lead := v.rank() - len(shape)
	var axes []int
	for i, d := range v.shape {
		if i < lead || shape[i-lead] == 1 && d != 1 {
			axes = append(axes, i)
		}
	}
	if len(axes) > 0 {
		var err error
		if v, err = b.reduce("gradient of "+b.label, kernel.ReduceSum, v, axes); err != nil {
			return nil, err
		}
	}
	return b.view(v, shape)
}

// scaled is v times a number.
func (b *backward) scaled(v *value, by float64) (*value, error) {
	if by == 1 {
		return v, nil
	}
	n, err := b.number(v.dt, by)
	if err != nil {
		return nil, err
	}
	return b.call(&binaryOp{op: kernel.Mul}, v, n)
}
