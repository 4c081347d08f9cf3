package dataset

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Array is an array in a file whose rows, along its first axis, are read one at a time: the elements of an .npy file, and of an
// .npz whose arrays are stored uncompressed (numpy.savez), stay on disk. Compressed, big-endian and column-major arrays are read
// into memory when they are opened.
type Array struct {
	Name  string // in an .npz; empty for an .npy file
	Where string // file and array, for messages
	DType onnxio.DType
	Dims  []int64

	data io.ReaderAt
	at   int64 // of the first element in data
	row  int64 // bytes
}

// Len is the number of rows.
func (a *Array) Len() int64 { return a.Dims[0] }

// Row reads row i; its shape is that of the array without the first axis.
func (a *Array) Row(i int64) (*onnxio.Tensor, error) {
	raw := make([]byte, a.row)
	if n, err := a.data.ReadAt(raw, a.at+i*a.row); n < len(raw) {
		return nil, fmt.Errorf("%s: row %d: %w", a.Where, i, err)
	}
	if a.DType == onnxio.Bool {
		truth(raw)
	}
	return onnxio.FromBytes(a.Name, a.DType, a.Dims[1:], raw)
}

// truth makes 1 of every byte but 0: NumPy takes any for true; ONNX knows 1.
func truth(raw []byte) {
	for i, b := range raw {
		if b > 1 {
			raw[i] = 1
		}
	}
}

// OpenNPY opens an .npy file. The closer is to be called when no row is needed any more.
func OpenNPY(ctx context.Context, path string) (*Array, io.Closer, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	a, err := openArray(ctx, f, 0, size, func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, 0, size)), nil })
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	a.Where = path
	return a, f, nil
}

// OpenNPZ opens all arrays of an .npz file. The closer is to be called when no row is needed any more.
func OpenNPZ(ctx context.Context, path string) ([]*Array, io.Closer, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	arrays, err := openNPZ(ctx, f, size)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	for _, a := range arrays {
		a.Where = fmt.Sprintf("%s: array %q", path, a.Name)
	}
	return arrays, f, nil
}

func openNPZ(ctx context.Context, f *os.File, size int64) ([]*Array, error) {
	entries, err := npzEntries(f, size)
	if err != nil {
		return nil, err
	}
	arrays := make([]*Array, 0, len(entries))
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name, ".npy")
		a, err := openEntry(ctx, f, e)
		if err != nil {
			return nil, fmt.Errorf("array %.100q: %w", name, err)
		}
		a.Name = name
		arrays = append(arrays, a)
	}
	return arrays, nil
}

func openEntry(ctx context.Context, f *os.File, e *zip.File) (*Array, error) {
	if e.Method != zip.Store {
		t, err := readEntry(ctx, e)
		if err != nil {
			return nil, err
		}
		return inMemory(t)
	}
	if e.CompressedSize64 != e.UncompressedSize64 {
		return nil, fmt.Errorf("claims %d bytes but is stored in %d", e.UncompressedSize64, e.CompressedSize64)
	}
	at, err := e.DataOffset()
	if err != nil {
		return nil, err
	}
	return openArray(ctx, f, at, int64(e.UncompressedSize64), e.Open)
}

// openArray reads the header of the array in size bytes of f from at on. whole opens the same bytes for an array that must be
// rearranged in memory.
func openArray(ctx context.Context, f *os.File, at, size int64, whole func() (io.ReadCloser, error)) (*Array, error) {
	h, used, err := readHeader(io.NewSectionReader(f, at, size))
	if err != nil {
		return nil, err
	}
	if have := size - used; have != h.bytes {
		return nil, fmt.Errorf("has %d bytes of elements, shape %v of %v needs %d", have, h.shape, h.dtype, h.bytes)
	}
	if h.bigEndian && h.unit > 1 || h.fortran && len(h.shape) > 1 {
		r, err := whole()
		if err != nil {
			return nil, err
		}
		t, err := readNPY(ctx, r, size)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
		return inMemory(t)
	}
	return newArray(h.dtype, h.shape, h.bytes, f, at+used)
}

func inMemory(t *onnxio.Tensor) (*Array, error) {
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	return newArray(t.DType, t.Dims, int64(len(raw)), bytes.NewReader(raw), 0)
}

func newArray(dt onnxio.DType, dims []int64, size int64, data io.ReaderAt, at int64) (*Array, error) {
	if len(dims) == 0 {
		return nil, errors.New("is a single number; expected examples along the first axis")
	}
	a := &Array{DType: dt, Dims: slices.Clone(dims), data: data, at: at}
	if dims[0] > 0 {
		a.row = size / dims[0]
	}
	return a, nil
}
