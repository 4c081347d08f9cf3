package linmap

import (
	"fmt"
	"math"
)

// Matrix is a linear map along one tensor axis: a to x from matrix that takes an axis of size from to one of size to. It is
// immutable, and stored by structure: an identity, rows with few entries, a dense block, a Kronecker product, a direct sum or a
// matrix product of those. The constructors of this package are the only ones.
type Matrix interface {
	// Dims is the size of the result axis and of the source axis.
	Dims() (to, from int)

	// transposed, scaled and ops are what every structure must know about itself; see Transpose, Scaled and Grow.
	transposed() Matrix
	scaled(c float64) Matrix
	// ops is the map as a sequence of maps along finer axes, outermost first: one for most, one per factor for a product.
	ops() []op
	// dense adds the matrix to dst, whose rows are stride apart.
	dense(dst []float64, stride int)
}

// Identity is the n x n identity.
func Identity(n int) Matrix {
	checkSize("Identity", n)
	return identity(n)
}

// Pad is the to x from matrix [I; 0], which appends zeros (Gesmundo and Maile 2023, "Composable Function-preserving Expansions").
// It panics if to < from.
func Pad(to, from int) Matrix {
	checkGrowth("Pad", to, from)
	index := make([]int, to)
	for i := range index {
		index[i] = -1
		if i < from {
			index[i] = i
		}
	}
	return Copy(index, nil, from)
}

// Copy is the len(index) x from matrix whose row i is weight[i] times the unit vector of index[i]: the producer of copies (Net2Net,
// Chen et al. 2016). Index -1, or weight 0, makes a zero row; a nil weight is all ones. It panics if an index is outside [-1, from)
// or if weight has another length.
func Copy(index []int, weight []float64, from int) Matrix {
	checkSize("Copy", from)
	if weight != nil && len(weight) != len(index) {
		panic(fmt.Sprintf("linmap: Copy: %d indices but %d weights", len(index), len(weight)))
	}
	b := newBuilder(len(index), from)
	for i, c := range index {
		w := 1.0
		if weight != nil {
			w = weight[i]
		}
		if c < -1 || c >= from {
			panic(fmt.Sprintf("linmap: Copy: index %d outside [-1,%d)", c, from))
		}
		if c >= 0 {
			b.add(c, w)
		}
		b.endRow()
	}
	return b.matrix()
}

// Split is the transpose of Copy with the same arguments: the from x len(index) matrix L with L[index[j], j] = weight[j], the
// consumer of copies. Split(index, weight, n)·Copy(index, nil, n) = I if and only if the weights of the copies of each index sum to 1.
func Split(index []int, weight []float64, from int) Matrix {
	return Transpose(Copy(index, weight, from))
}

// Average is the to x from matrix [I; …; I; (1/from)·1·1ᵀ] of LEMON (Wang et al., ICLR 2024, average expansion): as many whole
// copies as fit, then the mean. It keeps the mean of what it is applied to and scales the variance by k·from/to with
// k = ⌊to/from⌋. It panics if to < from.
func Average(to, from int) Matrix {
	checkGrowth("Average", to, from)
	b := newBuilder(to, from)
	whole := to - to%from
	for i := range whole {
		b.add(i%from, 1)
		b.endRow()
	}
	if whole < to {
		for c := range from {
			b.add(c, 1/float64(from))
		}
		b.endRow()
	}
	for i := whole + 1; i < to; i++ {
		b.repeatRow()
	}
	return b.matrix()
}

// Dense is the to x from matrix with the given elements, row-major, which it keeps and the caller must not change. It panics if
// data has another length.
func Dense(to, from int, data []float64) Matrix {
	checkSize("Dense", to)
	checkSize("Dense", from)
	if len(data) != to*from {
		panic(fmt.Sprintf("linmap: Dense: %d elements for a %d x %d matrix", len(data), to, from))
	}
	return &dense{to: to, from: from, data: data}
}

// Transpose is mᵀ.
func Transpose(m Matrix) Matrix { return m.transposed() }

// Scaled is c·m.
func Scaled(m Matrix, c float64) Matrix {
	if c == 1 {
		return m
	}
	return m.scaled(c)
}

// DenseOf is the elements of m, row-major. It is meant for tests, for saving and for small matrices.
func DenseOf(m Matrix) []float64 {
	to, from := m.Dims()
	out := make([]float64, to*from)
	m.dense(out, from)
	return out
}

// IsIdentity reports whether m is exactly an identity, whatever its structure. For an identity up to rounding see MaxDiff.
func IsIdentity(m Matrix) bool {
	to, from := m.Dims()
	if to != from {
		return false
	}
	switch m := m.(type) {
	case identity:
		return true
	case *sparse: // the constructor turns identities into the structure
		return false
	case *kron:
		// A product of matrices is an identity up to factors c and 1/c, which Kron has no reason to produce.
		for _, f := range m.factors {
			if !IsIdentity(f) {
				return false
			}
		}
		return true
	case *sum:
		for _, p := range m.parts {
			if !IsIdentity(p) {
				return false
			}
		}
		return true
	}
	for i, v := range DenseOf(m) {
		if want := i/from == i%from; want && v != 1 || !want && v != 0 {
			return false
		}
	}
	return true
}

// MaxDiff is the largest absolute difference between elements of a and b, infinite if their sizes differ. It compares dense
// copies, so it is for checks on small matrices: MaxDiff(Mul(L, R), Identity(n)) < 1e-12.
func MaxDiff(a, b Matrix) float64 {
	at, af := a.Dims()
	if bt, bf := b.Dims(); at != bt || af != bf {
		return math.Inf(1)
	}
	worst := 0.0
	y := DenseOf(b)
	for i, v := range DenseOf(a) {
		d := math.Abs(v - y[i])
		if math.IsNaN(d) {
			return math.NaN()
		}
		worst = max(worst, d)
	}
	return worst
}

// identity is an identity matrix of that size.
type identity int

func (n identity) Dims() (to, from int)    { return int(n), int(n) }
func (n identity) transposed() Matrix      { return n }
func (n identity) ops() []op               { return []op{{from: int(n), to: int(n)}} }
func (n identity) scaled(c float64) Matrix { return n.rows().scaled(c) }

func (n identity) dense(dst []float64, stride int) {
	for i := range int(n) {
		dst[i*stride+i]++
	}
}

// rows is the identity in the general form.
func (n identity) rows() *sparse {
	b := newBuilder(int(n), int(n))
	for i := range int(n) {
		b.add(i, 1)
		b.endRow()
	}
	return b.sparse()
}

func checkSize(what string, n int) {
	if n < 0 || n > math.MaxInt32 {
		panic(fmt.Sprintf("linmap: %s: size %d outside [0,2^31)", what, n))
	}
}

func checkGrowth(what string, to, from int) {
	checkSize(what, to)
	checkSize(what, from)
	if to < from || from == 0 {
		panic(fmt.Sprintf("linmap: %s: cannot grow %d to %d", what, from, to))
	}
}
