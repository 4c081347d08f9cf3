package onnxio

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Bytes is the raw form. It may be the mapped file itself: callers must not change it, and not use it after the model is closed.
func (t *Tensor) Bytes() ([]byte, error) {
	if t.DType == String {
		return nil, invalid(tensorWhere(t.Name), "strings have no raw form")
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	switch d := t.payload().(type) {
	case memory:
		return d, nil
	case typedField:
		return d.bytes(), nil
	case region:
		var view []byte
		err := d.file.use(func(data []byte) error {
			view = data[d.off : d.off+d.n : d.off+d.n]
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tensorWhere(t.Name), err)
		}
		return view, nil
	}
	buf := filler{buf: make([]byte, 0, t.data.Len())}
	if _, err := t.data.WriteTo(&buf); err != nil {
		return nil, fmt.Errorf("%s: %w", tensorWhere(t.Name), err)
	}
	if len(buf.buf) != cap(buf.buf) {
		return nil, fmt.Errorf("%s: its data gave %d bytes after announcing %d", tensorWhere(t.Name), len(buf.buf), cap(buf.buf))
	}
	return buf.buf, nil
}

// filler is a writer into a buffer that never grows, so that data which gives more than it announced is an error.
type filler struct{ buf []byte }

func (f *filler) Write(p []byte) (int, error) {
	if len(p) > cap(f.buf)-len(f.buf) {
		return 0, fmt.Errorf("more than the %d bytes announced", cap(f.buf))
	}
	f.buf = append(f.buf, p...)
	return len(p), nil
}

// ReadAt reads bytes of the raw form from an offset, like io.ReaderAt. It is cheap for data in a file or on the heap and computes
// everything for other data.
func (t *Tensor) ReadAt(p []byte, off int64) (int, error) {
	if r, ok := t.payload().(io.ReaderAt); ok {
		n, err := r.ReadAt(p, off)
		if err != nil && err != io.EOF {
			err = fmt.Errorf("%s: %w", tensorWhere(t.Name), err)
		}
		return n, err
	}
	raw, err := t.Bytes()
	if err != nil {
		return 0, err
	}
	return memory(raw).ReadAt(p, off)
}

// Float32s is every element as a float32: floats up to 32 bits widened, float64 rounded, integers and bools converted.
func (t *Tensor) Float32s() ([]float32, error) { return floats[float32](t) }

// Float64s is every element as a float64.
func (t *Tensor) Float64s() ([]float64, error) { return floats[float64](t) }

func floats[F float](t *Tensor) ([]F, error) {
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	if t.DType.Growable() {
		out := make([]F, len(raw)/(t.DType.Bits()/8))
		if err := DecodeFloats(out, t.DType, raw); err != nil {
			return nil, invalid(tensorWhere(t.Name), "%v", err)
		}
		return out, nil
	}
	ints, err := decodeInts(t.DType, raw)
	if err != nil {
		return nil, invalid(tensorWhere(t.Name), "cannot be read as floating-point numbers: %v", err)
	}
	out := make([]F, len(ints))
	for i, v := range ints {
		out[i] = F(v)
	}
	return out, nil
}

// Int64s is every element of an integer or bool tensor.
func (t *Tensor) Int64s() ([]int64, error) {
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	out, err := decodeInts(t.DType, raw)
	if err != nil {
		return nil, invalid(tensorWhere(t.Name), "cannot be read as integers: %v", err)
	}
	return out, nil
}

// Bools is every element of a bool tensor.
func (t *Tensor) Bools() ([]bool, error) {
	if t.DType != Bool {
		return nil, invalid(tensorWhere(t.Name), "is %v, not bool", t.DType)
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(raw))
	for i, b := range raw {
		out[i] = b != 0
	}
	return out, nil
}

// Strings is every element of a string tensor.
func (t *Tensor) Strings() ([][]byte, error) {
	if t.DType != String {
		return nil, invalid(tensorWhere(t.Name), "is %v, not string", t.DType)
	}
	return t.src.GetStringData(), nil
}

func int64Bytes(v []int64) []byte {
	raw := make([]byte, 0, 8*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return raw
}
