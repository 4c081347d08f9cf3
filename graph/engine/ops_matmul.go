package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func init() {
	register("", "MatMul", 2, 2, func(c *compiler, s *step, in []*value) ([]*value, error) {
		a, ta := untransposed(in[0])
		b, tb := untransposed(in[1])
		return c.apply(s.label, &matmulOp{alpha: 1, transA: ta, transB: tb}, a, b)
	})
	register(microsoft, "FusedMatMul", 2, 2, func(c *compiler, s *step, in []*value) ([]*value, error) {
		for i, name := range []string{"transBatchA", "transBatchB"} {
			if !s.flag(name, false) || in[i].rank() < 3 {
				continue
			}
			// The first dimension comes before the last: [a, b, .., y, z] is read as [b, .., y, a, z].
			v, err := c.transpose(s.label, in[i], moved(in[i].rank(), 0, in[i].rank()-2)...)
			if err != nil {
				return nil, err
			}
			in = slices.Clone(in)
			in[i] = v
		}
		op := &matmulOp{alpha: s.float("alpha", 1), transA: s.flag("transA", false), transB: s.flag("transB", false)}
		return c.apply(s.label, op, in...)
	})
	register("", "Gemm", 2, 3, gemmNode)
	register(microsoft, "FusedGemm", 2, 3, fusedGemmNode)
}

// untransposed looks through a Transpose that only swaps the last two dimensions, as it stands before the weights of models exported
// without constant folding: the product reads the original the other way round, and the copy is never made.
func untransposed(v *value) (*value, bool) {
	if v.known != nil || v.from == nil || v.rank() < 2 {
		return v, false
	}
	t, ok := v.from.op.(*transposeOp)
	if !ok {
		return v, false
	}
	r := v.rank()
	if t.perm == nil {
		if r != 2 {
			return v, false
		}
		return v.from.in[0], true
	}
	for i, p := range t.perm {
		want := i
		switch i {
		case r - 2:
			want = r - 1
		case r - 1:
			want = r - 2
		}
		if p != int64(want) {
			return v, false
		}
	}
	return v.from.in[0], true
}

// matmulOp is the product of (stacks of) matrices with numpy's rules for vectors and broadcasting, times alpha. The transpositions
// apply to the last two dimensions. A third operand, like the output, is added.
type matmulOp struct {
	alpha          float64
	transA, transB bool
	// total adds all products of the stack up.
	total bool

	m, n, k    int
	batch      []int // broadcast leading dimensions
	offA, offB []int // strides of the leading dimensions, in matrices
}

func (*matmulOp) heavy() {}

func (o *matmulOp) infer(in []*value) ([]spec, error) {
	a, b := in[0], in[1]
	if a.dt != b.dt {
		return nil, fmt.Errorf("operands of types %v and %v", a.dt, b.dt)
	}
	if !isFloat(a.dt) && !a.dt.Integer() {
		return nil, fmt.Errorf("operands of type %v", a.dt)
	}
	if a.rank() == 0 || b.rank() == 0 {
		return nil, errors.New("operand of rank 0")
	}
	as, bs := a.shape, b.shape
	vecA, vecB := len(as) == 1, len(bs) == 1
	if vecA {
		as = []int{1, as[0]}
	}
	if vecB {
		bs = []int{bs[0], 1}
	}
	m, ka := as[len(as)-2], as[len(as)-1]
	kb, n := bs[len(bs)-2], bs[len(bs)-1]
	if o.transA && !vecA {
		m, ka = ka, m
	}
	if o.transB && !vecB {
		kb, n = n, kb
	}
	if ka != kb {
		return nil, fmt.Errorf("shapes %v and %v do not multiply", a.shape, b.shape)
	}
	la, lb := as[:len(as)-2], bs[:len(bs)-2]
	batch, err := broadcast(la, lb)
	if err != nil {
		return nil, err
	}
	o.m, o.n, o.k, o.batch = m, n, ka, batch
	o.offA, o.offB = kernel.BroadcastStrides(la, batch), kernel.BroadcastStrides(lb, batch)
	// A matrix that every row of a stack is multiplied with: one product of all rows.
	if product(lb) == 1 && !o.transA && product(la) == product(batch) && !o.total {
		o.m, o.batch = o.m*product(batch), nil
		o.offA, o.offB = nil, nil
	}
	shape := slices.Clone(batch)
	if o.total {
		shape = nil
	}
	if !vecA {
		shape = append(shape, m)
	}
	if !vecB {
		shape = append(shape, n)
	}
	if sum := operand(in, 2); sum != nil && (!isFloat(a.dt) || sum.dt != a.dt || !slices.Equal(sum.shape, shape)) {
		return nil, fmt.Errorf("a product %v added to %v", a.with(shape), sum.spec)
	}
	return []spec{a.with(shape)}, nil
}

func (o *matmulOp) forward(x *exec, in, out []*tensor) error {
	beta := 0
	if len(in) > 2 {
		beta = 1
		startWith(x, out[0].buf, in[2])
	}
	switch d := out[0].buf.(type) {
	case buf[float32]:
		matmul(x, o, d, in[0].buf.(buf[float32]), in[1].buf, float32(beta))
	case buf[float64]:
		matmul(x, o, d, in[0].buf.(buf[float64]), in[1].buf, float64(beta))
	default:
		return o.integers(in, out)
	}
	return nil
}

func (*matmulOp) readsStored(operand int) bool { return operand == 1 }

// times is a matrix product with a second operand that may be a weight as it is stored, from element off on; beta multiplies the bias
// in every row, or c where there is none.
func times[T kernel.Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b buffer, off, ldb int, beta T, bias, c []T, ldc int) {
	if s, ok := b.(*stored); ok {
		kernel.GemmStored(threads, transA, transB, m, n, k, alpha, a, lda, s.Stored, off, ldb, beta, bias, c, ldc)
		return
	}
	kernel.GemmBias(threads, transA, transB, m, n, k, alpha, a, lda, b.(buf[T])[off:], ldb, beta, bias, c, ldc)
}

// rowStrides are those of the stored matrices behind op(A) [m, k] and op(B) [k, n].
func rowStrides(transA, transB bool, m, n, k int) (lda, ldb int) {
	lda, ldb = k, n
	if transA {
		lda = m
	}
	if transB {
		ldb = k
	}
	return lda, ldb
}

func matmul[T kernel.Float](x *exec, o *matmulOp, y, a []T, b buffer, beta T) {
	lda, ldb := rowStrides(o.transA, o.transB, o.m, o.n, o.k)
	stacks := product(o.batch)
	if o.total {
		for s := range stacks {
			pa, pb := o.stack(s)
			times(x.threads, o.transA, o.transB, o.m, o.n, o.k, T(o.alpha), a[pa*o.m*o.k:], lda, b, pb*o.k*o.n, ldb, max(beta, T(min(s, 1))), nil, y, o.n)
		}
		return
	}
	if own, ok := b.(buf[T]); ok {
		t := kernel.NewBatch(o.batch, o.offA, o.m*o.k, o.offB, o.k*o.n, o.m*o.n)
		kernel.GemmBatch(x.threads, t, o.transA, o.transB, o.m, o.n, o.k, T(o.alpha), a, lda, own, ldb, beta, y, o.n)
		return
	}
	for s := range stacks {
		pa, pb := o.stack(s)
		times(x.threads, o.transA, o.transB, o.m, o.n, o.k, T(o.alpha), a[pa*o.m*o.k:], lda, b, pb*o.k*o.n, ldb, beta, nil, y[s*o.m*o.n:], o.n)
	}
}

// stack finds which matrices of a and b make the s-th product.
func (o *matmulOp) stack(s int) (a, b int) {
	for d := len(o.batch) - 1; d >= 0; d-- {
		i := s % o.batch[d]
		s /= o.batch[d]
		a += i * o.offA[d]
		b += i * o.offB[d]
	}
	return a, b
}

// integers multiplies in int64; the types that reach here have no other use for a product than small index arithmetic.
func (o *matmulOp) integers(in, out []*tensor) error {
	a, err := in[0].ints()
	if err != nil {
		return err
	}
	b, err := in[1].ints()
	if err != nil {
		return err
	}
	res := make(buf[int64], out[0].size())
	for s := range product(o.batch) {
		pa, pb := o.stack(s)
		for i := range o.m {
			for j := range o.n {
				var sum int64
				for p := range o.k {
					x, y := i*o.k+p, p*o.n+j
					if o.transA {
						x = p*o.m + i
					}
					if o.transB {
						y = j*o.k + p
					}
					sum += a[pa*o.m*o.k+x] * b[pb*o.k*o.n+y]
				}
				res[(s*o.m+i)*o.n+j] = sum
			}
		}
	}
	return convertBuffer(out[0].buf, res)
}

func gemmNode(c *compiler, s *step, in []*value) ([]*value, error) {
	op := &gemmOp{alpha: s.float("alpha", 1), beta: s.float("beta", 1), transA: s.flag("transA", false), transB: s.flag("transB", false)}
	return c.apply(s.label, op, in...)
}

// fusedGemmNode is a Gemm with the activation that ONNX Runtime fuses with it.
func fusedGemmNode(c *compiler, s *step, in []*value) ([]*value, error) {
	out, err := gemmNode(c, s, in)
	if err != nil {
		return nil, err
	}
	var f kernel.Unary
	switch a := s.str("activation", ""); a {
	case "Relu":
		f = kernel.Relu
	case "Tanh":
		f = kernel.Tanh
	case "Sigmoid":
		f = kernel.Sigmoid
	case "Softplus":
		f = kernel.Softplus
	case "Softsign":
		f = kernel.Softsign
	case "LeakyRelu":
		f = kernel.LeakyRelu(s.float("activation_alpha", 0.01))
	case "Elu":
		f = kernel.Elu(s.float("activation_alpha", 1))
	default:
		return nil, fmt.Errorf("unknown activation %q", a)
	}
	return c.apply(s.label, unaryOp{f: f}, out[0])
}

// gemmOp is alpha op(A) op(B) + beta C with C broadcast to the product's shape.
type gemmOp struct {
	alpha, beta    float64
	transA, transB bool
	m, n, k        int
	walk           *kernel.Walk
}

func (*gemmOp) heavy() {}

func (o *gemmOp) infer(in []*value) ([]spec, error) {
	a, b := in[0], in[1]
	if a.rank() != 2 || b.rank() != 2 {
		return nil, fmt.Errorf("operands of shapes %v and %v", a.shape, b.shape)
	}
	if !isFloat(a.dt) || a.dt != b.dt {
		return nil, fmt.Errorf("operands of types %v and %v", a.dt, b.dt)
	}
	o.m, o.k = a.shape[0], a.shape[1]
	if o.transA {
		o.m, o.k = o.k, o.m
	}
	kb := 0
	kb, o.n = b.shape[0], b.shape[1]
	if o.transB {
		kb, o.n = o.n, kb
	}
	if kb != o.k {
		return nil, fmt.Errorf("shapes %v and %v do not multiply (transA %v, transB %v)", a.shape, b.shape, o.transA, o.transB)
	}
	shape := []int{o.m, o.n}
	if c := operand(in, 2); c != nil {
		if c.dt != a.dt {
			return nil, fmt.Errorf("operand C of type %v", c.dt)
		}
		if s, err := broadcast(c.shape, shape); err != nil || !slices.Equal(s, shape) {
			return nil, fmt.Errorf("operand C of shape %v for a product of shape %v", c.shape, shape)
		}
		o.walk = kernel.NewWalk(shape, kernel.Strides(shape), kernel.BroadcastStrides(c.shape, shape))
	}
	return []spec{a.with(shape)}, nil
}

func (o *gemmOp) forward(x *exec, in, out []*tensor) error {
	beta := 0.0
	var bias *tensor
	if len(in) > 2 && in[2] != nil && o.beta != 0 {
		beta = o.beta
		if s := in[2].shape; len(s) > 0 && s[len(s)-1] == o.n && product(s) == o.n {
			bias = in[2]
		} else {
			out[0].buf.move(x.threads, o.walk, 0, in[2].buf, 0)
		}
	}
	switch d := out[0].buf.(type) {
	case buf[float32]:
		return gemm(x, o, beta, d, in, bias)
	case buf[float64]:
		return gemm(x, o, beta, d, in, bias)
	}
	return errType(in[0])
}

func (*gemmOp) readsStored(operand int) bool { return operand == 1 }

func gemm[T kernel.Float](x *exec, o *gemmOp, beta float64, y []T, in []*tensor, bias *tensor) error {
	lists, err := floatLists[T]([]*tensor{in[0], bias})
	if err != nil {
		return err
	}
	lda, ldb := rowStrides(o.transA, o.transB, o.m, o.n, o.k)
	times(x.threads, o.transA, o.transB, o.m, o.n, o.k, T(o.alpha), lists[0], lda, in[1].buf, 0, ldb, T(beta), lists[1], y, o.n)
	return nil
}
