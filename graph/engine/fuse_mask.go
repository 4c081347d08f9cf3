package engine

import (
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// biasKey tells apart what masks by selection are turned into.
type biasKey struct {
	cond   *value
	hidden bool
	dt     onnxio.DType
}

// masks is what an attention does instead of adding masks to its scores, or selecting by them: a causal attention where that is all a
// known mask says, and a bias. It is not ok if the results could differ:
//
//   - -Inf hides a key in either form. A row that sees no key is NaN, as the softmax has it, unless the weights are guarded.
//   - A finite number that is added is added as it is, unless what it hides is a triangle and nothing else is added.
//   - A finite number that takes the place of scores is a score: the kernel replaces them where that could matter. It can do so for
//     one selection: a triangle, or one without any other mask.
func (f *fuser) masks(k *call, op *attentionOp, s *scores) (bias *value, ok bool, err error) {
	terms := slices.Clone(s.terms)
	slices.Reverse(terms) // the first one first
	for _, t := range terms {
		if !f.alignMask(t, s.rank4) {
			return nil, false, nil
		}
	}
	terms = slices.DeleteFunc(terms, f.addsNothing)
	if n := slices.IndexFunc(terms, (*term).replaces); n > 0 {
		return nil, false, nil
	} else if n == 0 {
		if ok, err := f.replacement(k, op, s, terms); !ok || err != nil || op.replacesBias {
			return s.mask, ok, err
		}
		terms = terms[1:]
	}
	var table *tensor // the sum of what is known
	var computed []*value
	for _, t := range terms {
		if t.replaces() {
			return nil, false, nil
		}
		if content := f.peek(t.value()); content != nil {
			if table, ok = t.applyTo(table, content, s); !ok {
				return nil, false, nil
			}
			continue
		}
		v, err := f.view(k, t)
		if err == nil && t.bias == nil {
			v, err = f.selection(k, v, t.hidden, s.product.dt)
		}
		if err != nil {
			return nil, false, err
		}
		computed = append(computed, v)
	}
	if table != nil {
		m := readMask(table)
		op.undefined = m.blind && !s.guarded
		offset, triangle := causalOffset(table.shape, m.visible)
		switch {
		case m.open:
		case triangle && !op.causal && m.plain && (len(computed) == 0 || !m.finite):
			op.triangle(offset, s.rank4[0])
		default:
			if bias, err = f.table(table); err != nil {
				return nil, false, err
			}
		}
	}
	op.undefined = op.undefined || len(computed) > 0 && !s.guarded
	for _, v := range computed {
		if bias, err = f.sum(k, bias, v); err != nil {
			return nil, false, err
		}
	}
	return bias, true, nil
}

// addsNothing reports whether a term is a known bias of zeros: some exporters add one for the sake of an operator with three operands.
func (f *fuser) addsNothing(t *term) bool {
	if t.bias == nil {
		return false
	}
	content := f.peek(t.bias)
	if content == nil {
		return false
	}
	for i := range content.size() {
		if content.float(i) != 0 {
			return false
		}
	}
	return true
}

// replacement has op do what the first term does, which puts a finite number in the place of scores.
func (f *fuser) replacement(k *call, op *attentionOp, s *scores, terms []*term) (ok bool, err error) {
	t := terms[0]
	op.hidden = t.number
	content := f.peek(t.cond)
	if content != nil {
		hides := *t
		hides.number = math.Inf(-1)
		table, ok := hides.applyTo(nil, content, s)
		if !ok {
			return false, nil
		}
		m := readMask(table)
		if offset, ok := causalOffset(table.shape, m.visible); ok {
			op.triangle(offset, s.rank4[0])
			op.replaces = true
			return true, nil
		}
		if len(terms) > 1 {
			return false, nil
		}
		op.replacesBias = true
		s.mask, err = f.table(table)
		return err == nil, err
	}
	if len(terms) > 1 {
		return false, nil
	}
	v, err := f.view(k, t)
	if err != nil {
		return false, err
	}
	op.replacesBias = true
	s.mask, err = f.selection(k, v, t.hidden, s.product.dt)
	return err == nil, err
}

// triangle makes an attention causal, with the first query at a position among the keys.
func (o *attentionOp) triangle(offset, batch int) {
	o.causal = true
	if offset != 0 {
		o.offsets = slices.Repeat([]int{offset}, batch)
	}
}

// replaces reports whether a finite number takes the place of scores.
func (t *term) replaces() bool { return t.bias == nil && !math.IsInf(t.number, -1) }

// value is the mask as the model has it.
func (t *term) value() *value {
	if t.bias != nil {
		return t.bias
	}
	return t.cond
}

// view is the mask in a shape that broadcasts to the scores.
func (f *fuser) view(k *call, t *term) (*value, error) { return f.reshape(k.label, t.value(), t.shape) }

// alignMask gives a mask a shape that broadcasts to [batch, heads, queries, keys], if there is one.
func (f *fuser) alignMask(t *term, scores []int) bool {
	shape := t.value().shape
	for len(shape) > 4 && shape[0] == 1 {
		shape = shape[1:]
	}
	switch {
	case t.rank == 3 && len(shape) == 3 && shape[0] > 1:
		if shape[0] != scores[0]*scores[1] {
			return false
		}
		shape = []int{scores[0], scores[1], shape[1], shape[2]}
	case t.rank > 4 && len(shape) > 3 && t.value().rank() < t.rank:
		return false
	}
	t.shape = shape
	s, err := broadcast(shape, scores)
	return err == nil && slices.Equal(s, scores)
}

// applyTo puts a term whose content is known behind the known terms before it. The table has whole rows, to show whether they have a key.
func (t *term) applyTo(table, content *tensor, s *scores) (*tensor, bool) {
	shape := slices.Clone(t.shape)
	for len(shape) < 2 {
		shape = slices.Insert(shape, 0, 1)
	}
	n := len(shape)
	shape[n-2], shape[n-1] = s.rank4[2], s.rank4[3]
	if table != nil {
		var err error
		if shape, err = broadcast(table.shape, shape); err != nil {
			return nil, false
		}
	}
	if product(shape) > maxTable {
		return nil, false
	}
	sum, add, wide := make(buf[float64], product(shape)), make(buf[float64], product(shape)), make(buf[float64], content.size())
	if err := convertBuffer(wide, content.buf); err != nil {
		return nil, false
	}
	own := kernel.Strides(shape)
	if table != nil {
		sum.move(1, kernel.NewWalk(shape, own, kernel.BroadcastStrides(table.shape, shape)), 0, table.buf, 0)
	}
	add.move(1, kernel.NewWalk(shape, own, kernel.BroadcastStrides(t.shape, shape)), 0, wide, 0)
	for i, v := range add {
		switch {
		case t.bias != nil:
			sum[i] += v
		case (v != 0) == t.hidden:
			sum[i] = t.number
		}
	}
	return &tensor{spec{s.product.dt, shape}, sum}, true
}

// maskFacts is what a table of numbers to add to scores does.
type maskFacts struct {
	visible []bool
	open    bool // all numbers are 0
	plain   bool // all numbers are 0 or hide a key
	finite  bool // some number that hides a key is finite
	blind   bool // some row hides all keys
}

func readMask(t *tensor) maskFacts {
	v := t.buf.(buf[float64])
	m := maskFacts{visible: make([]bool, len(v)), open: true, plain: true}
	n := t.shape[t.rank()-1]
	for i := 0; i < len(v); i += n {
		seen := false
		for j, x := range v[i : i+n] {
			m.visible[i+j] = !(x <= hiding)
			seen = seen || m.visible[i+j]
			m.open = m.open && x == 0
			m.plain = m.plain && (x == 0 || x <= hiding)
			m.finite = m.finite || x <= hiding && !math.IsInf(x, -1)
		}
		m.blind = m.blind || !seen
	}
	return m
}

// causalOffset reports whether what is visible is a triangle, the same for all heads and sequences, and gives the position of the
// first query.
func causalOffset(shape []int, visible []bool) (offset int, ok bool) {
	n := len(shape)
	queries, keys := shape[n-2], shape[n-1]
	if len(visible) != queries*keys || keys == 0 {
		return 0, false
	}
	for offset+1 < keys && visible[offset+1] {
		offset++
	}
	for i, v := range visible {
		if v != (i%keys <= i/keys+offset) {
			return 0, false
		}
	}
	return offset, true
}

// maxTable bounds the elements of known masks that are read.
const maxTable = 1 << 26

// peek is the content of a value that follows from constants that are not trained; nil if it does not. Values on the way that were
// not known before are forgotten again, as the fused program has no use for them.
func (f *fuser) peek(v *value) *tensor {
	if !f.isStatic(v, 48) {
		return nil
	}
	var found []*value
	work, seen := []*value{v}, map[*value]bool{}
	for len(work) > 0 {
		w := work[len(work)-1]
		work = work[:len(work)-1]
		if w == nil || w.known != nil || w.from == nil || seen[w] {
			continue
		}
		seen[w] = true
		found = append(found, w.from.out...)
		work = append(work, w.from.in...)
	}
	t, err := v.content()
	for _, w := range found {
		if w.weight == nil {
			w.known = nil
		}
	}
	if err != nil {
		return nil
	}
	return t
}

// isStatic reports whether a value follows from constants in little work. It looks depth calls far.
func (f *fuser) isStatic(v *value, depth int) bool {
	switch {
	case v == nil || v.known != nil:
		return true
	case v.trained || v.size() > maxTable:
		return false
	case v.weight != nil:
		return true
	case v.from == nil || depth == 0:
		return false
	}
	if known, ok := f.static[v]; ok {
		return known
	}
	_, h := v.from.op.(heavy)
	ok := !h
	for _, o := range v.from.in {
		ok = ok && f.isStatic(o, depth-1)
	}
	f.static[v] = ok
	return ok
}

// selection is the bias that hides keys by -Inf where cond is hidden. Layers share it.
func (f *fuser) selection(k *call, cond *value, hidden bool, dt onnxio.DType) (*value, error) {
	key := biasKey{cond, hidden, dt}
	if v := f.biases[key]; v != nil {
		return v, nil
	}
	open, err := f.number(dt, 0)
	if err != nil {
		return nil, err
	}
	shut, err := f.number(dt, math.Inf(-1))
	if err != nil {
		return nil, err
	}
	if hidden {
		open, shut = shut, open
	}
	v, err := f.one(k.label, &whereOp{}, cond, open, shut)
	if err == nil {
		f.biases[key] = v
	}
	return v, err
}

// sum is the sum of two biases, of which the first may be nil. Layers share it.
func (f *fuser) sum(k *call, a, b *value) (*value, error) {
	if a == nil {
		return b, nil
	}
	key := [2]*value{a, b}
	if v := f.merged[key]; v != nil {
		return v, nil
	}
	v, err := f.one(k.label, &binaryOp{op: kernel.Add}, a, b)
	if err == nil {
		f.merged[key] = v
	}
	return v, err
}

// table is a constant bias. Equal ones are one.
func (f *fuser) table(t *tensor) (*value, error) {
	b, err := newBuffer(t.dt, f.x.shadow, t.size())
	if err == nil {
		err = convertBuffer(b, t.buf)
	}
	if err != nil {
		return nil, err
	}
	for _, v := range f.tables {
		if v.dt == t.dt && slices.Equal(v.shape, t.shape) && equalFloats(v.known.buf, b) {
			return v, nil
		}
	}
	v := f.fixed(&tensor{t.spec, b})
	f.tables = append(f.tables, v)
	return v, nil
}

func equalFloats(a, b buffer) bool {
	switch a := a.(type) {
	case buf[float32]:
		c, ok := b.(buf[float32])
		return ok && slices.Equal(a, c)
	case buf[float64]:
		c, ok := b.(buf[float64])
		return ok && slices.Equal(a, c)
	}
	return false
}
