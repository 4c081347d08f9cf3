package verify

import (
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Stats compares two tensors of one shape, element by element, in float64.
type Stats struct {
	N         int64
	MaxDiff   float64 // among finite differences
	SumDiff   float64
	SumSq     float64
	Worst     int64   // flat index of MaxDiff; -1 where nothing differs
	MaxWant   float64 // largest |element| that was wanted
	NonFinite int64   // elements that are NaN or infinite in got and not the same in want
	FirstBad  int64   // flat index of the first of those; -1 for none
	AllEqual  bool    // bit for bit the same numbers
}

// Mean is the mean absolute difference.
func (s Stats) Mean() float64 {
	if s.N == 0 {
		return 0
	}
	return s.SumDiff / float64(s.N)
}

// RMS is the root of the mean squared difference.
func (s Stats) RMS() float64 {
	if s.N == 0 {
		return 0
	}
	return math.Sqrt(s.SumSq / float64(s.N))
}

// Difference compares got with want. Equal infinities and NaN in both are no difference: a mask of -inf is a number that a model
// may well give.
func Difference(got, want []float64) Stats {
	s := Stats{N: int64(len(want)), Worst: -1, FirstBad: -1, AllEqual: true}
	for i, w := range want {
		g := got[i]
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			if !math.IsInf(w, 0) && !math.IsNaN(w) {
				s.MaxWant = max(s.MaxWant, math.Abs(w))
			}
			continue
		}
		s.AllEqual = false
		d := math.Abs(g - w)
		if math.IsNaN(d) || math.IsInf(d, 0) {
			if s.NonFinite++; s.FirstBad < 0 {
				s.FirstBad = int64(i)
			}
			continue
		}
		s.MaxWant = max(s.MaxWant, math.Abs(w))
		s.SumDiff += d
		s.SumSq += d * d
		if d > s.MaxDiff {
			s.MaxDiff, s.Worst = d, int64(i)
		}
	}
	return s
}

// DifferenceOf is Difference for tensors; other types than numbers and other shapes are an error.
func DifferenceOf(got, want *onnxio.Tensor) (Stats, error) {
	if !slices.Equal(got.Dims, want.Dims) {
		return Stats{}, fmt.Errorf("shape is %s, expected %s", shapeText(got.Dims), shapeText(want.Dims))
	}
	g, err := got.Float64s()
	if err != nil {
		return Stats{}, err
	}
	w, err := want.Float64s()
	if err != nil {
		return Stats{}, err
	}
	return Difference(g, w), nil
}

// unflatten turns a flat index into one index per axis.
func unflatten(i int64, dims []int64) []int64 {
	if i < 0 {
		return []int64{}
	}
	out := make([]int64, len(dims))
	for a := len(dims) - 1; a >= 0; a-- {
		if dims[a] > 0 {
			out[a] = i % dims[a]
			i /= dims[a]
		}
	}
	return out
}

// Range summarises one tensor.
type Range struct {
	Min, Max, Mean, RMS float64
	NonFinite           int64
}

// RangeOf summarises the finite elements of a tensor.
func RangeOf(t *onnxio.Tensor) (Range, error) {
	v, err := t.Float64s()
	if err != nil {
		return Range{}, err
	}
	r := Range{Min: math.Inf(1), Max: math.Inf(-1)}
	n := 0.0
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			r.NonFinite++
			continue
		}
		n++
		r.Min, r.Max = min(r.Min, x), max(r.Max, x)
		r.Mean += x
		r.RMS += x * x
	}
	if n == 0 {
		return Range{NonFinite: r.NonFinite}, nil
	}
	r.Mean /= n
	r.RMS = math.Sqrt(r.RMS / n)
	return r, nil
}

// Beyond counts the elements of got that are further from want than atol + rtol·|want|, NumPy's rule. NaN equals NaN.
func Beyond(got, want *onnxio.Tensor, rtol, atol float64) (int64, error) {
	g, err := got.Float64s()
	if err != nil {
		return 0, err
	}
	w, err := want.Float64s()
	if err != nil {
		return 0, err
	}
	if len(g) != len(w) {
		return 0, fmt.Errorf("%d elements, expected %d", len(g), len(w))
	}
	n := int64(0)
	for i := range w {
		same := g[i] == w[i] || math.IsNaN(g[i]) && math.IsNaN(w[i])
		if !same && !(math.Abs(g[i]-w[i]) <= atol+rtol*math.Abs(w[i])) {
			n++
		}
	}
	return n, nil
}
