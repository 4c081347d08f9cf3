package engine

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// fuseNorm finds a layer norm or RMS norm without gain: u / sqrt(mean(u*u) + eps), where u is x or x - mean(x).
func fuseNorm(f *fuser, k *call) (*value, error) {
	op, a, b := arithmetic(k.out[0])
	if op == nil {
		return nil, nil
	}
	switch op.op {
	case kernel.Div:
		return f.norm(k, a, b, false)
	case kernel.Mul:
		for _, p := range [][2]*value{{a, b}, {b, a}} {
			if v, err := f.norm(k, p[0], p[1], true); v != nil || err != nil {
				return v, err
			}
		}
	}
	return nil, nil
}

// norm is u / s or, with inverse set, u * s.
func (f *fuser) norm(k *call, u, s *value, inverse bool) (*value, error) {
	square, eps, ok := f.deviation(s, inverse)
	if !ok || u.size() != k.out[0].size() {
		return nil, nil
	}
	axis, ok := f.meanSquare(square, u)
	if !ok {
		return nil, nil
	}
	op, x := &layerNormOp{rms: true, axis: int64(axis), eps: eps}, u
	if sub, v, m := arithmetic(behind(u)); sub != nil && sub.op == kernel.Sub {
		if of, at, ok := meanOf(m); ok && at == axis && sameValue(behind(of), behind(v), 2) {
			op.rms, x = false, v
		}
	}
	out, err := f.apply(k.label, op, x, nil)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// deviation reads s = sqrt(v + eps), or with inverse set its inverse. The values on the way must be read by nothing else.
func (f *fuser) deviation(s *value, inverse bool) (v *value, eps float64, ok bool) {
	for range 4 {
		s = behind(s)
		if s == nil || s.known != nil || s.from == nil || !f.sole(s) {
			return nil, 0, false
		}
		switch op := s.from.op.(type) {
		case unaryOp:
			switch {
			case op.name == "Reciprocal" && inverse:
				inverse, s = false, s.from.in[0]
			case op.name == "Sqrt" && !inverse:
				return f.plusEps(s.from.in[0])
			default:
				return nil, 0, false
			}
		case *binaryOp:
			a, b := s.from.in[0], s.from.in[1]
			if n, ok := floatScalar(a); ok && op.op == kernel.Div && n == 1 && inverse {
				inverse, s = false, b
				continue
			}
			power := 0.5
			if inverse {
				power = -0.5
			}
			if n, ok := floatScalar(b); ok && op.op == kernel.Pow && n == power {
				return f.plusEps(a)
			}
			return nil, 0, false
		default:
			return nil, 0, false
		}
	}
	return nil, 0, false
}

// plusEps reads v + eps; without an addition, eps is 0.
func (f *fuser) plusEps(s *value) (v *value, eps float64, ok bool) {
	op, a, b := arithmetic(s)
	if op == nil || op.op != kernel.Add {
		return s, 0, f.sole(s)
	}
	if eps, ok := floatScalar(b); ok && eps >= 0 {
		return a, eps, f.sole(s) && f.sole(a)
	}
	if eps, ok := floatScalar(a); ok && eps >= 0 {
		return b, eps, f.sole(s) && f.sole(b)
	}
	return nil, 0, false
}

// meanSquare reports whether v is the mean of u*u over u's last axes, and from which on.
func (f *fuser) meanSquare(v, u *value) (axis int, ok bool) {
	sq, axis, ok := meanOf(v)
	if !ok || !f.sole(unviewed(v)) || !f.sole(sq) {
		return 0, false
	}
	op, a, b := arithmetic(behind(sq))
	if op == nil {
		return 0, false
	}
	switch op.op {
	case kernel.Mul:
		ok = sameValue(behind(a), behind(b), 3)
	case kernel.Pow:
		n, known := knownScalar(b)
		ok = known && n == 2
	default:
		return 0, false
	}
	return axis, ok && sameValue(behind(a), behind(u), 3)
}

// meanOf reports whether v is the mean of a value over its last axes, kept as dimensions of 1, and gives that value and the first of
// the axes.
func meanOf(v *value) (of *value, axis int, ok bool) {
	m := unviewed(v)
	r, ok := produced[*reduceOp](m)
	if !ok || r.op != kernel.ReduceMean {
		return nil, 0, false
	}
	of = m.from.in[0]
	if r.last != of.rank()-1 {
		return nil, 0, false
	}
	shape := slices.Clone(of.shape)
	for i := r.first; i < len(shape); i++ {
		shape[i] = 1
	}
	return of, r.first, slices.Equal(v.shape, shape)
}

// fuseAffine gives a norm the gain or the bias that its result is multiplied with or that is added to it.
func fuseAffine(f *fuser, k *call) (*value, error) {
	op, a, b := arithmetic(k.out[0])
	if op == nil || op.op != kernel.Mul && op.op != kernel.Add {
		return nil, nil
	}
	for _, p := range [][2]*value{{a, b}, {b, a}} {
		if v, err := f.affine(k, op.op, p[0], p[1]); v != nil || err != nil {
			return v, err
		}
	}
	return nil, nil
}

func (f *fuser) affine(k *call, op kernel.BinaryOp, y, p *value) (*value, error) {
	for v := y; ; v = v.from.in[0] { // views that change nothing
		if v.from == nil || !f.alone(v) {
			return nil, nil
		}
		if v == behind(v) {
			y = v
			break
		}
	}
	norm, ok := y.from.op.(*layerNormOp)
	if !ok || !slices.Equal(y.shape, k.out[0].shape) || p.dt != y.dt || p.size() == 1 && y.size() > 1 {
		return nil, nil
	}
	in := []*value{y.from.in[0], operand(y.from.in, 1), operand(y.from.in, 2)}
	if in[2] != nil || op == kernel.Mul && in[1] != nil || op == kernel.Add && norm.rms {
		return nil, nil
	}
	row := y.shape[norm.at:]
	shape := p.shape
	for len(shape) > len(row) && shape[0] == 1 {
		shape = shape[1:]
	}
	if s, err := broadcast(shape, row); err != nil || !slices.Equal(s, row) {
		return nil, nil
	}
	p, err := f.reshape(k.label, p, shape)
	if err != nil {
		return nil, err
	}
	at := 1
	if op == kernel.Add {
		at = 2
	}
	in[at] = p
	if in[2] == nil {
		in = in[:2]
	}
	out, err := f.apply(y.from.label, &layerNormOp{rms: norm.rms, axis: int64(norm.at), eps: norm.eps}, in...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}
