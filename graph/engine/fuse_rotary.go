package engine

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// fuseRotary finds x * cos + rotate(x) * sin, where rotate puts the negative second half of each head before the first, and both
// halves of the tables are the same.
func fuseRotary(f *fuser, k *call) (*value, error) {
	op, a, b := arithmetic(k.out[0])
	if op == nil || op.op != kernel.Add || k.out[0].rank() != 4 {
		return nil, nil
	}
	for _, p := range [][2]*value{{a, b}, {b, a}} {
		if v, err := f.rotary(k, p[0], p[1]); v != nil || err != nil {
			return v, err
		}
	}
	return nil, nil
}

func (f *fuser) rotary(k *call, straight, turned *value) (*value, error) {
	m, s, t := arithmetic(turned)
	n, c, d := arithmetic(straight)
	if m == nil || n == nil || m.op != kernel.Mul || n.op != kernel.Mul || !f.sole(straight) || !f.sole(turned) {
		return nil, nil
	}
	for _, p := range [][2]*value{{s, t}, {t, s}} {
		x := halvesTurned(p[0])
		if x == nil || !f.sole(p[0]) || x != c && x != d {
			continue
		}
		cos := c
		if x == c {
			cos = d
		}
		return f.rotated(k, x, cos, p[1])
	}
	return nil, nil
}

// halvesTurned is x where v is [-x2, x1] for the halves of x's last dimension.
func halvesTurned(v *value) *value {
	cat, ok := produced[*concatOp](v)
	if !ok || len(v.from.in) != 2 {
		return nil
	}
	last := v.rank() - 1
	if axis, err := axisOf(cat.axis, v.rank()); err != nil || axis != last || v.shape[last]%2 != 0 {
		return nil
	}
	neg, ok := produced[signOp](v.from.in[0])
	if !ok || neg.kind != negate {
		return nil
	}
	half := v.shape[last] / 2
	x := halfOf(v.from.in[0].from.in[0], half)
	if x == nil || x != halfOf(v.from.in[1], 0) || !slices.Equal(x.shape, v.shape) {
		return nil
	}
	return x
}

// halfOf is the value of whose last dimension v is the half from lo on.
func halfOf(v *value, lo int) *value {
	cut, ok := produced[*stridedOp](v)
	if !ok {
		return nil
	}
	x := v.from.in[0]
	last := x.rank() - 1
	shape := slices.Clone(x.shape)
	if last < 0 || shape[last]%2 != 0 {
		return nil
	}
	shape[last] /= 2
	if cut.offset != lo || !slices.Equal(cut.shape, shape) || !slices.Equal(cut.strides, kernel.Strides(x.shape)) {
		return nil
	}
	return x
}

// rotated adds the rotation of x, where its heads lie.
func (f *fuser) rotated(k *call, x, cos, sin *value) (*value, error) {
	if x.dt != cos.dt || x.dt != sin.dt || !slices.Equal(cos.shape, sin.shape) || !f.twice(cos) || !f.twice(sin) {
		return nil, nil
	}
	var tables [2]*value
	for i, t := range [2]*value{cos, sin} {
		var err error
		if tables[i], err = f.halfTable(k, t, x.shape); tables[i] == nil || err != nil {
			return nil, err
		}
	}
	h := headsIn(accessOf(x, false), attended{v: x}, x.shape)
	op := &rotaryOp{heads: x.shape[1]}
	if h == nil || h.form() == nil {
		return f.one(k.label, op, x, tables[0], tables[1])
	}
	y, err := f.reshape(k.label, h.base, h.form())
	if err != nil {
		return nil, err
	}
	if y, err = f.one(k.label, op, y, tables[0], tables[1]); err != nil || y.rank() == 4 {
		return y, err
	}
	if y, err = f.reshape(k.label, y, []int{x.shape[0], x.shape[2], x.shape[1], x.shape[3]}); err != nil {
		return nil, err
	}
	return f.transpose(k.label, y, 0, 2, 1, 3)
}

// halfTable is the first half of a table for x [batch, heads, length, size], as [batch or 1, length, size/2]; nil if the heads differ.
// Layers share it.
func (f *fuser) halfTable(k *call, t *value, x []int) (*value, error) {
	if v := f.halves[t]; v != nil {
		return v, nil
	}
	shape := slices.Clone(t.shape)
	for len(shape) < 4 {
		shape = slices.Insert(shape, 0, 1)
	}
	if len(shape) > 4 || shape[1] != 1 || shape[0] != 1 && shape[0] != x[0] || shape[2] != x[2] || shape[3] != x[3] {
		return nil, nil
	}
	v, err := f.reshape(k.label, t, []int{shape[0], shape[2], shape[3]})
	if err != nil {
		return nil, err
	}
	if v, err = f.cut(k.label, v, 2, 0, shape[3]/2); err != nil {
		return nil, err
	}
	f.halves[t] = v
	return v, nil
}

// twice reports whether both halves of v's last dimension are the same, by what it is made of or by its content.
func (f *fuser) twice(v *value) bool {
	w := v
	for range accessDepth {
		if w.known != nil || w.from == nil || w.index != 0 {
			break
		}
		switch op := w.from.op.(type) {
		case unaryOp, castOp:
			w = w.from.in[0]
			continue
		case *binaryOp, viewOp:
			o := movedOperand(w.from, true)
			if o != nil && o.rank() > 0 && o.shape[o.rank()-1] == w.shape[w.rank()-1] {
				w = o
				continue
			}
		case *concatOp:
			axis, err := axisOf(op.axis, w.rank())
			in := w.from.in
			return err == nil && axis == w.rank()-1 && len(in) == 2 && in[0] == in[1]
		}
		break
	}
	t := f.peek(v)
	if t == nil || t.rank() == 0 {
		return false
	}
	n := t.shape[t.rank()-1]
	for i := range t.size() {
		if j := i % n; j < n/2 && t.float(i) != t.float(i+n/2) {
			return false
		}
	}
	return n%2 == 0
}
