package linmap

import (
	"math"
	"slices"
)

// sparse is a matrix whose rows have few entries. Rows that are equal may be stored once: row i of the matrix is stored row
// row[i], with entries start[row[i]] to start[row[i]+1] of col and val. Entries of a row have ascending columns, none is zero.
type sparse struct {
	from  int
	row   []int32
	start []int32
	col   []int32
	val   []float64

	compiled op
}

func (m *sparse) Dims() (to, from int) { return len(m.row), m.from }

func (m *sparse) ops() []op { return []op{m.compiled} }

// entries is the columns and weights of row i.
func (m *sparse) entries(i int) ([]int32, []float64) {
	r := m.row[i]
	a, b := m.start[r], m.start[r+1]
	return m.col[a:b], m.val[a:b]
}

// nnz is how many entries are stored.
func (m *sparse) nnz() int { return len(m.col) }

func (m *sparse) dense(dst []float64, stride int) {
	for i := range m.row {
		col, val := m.entries(i)
		for k, c := range col {
			dst[i*stride+int(c)] += val[k]
		}
	}
}

func (m *sparse) scaled(c float64) Matrix {
	val := make([]float64, len(m.val))
	for i, v := range m.val {
		val[i] = c * v
	}
	if slices.Contains(val, 0) {
		return m.mapped(func(v float64) float64 { return c * v })
	}
	return simplify(&sparse{from: m.from, row: m.row, start: m.start, col: m.col, val: val})
}

// mapped is the matrix with f applied to every entry, which may make zeros.
func (m *sparse) mapped(f func(float64) float64) Matrix {
	b := newBuilder(len(m.row), m.from)
	for i := range m.row {
		if i > 0 && m.row[i] == m.row[i-1] {
			b.repeatRow()
			continue
		}
		col, val := m.entries(i)
		for k, c := range col {
			b.add(int(c), f(val[k]))
		}
		b.endRow()
	}
	return b.matrix()
}

func (m *sparse) transposed() Matrix {
	// Counting sort of the entries by column. Rows are visited in order, so columns of the result ascend.
	next := make([]int32, m.from+1)
	for i := range m.row {
		col, _ := m.entries(i)
		for _, c := range col {
			next[c+1]++
		}
	}
	for c := range m.from {
		next[c+1] += next[c]
	}
	n := int(next[m.from])
	rows, vals := make([]int32, n), make([]float64, n)
	at := slices.Clone(next)
	for i := range m.row {
		col, val := m.entries(i)
		for k, c := range col {
			rows[at[c]], vals[at[c]] = int32(i), val[k]
			at[c]++
		}
	}
	b := newBuilder(m.from, len(m.row))
	for c := range m.from {
		for k := next[c]; k < next[c+1]; k++ {
			b.add(int(rows[k]), vals[k])
		}
		b.endRow()
	}
	return b.matrix()
}

// builder makes a sparse matrix row by row.
type builder struct{ m *sparse }

func newBuilder(to, from int) builder {
	checkSize("rows", to)
	checkSize("columns", from)
	return builder{&sparse{from: from, row: make([]int32, 0, to), start: append(make([]int32, 0, to+1), 0)}}
}

// add appends an entry to the row being made; columns must ascend.
func (b builder) add(col int, v float64) {
	if v != 0 {
		b.m.col = append(b.m.col, int32(col))
		b.m.val = append(b.m.val, v)
	}
}

// endRow ends the row being made. A long row that equals the one before becomes an alias, so that its sum is computed once.
func (b builder) endRow() {
	m := b.m
	if len(m.col) > math.MaxInt32 {
		panic("linmap: a sparse matrix has too many entries")
	}
	a, n := int(m.start[len(m.start)-1]), len(m.col)
	if k := len(m.start); n-a > 1 && k > 1 {
		p := int(m.start[k-2])
		if slices.Equal(m.col[p:a], m.col[a:n]) && slices.Equal(m.val[p:a], m.val[a:n]) {
			m.col, m.val = m.col[:a], m.val[:a]
			b.repeatRow()
			return
		}
	}
	m.row = append(m.row, int32(len(m.start)-1))
	m.start = append(m.start, int32(n))
}

// repeatRow makes the next row an alias of the last stored one.
func (b builder) repeatRow() { b.m.row = append(b.m.row, int32(len(b.m.start)-2)) }

func (b builder) sparse() *sparse {
	b.m.compiled = compile(b.m)
	return b.m
}

func (b builder) matrix() Matrix { return simplify(b.m) }

// simplify is m, or the identity if m is one.
func simplify(m *sparse) Matrix {
	if len(m.row) == m.from && len(m.col) == m.from {
		same := true
		for i := 0; same && i < m.from; i++ {
			col, val := m.entries(i)
			same = len(col) == 1 && int(col[0]) == i && val[0] == 1
		}
		if same {
			return identity(m.from)
		}
	}
	m.compiled = compile(m)
	return m
}

// asSparse is m in row form if it has, or is, one.
func asSparse(m Matrix) (*sparse, bool) {
	switch m := m.(type) {
	case identity:
		return m.rows(), true
	case *sparse:
		return m, true
	}
	return nil, false
}
