package engine

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// fuseLinear takes the addition of a bias up into the matrix product before it.
func fuseLinear(f *fuser, k *call) (*value, error) {
	op, a, b := arithmetic(k.out[0])
	if op == nil || op.op != kernel.Add {
		return nil, nil
	}
	for _, p := range [][2]*value{{a, b}, {b, a}} {
		if v, err := f.linear(k, p[0], p[1]); v != nil || err != nil {
			return v, err
		}
	}
	return nil, nil
}

// linear is product + bias, where product is (a view of) x times a matrix and the bias has one element for each of its columns.
func (f *fuser) linear(k *call, product, bias *value) (*value, error) {
	y := product
	if product.size() != k.out[0].size() {
		return nil, nil
	}
	for {
		if y.known != nil || y.from == nil || !f.sole(y) {
			return nil, nil
		}
		if _, ok := y.from.op.(viewOp); !ok {
			break
		}
		y = y.from.in[0]
	}
	op := &linearOp{}
	switch m := y.from.op.(type) {
	case *matmulOp:
		op.matmulOp = matmulOp{alpha: m.alpha, transA: m.transA, transB: m.transB}
		if m.total || y.from.in[1].rank() != 2 || y.from.in[0].rank() < 2 || m.transA && y.from.in[0].rank() > 2 {
			return nil, nil
		}
	case *gemmOp:
		op.matmulOp = matmulOp{alpha: m.alpha, transA: m.transA, transB: m.transB}
		if operand(y.from.in, 2) != nil {
			return nil, nil
		}
	default:
		return nil, nil
	}
	n := y.shape[y.rank()-1]
	last := product.rank() - 1
	if last < 0 || product.shape[last] != n || bias.size() != n || bias.rank() == 0 || bias.shape[bias.rank()-1] != n || n == 0 {
		return nil, nil
	}
	bias, err := f.reshape(k.label, bias, []int{n})
	if err != nil {
		return nil, err
	}
	v, err := f.one(y.from.label, op, y.from.in[0], y.from.in[1], bias)
	if err != nil {
		return nil, err
	}
	return f.reshape(k.label, v, k.out[0].shape)
}

// linearOp is a matrix product with a bias: operands x [..., K], a matrix [K, N] (or their transposes) and the bias [N].
type linearOp struct{ matmulOp }

func (o *linearOp) infer(in []*value) ([]spec, error) {
	out, err := o.matmulOp.infer(in[:2])
	if err != nil {
		return nil, err
	}
	if b := in[2]; b.dt != in[0].dt || b.rank() != 1 || b.shape[0] != o.n || len(o.batch) > 0 || in[1].rank() != 2 {
		return nil, fmt.Errorf("a bias %v for a product of %v and %v", b.spec, in[0].spec, in[1].spec)
	}
	return out, nil
}

func (o *linearOp) forward(x *exec, in, out []*tensor) error {
	switch d := out[0].buf.(type) {
	case buf[float32]:
		return linear(x, o, d, in)
	case buf[float64]:
		return linear(x, o, d, in)
	}
	return errType(in[0])
}

func linear[T kernel.Float](x *exec, o *linearOp, y []T, in []*tensor) error {
	a, err := floatsOf[T](in[0])
	if err != nil {
		return err
	}
	bias, err := floatsOf[T](in[2])
	if err != nil {
		return err
	}
	lda, ldb := rowStrides(o.transA, o.transB, o.m, o.n, o.k)
	times(x.threads, o.transA, o.transB, o.m, o.n, o.k, T(o.alpha), a, lda, in[1].buf, 0, ldb, 1, bias, y, o.n)
	return nil
}

func (o *linearOp) gradient(b *backward, k *call, dy []*value) ([]*value, error) {
	out, err := o.matmulOp.gradient(b, &call{label: k.label, in: k.in[:2], out: k.out}, dy)
	if err != nil || !b.wants(k.in[2]) {
		return append(out, nil), err
	}
	d, err := b.sumTo(dy[0], k.in[2].shape)
	return append(out, d), err
}
