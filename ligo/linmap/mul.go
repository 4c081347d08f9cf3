package linmap

import (
	"fmt"
	"slices"
)

// Mul is the matrix product a·b. It keeps structure where both have the same: identities, short rows, and products or sums whose
// factors or parts match; anything else is multiplied out, so it is for small matrices, such as checking L·R = I. It panics if the
// sizes do not match.
func Mul(a, b Matrix) Matrix {
	to, mid := a.Dims()
	bm, from := b.Dims()
	if mid != bm {
		panic(fmt.Sprintf("linmap: Mul: %d x %d times %d x %d", to, mid, bm, from))
	}
	if _, ok := a.(identity); ok {
		return b
	}
	if _, ok := b.(identity); ok {
		return a
	}
	switch a := a.(type) {
	case *sparse:
		if b, ok := b.(*sparse); ok {
			return mulSparse(a, b)
		}
	case *kron:
		if b, ok := b.(*kron); ok && len(a.factors) == len(b.factors) {
			if fs, ok := mulEach(a.factors, b.factors); ok {
				return Kron(fs...)
			}
		}
	case *sum:
		if b, ok := b.(*sum); ok && len(a.parts) == len(b.parts) {
			if ps, ok := mulEach(a.parts, b.parts); ok {
				return DirectSum(ps...)
			}
		}
	}
	data := make([]float64, to*from)
	applyAll(a.ops(), data, DenseOf(b), 1, from, &arena[float64]{})
	return &dense{to: to, from: from, data: data}
}

func mulEach(a, b []Matrix) ([]Matrix, bool) {
	out := make([]Matrix, len(a))
	for i := range a {
		_, mid := a[i].Dims()
		if m, _ := b[i].Dims(); m != mid {
			return nil, false
		}
	}
	for i := range a {
		out[i] = Mul(a[i], b[i])
	}
	return out, true
}

func mulSparse(a, b *sparse) Matrix {
	out := newBuilder(len(a.row), b.from)
	row := make([]float64, b.from)
	var touched []int32
	for i := range a.row {
		if i > 0 && a.row[i] == a.row[i-1] {
			out.repeatRow()
			continue
		}
		touched = touched[:0]
		col, val := a.entries(i)
		for k, c := range col {
			cols, vals := b.entries(int(c))
			for q, d := range cols {
				row[d] += float64(val[k] * vals[q])
			}
			touched = append(touched, cols...)
		}
		slices.Sort(touched)
		for _, c := range slices.Compact(touched) {
			out.add(int(c), row[c])
			row[c] = 0
		}
		out.endRow()
	}
	return out.matrix()
}
