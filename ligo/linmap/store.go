package linmap

import (
	"fmt"
	"math"
)

// Form names how a matrix is stored.
type Form string

// Forms of storage.
const (
	FormIdentity Form = "identity" // no numbers
	FormRows     Form = "rows"     // rows with few entries
	FormDense    Form = "dense"
	FormKron     Form = "kron"  // the Kronecker product of its parts
	FormSum      Form = "sum"   // the direct sum of its parts
	FormChain    Form = "chain" // the matrix product of its parts
)

// Stored is a matrix taken apart, for files: Load(Store(m)) is m, structure and bits.
type Stored struct {
	Form     Form
	To, From int
	// Row, Start, Col and Val are those of FormRows: row i of the matrix is stored row Row[i], whose entries are Start[Row[i]] to
	// Start[Row[i]+1] of Col (columns, ascending) and Val. Rows that are equal may be stored once. For FormDense, Val has all elements,
	// row-major.
	Row, Start, Col []int32
	Val             []float64
	// Parts are those of FormKron, FormSum and FormChain.
	Parts []Matrix
}

// Store takes a matrix apart. The slices are the matrix's own and must not be changed.
func Store(m Matrix) Stored {
	to, from := m.Dims()
	s := Stored{To: to, From: from}
	switch m := m.(type) {
	case identity:
		s.Form = FormIdentity
	case *sparse:
		s.Form, s.Row, s.Start, s.Col, s.Val = FormRows, m.row, m.start, m.col, m.val
	case *dense:
		s.Form, s.Val = FormDense, m.data
	case *kron:
		s.Form, s.Parts = FormKron, m.factors
	case *sum:
		s.Form, s.Parts = FormSum, m.parts
	case *inSequence:
		s.Form, s.Parts = FormChain, m.factors
	default:
		panic(fmt.Sprintf("linmap: Store: no form for %T", m))
	}
	return s
}

// Load puts a matrix together; the slices become its own. It returns an error for anything that is no matrix: sizes that do not agree,
// entries outside it, numbers that are not finite.
func Load(s Stored) (Matrix, error) {
	if s.To < 0 || s.From < 0 || s.To > math.MaxInt32 || s.From > math.MaxInt32 {
		return nil, fmt.Errorf("a matrix of %d x %d cannot be", s.To, s.From)
	}
	for i, v := range s.Val {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("number %d is %v", i, v)
		}
	}
	switch s.Form {
	case FormIdentity:
		if s.To != s.From {
			return nil, fmt.Errorf("an identity of %d x %d cannot be", s.To, s.From)
		}
		return identity(s.To), nil
	case FormRows:
		return s.rows()
	case FormDense:
		if int64(len(s.Val)) != int64(s.To)*int64(s.From) {
			return nil, fmt.Errorf("%d numbers for a matrix of %d x %d", len(s.Val), s.To, s.From)
		}
		return &dense{to: s.To, from: s.From, data: s.Val}, nil
	case FormKron, FormSum, FormChain:
		return s.compound()
	}
	return nil, fmt.Errorf("there is no form %.50q of matrices", string(s.Form))
}

// rows checks and makes a matrix of FormRows.
func (s Stored) rows() (Matrix, error) {
	m := &sparse{from: s.From, row: s.Row, start: s.Start, col: s.Col, val: s.Val}
	if len(s.Row) != s.To {
		return nil, fmt.Errorf("%d rows of a matrix of %d x %d", len(s.Row), s.To, s.From)
	}
	n := len(s.Start)
	if n == 0 || s.Start[0] != 0 || int(s.Start[n-1]) != len(s.Col) || len(s.Col) != len(s.Val) {
		return nil, fmt.Errorf("%d stored rows with %d columns and %d numbers do not agree", max(0, n-1), len(s.Col), len(s.Val))
	}
	for r := range n - 1 {
		a, b := s.Start[r], s.Start[r+1]
		if a > b || int(b) > len(s.Col) {
			return nil, fmt.Errorf("stored row %d has the entries %d to %d of %d", r, a, b, len(s.Col))
		}
		for k := a; k < b; k++ {
			if c := s.Col[k]; c < 0 || int(c) >= s.From || k > a && c <= s.Col[k-1] {
				return nil, fmt.Errorf("stored row %d has an entry in column %d; columns ascend, from 0 to %d", r, c, s.From-1)
			}
		}
	}
	for i, r := range s.Row {
		if r < 0 || int(r) >= n-1 {
			return nil, fmt.Errorf("row %d is stored row %d of %d", i, r, n-1)
		}
	}
	return simplify(m), nil
}

// compound checks and makes a matrix of parts, which stay as they are: Kron and DirectSum would join some.
func (s Stored) compound() (Matrix, error) {
	if len(s.Parts) < 2 {
		return nil, fmt.Errorf("%d parts make no %s", len(s.Parts), s.Form)
	}
	to, from := 0, 0
	for i, m := range s.Parts {
		t, f := m.Dims()
		switch {
		case i == 0:
			to, from = t, f
		case s.Form == FormKron:
			to, from = to*t, from*f
		case s.Form == FormSum:
			to, from = to+t, from+f
		case t != from:
			return nil, fmt.Errorf("part %d of a chain is %d x %d, the one before it takes %d", i, t, f, from)
		default:
			from = f
		}
		if to > math.MaxInt32 || from > math.MaxInt32 {
			return nil, fmt.Errorf("the parts make a matrix of %d x %d and more", to, from)
		}
	}
	if to != s.To || from != s.From {
		return nil, fmt.Errorf("the parts make a matrix of %d x %d, not %d x %d", to, from, s.To, s.From)
	}
	switch s.Form {
	case FormKron:
		return &kron{s.Parts}, nil
	case FormSum:
		return &sum{s.Parts}, nil
	}
	return &inSequence{s.Parts}, nil
}
