package safetensors

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
)

// Tensor is what is written. Values are []float64, []float32, []int64 or []int32, as DType says, or an io.WriterTo that gives the
// bytes of the elements, for any type.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int64
	Values any
}

// metadataKey is where the header has the map of strings.
const metadataKey = "__metadata__"

// entry is a tensor in the header.
type entry struct {
	DType   DType    `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// Write writes tensors in the given order. The same content gives the same bytes.
func Write(w io.Writer, metadata map[string]string, tensors []Tensor) error {
	header := map[string]any{}
	if len(metadata) > 0 {
		header[metadataKey] = metadata
	}
	at := int64(0)
	for _, t := range tensors {
		if _, twice := header[t.Name]; twice || t.Name == metadataKey {
			return fmt.Errorf("two tensors are named %q", t.Name)
		}
		n, ok := bytesOf(t.DType, t.Shape)
		if !ok {
			return fmt.Errorf("tensor %q: %s of shape %v cannot be written", t.Name, t.DType, t.Shape)
		}
		header[t.Name] = entry{t.DType, append([]int64{}, t.Shape...), [2]int64{at, at + n}}
		at += n
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
	for _, t := range tensors {
		n, err := writeValues(b, t.DType, t.Values)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if want, _ := bytesOf(t.DType, t.Shape); n != want {
			return fmt.Errorf("tensor %q: its values have %d bytes, %s of shape %v takes %d", t.Name, n, t.DType, t.Shape, want)
		}
	}
	return b.Flush()
}

// writeValues tells how many bytes it wrote.
func writeValues(b *bufio.Writer, dt DType, values any) (int64, error) {
	var word [8]byte
	switch v := values.(type) {
	case []float64:
		for _, x := range v {
			binary.LittleEndian.PutUint64(word[:], math.Float64bits(x))
			_, _ = b.Write(word[:])
		}
		return 8 * int64(len(v)), expect(dt, F64)
	case []float32:
		for _, x := range v {
			binary.LittleEndian.PutUint32(word[:], math.Float32bits(x))
			_, _ = b.Write(word[:4])
		}
		return 4 * int64(len(v)), expect(dt, F32)
	case []int64:
		for _, x := range v {
			binary.LittleEndian.PutUint64(word[:], uint64(x))
			_, _ = b.Write(word[:])
		}
		return 8 * int64(len(v)), expect(dt, I64)
	case []int32:
		for _, x := range v {
			binary.LittleEndian.PutUint32(word[:], uint32(x))
			_, _ = b.Write(word[:4])
		}
		return 4 * int64(len(v)), expect(dt, I32)
	case io.WriterTo:
		return v.WriteTo(b)
	}
	return 0, fmt.Errorf("values of type %T cannot be written", values)
}

func expect(have, want DType) error {
	if have != want {
		return fmt.Errorf("is said to be %s and holds %s", have, want)
	}
	return nil
}

// bytesOf is the number of bytes of a tensor; ok is false for an unknown type and for a size that cannot be.
func bytesOf(dt DType, shape []int64) (n int64, ok bool) {
	n = dt.Size()
	ok = n > 0
	for _, d := range shape {
		// Sizes behind a 0 count as well: no tensor has so many rows of nothing.
		if d < 0 || d > 0 && n > math.MaxInt64/d {
			return 0, false
		}
		n *= d
	}
	return n, ok && !slices.ContainsFunc(shape, func(d int64) bool { return d > math.MaxInt32 })
}
