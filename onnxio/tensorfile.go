package onnxio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// ReadTensorFile reads a file that holds one tensor, such as input_0.pb in the test_data_set folders of the ONNX model zoo. The
// limits and checks are those of Read; external data is refused. The tensor is on the heap.
func ReadTensorFile(path string) (*Tensor, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > maxMessage {
		return nil, &LimitError{File: path, What: "file size in bytes", Found: info.Size(), Limit: maxMessage}
	}
	data := make([]byte, info.Size())
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	pb := &onnxpb.TensorProto{}
	r := newReader(heapMapping(data), ReadOptions{})
	if err := r.unmarshal(heldTensorMsg, pb); err != nil {
		return nil, inFile(err, path)
	}
	t, err := r.tensor("", pb)
	return t, inFile(err, path)
}

// WriteTensorFile writes a tensor to a file of its own, atomically; an existing file is replaced only with force.
func WriteTensorFile(path string, t *Tensor, force bool) error {
	if err := checkExisting(path, "", force); err != nil {
		return err
	}
	e, err := newEncoder(nil)
	if err != nil {
		return err
	}
	pb, err := e.tensor("", t, false)
	if err != nil {
		return inFile(err, path)
	}
	if len(e.payloads) > 0 {
		if pb.RawData, err = t.Bytes(); err != nil {
			return err
		}
	}
	data, err := pb.Marshal()
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return WriteFile(path, force, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteFile writes a file of any kind atomically: under a temporary name in its folder, synced, then renamed. An existing file is replaced
// only with force; after an error nothing has changed. What fill writes is not buffered.
func WriteFile(path string, force bool, fill func(io.Writer) error) error {
	if err := checkExisting(path, "", force); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	tmp, err := tempName(dir, filepath.Base(path))
	if err != nil {
		return err
	}
	tmp += tempSuffix
	err = writeFile(tmp, func(f *os.File) error { return fill(f) })
	if err == nil {
		err = moveTo(tmp, path, force)
	}
	if err == nil {
		return syncDir(dir)
	}
	return errors.Join(fmt.Errorf("write %s: %w", path, err), removeIfThere(tmp))
}

// OpenFile opens a file of any kind to be read from anywhere, and gives its size. What is no regular file is refused without waiting for it.
func OpenFile(path string) (*os.File, int64, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}
