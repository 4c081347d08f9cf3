package engine

import (
	"unsafe"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// stored is the content of a weight in the form that the model has it in, where that is not the form it is computed in: a float16
// weight, or a float32 weight of a run in float64. It is a buffer only so that it can be an operand. Operators that are a
// storedReader widen what they read; the others get a widened copy for as long as they run.
type stored struct {
	buffer // nil: no other method of it is called
	kernel.Stored
	encoded []byte
	n       int
}

func (s *stored) size() int    { return s.n }
func (s *stored) bytes() int64 { return int64(len(s.encoded)) }
func (s *stored) raw() any     { return s.encoded }

// storedReader is an operator that can take some of its operands as a *stored.
type storedReader interface{ readsStored(operand int) bool }

// storedFrom is the number of elements from which on a weight is never converted as a whole. Below, converting it once is cheaper.
var storedFrom = 1 << 14

// fromWeight is the content of a weight, and how many bytes of it are on the heap.
func fromWeight(t *onnxio.Tensor, shadow bool) (k *tensor, held int64, err error) {
	s, err := specOf(t, shadow)
	if err != nil {
		return nil, 0, err
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, 0, err
	}
	if !t.Mapped() {
		held = int64(len(raw))
	}
	narrow := s.dt == onnxio.Float && shadow || s.dt == onnxio.Float16 || s.dt == onnxio.BFloat16
	if narrow && s.size() >= storedFrom {
		st, err := newStored(t.Name, s, raw)
		return &tensor{s, st}, held, err
	}
	if k, err = fromRaw(t.Name, s, raw, shadow); err != nil {
		return nil, 0, err
	}
	if !k.lies(raw) {
		held += k.buf.bytes()
	}
	return k, held, nil
}

func newStored(name string, s spec, raw []byte) (*stored, error) {
	st := &stored{encoded: raw, n: s.size()}
	if s.dt == onnxio.Float {
		v, err := fromRaw(name, s, raw, false)
		if err != nil {
			return nil, err
		}
		if v.lies(raw) {
			st.F32 = v.buf.(buf[float32])
			return st, nil
		}
	}
	size := s.dt.Bits() / 8
	st.Decode = func(dst []float32, off int) {
		// The type and the lengths are right, and there are no other errors.
		_ = onnxio.DecodeFloats(dst, s.dt, raw[off*size:(off+len(dst))*size])
	}
	return st, nil
}

// lies reports whether t's content is raw itself.
func (t *tensor) lies(raw []byte) bool {
	if len(raw) == 0 {
		return true
	}
	at := unsafe.Pointer(unsafe.SliceData(raw))
	switch b := t.buf.(type) {
	case buf[float32]:
		return unsafe.Pointer(unsafe.SliceData(b)) == at
	case buf[float64]:
		return unsafe.Pointer(unsafe.SliceData(b)) == at
	}
	return false
}

// widened is t in the form it is computed in.
func (t *tensor) widened(x *exec) (*tensor, error) {
	s, ok := t.buf.(*stored)
	if !ok {
		return t, nil
	}
	b, err := newBuffer(t.dt, x.shadow, s.n)
	if err != nil {
		return nil, err
	}
	s.widenTo(x, b, 0)
	return &tensor{t.spec, b}, nil
}

// widenTo sets b to the elements from off on.
func (s *stored) widenTo(x *exec, b buffer, off int) {
	switch d := b.(type) {
	case buf[float32]:
		kernel.Widen(x.threads, d, s.Stored, off)
	case buf[float64]:
		kernel.Widen(x.threads, d, s.Stored, off)
	}
}
