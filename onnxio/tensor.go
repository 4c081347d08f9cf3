package onnxio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// Tensor is a named constant. Its bytes stay in the mapped model file (or external data file) until they are asked for.
// A tensor is immutable: growing makes new tensors.
type Tensor struct {
	Name  string
	DType DType
	Dims  []int64
	Doc   string

	data Data // see payload
	src  *onnxpb.TensorProto
}

// Data gives a tensor's elements: little-endian, row-major, in ONNX's raw_data form (4-bit and 2-bit elements packed, bool one
// byte). Implementations may compute them on demand; both calls must give the same bytes every time. An implementation that is
// an io.ReaderAt as well lets parts be read without computing the rest.
type Data interface {
	// Len is the number of bytes.
	Len() int64
	// WriteTo writes all bytes; a writer's error is returned unwrapped.
	io.WriterTo
}

// NewTensor makes a tensor from data. That dims and data agree is checked when the tensor is read or written.
func NewTensor(name string, dt DType, dims []int64, d Data) *Tensor {
	if d == nil {
		d = memory(nil)
	}
	return &Tensor{Name: name, DType: dt, Dims: dims, data: d}
}

// FromBytes makes a tensor from its raw form, which it keeps and the caller must not change.
func FromBytes(name string, dt DType, dims []int64, raw []byte) (*Tensor, error) {
	t := NewTensor(name, dt, dims, memory(raw))
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

// FromFloat32s makes a float32 tensor.
func FromFloat32s(name string, dims []int64, v []float32) *Tensor {
	return fromFloats(name, Float, dims, v)
}

// FromFloat64s makes a float64 tensor.
func FromFloat64s(name string, dims []int64, v []float64) *Tensor {
	return fromFloats(name, Double, dims, v)
}

// FromFloats makes a tensor of a float type (one that Growable accepts), rounding each value once.
func FromFloats(name string, dt DType, dims []int64, v []float64) (*Tensor, error) {
	if !dt.Growable() {
		return nil, invalid(tensorWhere(name), "cannot make %v from floating-point numbers", dt)
	}
	t := fromFloats(name, dt, dims, v)
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

func fromFloats[F float](name string, dt DType, dims []int64, v []F) *Tensor {
	raw := make(memory, len(v)*dt.Bits()/8)
	// The only errors are a type that is not a float and a wrong length; the callers exclude both.
	_ = EncodeFloats(raw, dt, v)
	return NewTensor(name, dt, dims, raw)
}

// FromInts makes a tensor of any integer type, or of bools, of values that the type holds.
func FromInts(name string, dt DType, dims, v []int64) (*Tensor, error) {
	size := 1
	if dt != Bool {
		size = dt.Bits() / 8
	}
	raw := make([]byte, 0, size*len(v))
	var b [8]byte
	for _, x := range v {
		binary.LittleEndian.PutUint64(b[:], uint64(x))
		raw = append(raw, b[:size]...)
	}
	return FromBytes(name, dt, dims, raw)
}

// FromInt64s makes an int64 tensor.
func FromInt64s(name string, dims []int64, v []int64) *Tensor {
	return NewTensor(name, Int64, dims, memory(int64Bytes(v)))
}

// FromBools makes a bool tensor.
func FromBools(name string, dims []int64, v []bool) *Tensor {
	raw := make(memory, len(v))
	for i, b := range v {
		if b {
			raw[i] = 1
		}
	}
	return NewTensor(name, Bool, dims, raw)
}

// FromStrings makes a tensor of strings.
func FromStrings(name string, dims []int64, v [][]byte) *Tensor {
	return &Tensor{Name: name, DType: String, Dims: dims, src: &onnxpb.TensorProto{StringData: v}}
}

// Renamed is the same tensor under another name; the data is shared.
func (t *Tensor) Renamed(name string) *Tensor {
	c := *t
	c.Name = name
	return &c
}

// NumElements is the product of the sizes; -1 if they are negative or multiply to more than an int64 holds, which no tensor
// that was read has.
func (t *Tensor) NumElements() int64 {
	n, err := elements(t.Dims)
	if err != nil {
		return -1
	}
	return n
}

// ByteLen is the number of bytes of the raw form; for strings, of all strings together.
func (t *Tensor) ByteLen() int64 {
	if t.DType == String {
		n := int64(0)
		for _, s := range t.src.GetStringData() {
			n += int64(len(s))
		}
		return n
	}
	return t.payload().Len()
}

// Data is where the bytes come from; nil for a tensor of strings, which have no raw form.
func (t *Tensor) Data() Data {
	if t.DType == String {
		return nil
	}
	return t.payload()
}

// payload is the data of a tensor that is not strings. One made as a plain Tensor{} has none, which counts as no bytes.
func (t *Tensor) payload() Data {
	if t.data == nil {
		return memory(nil)
	}
	return t.data
}

// Mapped reports whether the bytes are in a file and not on the heap.
func (t *Tensor) Mapped() bool {
	r, ok := t.data.(region)
	return ok && r.file.lazy
}

// Forget says that the bytes will not be needed soon, so that pages of a mapped file leave memory. It is advice: they are read
// again when they are asked for.
func (t *Tensor) Forget() {
	if r, ok := t.data.(region); ok && r.n > 0 {
		// Nothing to do about a file that cannot be read: whoever asks for the bytes will be told.
		_ = r.file.use(func(data []byte) error {
			r.file.forget(data[r.off : r.off+r.n])
			return nil
		})
	}
}

// check tells whether type, sizes and data agree, for tensors that were not validated when they were read.
func (t *Tensor) check() error {
	if !t.DType.Valid() {
		return invalid(tensorWhere(t.Name), "element type %v does not exist", t.DType)
	}
	n, err := elements(t.Dims)
	if err != nil {
		return invalid(tensorWhere(t.Name), "%v", err)
	}
	if t.DType == String {
		if got := len(t.src.GetStringData()); int64(got) != n {
			return invalid(tensorWhere(t.Name), "%d strings for shape %s, which has %d elements", got, abbreviate(t.Dims), n)
		}
		return nil
	}
	want, err := byteLen(t.DType, n)
	if err != nil {
		return invalid(tensorWhere(t.Name), "%v", err)
	}
	if got := t.payload().Len(); got != want {
		return invalid(tensorWhere(t.Name), "%d bytes of data, shape %s of %v needs %d", got, abbreviate(t.Dims), t.DType, want)
	}
	return nil
}

// Equal reports whether both tensors have the same type, sizes and bytes; names do not matter.
func (t *Tensor) Equal(o *Tensor) (bool, error) {
	if t == o {
		return true, nil
	}
	if t.DType != o.DType || len(t.Dims) != len(o.Dims) || t.ByteLen() != o.ByteLen() {
		return false, nil
	}
	for i := range t.Dims {
		if t.Dims[i] != o.Dims[i] {
			return false, nil
		}
	}
	if t.DType == String {
		a, b := t.src.GetStringData(), o.src.GetStringData()
		for i := range a {
			if i >= len(b) || !bytes.Equal(a[i], b[i]) {
				return false, nil
			}
		}
		return len(a) == len(b), nil
	}
	want, err := t.Bytes()
	if err != nil {
		return false, err
	}
	c := comparer{want: want, release: t.release()}
	if _, err := o.payload().WriteTo(&c); err != nil && err != errDiffer {
		return false, fmt.Errorf("%s: %w", tensorWhere(o.Name), err)
	}
	return !c.differ && c.at == len(want), nil
}

// release gives back the pages of a part of the bytes that Bytes returned.
func (t *Tensor) release() func([]byte) {
	if r, ok := t.data.(region); ok {
		return r.file.forget
	}
	return func([]byte) {}
}

var errDiffer = fmt.Errorf("bytes differ")

// comparer is a writer that compares what is written with what is wanted and stops at the first difference.
type comparer struct {
	want    []byte
	at      int
	differ  bool
	release func([]byte)
}

func (c *comparer) Write(p []byte) (int, error) {
	if len(p) > len(c.want)-c.at || !bytes.Equal(p, c.want[c.at:c.at+len(p)]) {
		c.differ = true
		return 0, errDiffer
	}
	c.release(c.want[c.at : c.at+len(p)])
	c.at += len(p)
	return len(p), nil
}

func tensorWhere(name string) string { return fmt.Sprintf("tensor %q", name) }
