package linmap

import (
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// A tensor that this package computes is rounded to its type when it is written, and not before: what is added to it is added to the
// unrounded numbers. Exact and As carry those through a file.

// Survey is what is known of the elements of a tensor, as they are before rounding.
type Survey struct {
	Exact    bool // rounding to the type changes nothing
	Constant bool // all are the same number, Value
	Value    float64
	Finite   bool
}

// SurveyOf reads a tensor of one of the floating types that onnxio.DType.Growable accepts, block by block.
func SurveyOf(t *onnxio.Tensor) (Survey, error) {
	s := Survey{Exact: true, Constant: true, Finite: true}
	src, n, err := unrounded(t)
	if err != nil {
		return s, err
	}
	size := t.DType.Bits() / 8
	x := make([]float64, min(n, blockSize))
	raw, y := make([]byte, len(x)*size), make([]float64, len(x))
	for at := 0; at < n; at += len(x) {
		k := min(len(x), n-at)
		if err := src.read(x[:k], at); err != nil {
			return s, err
		}
		if err := onnxio.EncodeFloats(raw[:k*size], t.DType, x[:k]); err != nil {
			return s, err
		}
		if err := onnxio.DecodeFloats(y[:k], t.DType, raw[:k*size]); err != nil {
			return s, err
		}
		if at == 0 {
			s.Value = x[0]
		}
		for i, v := range x[:k] {
			bits := math.Float64bits(v)
			s.Exact = s.Exact && bits == math.Float64bits(y[i])
			s.Constant = s.Constant && bits == math.Float64bits(s.Value)
			s.Finite = s.Finite && !math.IsNaN(v) && !math.IsInf(v, 0)
		}
	}
	s.Constant = s.Constant && n > 0
	return s, nil
}

// Exact is t as a tensor of float64, its elements as they are before rounding.
func Exact(t *onnxio.Tensor) (*onnxio.Tensor, error) {
	if _, _, err := unrounded(t); err != nil {
		return nil, err
	}
	l := newLazy(onnxio.Double, t.Dims, t)
	l.floats = func() (source[float64], error) { return floatsOf(t) }
	return onnxio.NewTensor(t.Name, onnxio.Double, slices.Clone(t.Dims), l), nil
}

// As is the inverse of Exact: t as a tensor of another floating type, whose elements are those of t and are rounded when it is written.
func As(dt onnxio.DType, t *onnxio.Tensor) (*onnxio.Tensor, error) {
	if !dt.Growable() {
		return nil, fmt.Errorf("linmap: tensor %q cannot be %v, which is not a floating type to compute with", t.Name, dt)
	}
	if _, _, err := unrounded(t); err != nil {
		return nil, err
	}
	l := newLazy(dt, t.Dims, t)
	l.floats = func() (source[float64], error) { return floatsOf(t) }
	return onnxio.NewTensor(t.Name, dt, slices.Clone(t.Dims), l), nil
}

// unrounded is the elements of t and their number.
func unrounded(t *onnxio.Tensor) (source[float64], int, error) {
	if !t.DType.Growable() {
		return nil, 0, fmt.Errorf("linmap: tensor %q is %v, which is not a floating type to compute with", t.Name, t.DType)
	}
	if _, err := elementBytes(t); err != nil {
		return nil, 0, err
	}
	src, err := floatsOf(t)
	return src, int(t.NumElements()), err
}
