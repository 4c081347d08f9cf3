package linmap

import "github.com/ligoonnx/ligoonnx/onnxio"

// source is a sequence of elements that are computed when they are read. It has state (scratch, caches), so it is made for one
// reader and dropped.
type source[E lane] interface {
	// read sets dst to the elements from off on.
	read(dst []E, off int) error
	// grain is a number of elements of which reads had best be multiples, aligned; 1 if it does not matter.
	grain() int
}

// resident is a source that lies in memory.
type resident[E lane] interface {
	source[E]
	view(off, n int) []E
}

// memory is elements in memory.
type memory[E lane] []E

func (m memory[E]) read(dst []E, off int) error { copy(dst, m[off:][:len(dst)]); return nil }
func (m memory[E]) view(off, n int) []E         { return m[off:][:n] }
func (m memory[E]) grain() int                  { return 1 }

// stored is the elements of a tensor as numbers.
type stored struct {
	dt  onnxio.DType
	raw []byte
}

func (s stored) read(dst []float64, off int) error {
	size := s.dt.Bits() / 8
	return onnxio.DecodeFloats(dst, s.dt, s.raw[off*size:][:len(dst)*size])
}

func (s stored) grain() int { return 1 }

// floatsOf is the elements of t, not yet rounded if they are computed by this package.
func floatsOf(t *onnxio.Tensor) (source[float64], error) {
	if l, ok := t.Data().(*lazy); ok {
		return l.floats()
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	return stored{t.DType, raw}, nil
}

// bytesOf is the bytes of t.
func bytesOf(t *onnxio.Tensor) (source[byte], error) {
	if l, ok := t.Data().(*lazy); ok && l.bytes != nil {
		return l.bytes()
	}
	raw, err := t.Bytes()
	return memory[byte](raw), err
}

// part is a range of a source, times a weight.
type part[E lane] struct {
	src source[E]
	off int
	w   float64
}

func (p part[E]) read(dst []E, off int) error {
	if err := p.src.read(dst, p.off+off); err != nil {
		return err
	}
	scale(dst, dst, p.w)
	return nil
}

func (p part[E]) grain() int { return 1 }

// residentPart is a range of a source in memory.
type residentPart[E lane] struct {
	src resident[E]
	off int
}

func (p residentPart[E]) read(dst []E, off int) error { return p.src.read(dst, p.off+off) }
func (p residentPart[E]) view(off, n int) []E         { return p.src.view(p.off+off, n) }
func (p residentPart[E]) grain() int                  { return 1 }

// from is w times src from element off on.
func from[E lane](src source[E], off int, w float64) source[E] {
	if r, ok := src.(resident[E]); ok && w == 1 {
		return residentPart[E]{r, off}
	}
	return part[E]{src, off, w}
}

// zeros is zeros without end.
type zeros[E lane] struct{}

func (zeros[E]) read(dst []E, _ int) error { clear(dst); return nil }
func (zeros[E]) grain() int                { return 1 }

// mixture is Σ_k val[k] · rows col[k] of src, rows having size elements.
type mixture struct {
	src  source[float64]
	size int
	col  []int32
	val  []float64
	tmp  []float64
}

func (m *mixture) read(dst []float64, off int) error {
	clear(dst)
	if len(m.tmp) < len(dst) {
		m.tmp = make([]float64, len(dst))
	}
	for k, c := range m.col {
		row := m.tmp[:len(dst)]
		if r, ok := m.src.(resident[float64]); ok {
			row = r.view(int(c)*m.size+off, len(dst))
		} else if err := m.src.read(row, int(c)*m.size+off); err != nil {
			return err
		}
		axpy(dst, row, m.val[k])
	}
	return nil
}

func (m *mixture) grain() int { return 1 }

// chain is sources one after the other, of which only the one being read exists.
type chain[E lane] struct {
	make []func() source[E]
	ends []int // where each ends
	at   int
	src  source[E] // make[at](), or nil
}

func (c *chain[E]) read(dst []E, off int) error {
	start := 0
	for i, end := range c.ends {
		if len(dst) > 0 && off < end {
			if c.src == nil || c.at != i {
				c.src, c.at = c.make[i](), i
			}
			n := min(len(dst), end-off)
			if err := c.src.read(dst[:n], off-start); err != nil {
				return err
			}
			dst, off = dst[n:], off+n
		}
		start = end
	}
	return nil
}

func (c *chain[E]) grain() int { return 1 }
