package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Tokens is one long sequence of token ids. A file's stay on disk.
type Tokens struct {
	Where string // for messages

	data io.ReaderAt
	at   int64 // of the first token in data
	dt   onnxio.DType
	n    int64
}

// OpenTokens opens a file that is nothing but token ids, little-endian, of one unsigned type.
func OpenTokens(path string, dt onnxio.DType) (*Tokens, io.Closer, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	width := int64(dt.Bits() / 8)
	if size%width != 0 {
		_ = f.Close() // only read
		return nil, nil, fmt.Errorf("%s: has %d bytes, which is no multiple of the %d of a %v token", path, size, width, dt)
	}
	return &Tokens{Where: path, data: f, dt: dt, n: size / width}, f, nil
}

// TokensOf takes all elements of an array of integers, in order, for one sequence.
func TokensOf(a *Array) (*Tokens, error) {
	if !a.DType.Integer() {
		return nil, fmt.Errorf("%s: elements are %v; token ids are integers", a.Where, a.DType)
	}
	n := int64(1)
	for _, d := range a.Dims {
		n *= d
	}
	return &Tokens{Where: a.Where, data: a.data, at: a.at, dt: a.DType, n: n}, nil
}

// TokensInMemory is a sequence that was made from a text.
func TokensInMemory(where string, ids []uint32) *Tokens {
	raw := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		raw = binary.LittleEndian.AppendUint32(raw, id)
	}
	return &Tokens{Where: where, data: bytes.NewReader(raw), dt: onnxio.Uint32, n: int64(len(ids))}
}

// maxText bounds a text that is read into memory to be made tokens of.
const maxText = 2 << 30

// ReadText reads a file of UTF-8 text.
func ReadText(path string) (string, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if size > maxText {
		return "", fmt.Errorf("%s: has %d bytes, at most %d of text are read", path, size, int64(maxText))
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(raw) {
		return "", fmt.Errorf("%s: not UTF-8 text", path)
	}
	return string(raw), nil
}

// Len is the number of tokens.
func (t *Tokens) Len() int64 { return t.n }

// Read reads the tokens from number at on. One that is not below limit (0: any) is an error that says where it is.
func (t *Tokens) Read(ids []int64, at, limit int64) error {
	width := t.dt.Bits() / 8
	raw := make([]byte, len(ids)*width)
	if n, err := t.data.ReadAt(raw, t.at+at*int64(width)); n < len(raw) {
		return fmt.Errorf("%s: tokens %d to %d: %w", t.Where, at, at+int64(len(ids))-1, err)
	}
	for i := range ids {
		ids[i] = integerAt(raw[i*width:], t.dt)
		if ids[i] < 0 || limit > 0 && ids[i] >= limit {
			return fmt.Errorf("%s: token %d is %d; the model's embedding has ids from 0 to %d", t.Where, at+int64(i), ids[i], limit-1)
		}
	}
	return nil
}

func integerAt(raw []byte, dt onnxio.DType) int64 {
	switch dt {
	case onnxio.Uint8:
		return int64(raw[0])
	case onnxio.Int8:
		return int64(int8(raw[0]))
	case onnxio.Uint16:
		return int64(binary.LittleEndian.Uint16(raw))
	case onnxio.Int16:
		return int64(int16(binary.LittleEndian.Uint16(raw)))
	case onnxio.Uint32:
		return int64(binary.LittleEndian.Uint32(raw))
	case onnxio.Int32:
		return int64(int32(binary.LittleEndian.Uint32(raw)))
	}
	return int64(binary.LittleEndian.Uint64(raw))
}
