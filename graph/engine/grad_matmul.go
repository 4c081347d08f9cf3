package engine

import "slices"

// gradient: with A' = op(A), B' = op(B) and Y = alpha A' B', the gradients are alpha dY B'^T by A' and alpha A'^T dY by B', and the
// product in the other order by an operand that is transposed. An operand that several products share is the sum over them.
func (o *matmulOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	x, y, transA, transB := k.in[0], k.in[1], o.transA, o.transB
	shape := slices.Clone(k.out[0].shape)
	var err error
	if y.rank() == 1 {
		transB = false
		shape = append(shape, 1)
		if y, err = b.view(y, []int{y.shape[0], 1}); err != nil {
			return nil, err
		}
	}
	if x.rank() == 1 {
		transA = false
		shape = slices.Insert(shape, len(shape)-1, 1)
		if x, err = b.view(x, []int{1, x.shape[0]}); err != nil {
			return nil, err
		}
	}
	d, err := b.view(dy[0], shape)
	if err != nil {
		return nil, err
	}
	out := make([]*value, 2)
	if b.wants(k.in[0]) {
		if transA {
			out[0], err = b.product(o.alpha, y, transB, d, true, x, k.in[0])
		} else {
			out[0], err = b.product(o.alpha, d, false, y, !transB, x, k.in[0])
		}
		if err != nil {
			return nil, err
		}
	}
	if b.wants(k.in[1]) {
		if transB {
			out[1], err = b.product(o.alpha, d, true, x, transA, y, k.in[1])
		} else {
			out[1], err = b.product(o.alpha, x, !transA, d, false, y, k.in[1])
		}
	}
	return out, err
}

// product is the gradient alpha op(p) op(q) by a matrix, or stack of matrices, m, which is of unless of is a vector.
func (b *backward) product(alpha float64, p *value, transP bool, q *value, transQ bool, m, of *value) (*value, error) {
	op := &matmulOp{alpha: alpha, transA: transP, transB: transQ}
	lead := func(v *value) int { return product(v.shape[:v.rank()-2]) }
	var err error
	if lead(m) == 1 && max(lead(p), lead(q)) > 1 {
		if transP && !transQ && lead(p) == lead(q) {
			// Rows times rows: one product over the rows of all stacks.
			if p, err = b.view(p, []int{lead(p) * p.shape[p.rank()-2], p.shape[p.rank()-1]}); err != nil {
				return nil, err
			}
			if q, err = b.view(q, []int{lead(q) * q.shape[q.rank()-2], q.shape[q.rank()-1]}); err != nil {
				return nil, err
			}
		}
		op.total = true
	}
	d, err := b.call(op, p, q)
	if err != nil {
		return nil, err
	}
	if lead(d) == 1 {
		return b.view(d, of.shape)
	}
	if d, err = b.sumTo(d, m.shape); err != nil {
		return nil, err
	}
	return b.view(d, of.shape)
}

// A product adds to its third operand, which it may write over.
func (o *matmulOp) adding(k *call) (operator, bool) {
	return &matmulOp{alpha: o.alpha, transA: o.transA, transB: o.transB, total: o.total}, len(k.in) == 2
}

func (o *matmulOp) inPlace(operand int) bool { return operand == 2 }

func (o *gemmOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	ab := &matmulOp{alpha: o.alpha, transA: o.transA, transB: o.transB}
	out, err := ab.gradient(b, &call{in: k.in[:2], out: k.out}, dy)
	if err != nil || !b.wants(operand(k.in, 2)) {
		return out, err
	}
	d, err := b.scaled(dy[0], o.beta)
	if err != nil {
		return nil, err
	}
	d, err = b.sumTo(d, k.in[2].shape)
	return append(out, d), err
}
