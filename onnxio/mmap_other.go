//go:build !unix

package onnxio

import (
	"io"
	"os"
)

const nonblock = 0

// mapFile reads the file: without a mapping the weights have to be on the heap.
func mapFile(f *os.File, size int) ([]byte, error) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, int64(size)))
	if err != nil {
		return nil, err
	}
	if len(data) < size {
		return nil, &os.PathError{Op: "read", Path: f.Name(), Err: io.ErrUnexpectedEOF}
	}
	return data, nil
}

func unmapFile([]byte) error { return nil }

func dropPages([]byte) {}

func links(os.FileInfo) uint64 { return 1 }
