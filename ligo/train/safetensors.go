package train

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine"
)

// The safetensors format (https://huggingface.co/docs/safetensors): 8 bytes with the length of a JSON header, the header, and the
// elements of all tensors, little-endian, row-major, one after the other.

// namedFloats is a tensor of a safetensors file.
type namedFloats struct {
	name   string
	shape  []int
	values engine.Floats
}

// entry is a tensor in the header of a file.
type entry struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// maxHeader bounds the header, as the format's own readers do.
const maxHeader = 100 << 20

func (n namedFloats) dtype() (string, int64) {
	if n.values.F64 != nil {
		return "F64", 8
	}
	return "F32", 4
}

// writeSafetensors writes tensors in the given order.
func writeSafetensors(w io.Writer, tensors []namedFloats) error {
	header := map[string]entry{}
	at := int64(0)
	for _, t := range tensors {
		if _, twice := header[t.name]; twice {
			return fmt.Errorf("two tensors are named %q", t.name)
		}
		dt, size := t.dtype()
		e := entry{DType: dt, Shape: []int64{}, Offsets: [2]int64{at, at + size*int64(t.values.Len())}}
		for _, d := range t.shape {
			e.Shape = append(e.Shape, int64(d))
		}
		header[t.name], at = e, e.Offsets[1]
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ') // the elements are to be aligned
	}
	b := bufio.NewWriterSize(w, 1<<16)
	// The writer remembers its first error; Flush returns it.
	_, _ = b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))
	_, _ = b.Write(text)
	var word [8]byte
	for _, t := range tensors {
		for _, v := range t.values.F32 {
			binary.LittleEndian.PutUint32(word[:], math.Float32bits(v))
			_, _ = b.Write(word[:4])
		}
		for _, v := range t.values.F64 {
			binary.LittleEndian.PutUint64(word[:], math.Float64bits(v))
			_, _ = b.Write(word[:])
		}
	}
	return b.Flush()
}

// readSafetensors fills the values of the tensors that are wanted from a file of the given size, which must hold exactly those, in these
// types and shapes. Nothing is allocated on the word of the file but its header.
func readSafetensors(r io.ReaderAt, size int64, want []namedFloats) error {
	var word [8]byte
	if _, err := r.ReadAt(word[:], 0); err != nil {
		return fmt.Errorf("its %d bytes hold no header: %w", size, err)
	}
	n := binary.LittleEndian.Uint64(word[:])
	if n > maxHeader || int64(n) > size-8 {
		return fmt.Errorf("its header is said to have %d bytes, the file has %d", n, size)
	}
	text := make([]byte, n)
	if _, err := r.ReadAt(text, 8); err != nil {
		return err
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(text, &header); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	delete(header, "__metadata__")
	start := 8 + int64(n)
	for _, t := range want {
		var e entry
		raw, ok := header[t.name]
		if !ok {
			return fmt.Errorf("it holds no tensor %q", t.name)
		}
		delete(header, t.name)
		if err := json.Unmarshal(raw, &e); err != nil {
			return fmt.Errorf("tensor %q: %w", t.name, err)
		}
		if err := e.fits(t, size-start); err != nil {
			return fmt.Errorf("tensor %q %w", t.name, err)
		}
		if err := fill(io.NewSectionReader(r, start+e.Offsets[0], e.Offsets[1]-e.Offsets[0]), t.values); err != nil {
			return fmt.Errorf("tensor %q: %w", t.name, err)
		}
	}
	for name := range header {
		return fmt.Errorf("it holds a tensor %.100q, which the model does not train", name)
	}
	return nil
}

// fits compares a tensor of the file with the one that is wanted; the elements have the given number of bytes in all.
func (e entry) fits(t namedFloats, bytes int64) error {
	dt, size := t.dtype()
	shape := make([]int64, len(t.shape))
	for i, d := range t.shape {
		shape[i] = int64(d)
	}
	if e.DType != dt || !slices.Equal(e.Shape, shape) {
		return fmt.Errorf("is %.20s of shape %.100s, not %s of shape %v", e.DType, fmt.Sprint(e.Shape), dt, shape)
	}
	if n := size * int64(t.values.Len()); e.Offsets[0] < 0 || e.Offsets[0] > bytes-n || e.Offsets[1] != e.Offsets[0]+n {
		return fmt.Errorf("lies at %v of %d bytes, it needs %d", e.Offsets, bytes, n)
	}
	return nil
}

func fill(r io.Reader, f engine.Floats) error {
	b := bufio.NewReaderSize(r, 1<<16)
	var word [8]byte
	for i := range f.F32 {
		if _, err := io.ReadFull(b, word[:4]); err != nil {
			return err
		}
		f.F32[i] = math.Float32frombits(binary.LittleEndian.Uint32(word[:]))
	}
	for i := range f.F64 {
		if _, err := io.ReadFull(b, word[:]); err != nil {
			return err
		}
		f.F64[i] = math.Float64frombits(binary.LittleEndian.Uint64(word[:]))
	}
	return nil
}
