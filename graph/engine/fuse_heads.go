package engine

// headAccess is where the heads of queries, keys or values lie.
type headAccess struct {
	attended
	scale  float64
	base   *value
	offset int
	// Sizes and strides of batch, heads, length and head size. repeats consecutive heads are the same one.
	n, stride [4]int
	repeats   int
}

// heads finds the heads of an operand of a product, [..., length, size] or with the two swapped. If they cannot be found elsewhere,
// they are in the operand itself.
func (f *fuser) heads(o attended, batch, heads int, scaled bool) *headAccess {
	r := o.v.rank()
	if r < 3 {
		return nil
	}
	shape := []int{batch, heads, o.v.shape[r-2], o.v.shape[r-1]}
	if product(shape) != o.v.size() {
		return nil
	}
	if h := headsIn(accessOf(o.v, scaled), o, shape); h != nil {
		return h
	}
	return headsIn(wholly(o.v), o, shape)
}

func headsIn(a *access, o attended, shape []int) *headAccess {
	if !a.reshape(shape) {
		return nil
	}
	if o.swapped {
		a.dims[2], a.dims[3] = a.dims[3], a.dims[2]
	}
	h := &headAccess{attended: o, scale: a.scale, base: a.base, offset: a.offset, repeats: 1}
	for i, d := range a.dims {
		h.n[i] = 1
		for _, s := range d {
			h.n[i] *= s.n
		}
		d = joined(d)
		if n := len(d); i == 1 && n > 0 && d[n-1].stride == 0 {
			h.repeats = d[n-1].n
			h.n[i] /= h.repeats
			d = d[:n-1]
		}
		if len(d) > 1 || len(d) == 1 && d[0].stride <= 0 {
			return nil
		}
		if len(d) == 1 {
			h.stride[i] = d[0].stride
		}
	}
	return h
}

// is reports whether the heads lie with these strides; those of dimensions of 1 do not matter.
func (h *headAccess) is(batch, head, position int) bool {
	for i, s := range [4]int{batch, head, position, 1} {
		if h.n[i] > 1 && h.stride[i] != s {
			return false
		}
	}
	return true
}

// form is the base as an operand of an attention: [batch, heads, length, size] or [batch, length, heads*size]; nil if it is neither.
func (h *headAccess) form() []int {
	b, heads, length, size := h.n[0], h.n[1], h.n[2], h.n[3]
	switch {
	case h.offset != 0 || h.base.size() != b*heads*length*size:
		return nil
	case h.is(heads*length*size, length*size, size):
		return []int{b, heads, length, size}
	case h.is(length*heads*size, size, heads*size):
		return []int{b, length, heads * size}
	}
	return nil
}

// place finds the operands of an attention, and says in op how they hold the heads.
func (f *fuser) place(k *call, op *attentionOp, h *[3]*headAccess) ([]*value, error) {
	if p := packedAs(h); p != apart {
		op.packed, op.kvHeads = p, h[1].n[1]
		q := h[0]
		length := q.n[2]
		v, err := f.reshape(k.label, q.base, []int{q.n[0], length, q.base.size() / (q.n[0] * length)})
		return []*value{v, nil, nil}, err
	}
	if h[1].repeats != h[2].repeats || h[0].repeats != 1 || h[1].form() == nil || h[2].form() == nil {
		// Keys and values have to agree on how many heads they have.
		if h[1].repeats != 1 || h[2].repeats != 1 || h[0].repeats != 1 {
			for i := range h {
				h[i] = f.asComputed(h[i])
			}
		}
	}
	in := make([]*value, 3)
	for i, o := range h {
		var err error
		if in[i], err = f.operandOf(k, h, i, o); err != nil {
			return nil, err
		}
	}
	op.kvHeads = h[1].n[1]
	return in, nil
}

// asComputed is an operand as the model computes it.
func (f *fuser) asComputed(h *headAccess) *headAccess {
	shape := []int{h.n[0], h.n[1] * h.repeats, h.n[2], h.n[3]}
	if h.swapped {
		shape[2], shape[3] = shape[3], shape[2]
	}
	return headsIn(wholly(h.v), h.attended, shape)
}

// operandOf is the value that holds operand i's heads, moved if it has to be.
func (f *fuser) operandOf(k *call, h *[3]*headAccess, i int, o *headAccess) (*value, error) {
	form := o.form()
	if form == nil {
		o = f.asComputed(o)
		h[i] = o
		form = o.form()
	}
	if form != nil {
		return f.reshape(k.label, o.base, form)
	}
	v, err := f.reshape(k.label, o.v, []int{o.n[0], o.n[1], o.n[3], o.n[2]})
	if err != nil {
		return nil, err
	}
	return f.transpose(k.label, v, 0, 1, 3, 2)
}

// packedAs is how queries, keys and values lie side by side in one value, if they do.
func packedAs(h *[3]*headAccess) packing {
	q, key, v := h[0], h[1], h[2]
	base, size, length, heads := q.base, q.n[3], q.n[2], q.n[1]
	kv := key.n[1]
	if key.base != base || v.base != base || q.repeats != 1 || kv != v.n[1] || key.repeats != v.repeats || heads != kv*key.repeats {
		return apart
	}
	row := (heads + 2*kv) * size
	for i, o := range h {
		if o.n[0] != q.n[0] || o.n[2] != length || o.n[3] != size || i > 0 && o.scale != 1 && i == 2 {
			return apart
		}
	}
	if base.size() != q.n[0]*length*row {
		return apart
	}
	all := func(stride int, offsets [3]int) bool {
		for i, o := range h {
			if o.offset != offsets[i] || !o.is(length*row, stride, row) {
				return false
			}
		}
		return true
	}
	switch {
	case all(size, [3]int{0, heads * size, (heads + kv) * size}):
		return byKind
	case heads == kv && all(3*size, [3]int{0, size, 2 * size}):
		return byHead
	}
	return apart
}
