package onnxio

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// chunk is how much of a mapped file is written, compared or read at a time: little enough that the pages behind can be given
// back while going on, and that a cancelled write stops soon.
const chunk = 4 << 20

// memory is tensor data on the heap.
type memory []byte

func (m memory) Len() int64 { return int64(len(m)) }

func (m memory) WriteTo(w io.Writer) (int64, error) {
	n := int64(0)
	for len(m) > 0 {
		part := m[:min(len(m), chunk)]
		k, err := w.Write(part)
		n += int64(k)
		if err != nil {
			return n, err
		}
		m = m[len(part):]
	}
	return n, nil
}

func (m memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m).ReadAt(p, off) }

// region is tensor data in a mapped file.
type region struct {
	file *mapping
	off  int64
	n    int64
}

func (r region) Len() int64 { return r.n }

func (r region) WriteTo(w io.Writer) (n int64, err error) {
	err = r.file.use(func(data []byte) error {
		for n < r.n {
			part := data[r.off+n : r.off+min(n+chunk, r.n)]
			k, err := w.Write(part)
			n += int64(k)
			if err != nil {
				return err
			}
			r.file.forget(part)
		}
		return nil
	})
	return n, err
}

func (r region) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off > r.n {
		return 0, io.EOF
	}
	err = r.file.use(func(data []byte) error {
		n = copy(p, data[r.off+off:r.off+r.n])
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// typedField is tensor data in one of TensorProto's typed fields, which is converted to raw form when it is wanted.
type typedField struct {
	src *onnxpb.TensorProto
	n   int64 // bytes in raw form
}

func (t typedField) Len() int64 { return t.n }

func (t typedField) WriteTo(w io.Writer) (int64, error) { return memory(t.bytes()).WriteTo(w) }

func (t typedField) bytes() []byte {
	le := binary.LittleEndian
	out := make([]byte, 0, t.n)
	p := t.src
	switch dt := DType(p.GetDataType()); dt {
	case Float, Complex64:
		for _, v := range p.FloatData {
			out = le.AppendUint32(out, math.Float32bits(v))
		}
	case Double, Complex128:
		for _, v := range p.DoubleData {
			out = le.AppendUint64(out, math.Float64bits(v))
		}
	case Int64:
		for _, v := range p.Int64Data {
			out = le.AppendUint64(out, uint64(v))
		}
	case Uint64:
		for _, v := range p.Uint64Data {
			out = le.AppendUint64(out, v)
		}
	case Uint32:
		for _, v := range p.Uint64Data {
			out = le.AppendUint32(out, uint32(v))
		}
	case Int32:
		for _, v := range p.Int32Data {
			out = le.AppendUint32(out, uint32(v))
		}
	case Int16, Uint16, Float16, BFloat16:
		for _, v := range p.Int32Data {
			out = le.AppendUint16(out, uint16(v))
		}
	case Bool:
		for _, v := range p.Int32Data {
			b := byte(0)
			if v != 0 {
				b = 1
			}
			out = append(out, b)
		}
	default: // 8 bits and less: one byte a number
		for _, v := range p.Int32Data {
			out = append(out, byte(v))
		}
	}
	return out
}

// typedCount is how many numbers the typed field of dt must hold for n elements.
func typedCount(dt DType, n int64) int64 {
	switch dt {
	case Complex64, Complex128:
		return 2 * n
	case Uint4, Int4, Float4E2M1:
		return n/2 + n%2
	case Uint2, Int2:
		return n/4 + (n%4+3)/4
	}
	return n
}
