package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"unsafe"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

var littleEndian = func() bool {
	return binary.NativeEndian.Uint16([]byte{1, 0}) == 1
}()

// unaligned reports whether the machine reads numbers at any address. Weights in an ONNX file begin wherever the message before
// them ends.
var unaligned = slices.Contains([]string{"386", "amd64", "arm64", "ppc64le"}, runtime.GOARCH)

// fromONNX is the tensor's content in engine form. Data that has the engine's element type already and is little-endian like the
// machine is used in place; everything else is converted.
func fromONNX(t *onnxio.Tensor, shadow bool) (*tensor, error) {
	s, err := specOf(t, shadow)
	if err != nil {
		return nil, err
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	return fromRaw(t.Name, s, raw, shadow)
}

func specOf(t *onnxio.Tensor, shadow bool) (spec, error) {
	if elemBytes(t.DType, shadow) == 0 {
		return spec{}, fmt.Errorf("tensor %q: element type %v is not supported", t.Name, t.DType)
	}
	s := spec{t.DType, toInts(t.Dims)}
	if err := checkShape(s.shape); err != nil {
		return spec{}, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return s, nil
}

// fromRaw is fromONNX of the tensor's bytes.
func fromRaw(name string, s spec, raw []byte, shadow bool) (*tensor, error) {
	n := s.size()
	b, err := newBuffer(s.dt, shadow, 0)
	if err != nil {
		return nil, err
	}
	out := &tensor{spec: s}
	switch b.(type) {
	case buf[float32]:
		if s.dt != onnxio.Float {
			v := make(buf[float32], n)
			out.buf = v
			return out, onnxio.DecodeFloats(v, s.dt, raw)
		}
	case buf[float64]:
		if s.dt != onnxio.Double {
			v := make(buf[float64], n)
			out.buf = v
			return out, onnxio.DecodeFloats(v, s.dt, raw)
		}
	}
	switch b.(type) {
	case buf[float32]:
		out.buf, err = view(raw, n, func(p []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(p)) })
	case buf[float64]:
		out.buf, err = view(raw, n, func(p []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(p)) })
	case buf[int64]:
		out.buf, err = view(raw, n, func(p []byte) int64 { return int64(binary.LittleEndian.Uint64(p)) })
	case buf[int32]:
		out.buf, err = view(raw, n, func(p []byte) int32 { return int32(binary.LittleEndian.Uint32(p)) })
	case buf[int16]:
		out.buf, err = view(raw, n, func(p []byte) int16 { return int16(binary.LittleEndian.Uint16(p)) })
	case buf[int8]:
		out.buf, err = view(raw, n, func(p []byte) int8 { return int8(p[0]) })
	case buf[uint64]:
		out.buf, err = view(raw, n, func(p []byte) uint64 { return binary.LittleEndian.Uint64(p) })
	case buf[uint32]:
		out.buf, err = view(raw, n, func(p []byte) uint32 { return binary.LittleEndian.Uint32(p) })
	case buf[uint16]:
		out.buf, err = view(raw, n, func(p []byte) uint16 { return binary.LittleEndian.Uint16(p) })
	case buf[uint8]:
		out.buf, err = view(raw, n, func(p []byte) uint8 { return p[0] })
	case buf[bool]:
		v := make(buf[bool], n) // a byte other than 0 and 1 is not a Go bool
		for i := range v {
			v[i] = raw[i] != 0
		}
		out.buf = v
	}
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	return out, nil
}

// view reinterprets raw as n elements where the machine allows it, and decodes them otherwise.
func view[T kernel.Elem](raw []byte, n int, decode func([]byte) T) (buf[T], error) {
	var z T
	size := int(unsafe.Sizeof(z))
	if len(raw) != n*size {
		return nil, fmt.Errorf("%d bytes for %d elements of %d bytes", len(raw), n, size)
	}
	if n == 0 {
		return buf[T]{}, nil
	}
	if littleEndian && (unaligned || uintptr(unsafe.Pointer(&raw[0]))%unsafe.Alignof(z) == 0) {
		return unsafe.Slice((*T)(unsafe.Pointer(&raw[0])), n), nil
	}
	out := make(buf[T], n)
	for i := range out {
		out[i] = decode(raw[i*size:])
	}
	return out, nil
}

// toONNX copies a tensor out of the engine. In shadow mode every floating type comes out as double.
func toONNX(name string, t *tensor, shadow bool) (*onnxio.Tensor, error) {
	if w := wrap(name, t, shadow); w != nil {
		raw, err := w.Bytes()
		if err != nil {
			return nil, err
		}
		return onnxio.FromBytes(name, w.DType, w.Dims, bytes.Clone(raw))
	}
	dims := make([]int64, len(t.shape))
	for i, d := range t.shape {
		dims[i] = int64(d)
	}
	switch b := t.buf.(type) {
	case buf[float64]:
		if shadow && isFloat(t.dt) {
			return onnxio.FromFloat64s(name, dims, b), nil
		}
		return onnxio.FromFloats(name, t.dt, dims, b)
	case buf[float32]:
		if t.dt == onnxio.Float {
			return onnxio.FromFloat32s(name, dims, b), nil
		}
		wide := make([]float64, len(b))
		for i, v := range b {
			wide[i] = float64(v)
		}
		return onnxio.FromFloats(name, t.dt, dims, wide)
	case buf[bool]:
		return onnxio.FromBools(name, dims, b), nil
	case buf[int64]:
		return onnxio.FromInt64s(name, dims, b), nil
	}
	raw := make([]byte, t.size()*int(elemBytes(t.dt, false)))
	if _, err := binary.Encode(raw, binary.LittleEndian, t.buf.raw()); err != nil {
		return nil, err
	}
	return onnxio.FromBytes(name, t.dt, dims, raw)
}

// wrap is toONNX without a copy, for a buffer that nobody will write to again; nil where the engine's form is not the tensor's.
func wrap(name string, t *tensor, shadow bool) *onnxio.Tensor {
	if !littleEndian || t.size() == 0 {
		return nil
	}
	dt := t.dt
	var at unsafe.Pointer
	switch b := t.buf.(type) {
	case buf[float64]:
		if dt != onnxio.Double && !shadow {
			return nil
		}
		dt, at = onnxio.Double, unsafe.Pointer(&b[0])
	case buf[float32]:
		if dt != onnxio.Float {
			return nil
		}
		at = unsafe.Pointer(&b[0])
	default:
		return nil
	}
	dims := make([]int64, len(t.shape))
	for i, d := range t.shape {
		dims[i] = int64(d)
	}
	r, err := onnxio.FromBytes(name, dt, dims, unsafe.Slice((*byte)(at), t.buf.bytes()))
	if err != nil {
		return nil
	}
	return r
}

// roundTo rounds every element of a float32 buffer to float16 or bfloat16, in place.
func roundTo(dt onnxio.DType, b []float32) error {
	raw := make([]byte, 2*len(b))
	if err := onnxio.EncodeFloats(raw, dt, b); err != nil {
		return err
	}
	return onnxio.DecodeFloats(b, dt, raw)
}
