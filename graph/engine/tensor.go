package engine

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// spec is the type of a value: its declared element type and its shape. The element type of the buffer follows from dt and the
// engine's precision: see bufferKind.
type spec struct {
	dt    onnxio.DType
	shape []int
}

func (s spec) size() int { return product(s.shape) }

func (s spec) rank() int { return len(s.shape) }

func (s spec) String() string { return fmt.Sprintf("%v%v", s.dt, s.shape) }

func (s spec) with(shape []int) spec { return spec{s.dt, shape} }

func (s spec) as(dt onnxio.DType) spec { return spec{dt, s.shape} }

// isFloat reports whether the engine computes dt in floating point.
func isFloat(dt onnxio.DType) bool { return dt.Growable() }

// tensor is a value with content.
type tensor struct {
	spec
	buf buffer
}

// buffer is the content of a tensor: a buf of one of the element types. Its methods move elements; arithmetic switches on the
// concrete type.
type buffer interface {
	size() int
	bytes() int64
	// fresh makes a buffer of n zeros of the same element type.
	fresh(n int) buffer
	slice(lo, hi int) buffer
	// set copies element j of src to element i.
	set(i int, src buffer, j int)
	// fill sets every element to src's first.
	fill(src buffer)
	// move copies along a walk with operands (this, src), from the given offsets.
	move(threads int, w *kernel.Walk, off int, src buffer, srcOff int)
	// choose selects along a walk with operands (this, cond, a, b).
	choose(threads int, w *kernel.Walk, cond []bool, a, b buffer)
	// same reports whether o is this memory.
	same(o buffer) bool
	// raw is the slice itself.
	raw() any
}

type buf[T kernel.Elem] []T

func (b buf[T]) size() int { return len(b) }

func (b buf[T]) bytes() int64 {
	var z T
	return int64(len(b)) * int64(unsafe.Sizeof(z))
}

func (b buf[T]) fresh(n int) buffer { return make(buf[T], n) }

func (b buf[T]) slice(lo, hi int) buffer { return b[lo:hi:hi] }

func (b buf[T]) set(i int, src buffer, j int) { b[i] = src.(buf[T])[j] }

func (b buf[T]) fill(src buffer) {
	v := src.(buf[T])[0]
	for i := range b {
		b[i] = v
	}
}

func (b buf[T]) move(threads int, w *kernel.Walk, off int, src buffer, srcOff int) {
	kernel.Copy(threads, w, b, off, src.(buf[T]), srcOff)
}

func (b buf[T]) choose(threads int, w *kernel.Walk, cond []bool, x, y buffer) {
	kernel.Select(threads, w, b, cond, x.(buf[T]), y.(buf[T]))
}

func (b buf[T]) same(o buffer) bool {
	c, ok := o.(buf[T])
	return ok && len(b) == len(c) && (len(b) == 0 || &b[0] == &c[0])
}

func (b buf[T]) raw() any { return []T(b) }

// newBuffer makes a zeroed buffer for dt; shadow widens every floating type to float64.
func newBuffer(dt onnxio.DType, shadow bool, n int) (buffer, error) {
	switch dt {
	case onnxio.Float, onnxio.Float16, onnxio.BFloat16:
		if shadow {
			return make(buf[float64], n), nil
		}
		return make(buf[float32], n), nil
	case onnxio.Double:
		return make(buf[float64], n), nil
	case onnxio.Int64:
		return make(buf[int64], n), nil
	case onnxio.Int32:
		return make(buf[int32], n), nil
	case onnxio.Int16:
		return make(buf[int16], n), nil
	case onnxio.Int8:
		return make(buf[int8], n), nil
	case onnxio.Uint64:
		return make(buf[uint64], n), nil
	case onnxio.Uint32:
		return make(buf[uint32], n), nil
	case onnxio.Uint16:
		return make(buf[uint16], n), nil
	case onnxio.Uint8:
		return make(buf[uint8], n), nil
	case onnxio.Bool:
		return make(buf[bool], n), nil
	}
	return nil, fmt.Errorf("element type %v is not supported", dt)
}

// elemBytes is the size of one element in a buffer; 0 for types the engine does not have.
func elemBytes(dt onnxio.DType, shadow bool) int64 {
	if isFloat(dt) {
		if shadow || dt == onnxio.Double {
			return 8
		}
		return 4
	}
	if dt.Integer() || dt == onnxio.Bool {
		return int64(dt.Bits() / 8)
	}
	return 0
}

func int64s(shape []int, v ...int64) *tensor {
	return &tensor{spec{onnxio.Int64, shape}, buf[int64](v)}
}

// ints returns the elements of an integer or bool tensor as int64.
func (t *tensor) ints() ([]int64, error) {
	switch b := t.buf.(type) {
	case buf[int64]:
		return b, nil
	case buf[int32]:
		return widen(b), nil
	case buf[int16]:
		return widen(b), nil
	case buf[int8]:
		return widen(b), nil
	case buf[uint64]:
		return widen(b), nil
	case buf[uint32]:
		return widen(b), nil
	case buf[uint16]:
		return widen(b), nil
	case buf[uint8]:
		return widen(b), nil
	case buf[bool]:
		out := make([]int64, len(b))
		for i, v := range b {
			if v {
				out[i] = 1
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%v where an integer tensor is expected", t.dt)
}

func widen[T kernel.Integer](b []T) []int64 {
	out := make([]int64, len(b))
	for i, v := range b {
		out[i] = int64(v)
	}
	return out
}

// float returns element i of a floating tensor.
func (t *tensor) float(i int) float64 {
	switch b := t.buf.(type) {
	case buf[float32]:
		return float64(b[i])
	case buf[float64]:
		return b[i]
	}
	return math.NaN()
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// checkShape refuses shapes with negative sizes and more elements than an int counts.
func checkShape(shape []int) error {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return fmt.Errorf("shape %v has a negative size", shape)
		}
		if d > 0 && n > math.MaxInt/8/d {
			return fmt.Errorf("shape %v has too many elements", shape)
		}
		n *= max(d, 1)
	}
	return nil
}

func toInts(v []int64) []int {
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

// axisOf resolves a negative axis against a rank.
func axisOf(axis int64, rank int) (int, error) {
	a := axis
	if a < 0 {
		a += int64(rank)
	}
	if a < 0 || a >= int64(rank) {
		return 0, fmt.Errorf("axis %d is outside rank %d", axis, rank)
	}
	return int(a), nil
}

// axesOf resolves a list of axes and refuses repetitions; the result is sorted.
func axesOf(axes []int64, rank int) ([]int, error) {
	var out []int
	for _, a := range axes {
		i, err := axisOf(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, i) {
			return nil, fmt.Errorf("axis %d is listed twice", a)
		}
		out = append(out, i)
	}
	slices.Sort(out)
	return out, nil
}

// broadcast is the common shape of several operands under ONNX's (numpy's) rules.
func broadcast(shapes ...[]int) ([]int, error) {
	var out []int
	for _, s := range shapes {
		for len(out) < len(s) {
			out = append([]int{1}, out...)
		}
	}
	for _, s := range shapes {
		lead := len(out) - len(s)
		for i, d := range s {
			switch o := out[lead+i]; {
			case o == d || d == 1:
			case o == 1:
				out[lead+i] = d
			default:
				return nil, fmt.Errorf("shapes %v do not broadcast", shapes)
			}
		}
	}
	return out, nil
}
