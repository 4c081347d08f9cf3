package engine

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// access says where a value's elements lie in another value, its base: what a chain of transpositions, slices, repetitions and
// reshapes amounts to. An attention that knows where its operands' elements are has no use for the moves.
type access struct {
	base   *value
	dims   [][]stretch // the value's dimensions; each runs through its stretches as a number through its digits
	offset int
	scale  float64 // the value is its base's elements times this
}

// stretch is n positions, a number of elements apart.
type stretch struct{ n, stride int }

// accessDepth is how many calls an access goes through.
const accessDepth = 12

// accessOf looks as far through v's producers as its elements can be found. With scaled set, it goes through multiplications with
// known numbers too.
func accessOf(v *value, scaled bool) *access {
	var chain []*call
	base := v
	for len(chain) < accessDepth && base.known == nil && base.from != nil && base.index == 0 {
		of := movedOperand(base.from, scaled)
		if of == nil {
			break
		}
		chain = append(chain, base.from)
		base = of
	}
	a := wholly(base)
	for _, k := range slices.Backward(chain) {
		if !a.through(k) {
			a = wholly(k.out[0])
		}
	}
	return a
}

// wholly is a value's access to itself.
func wholly(v *value) *access {
	a := &access{base: v, scale: 1}
	for i, s := range kernel.Strides(v.shape) {
		a.dims = append(a.dims, []stretch{{v.shape[i], s}})
	}
	return a
}

// movedOperand is the operand whose elements, possibly scaled, a call gives; nil if it does something else.
func movedOperand(k *call, scaled bool) *value {
	switch op := k.op.(type) {
	case viewOp, *transposeOp, *stridedOp, *expandOp:
		return k.in[0]
	case *gatherOp:
		if _, ok := knownScalar(k.in[1]); ok {
			return k.in[0]
		}
	case *binaryOp:
		if !scaled || op.op != kernel.Mul && op.op != kernel.Div {
			return nil
		}
		if _, ok := floatScalar(k.in[1]); ok && slices.Equal(k.in[0].shape, k.out[0].shape) {
			return k.in[0]
		}
		if _, ok := floatScalar(k.in[0]); ok && op.op == kernel.Mul && slices.Equal(k.in[1].shape, k.out[0].shape) {
			return k.in[1]
		}
	}
	return nil
}

// through goes on from an operand of a call to its output.
func (a *access) through(k *call) bool {
	in, out := k.in[0].shape, k.out[0].shape
	switch op := k.op.(type) {
	case viewOp:
		return a.reshape(out)
	case *transposeOp:
		dims := make([][]stretch, len(a.dims))
		for i := range dims {
			p := len(dims) - 1 - i
			if op.perm != nil {
				p = int(op.perm[i])
			}
			dims[i] = a.dims[p]
		}
		a.dims = dims
		return true
	case *expandOp:
		lead := len(out) - len(in)
		dims := make([][]stretch, len(out))
		for i, n := range out {
			if i < lead || in[i-lead] != n {
				dims[i] = []stretch{{n, 0}}
			} else {
				dims[i] = a.dims[i-lead]
			}
		}
		a.dims = dims
		return true
	case *stridedOp:
		return a.cut(in, op)
	case *gatherOp:
		n, _ := knownScalar(k.in[1])
		i, err := position(int64(n), in[op.at])
		if err != nil || len(a.dims[op.at]) != 1 {
			return false
		}
		a.offset += i * a.dims[op.at][0].stride
		rest := slices.Clone(a.dims[op.at+1:])
		a.dims = a.dims[:op.at:op.at]
		for range k.in[1].rank() {
			a.dims = append(a.dims, []stretch{{1, 0}})
		}
		a.dims = append(a.dims, rest...)
		return true
	case *binaryOp:
		n, ok := floatScalar(k.in[1])
		if !ok {
			n, _ = floatScalar(k.in[0])
		}
		if op.op == kernel.Div {
			n = 1 / n
		}
		a.scale *= n
		return true
	}
	return false
}

// cut goes through a slice of some dimensions.
func (a *access) cut(in []int, op *stridedOp) bool {
	if len(op.shape) != len(in) {
		return false
	}
	own := kernel.Strides(in)
	offset := op.offset
	for i, n := range op.shape {
		lo := 0
		if own[i] > 0 {
			lo = offset / own[i]
			offset %= own[i]
		}
		if lo == 0 && n == in[i] && (op.strides[i] == own[i] || n == 1) {
			continue
		}
		if len(a.dims[i]) != 1 || n > in[i] || own[i] == 0 || op.strides[i]%own[i] != 0 || lo >= in[i] {
			return false
		}
		d := a.dims[i][0]
		a.offset += lo * d.stride
		a.dims[i] = []stretch{{n, d.stride * (op.strides[i] / own[i])}}
	}
	return offset == 0
}

// reshape gives the same elements another shape, if each new dimension is made of whole stretches or parts of them.
func (a *access) reshape(shape []int) bool {
	var all []stretch
	for _, d := range a.dims {
		for _, s := range d {
			if s.n != 1 {
				all = append(all, s)
			}
		}
	}
	dims := make([][]stretch, len(shape))
	for i := len(shape) - 1; i >= 0; i-- {
		for n := shape[i]; n > 1; {
			if len(all) == 0 {
				return false
			}
			s := &all[len(all)-1]
			switch {
			case s.n == 0:
				return false
			case n%s.n == 0: // the whole stretch
				dims[i] = slices.Insert(dims[i], 0, *s)
				n /= s.n
				all = all[:len(all)-1]
			case s.n%n == 0: // its inner part
				dims[i] = slices.Insert(dims[i], 0, stretch{n, s.stride})
				s.n, s.stride = s.n/n, s.stride*n
				n = 1
			default:
				return false
			}
		}
		if len(dims[i]) == 0 {
			dims[i] = []stretch{{shape[i], 0}}
		}
	}
	if len(all) > 0 {
		return false
	}
	a.dims = dims
	return true
}

// joined is a dimension as few stretches as possible, without those of one position.
func joined(d []stretch) []stretch {
	var out []stretch
	for _, s := range d {
		if s.n == 1 {
			continue
		}
		if n := len(out); n > 0 && out[n-1].stride == s.n*s.stride {
			out[n-1] = stretch{out[n-1].n * s.n, s.stride}
			continue
		}
		out = append(out, s)
	}
	return out
}

// fuseTranspose makes a transposition that undoes others a view.
func fuseTranspose(f *fuser, k *call) (*value, error) {
	if _, ok := k.op.(*transposeOp); !ok {
		return nil, nil
	}
	v := k.out[0]
	a := accessOf(v, false)
	if a.base == v || a.offset != 0 || a.base.size() != v.size() {
		return nil, nil
	}
	stride := 1
	for i := len(a.dims) - 1; i >= 0; i-- {
		for _, s := range slices.Backward(a.dims[i]) {
			if s.n > 1 && s.stride != stride {
				return nil, nil
			}
			stride *= s.n
		}
	}
	return f.reshape(k.label, a.base, v.shape)
}
