package linmap

import (
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Fill is a tensor whose elements are all v, rounded to the type, in no memory. Any type of whole bytes can be filled with 0; other
// values need one of the floating types that onnxio.DType.Growable accepts, and Fill panics for another. The tensor has no name.
func Fill(dt onnxio.DType, dims []int64, v float64) *onnxio.Tensor {
	bits := dt.Bits()
	if bits == 0 || bits%8 != 0 || !dt.Growable() && v != 0 {
		panic(fmt.Sprintf("linmap: Fill: cannot fill a tensor of %v with %v", dt, v))
	}
	l := newLazy(dt, dims)
	if dt.Growable() {
		l.floats = func() (source[float64], error) { return constant(v), nil }
	}
	if math.Float64bits(v) == 0 {
		l.bytes = func() (source[byte], error) { return zeros[byte]{}, nil }
	}
	return onnxio.NewTensor("", dt, slices.Clone(dims), l)
}

// constant is one number without end.
type constant float64

func (c constant) read(dst []float64, _ int) error {
	for i := range dst {
		dst[i] = float64(c)
	}
	return nil
}

func (c constant) grain() int { return 1 }

// Blend is Σ_j w[j]·srcs[j], computed when it is written: a layer of the grown model from layers of the small one (LiGO eq. 8).
// Tensors with weight 0 are not read. A blend that is one tensor with weight 1 is that tensor itself; one whose weights are all 0 is
// zeros under the name of srcs[0]. Types and shapes must agree, and the type must be one that onnxio.DType.Growable accepts.
func Blend(srcs []*onnxio.Tensor, w []float64) (*onnxio.Tensor, error) {
	if len(srcs) == 0 || len(srcs) != len(w) {
		return nil, fmt.Errorf("linmap: cannot blend %d tensors with %d weights", len(srcs), len(w))
	}
	for _, t := range srcs {
		if err := checkLike(srcs[0], t); err != nil {
			return nil, err
		}
	}
	first := srcs[0]
	var ts []*onnxio.Tensor
	var ws []float64
	for j, t := range srcs {
		if w[j] != 0 {
			ts, ws = append(ts, t), append(ws, w[j])
		}
	}
	if len(ts) == 0 {
		return Fill(first.DType, first.Dims, 0).Renamed(first.Name), nil
	}
	if len(ts) == 1 && ws[0] == 1 {
		return ts[0], nil
	}
	return derive(first, ts, func(in []source[float64]) source[float64] { return &blend{srcs: in, w: ws} })
}

type blend struct {
	srcs []source[float64]
	w    []float64
	tmp  []float64
}

func (b *blend) read(dst []float64, off int) error {
	if err := b.srcs[0].read(dst, off); err != nil {
		return err
	}
	scale(dst, dst, b.w[0])
	for j, s := range b.srcs[1:] {
		tmp, err := readInto(&b.tmp, s, off, len(dst))
		if err != nil {
			return err
		}
		axpy(dst, tmp, b.w[j+1])
	}
	return nil
}

func (b *blend) grain() int { return b.srcs[0].grain() }

// Add is src + n, element by element: the free term N of the operator. Types and shapes must agree.
func Add(src, n *onnxio.Tensor) (*onnxio.Tensor, error) {
	if err := checkLike(src, n); err != nil {
		return nil, err
	}
	t, err := Blend([]*onnxio.Tensor{src, n}, []float64{1, 1})
	if err != nil {
		return nil, err
	}
	return t.Renamed(src.Name), nil
}

// MulAlong is src with the slices along axis multiplied by the elements of gain: a norm's gain folded into the weight that reads it
// (or, on the result axis, a layer scale folded into the weight before it). gain has as many elements as the axis, in any shape.
func MulAlong(src *onnxio.Tensor, axis int, gain *onnxio.Tensor) (*onnxio.Tensor, error) {
	n, inner, err := axisOf(src, axis)
	if err != nil {
		return nil, err
	}
	if gain.NumElements() != int64(n) || !gain.DType.Growable() {
		return nil, fmt.Errorf("linmap: gain %q of type %v and shape %v cannot multiply axis %d of tensor %q, which has size %d",
			gain.Name, gain.DType, gain.Dims, axis, src.Name, n)
	}
	return derive(src, []*onnxio.Tensor{src, gain}, func(in []source[float64]) source[float64] {
		return &gained{src: in[0], gain: in[1], n: n, inner: inner}
	})
}

type gained struct {
	src, gain source[float64]
	n, inner  int
	values    []float64
}

func (g *gained) read(dst []float64, off int) error {
	if g.values == nil {
		v := make([]float64, g.n)
		if err := g.gain.read(v, 0); err != nil {
			return err
		}
		g.values = v
	}
	if err := g.src.read(dst, off); err != nil {
		return err
	}
	for len(dst) > 0 {
		i, k := off/g.inner%g.n, min(g.inner-off%g.inner, len(dst))
		if g.inner > 1 {
			scale(dst[:k], dst[:k], g.values[i])
		} else {
			k = min(g.n-i, len(dst))
			for x, v := range g.values[i:][:k] {
				dst[x] *= v
			}
		}
		dst, off = dst[k:], off+k
	}
	return nil
}

func (g *gained) grain() int { return g.src.grain() }

// SubMean is src minus its mean along axis: (I - 11ᵀ/n) applied there. Done to every weight that writes a residual stream, it makes
// layer norm and RMS norm of the stream the same. It holds the means of one slice: the product of the sizes after axis.
func SubMean(src *onnxio.Tensor, axis int) (*onnxio.Tensor, error) {
	n, inner, err := axisOf(src, axis)
	if err != nil {
		return nil, err
	}
	return derive(src, []*onnxio.Tensor{src}, func(in []source[float64]) source[float64] {
		return &centred{src: in[0], n: n, inner: inner, outer: -1}
	})
}

type centred struct {
	src      source[float64]
	n, inner int

	outer int // the slice that means belong to, -1 for none
	means []float64
	tmp   []float64
}

func (c *centred) read(dst []float64, off int) error {
	if err := c.src.read(dst, off); err != nil {
		return err
	}
	for len(dst) > 0 {
		outer, i := off/(c.n*c.inner), off%c.inner
		if err := c.average(outer); err != nil {
			return err
		}
		k := min(c.inner-i, len(dst))
		if c.inner == 1 {
			k = min(c.n-off%c.n, len(dst))
			for x := range k {
				dst[x] -= c.means[0]
			}
		} else {
			for x, m := range c.means[i:][:k] {
				dst[x] -= m
			}
		}
		dst, off = dst[k:], off+k
	}
	return nil
}

// average sets means to those of one slice.
func (c *centred) average(outer int) error {
	if c.outer == outer {
		return nil
	}
	c.outer = -1
	if c.means == nil {
		c.means = make([]float64, c.inner)
	}
	clear(c.means)
	step := c.n
	if c.inner > 1 {
		step = min(c.n, max(1, blockSize/c.inner))
	}
	for i := 0; i < c.n; i += step {
		k := min(step, c.n-i)
		rows, err := readInto(&c.tmp, c.src, (outer*c.n+i)*c.inner, k*c.inner)
		if err != nil {
			return err
		}
		if c.inner == 1 {
			for _, v := range rows {
				c.means[0] += v
			}
			continue
		}
		for r := range k {
			axpy(c.means, rows[r*c.inner:], 1)
		}
	}
	for i := range c.means {
		c.means[i] /= float64(c.n)
	}
	c.outer = outer
	return nil
}

// grain is whole slices where they are short: reading a part takes the mean of all of it.
func (c *centred) grain() int {
	if n := c.n * c.inner; n <= blockSize {
		return max(n, 1)
	}
	return c.src.grain()
}

// readInto reads n elements into *tmp, which it makes longer if needed.
func readInto(tmp *[]float64, s source[float64], off, n int) ([]float64, error) {
	if cap(*tmp) < n {
		*tmp = make([]float64, n)
	}
	t := (*tmp)[:n]
	return t, s.read(t, off)
}

// derive is a tensor like like that is computed from inputs.
func derive(like *onnxio.Tensor, inputs []*onnxio.Tensor, f func([]source[float64]) source[float64]) (*onnxio.Tensor, error) {
	if !like.DType.Growable() {
		return nil, fmt.Errorf("linmap: tensor %q is %v, which is not a floating type to compute with", like.Name, like.DType)
	}
	for _, t := range inputs {
		if _, err := elementBytes(t); err != nil {
			return nil, err
		}
	}
	l := newLazy(like.DType, like.Dims, inputs...)
	l.floats = func() (source[float64], error) {
		in := make([]source[float64], len(inputs))
		for i, t := range inputs {
			s, err := floatsOf(t)
			if err != nil {
				return nil, err
			}
			in[i] = s
		}
		return f(in), nil
	}
	return onnxio.NewTensor(like.Name, like.DType, slices.Clone(like.Dims), l), nil
}

func checkLike(a, b *onnxio.Tensor) error {
	if a.DType != b.DType || !slices.Equal(a.Dims, b.Dims) {
		return fmt.Errorf("linmap: tensors %q of %v %v and %q of %v %v are not alike", a.Name, a.DType, a.Dims, b.Name, b.DType, b.Dims)
	}
	return nil
}

// axisOf is the size of an axis of t and the product of the sizes after it.
func axisOf(t *onnxio.Tensor, axis int) (n, inner int, err error) {
	if axis < 0 || axis >= len(t.Dims) {
		return 0, 0, fmt.Errorf("linmap: tensor %q has %d axes, there is no axis %d", t.Name, len(t.Dims), axis)
	}
	inner = 1
	for _, d := range t.Dims[axis+1:] {
		inner *= int(d)
	}
	return int(t.Dims[axis]), inner, nil
}
