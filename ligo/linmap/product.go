package linmap

import "math"

// kron is the Kronecker product of its factors, outermost first. It is never multiplied out.
type kron struct{ factors []Matrix }

// mostFilling is how much larger than its rows a Kronecker product may get when it is multiplied out into rows.
const mostFilling = 8

// Kron is the Kronecker product ms[0] ⊗ ms[1] ⊗ …: the map of an axis that is the product of axes, as heads x head size is. The
// product of nothing is the 1 x 1 identity. Copies and other short rows are multiplied out into short rows; other factors are
// applied one after the other.
func Kron(ms ...Matrix) Matrix {
	var flat []Matrix
	for _, m := range ms {
		fs := []Matrix{m}
		if k, ok := m.(*kron); ok {
			fs = k.factors
		}
		for _, f := range fs {
			if f == Matrix(identity(1)) {
				continue
			}
			flat = appendMerged(flat, f, multiplyOut)
		}
	}
	switch len(flat) {
	case 0:
		return identity(1)
	case 1:
		return flat[0]
	}
	k := &kron{flat}
	to, from := k.Dims()
	checkSize("Kron", to)
	checkSize("Kron", from)
	return k
}

// appendMerged appends m, as one matrix with the last where merge can make one of them.
func appendMerged(ms []Matrix, m Matrix, merge func(a, b Matrix) (Matrix, bool)) []Matrix {
	if n := len(ms); n > 0 {
		if both, ok := merge(ms[n-1], m); ok {
			ms[n-1] = both
			return ms
		}
	}
	return append(ms, m)
}

// multiplyOut is a ⊗ b as an identity or as short rows, if it is that.
func multiplyOut(a, b Matrix) (Matrix, bool) {
	ia, aOne := a.(identity)
	ib, bOne := b.(identity)
	if aOne && bOne {
		n := int(ia) * int(ib)
		checkSize("Kron", n)
		return identity(n), true
	}
	sa, ok := asSparse(a)
	if !ok {
		return nil, false
	}
	sb, ok := asSparse(b)
	if !ok {
		return nil, false
	}
	to, from := len(sa.row)*len(sb.row), sa.from*sb.from
	checkSize("Kron", to)
	checkSize("Kron", from)
	nnz := float64(sa.nnz()) * float64(sb.nnz())
	if nnz > mostFilling*float64(max(to, from, 1)) || nnz > math.MaxInt32 {
		return nil, false
	}
	m := &sparse{from: from, row: make([]int32, 0, to), start: []int32{0}}
	na, nb := len(sa.start)-1, len(sb.start)-1
	for ra := range na {
		for rb := range nb {
			for p := sa.start[ra]; p < sa.start[ra+1]; p++ {
				for q := sb.start[rb]; q < sb.start[rb+1]; q++ {
					m.col = append(m.col, sa.col[p]*int32(sb.from)+sb.col[q])
					m.val = append(m.val, sa.val[p]*sb.val[q])
				}
			}
			m.start = append(m.start, int32(len(m.col)))
		}
	}
	for _, ra := range sa.row {
		for _, rb := range sb.row {
			m.row = append(m.row, ra*int32(nb)+rb)
		}
	}
	return simplify(m), true
}

func (k *kron) Dims() (to, from int) {
	to, from = 1, 1
	for _, f := range k.factors {
		t, n := f.Dims()
		to, from = to*t, from*n
	}
	return to, from
}

func (k *kron) ops() []op {
	var all []op
	for _, f := range k.factors {
		all = append(all, f.ops()...)
	}
	return all
}

func (k *kron) transposed() Matrix {
	fs := make([]Matrix, len(k.factors))
	for i, f := range k.factors {
		fs[i] = f.transposed()
	}
	return Kron(fs...)
}

// scaled puts the factor where it costs no further multiplication of a dense block.
func (k *kron) scaled(c float64) Matrix {
	at := 0
	for i, f := range k.factors {
		if _, ok := f.(*sparse); ok {
			at = i
		}
	}
	fs := append([]Matrix(nil), k.factors...)
	fs[at] = fs[at].scaled(c)
	return Kron(fs...)
}

func (k *kron) dense(dst []float64, stride int) {
	a := k.factors[0]
	b := Kron(k.factors[1:]...)
	at, af := a.Dims()
	bt, bf := b.Dims()
	da, db := DenseOf(a), DenseOf(b)
	for i := range at {
		for j := range bt {
			row := dst[(i*bt+j)*stride:]
			for p := range af {
				for q := range bf {
					row[p*bf+q] += da[i*af+p] * db[j*bf+q]
				}
			}
		}
	}
}

// sum is the direct sum of its parts, blocks along a diagonal.
type sum struct{ parts []Matrix }

// DirectSum is the block-diagonal matrix of ms: the map of an axis that is a concatenation, as a fused q, k, v axis is. The sum of
// nothing is the 0 x 0 identity.
func DirectSum(ms ...Matrix) Matrix {
	var flat []Matrix
	for _, m := range ms {
		ps := []Matrix{m}
		if s, ok := m.(*sum); ok {
			ps = s.parts
		}
		for _, p := range ps {
			flat = appendMerged(flat, p, join)
		}
	}
	switch len(flat) {
	case 0:
		return identity(0)
	case 1:
		return flat[0]
	}
	s := &sum{flat}
	to, from := s.Dims()
	checkSize("DirectSum", to)
	checkSize("DirectSum", from)
	return s
}

// join is the direct sum of two identities or row matrices as one.
func join(a, b Matrix) (Matrix, bool) {
	ia, aOne := a.(identity)
	ib, bOne := b.(identity)
	if aOne && bOne {
		checkSize("DirectSum", int(ia)+int(ib))
		return ia + ib, true
	}
	sa, ok := asSparse(a)
	if !ok {
		return nil, false
	}
	sb, ok := asSparse(b)
	if !ok {
		return nil, false
	}
	to, from := len(sa.row)+len(sb.row), sa.from+sb.from
	checkSize("DirectSum", to)
	checkSize("DirectSum", from)
	m := &sparse{from: from}
	m.row = append(m.row, sa.row...)
	for _, r := range sb.row {
		m.row = append(m.row, r+int32(len(sa.start)-1))
	}
	m.start = append(m.start, sa.start...)
	for _, s := range sb.start[1:] {
		m.start = append(m.start, s+int32(sa.nnz()))
	}
	m.col = append(m.col, sa.col...)
	for _, c := range sb.col {
		m.col = append(m.col, c+int32(sa.from))
	}
	m.val = append(append(m.val, sa.val...), sb.val...)
	return simplify(m), true
}

func (s *sum) Dims() (to, from int) {
	for _, p := range s.parts {
		t, n := p.Dims()
		to, from = to+t, from+n
	}
	return to, from
}

func (s *sum) ops() []op {
	o := op{kind: byParts}
	o.to, o.from = s.Dims()
	for _, p := range s.parts {
		o.sums = append(o.sums, p.ops())
	}
	return []op{o}
}

func (s *sum) transposed() Matrix {
	return s.each(Matrix.transposed)
}

func (s *sum) scaled(c float64) Matrix {
	return s.each(func(m Matrix) Matrix { return m.scaled(c) })
}

func (s *sum) each(f func(Matrix) Matrix) Matrix {
	ps := make([]Matrix, len(s.parts))
	for i, p := range s.parts {
		ps[i] = f(p)
	}
	return DirectSum(ps...)
}

func (s *sum) dense(dst []float64, stride int) {
	row, col := 0, 0
	for _, p := range s.parts {
		t, n := p.Dims()
		if t > 0 && n > 0 {
			p.dense(dst[row*stride+col:], stride)
		}
		row, col = row+t, col+n
	}
}

// dense is a matrix with all its elements, row-major.
type dense struct {
	to, from int
	data     []float64
}

func (d *dense) Dims() (to, from int) { return d.to, d.from }
func (d *dense) ops() []op            { return []op{{kind: byElements, from: d.from, to: d.to, full: d.data}} }

func (d *dense) transposed() Matrix {
	data := make([]float64, len(d.data))
	for i := range d.to {
		for j := range d.from {
			data[j*d.to+i] = d.data[i*d.from+j]
		}
	}
	return &dense{to: d.from, from: d.to, data: data}
}

func (d *dense) scaled(c float64) Matrix {
	data := make([]float64, len(d.data))
	for i, v := range d.data {
		data[i] = c * v
	}
	return &dense{to: d.to, from: d.from, data: data}
}

func (d *dense) dense(dst []float64, stride int) {
	for i := range d.to {
		for j, v := range d.data[i*d.from : (i+1)*d.from] {
			dst[i*stride+j] += v
		}
	}
}
