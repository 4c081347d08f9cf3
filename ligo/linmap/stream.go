package linmap

import (
	"io"
	"runtime"

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

// WriteTo computes and writes all bytes. While a block is written, the next ones are computed.
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
	fills := []func([]byte, int64) error{fill}
	if total >= parallelFrom && runtime.GOMAXPROCS(0) > 1 {
		other, _, err := l.open()
		if err != nil {
			return 0, err
		}
		fills = append(fills, other)
	}
	return pipe(w, fills, total, block)
}

// writeSize is about how many bytes are computed and written at a time.
var writeSize = 512 << 10

// parallelFrom is the number of bytes from which on two goroutines compute. Each has sources of its own, which costs memory and,
// where a source is loaded first, time.
var parallelFrom int64 = 2 << 20

// filled is a block that was computed.
type filled struct {
	buf []byte
	err error
}

// filler computes every step-th block.
type filler struct {
	fill  func([]byte, int64) error
	empty chan []byte
	full  chan filled
}

// run computes blocks from off on until all are done or stop is closed.
func (f *filler) run(off, step, block, total int64, stop chan struct{}) {
	defer close(f.full)
	for ; off < total; off += step {
		var buf []byte
		select {
		case buf = <-f.empty:
		case <-stop:
			return
		}
		b := filled{buf: buf[:min(block, total-off)]}
		b.err = f.fill(b.buf, off)
		select {
		case f.full <- b:
		case <-stop:
			return
		}
		if b.err != nil {
			return
		}
	}
}

// pipe writes total bytes in blocks, which the fills compute in turn while others are written. The bytes of a block do not depend on
// who computes it.
func pipe(w io.Writer, fills []func([]byte, int64) error, total, block int64) (int64, error) {
	stop := make(chan struct{})
	var fillers []*filler
	for i, fill := range fills {
		f := &filler{fill, make(chan []byte, 2), make(chan filled)}
		f.empty <- make([]byte, block)
		f.empty <- make([]byte, block)
		fillers = append(fillers, f)
		go f.run(int64(i)*block, int64(len(fills))*block, block, total, stop)
	}
	// The other goroutines read mapped memory: they must be gone before the caller may close the model.
	defer func() {
		close(stop)
		for _, f := range fillers {
			for range f.full {
			}
		}
	}()
	done := int64(0)
	for i := 0; done < total; i++ {
		f := fillers[i%len(fillers)]
		b := <-f.full
		if b.err != nil {
			return done, b.err
		}
		n, err := w.Write(b.buf)
		done += int64(n)
		if err != nil {
			return done, err
		}
		f.empty <- b.buf[:block]
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
