package linmap

import "encoding/binary"

// lane is what a tensor's elements are while they are moved: numbers, or the bytes of numbers that are only copied. Bytes never
// meet a weight; a tensor of elements of k bytes is then one of bytes with a last axis of size k.
type lane interface{ byte | float64 }

// op is a Matrix made ready for applying to one axis.
type op struct {
	kind     kind
	to, from int

	runs []run     // byRuns: in order, together all rows
	m    *sparse   // byRuns: the entries, for gathers and mixes
	full []float64 // byElements: row-major
	sums [][]op    // byParts: for each part the maps of its axes; byFactors: those of each factor, first the one applied first
}

type kind uint8

const (
	unchanged kind = iota
	byRuns
	byElements
	byParts
	byFactors
)

// run is a range of rows, from at to at+n, that are computed alike.
type run struct {
	how runKind
	at  int
	n   int
	src int     // moved: the source row of the first one
	w   float64 // moved: the weight
}

type runKind uint8

const (
	zero   runKind = iota // zeros
	moved                 // w times consecutive source rows
	picked                // each a multiple of some source row
	mixed                 // all the same sum of source rows
)

// shortest is the length from which consecutive rows are worth a run of their own instead of being picked one by one.
const shortest = 4

// compile finds the runs of m.
func compile(m *sparse) op {
	o := op{kind: byRuns, to: len(m.row), from: m.from, m: m}
	for i := 0; i < o.to; {
		r := m.runAt(i)
		if last := len(o.runs) - 1; r.how == moved && r.n < shortest {
			r.how = picked
			if last >= 0 && o.runs[last].how == picked {
				o.runs[last].n += r.n
				i += r.n
				continue
			}
		}
		o.runs = append(o.runs, r)
		i += r.n
	}
	return o
}

// runAt is the longest run of rows from row i.
func (m *sparse) runAt(i int) run {
	col, val := m.entries(i)
	r := run{at: i, n: 1}
	same := func(j int) bool { return m.row[j] == m.row[i] }
	switch len(col) {
	case 0:
		same = func(j int) bool { c, _ := m.entries(j); return len(c) == 0 }
	case 1:
		r.how, r.src, r.w = moved, int(col[0]), val[0]
		same = func(j int) bool {
			c, v := m.entries(j)
			return len(c) == 1 && int(c[0]) == r.src+j-i && v[0] == r.w
		}
	default:
		r.how = mixed
	}
	for i+r.n < len(m.row) && same(i+r.n) {
		r.n++
	}
	return r
}

// copies reports whether the op makes zeros and copies only, so that it applies to bytes.
func (o *op) copies() bool {
	switch o.kind {
	case byRuns:
		for _, v := range o.m.val {
			if v != 1 {
				return false
			}
		}
		for _, r := range o.runs {
			if r.how == mixed {
				return false
			}
		}
	case byElements:
		return false
	case byParts, byFactors:
		for _, part := range o.sums {
			if !copyOnly(part) {
				return false
			}
		}
	}
	return true
}

func copyOnly(ops []op) bool {
	for i := range ops {
		if !ops[i].copies() {
			return false
		}
	}
	return true
}

// firstRun is the index of the run that row is in.
func (o *op) firstRun(row int) int {
	lo, hi := 0, len(o.runs)-1
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if o.runs[mid].at <= row {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}

// eachRun calls f for the runs of rows [row, row+n), cut to that range.
func (o *op) eachRun(row, n int, f func(run) error) error {
	for k := o.firstRun(row); n > 0; k++ {
		r := o.runs[k]
		skip := row - r.at
		r.at, r.src = row, r.src+skip
		r.n = min(r.n-skip, n)
		if err := f(r); err != nil {
			return err
		}
		row, n = row+r.n, n-r.n
	}
	return nil
}

// applyRows computes rows [row, row+n) of the op applied to src, which is from x inner; dst is n x inner. The op has no parts or
// factors.
func applyRows[E lane](o *op, row, n int, dst, src []E, inner int) {
	switch o.kind {
	case unchanged:
		copy(dst[:n*inner], src[row*inner:])
	case byElements:
		clear(dst[:n*inner])
		addProduct(any(dst).([]float64), o.full[row*o.from:], any(src).([]float64), n, o.from, inner, o.from)
	case byRuns:
		_ = o.eachRun(row, n, func(r run) error {
			applyRun(o, r, dst[(r.at-row)*inner:(r.at-row+r.n)*inner], src, inner)
			return nil
		})
	}
}

func applyRun[E lane](o *op, r run, dst, src []E, inner int) {
	switch r.how {
	case zero:
		clear(dst)
	case moved:
		scale(dst, src[r.src*inner:][:len(dst)], r.w)
	case picked:
		pick(dst, src, o.m, r.at, r.n, inner)
	case mixed:
		col, val := o.m.entries(r.at)
		mix(dst[:inner], src, col, val, inner)
		repeat(dst, inner)
	}
}

// scale is dst = w·src; the weight of bytes is 1.
func scale[E lane](dst, src []E, w float64) {
	if w == 1 {
		copy(dst, src)
		return
	}
	src = src[:len(dst)]
	for i := range dst {
		dst[i] = E(w * float64(src[i]))
	}
}

// pick is dst row i = weight · source row, for n rows of m from at.
func pick[E lane](dst, src []E, m *sparse, at, n, inner int) {
	rows := m.row[at:][:n]
	switch s := any(src).(type) {
	case []float64:
		if inner == 1 {
			d := any(dst).([]float64)
			for i, r := range rows {
				k := m.start[r]
				d[i] = m.val[k] * s[m.col[k]]
			}
			return
		}
	case []byte:
		d := any(dst).([]byte)
		switch inner {
		case 2:
			for i, r := range rows {
				binary.NativeEndian.PutUint16(d[2*i:], binary.NativeEndian.Uint16(s[2*int(m.col[m.start[r]]):]))
			}
			return
		case 4:
			for i, r := range rows {
				binary.NativeEndian.PutUint32(d[4*i:], binary.NativeEndian.Uint32(s[4*int(m.col[m.start[r]]):]))
			}
			return
		case 8:
			for i, r := range rows {
				binary.NativeEndian.PutUint64(d[8*i:], binary.NativeEndian.Uint64(s[8*int(m.col[m.start[r]]):]))
			}
			return
		}
	}
	for i, r := range rows {
		k := m.start[r]
		scale(dst[i*inner:][:inner], src[int(m.col[k])*inner:], m.val[k])
	}
}

// mix is dst = Σ_k val[k] · source row col[k], added in that order.
func mix[E lane](dst, src []E, col []int32, val []float64, inner int) {
	d, s := any(dst).([]float64), any(src).([]float64)
	if inner == 1 {
		sum := 0.0
		for k, c := range col {
			sum += float64(val[k] * s[c]) // the conversion forbids a fused multiply-add: the same bits on every machine
		}
		d[0] = sum
		return
	}
	clear(d)
	for k, c := range col {
		axpy(d, s[int(c)*inner:], val[k])
	}
}

// applyFour is applyRows of all rows, for inner 1 and four sources: their sums do not wait for each other.
func applyFour(o *op, dst, src []float64) {
	n, k := o.to, o.from
	d0, d1, d2, d3 := dst[:n], dst[n:2*n], dst[2*n:3*n], dst[3*n:4*n]
	s0, s1, s2, s3 := src[:k], src[k:2*k], src[2*k:3*k], src[3*k:4*k]
	for _, r := range o.runs {
		a, b := r.at, r.at+r.n
		if r.how != mixed {
			applyRun(o, r, d0[a:b], s0, 1)
			applyRun(o, r, d1[a:b], s1, 1)
			applyRun(o, r, d2[a:b], s2, 1)
			applyRun(o, r, d3[a:b], s3, 1)
			continue
		}
		col, val := o.m.entries(r.at)
		var x0, x1, x2, x3 float64
		if n := len(col); int(col[n-1]-col[0]) == n-1 { // one after the other, as a mean over all
			c := int(col[0])
			x0, x1, x2, x3 = dotFour(val, s0[c:], s1[c:], s2[c:], s3[c:])
		} else {
			val = val[:n]
			for i, c := range col {
				v := val[i]
				x0 += float64(v * s0[c])
				x1 += float64(v * s1[c])
				x2 += float64(v * s2[c])
				x3 += float64(v * s3[c])
			}
		}
		for i := a; i < b; i++ {
			d0[i], d1[i], d2[i], d3[i] = x0, x1, x2, x3
		}
	}
}

// dotFour is the sums of val times each of four slices, every one added in order.
func dotFour(val, s0, s1, s2, s3 []float64) (x0, x1, x2, x3 float64) {
	n := len(val)
	s0, s1, s2, s3 = s0[:n], s1[:n], s2[:n], s3[:n]
	for i, v := range val {
		x0 += float64(v * s0[i])
		x1 += float64(v * s1[i])
		x2 += float64(v * s2[i])
		x3 += float64(v * s3[i])
	}
	return x0, x1, x2, x3
}

// axpy is dst += w·src.
func axpy(dst, src []float64, w float64) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += float64(w * src[i])
	}
}

// repeat fills dst with copies of its first n elements.
func repeat[E lane](dst []E, n int) {
	for done := n; n > 0 && done < len(dst); done *= 2 {
		copy(dst[done:], dst[:done])
	}
}

// apply is dst = (1 ⊗ o ⊗ 1) src for src of outer x from x inner.
func apply[E lane](o *op, dst, src []E, outer, inner int, mem *arena[E]) {
	switch {
	case o.kind == unchanged:
		copy(dst, src)
		return
	case o.kind == byElements && inner == 1:
		productTransposed(any(dst).([]float64), any(src).([]float64), o.full, outer, o.to, o.from)
		return
	case o.kind == byFactors:
		applyFactors(o, dst, src, outer, inner, mem)
		return
	}
	i := 0
	if numbers, ok := any(dst).([]float64); ok && o.kind == byRuns && inner == 1 {
		from := any(src).([]float64)
		for ; i+4 <= outer; i += 4 {
			applyFour(o, numbers[i*o.to:], from[i*o.from:])
		}
	}
	for ; i < outer; i++ {
		d, s := dst[i*o.to*inner:][:o.to*inner], src[i*o.from*inner:][:o.from*inner]
		if o.kind != byParts {
			applyRows(o, 0, o.to, d, s, inner)
			continue
		}
		for _, part := range o.sums {
			to, from := sizes(part)
			applyAll(part, d[:to*inner], s[:from*inner], 1, inner, mem)
			d, s = d[to*inner:], s[from*inner:]
		}
	}
}

func applyFactors[E lane](o *op, dst, src []E, outer, inner int, mem *arena[E]) {
	var scratch []E
	for i, f := range o.sums {
		to := dst
		if i < len(o.sums)-1 {
			size, _ := sizes(f)
			to = mem.get(outer * size * inner)
		}
		applyAll(f, to, src, outer, inner, mem)
		mem.put(scratch)
		src, scratch = to, to
	}
}

// applyAll is dst = (1 ⊗ ops[0] ⊗ ops[1] ⊗ … ⊗ 1) src, for src of outer x from_0 x from_1 x … x inner. The outermost op goes first:
// when axes grow, that combines what is still small.
func applyAll[E lane](ops []op, dst, src []E, outer, inner int, mem *arena[E]) {
	last := -1
	for i := range ops {
		if ops[i].kind != unchanged {
			last = i
		}
	}
	if last < 0 {
		copy(dst, src)
		return
	}
	_, after := sizes(ops)
	if after == 0 { // sums of nothing
		clear(dst)
		return
	}
	var scratch []E
	for i := range ops {
		o := &ops[i]
		after /= o.from
		if o.kind == unchanged {
			outer *= o.to
			continue
		}
		to, rest := dst, after*inner
		if i < last {
			to = mem.get(outer * o.to * rest)
		}
		apply(o, to, src, outer, rest, mem)
		mem.put(scratch)
		if i < last {
			scratch = to
		}
		src = to
		outer *= o.to
	}
}

// sizes is the product of the result sizes and of the source sizes.
func sizes(ops []op) (to, from int) {
	to, from = 1, 1
	for i := range ops {
		to, from = to*ops[i].to, from*ops[i].from
	}
	return to, from
}

// arena keeps scratch slices for reuse. A reader has one; it is not for concurrent use.
type arena[E lane] struct{ free [][]E }

func (a *arena[E]) get(n int) []E {
	for i, s := range a.free {
		if cap(s) >= n {
			a.free[i] = a.free[len(a.free)-1]
			a.free = a.free[:len(a.free)-1]
			return s[:n]
		}
	}
	return make([]E, n)
}

func (a *arena[E]) put(s []E) {
	if cap(s) == 0 {
		return
	}
	if len(a.free) == 4 { // more than any nesting in practice; keep the arena from hoarding small slices
		a.free = a.free[1:]
	}
	a.free = append(a.free, s)
}
