package linmap

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// NonZeros is how many elements of m are not zero; ok is false for a matrix product, whose elements would have to be computed.
func NonZeros(m Matrix) (n int64, ok bool) {
	switch m := m.(type) {
	case identity:
		return int64(m), true
	case *sparse:
		for i := range m.row {
			_, val := m.entries(i)
			n += nonZeros(val)
		}
		return n, true
	case *dense:
		return nonZeros(m.data), true
	case *kron:
		n = 1
		for _, f := range m.factors {
			k, ok := NonZeros(f)
			if !ok {
				return 0, false
			}
			n *= k
		}
		return n, true
	case *sum:
		for _, p := range m.parts {
			k, ok := NonZeros(p)
			if !ok {
				return 0, false
			}
			n += k
		}
		return n, true
	}
	return 0, false
}

func nonZeros(x []float64) (n int64) {
	for _, v := range x {
		if v != 0 {
			n++
		}
	}
	return n
}

// Singular is the largest and the smallest of the min(to, from) singular values of m; their ratio is its condition number. Those of copies,
// Kronecker products and direct sums follow from their structure; others are computed from all elements, by gonum's
// decomposition (LAPACK's dgesvd). ok is false for a matrix without elements, and where no convergence was reached.
func Singular(m Matrix) (largest, smallest float64, ok bool) {
	to, from := m.Dims()
	if to == 0 || from == 0 {
		return 0, 0, false
	}
	switch m := m.(type) {
	case identity:
		return 1, 1, true
	case *sparse:
		if norms, ok := m.orthogonal(); ok {
			return slices.Max(norms), kth(norms, min(to, from)), true
		}
	case *kron:
		largest, smallest = 1, 1
		rank := 1
		for _, f := range m.factors {
			l, s, ok := Singular(f)
			if !ok {
				return 0, 0, false
			}
			largest, smallest = largest*l, smallest*s
			rank *= min2(f)
		}
		if rank < min(to, from) {
			smallest = 0
		}
		return largest, smallest, true
	case *sum:
		smallest = math.Inf(1)
		rank := 0
		for _, p := range m.parts {
			if n := min2(p); n > 0 {
				l, s, ok := Singular(p)
				if !ok {
					return 0, 0, false
				}
				largest, smallest = max(largest, l), min(smallest, s)
				rank += n
			}
		}
		if rank < min(to, from) {
			smallest = 0
		}
		return largest, smallest, true
	}
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(to, from, DenseOf(m)), mat.SVDNone) {
		return 0, 0, false
	}
	values := svd.Values(nil)
	return values[0], values[len(values)-1], true
}

// SingularCost is about how many multiplications Singular takes; infinite where it would take too much memory.
func SingularCost(m Matrix) float64 {
	to, from := m.Dims()
	cost := 0.0
	switch m := m.(type) {
	case identity:
		return 0
	case *sparse:
		if _, ok := m.orthogonal(); ok {
			return float64(to + from)
		}
	case *kron:
		for _, f := range m.factors {
			cost += SingularCost(f)
		}
		return cost
	case *sum:
		for _, p := range m.parts {
			cost += SingularCost(p)
		}
		return cost
	}
	n := float64(to) * float64(from)
	if n > mostElements {
		return math.Inf(1)
	}
	return 4 * n * float64(min(to, from))
}

func min2(m Matrix) int {
	to, from := m.Dims()
	return min(to, from)
}

// orthogonal gives the norms of the columns where no row has two entries, and of the rows where no column has: either are orthogonal,
// so the norms are the singular values, with zeros.
func (m *sparse) orthogonal() ([]float64, bool) {
	columns, rows := make([]float64, m.from), make([]float64, len(m.row))
	inColumn := make([]int32, m.from)
	byColumn, byRow := true, true
	for i := range m.row {
		col, val := m.entries(i)
		byColumn = byColumn && len(col) <= 1
		for k, c := range col {
			columns[c], rows[i] = math.Hypot(columns[c], val[k]), math.Hypot(rows[i], val[k])
			inColumn[c]++
			byRow = byRow && inColumn[c] <= 1
		}
		if !byColumn && !byRow {
			return nil, false
		}
	}
	if byColumn {
		return columns, true
	}
	return rows, true
}

// kth is the k-th largest number.
func kth(x []float64, k int) float64 {
	y := slices.Sorted(slices.Values(x))
	return y[len(y)-k]
}

// mostElements bounds what these measures make dense: 128 MiB.
const mostElements = 1 << 24

// OffIdentity is the largest element of |l·r - I|: how far l is from an inverse of r on its left. It panics if the sizes do not match.
func OffIdentity(l, r Matrix) float64 {
	m := Mul(l, r)
	to, from := m.Dims()
	worst := 0.0
	off := func(i, j int, v float64) {
		if i == j {
			v--
		}
		worst = max(worst, math.Abs(v))
	}
	switch m := m.(type) {
	case identity:
		return 0
	case *sparse:
		for i := range m.row {
			col, val := m.entries(i)
			onDiagonal := false
			for k, c := range col {
				onDiagonal = onDiagonal || int(c) == i
				off(i, int(c), val[k])
			}
			if !onDiagonal && i < from {
				off(i, i, 0)
			}
		}
		return worst
	}
	for i, v := range DenseOf(m) {
		off(i/from, i%from, v)
	}
	if to < from {
		worst = max(worst, 1)
	}
	return worst
}

// OffIdentityCost is about how many multiplications OffIdentity takes; infinite where it would take too much memory.
func OffIdentityCost(l, r Matrix) float64 {
	to, from := r.Dims()
	if hasRows(l) && hasRows(r) {
		return float64(to + from)
	}
	if n := float64(from) * float64(max(to, from)); n > mostElements {
		return math.Inf(1)
	}
	return float64(to) * float64(from) * float64(from)
}

// hasRows reports whether m is stored as rows with few entries.
func hasRows(m Matrix) bool {
	switch m.(type) {
	case identity, *sparse:
		return true
	}
	return false
}
