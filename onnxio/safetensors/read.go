package safetensors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// MaxHeader bounds the header, as the format's own readers do.
const MaxHeader = 100 << 20

// Entry is a tensor of a file.
type Entry struct {
	Name  string
	DType DType
	Shape []int64

	at, end int64 // from the start of the elements
}

// Bytes is the number of bytes of the elements.
func (e Entry) Bytes() int64 { return e.end - e.at }

// File is an open file.
type File struct {
	Metadata map[string]string
	// Tensors are in the order of their elements.
	Tensors []Entry

	r      io.ReaderAt
	start  int64
	byName map[string]Entry
}

func invalid(where, format string, args ...any) error {
	return &onnxio.InvalidError{Where: where, Problem: fmt.Sprintf(format, args...)}
}

// tensorWhere names a tensor in errors; names of files are as long as their authors like.
func tensorWhere(name string) string { return fmt.Sprintf("tensor %.200q", name) }

// Open reads the header of a file of the given size and checks that the tensors are what the file holds.
func Open(r io.ReaderAt, size int64) (*File, error) {
	var word [8]byte
	if size < int64(len(word)) {
		return nil, invalid("", "its %d bytes hold no header", size)
	}
	if _, err := r.ReadAt(word[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(word[:])
	if n > MaxHeader || int64(n) > size-8 {
		return nil, invalid("", "its header is said to have %d bytes, the file has %d", n, size)
	}
	text := make([]byte, n)
	if _, err := r.ReadAt(text, 8); err != nil {
		return nil, err
	}
	f := &File{r: r, start: 8 + int64(n), byName: map[string]Entry{}}
	if err := f.header(text); err != nil {
		return nil, err
	}
	return f, f.fills(size - f.start)
}

// header takes the tensors and the metadata from the header's JSON.
func (f *File) header(text []byte) error {
	seen := false
	err := object(text, func(key string, value json.RawMessage) error {
		if key == metadataKey {
			if seen {
				return invalid("header", "%s is there twice", metadataKey)
			}
			seen, f.Metadata = true, map[string]string{}
			return object(value, func(key string, value json.RawMessage) error {
				if _, twice := f.Metadata[key]; twice {
					return invalid("metadata", "entry %.200q is there twice", key)
				}
				var s string
				if err := json.Unmarshal(value, &s); err != nil {
					return invalid("metadata", "entry %.200q is no string", key)
				}
				f.Metadata[key] = s
				return nil
			})
		}
		if _, twice := f.byName[key]; twice {
			return invalid(tensorWhere(key), "is there twice")
		}
		var e entry
		if err := json.Unmarshal(value, &e); err != nil {
			return invalid(tensorWhere(key), "%v", err)
		}
		have := Entry{Name: key, DType: e.DType, Shape: e.Shape, at: e.Offsets[0], end: e.Offsets[1]}
		f.byName[key] = have
		f.Tensors = append(f.Tensors, have)
		return nil
	})
	return err
}

// object calls each for every member of a JSON object, in order, which a map would not tell twice-named ones from.
func object(text []byte, each func(key string, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(text))
	t, err := d.Token()
	if err != nil {
		return invalid("header", "%v", err)
	}
	if t != json.Delim('{') {
		return invalid("header", "is no JSON object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return invalid("header", "%v", err)
		}
		name, ok := key.(string)
		if !ok {
			return invalid("header", "%v is no name", key)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return invalid("header", "%v", err)
		}
		if err := each(name, value); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return invalid("header", "%v", err)
	}
	if rest := text[d.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return invalid("header", "something follows the JSON object")
	}
	return nil
}

// fills checks that the tensors have the bytes that they take, and that together they are all of the given number.
func (f *File) fills(total int64) error {
	slices.SortFunc(f.Tensors, func(a, b Entry) int {
		switch {
		case a.at != b.at:
			if a.at < b.at {
				return -1
			}
			return 1
		case a.end != b.end: // an empty tensor goes before the one that begins there
			if a.end < b.end {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	at := int64(0)
	for _, e := range f.Tensors {
		n, ok := bytesOf(e.DType, e.Shape)
		switch {
		case e.DType.Size() == 0:
			return invalid(tensorWhere(e.Name), "has type %.20q, which is not known", e.DType)
		case !ok:
			return invalid(tensorWhere(e.Name), "has shape %.100s, which cannot be", fmt.Sprint(e.Shape))
		case e.at < 0 || e.end > total || e.end-e.at != n:
			return invalid(tensorWhere(e.Name), "lies at [%d %d] of %d bytes, %s of shape %.100s takes %d", e.at, e.end, total, e.DType, fmt.Sprint(e.Shape), n)
		case e.at != at:
			return invalid(tensorWhere(e.Name), "begins at byte %d, the one before ends at %d", e.at, at)
		}
		at = e.end
	}
	if at != total {
		return invalid("", "%d bytes follow the last tensor", total-at)
	}
	return nil
}

// Tensor finds a tensor.
func (f *File) Tensor(name string) (Entry, bool) {
	e, ok := f.byName[name]
	return e, ok
}

// Elements reads the bytes of a tensor.
func (f *File) Elements(e Entry) *io.SectionReader {
	return io.NewSectionReader(f.r, f.start+e.at, e.Bytes())
}

// Read fills dst, a []float64, []float32, []int64 or []int32, with a tensor of that type and as many elements.
func (f *File) Read(name string, dst any) error {
	e, ok := f.byName[name]
	if !ok {
		return invalid("", "it holds no tensor %.200q", name)
	}
	want, n := F64, 0
	switch d := dst.(type) {
	case []float64:
		n = len(d)
	case []float32:
		want, n = F32, len(d)
	case []int64:
		want, n = I64, len(d)
	case []int32:
		want, n = I32, len(d)
	default:
		return fmt.Errorf("cannot read a tensor into %T", dst)
	}
	if e.DType != want || e.Bytes() != int64(n)*want.Size() {
		return invalid(tensorWhere(name), "is %s of shape %.100s, not %s with %d elements", e.DType, fmt.Sprint(e.Shape), want, n)
	}
	if err := fill(bufio.NewReaderSize(f.Elements(e), 1<<16), dst); err != nil {
		return fmt.Errorf("%s: %w", tensorWhere(name), err)
	}
	return nil
}

func fill(r io.Reader, dst any) error {
	var word [8]byte
	switch d := dst.(type) {
	case []float64:
		for i := range d {
			if _, err := io.ReadFull(r, word[:]); err != nil {
				return err
			}
			d[i] = math.Float64frombits(binary.LittleEndian.Uint64(word[:]))
		}
	case []float32:
		for i := range d {
			if _, err := io.ReadFull(r, word[:4]); err != nil {
				return err
			}
			d[i] = math.Float32frombits(binary.LittleEndian.Uint32(word[:]))
		}
	case []int64:
		for i := range d {
			if _, err := io.ReadFull(r, word[:]); err != nil {
				return err
			}
			d[i] = int64(binary.LittleEndian.Uint64(word[:]))
		}
	case []int32:
		for i := range d {
			if _, err := io.ReadFull(r, word[:4]); err != nil {
				return err
			}
			d[i] = int32(binary.LittleEndian.Uint32(word[:]))
		}
	}
	return nil
}
