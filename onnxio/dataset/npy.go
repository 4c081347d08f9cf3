package dataset

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Limits on what a file may make the reader do. NumPy's own headers have a few hundred bytes.
const (
	maxHeader = 64 << 10
	maxRank   = 32
	maxArray  = 8 << 30 // bytes of one array
	maxFile   = 8 << 30
)

// header is what an .npy file says of its array.
type header struct {
	dtype     onnxio.DType
	size      int // bytes of one element
	unit      int // bytes of one number in it: half of a complex one
	bigEndian bool
	fortran   bool
	shape     []int64
	bytes     int64 // of all elements
}

// openRegular opens a file and gives its size. Whatever else bears the name (a pipe, a device) is refused without being opened, as
// opening it may wait for ever.
func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	return f, info.Size(), err
}

func readNPYFile(ctx context.Context, path string) (*onnxio.Tensor, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := readNPY(ctx, f, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// readNPY reads an array from r, which has so many bytes. Nothing is allocated for elements that are not there.
func readNPY(ctx context.Context, r io.Reader, size int64) (*onnxio.Tensor, error) {
	h, used, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if have := size - used; have != h.bytes {
		return nil, fmt.Errorf("has %d bytes of elements, shape %v of %v needs %d", have, h.shape, h.dtype, h.bytes)
	}
	raw, err := readElements(ctx, r, h.bytes)
	if err != nil {
		return nil, err
	}
	if h.bigEndian && h.unit > 1 {
		for at := 0; at < len(raw); at += h.unit {
			slices.Reverse(raw[at : at+h.unit])
		}
	}
	if h.dtype == onnxio.Bool {
		truth(raw)
	}
	if h.fortran && len(h.shape) > 1 {
		raw = rowMajor(raw, h)
	}
	return onnxio.FromBytes("", h.dtype, h.shape, raw)
}

// readElements reads n bytes, growing as they arrive: a compressed file may announce more than it has.
func readElements(ctx context.Context, r io.Reader, n int64) ([]byte, error) {
	var buf bytes.Buffer
	const chunk = 8 << 20
	for got := int64(0); got < n; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := min(chunk, n-got)
		m, err := io.CopyN(&buf, r, part)
		got += m
		if err == io.EOF {
			return nil, fmt.Errorf("ends after %d of %d bytes of elements", got, n)
		}
		if err != nil {
			return nil, err
		}
	}
	// Where something follows, or the checksum of a compressed array is wrong, only the end tells.
	switch m, err := r.Read(make([]byte, 1)); {
	case m > 0:
		return nil, fmt.Errorf("goes on after its %d bytes of elements", n)
	case err != nil && err != io.EOF:
		return nil, err
	}
	return buf.Bytes(), nil
}

// readHeader reads the magic bytes, the version and the dictionary, and returns how many bytes they took.
func readHeader(r io.Reader) (header, int64, error) {
	const magic = "\x93NUMPY"
	lead := make([]byte, len(magic)+2)
	if _, err := io.ReadFull(r, lead); err != nil || string(lead[:len(magic)]) != magic {
		return header{}, 0, fmt.Errorf("not an .npy array: it does not begin with \\x93NUMPY")
	}
	major := lead[len(magic)]
	width := 4 // of the header's length
	switch major {
	case 1:
		width = 2
	case 2, 3:
	default:
		return header{}, 0, fmt.Errorf(".npy format version %d is not known (1 to 3 are)", major)
	}
	length := make([]byte, 4)
	if _, err := io.ReadFull(r, length[:width]); err != nil {
		return header{}, 0, fmt.Errorf("ends within its header")
	}
	n := binary.LittleEndian.Uint32(length)
	if n > maxHeader {
		return header{}, 0, fmt.Errorf("header of %d bytes, at most %d are read", n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, 0, fmt.Errorf("ends within its header")
	}
	h, err := parseHeader(string(text))
	return h, int64(len(lead)) + int64(width) + int64(n), err
}

// checked fills in the number of bytes and refuses a shape that no array in a file can have.
func (h header) checked() (header, error) {
	if len(h.shape) > maxRank {
		return h, fmt.Errorf("has %d axes, at most %d are read", len(h.shape), maxRank)
	}
	empty := slices.Contains(h.shape, 0)
	total := uint64(h.size)
	for _, d := range h.shape {
		if empty {
			total = 0
			break
		}
		hi, lo := bits.Mul64(total, uint64(d))
		if hi != 0 || lo > maxArray {
			return h, fmt.Errorf("shape %v of %v needs more than the %d bytes that are read of one array", h.shape, h.dtype, int64(maxArray))
		}
		total = lo
	}
	h.bytes = int64(total)
	return h, nil
}

// rowMajor reorders column-major elements, in which the first index runs fastest.
func rowMajor(src []byte, h header) []byte {
	if len(src) == 0 {
		return src
	}
	dst := make([]byte, len(src))
	index := make([]int64, len(h.shape))
	stride := make([]int64, len(h.shape)) // of the source, in elements
	step := int64(1)
	for i, d := range h.shape {
		stride[i] = step
		step *= d
	}
	from := int64(0)
	for at := 0; at < len(dst); at += h.size {
		copy(dst[at:at+h.size], src[from*int64(h.size):])
		for i := len(index) - 1; i >= 0; i-- {
			index[i]++
			from += stride[i]
			if index[i] < h.shape[i] {
				break
			}
			from -= stride[i] * h.shape[i]
			index[i] = 0
		}
	}
	return dst
}
