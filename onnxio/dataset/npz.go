package dataset

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

const (
	maxArrays = 10_000
	// maxDeflate is how much smaller than its contents a deflated file can be (RFC 1951: one bit for 258 bytes, at most), with
	// some slack. An entry that promises more is lying, and is refused before it is read.
	maxDeflate = 1100
)

// ReadNPZ reads all arrays of an .npz file (numpy.savez, numpy.savez_compressed) by name. Nothing is ever written under the names
// that the archive gives.
func ReadNPZ(ctx context.Context, path string) (map[string]*onnxio.Tensor, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	arrays, err := readNPZ(ctx, f, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return arrays, nil
}

func readNPZ(ctx context.Context, r io.ReaderAt, size int64) (map[string]*onnxio.Tensor, error) {
	entries, err := npzEntries(r, size)
	if err != nil {
		return nil, err
	}
	arrays := make(map[string]*onnxio.Tensor, len(entries))
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name, ".npy")
		t, err := readEntry(ctx, entry)
		if err != nil {
			return nil, fmt.Errorf("array %.100q: %w", name, err)
		}
		arrays[name] = t.Renamed(name)
	}
	return arrays, nil
}

// npzEntries lists the arrays of an archive; their names are unique and end in .npy.
func npzEntries(r io.ReaderAt, size int64) ([]*zip.File, error) {
	if size > maxFile {
		return nil, fmt.Errorf("has %d bytes, at most %d are read", size, int64(maxFile))
	}
	archive, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are not used as paths
		return nil, fmt.Errorf("not an .npz file: %w", err)
	}
	if len(archive.File) > maxArrays {
		return nil, fmt.Errorf("holds %d arrays, at most %d are read", len(archive.File), maxArrays)
	}
	seen := make(map[string]bool, len(archive.File))
	total := uint64(0)
	for _, entry := range archive.File {
		name, ok := strings.CutSuffix(entry.Name, ".npy")
		switch {
		case !ok || name == "":
			return nil, fmt.Errorf("holds %.100q, which is not named as an .npy array", entry.Name)
		case seen[name]:
			return nil, fmt.Errorf("holds array %.100q twice", name)
		}
		seen[name] = true
		// Entries may overlap, so that a small file holds many large arrays: what they add up to counts.
		if total += min(entry.UncompressedSize64, maxFile+1); total > maxFile {
			return nil, fmt.Errorf("holds more than %d bytes of arrays", int64(maxFile))
		}
	}
	return archive.File, nil
}

func readEntry(ctx context.Context, entry *zip.File) (*onnxio.Tensor, error) {
	size, packed := entry.UncompressedSize64, entry.CompressedSize64
	if entry.Method == zip.Store && size != packed || size/maxDeflate > packed {
		return nil, fmt.Errorf("claims %d bytes but is stored in %d", size, packed)
	}
	r, err := entry.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readNPY(ctx, r, int64(size))
}
