package linmap

import (
	"io"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// lazy is tensor data that is computed when it is written: the onnxio.Data of every tensor that this package makes. Its sources are
// made anew for each reader, so it may be read by several goroutines at once.
type lazy struct {
	dt     onnxio.DType
	n      int64 // elements
	floats func() (source[float64], error)
	bytes  func() (source[byte], error) // nil unless the data is copied bits
	inputs []*onnxio.Tensor
}

var _ io.ReaderAt = (*lazy)(nil)

// newLazy is data of the given shape; its source is still to be set.
func newLazy(dt onnxio.DType, dims []int64, inputs ...*onnxio.Tensor) *lazy {
	return &lazy{dt: dt, n: onnxio.NewTensor("", dt, dims, nil).NumElements(), inputs: inputs}
}

// Len is the number of bytes.
func (l *lazy) Len() int64 { return l.n * int64(l.dt.Bits()/8) }

// open is a function that computes bytes from an offset that is a multiple of the element size, and the number of bytes that
// calls had best be a multiple of.
func (l *lazy) open() (fill func(p []byte, off int64) error, grain int, err error) {
	if l.bytes != nil {
		src, err := l.bytes()
		if err != nil {
			return nil, 0, err
		}
		return func(p []byte, off int64) error { return src.read(p, int(off)) }, src.grain(), nil
	}
	src, err := l.floats()
	if err != nil {
		return nil, 0, err
	}
	size := l.dt.Bits() / 8
	var tmp []float64
	return func(p []byte, off int64) error {
		n := len(p) / size
		if cap(tmp) < n {
			tmp = make([]float64, n)
		}
		if err := src.read(tmp[:n], int(off)/size); err != nil {
			return err
		}
		return onnxio.EncodeFloats(p, l.dt, tmp[:n])
	}, src.grain() * size, nil
}

// WriteTo computes and writes all bytes. While a block is written, the next is computed.
func (l *lazy) WriteTo(w io.Writer) (int64, error) {
	fill, grain, err := l.open()
	if err != nil {
		return 0, err
	}
	defer func() {
		for _, t := range l.inputs {
			t.Forget()
		}
	}()
	total := l.Len()
	block := int64(max(1, writeSize/grain) * grain)
	if total <= block {
		buf := make([]byte, total)
		if err := fill(buf, 0); err != nil {
			return 0, err
		}
		n, err := w.Write(buf)
		return int64(n), err
	}
	return pipe(w, fill, total, block)
}

// writeSize is about how many bytes are computed and written at a time.
var writeSize = 512 << 10

// pipe writes total bytes in blocks, computing one while another is written.
func pipe(w io.Writer, fill func([]byte, int64) error, total, block int64) (int64, error) {
	type filled struct {
		buf []byte
		err error
	}
	empty, full, stop := make(chan []byte, 2), make(chan filled), make(chan struct{})
	empty <- make([]byte, block)
	empty <- make([]byte, block)
	go func() {
		defer close(full)
		for off := int64(0); off < total; off += block {
			var buf []byte
			select {
			case buf = <-empty:
			case <-stop:
				return
			}
			f := filled{buf: buf[:min(block, total-off)]}
			f.err = fill(f.buf, off)
			select {
			case full <- f:
			case <-stop:
				return
			}
			if f.err != nil {
				return
			}
		}
	}()
	// The other goroutine reads mapped memory: it must be gone before the caller may close the model.
	defer func() {
		close(stop)
		for range full {
		}
	}()
	done := int64(0)
	for f := range full {
		if f.err != nil {
			return done, f.err
		}
		n, err := w.Write(f.buf)
		done += int64(n)
		if err != nil {
			return done, err
		}
		empty <- f.buf[:block]
	}
	return done, nil
}

// ReadAt computes the bytes from off on. Small reads are dear: each prepares its sources anew.
func (l *lazy) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= l.Len() {
		return 0, io.EOF
	}
	fill, _, err := l.open()
	if err != nil {
		return 0, err
	}
	size := int64(l.dt.Bits() / 8)
	end := min(off+int64(len(p)), l.Len())
	first, last := off/size*size, (end+size-1)/size*size
	buf := p[:end-off]
	if first != off || last != end {
		buf = make([]byte, last-first)
	}
	if err := fill(buf, first); err != nil {
		return 0, err
	}
	if first != off || last != end {
		copy(p, buf[off-first:end-first])
	}
	if n := int(end - off); n < len(p) {
		return n, io.EOF
	}
	return int(end - off), nil
}
