package dataset

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// WriteNPZ writes tensors as numpy.savez does: uncompressed, by name, so that numpy.load reads them. bfloat16, which NumPy lacks,
// is widened to float32. The same tensors give the same bytes. The file is complete or absent: it is written beside its place,
// synced and renamed.
func WriteNPZ(path string, tensors map[string]*onnxio.Tensor) (err error) {
	temporary := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%016x.tmp", filepath.Base(path), rand.Uint64()))
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(writeNPZ(buffered, tensors), buffered.Flush(), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

func writeNPZ(w io.Writer, tensors map[string]*onnxio.Tensor) error {
	names := make([]string, 0, len(tensors))
	for name := range tensors {
		names = append(names, name)
	}
	sort.Strings(names)
	archive := zip.NewWriter(w)
	for _, name := range names {
		// No time: it would be the only thing to differ between two runs.
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if err := writeNPY(entry, tensors[name]); err != nil {
			return fmt.Errorf("array %q: %w", name, err)
		}
	}
	return archive.Close()
}

func writeNPY(w io.Writer, t *onnxio.Tensor) error {
	if t.DType == onnxio.BFloat16 {
		widened, err := convertFloats(t, onnxio.Float)
		if err != nil {
			return err
		}
		t = widened
	}
	code := ""
	for c, dt := range dtypes {
		if dt == t.DType {
			code = c
		}
	}
	if code == "" {
		return fmt.Errorf("NumPy has no elements of %v", t.DType)
	}
	order := "<"
	if t.DType.Bits() == 8 {
		order = "|"
	}
	var shape strings.Builder
	for i, d := range t.Dims {
		if i > 0 {
			shape.WriteByte(' ')
		}
		fmt.Fprintf(&shape, "%d,", d)
	}
	sizes := shape.String()
	if len(t.Dims) > 1 {
		sizes = strings.TrimSuffix(sizes, ",")
	}
	dict := fmt.Sprintf("{'descr': '%s%s', 'fortran_order': False, 'shape': (%s), }", order, code, sizes)
	// The elements begin at a multiple of 64 bytes, for those who map them.
	const lead = 10
	pad := 63 - (lead+len(dict))%64
	head := fmt.Sprintf("\x93NUMPY\x01\x00%c%c%s%s\n", 0, 0, dict, strings.Repeat(" ", pad))
	raw := []byte(head)
	n := len(raw) - lead
	raw[8], raw[9] = byte(n), byte(n>>8)
	if _, err := w.Write(raw); err != nil {
		return err
	}
	_, err := t.Data().WriteTo(w)
	return err
}
