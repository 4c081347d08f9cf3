package onnxio

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"

	"github.com/gogo/protobuf/proto"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// ReadOptions are the choices in reading a model.
type ReadOptions struct {
	// ForceIR accepts files of an IR version later than ligoonnx knows. What such a file says in fields that are new then is kept,
	// but its meaning may depend on them.
	ForceIR bool
	// Dir is the folder of external data for Decode, which has no file to be beside; without it external data is refused. Read uses
	// the model's own folder.
	Dir string

	alias map[string]string
	sum   string // the file's digest, if it is known
}

const (
	maxIR    = 13
	maxOpset = 30
	// cutFrom is the size of raw_data from which on it stays in the file.
	cutFrom = 256
)

// Read reads and validates a model file. Tensors stay in the file until their bytes are asked for, so the model must be closed
// when it is no longer needed, and the file must not be written to meanwhile (replacing it by renaming is fine).
func Read(path string, o ReadOptions) (*Model, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > maxMessage {
		return nil, &LimitError{File: path, What: "file size in bytes (protobuf's own limit; larger models keep their weights in external data)",
			Found: info.Size(), Limit: maxMessage}
	}
	digest := o.sum
	if digest == "" {
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(f, 0, info.Size())); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		digest = hex.EncodeToString(sum.Sum(nil))
	}
	file, err := contents(f, info.Size())
	if err != nil {
		return nil, err
	}
	o.Dir = filepath.Dir(path)
	m, err := decode(file, o)
	if err != nil {
		return nil, inFile(err, path)
	}
	m.Path = path
	m.SHA256 = digest
	return m, nil
}

// Decode is Read for a model in memory. The model refers to data, which must not be changed as long as the model is used.
func Decode(data []byte, o ReadOptions) (*Model, error) {
	m, err := decode(heapMapping(data), o)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	m.SHA256 = hex.EncodeToString(sum[:])
	return m, nil
}

// Close lets go of the files behind the model. The bytes that its tensors have handed out must not be used afterwards.
func (m *Model) Close() error {
	if m == nil || m.files == nil {
		return nil
	}
	return m.files.close()
}

func decode(file *mapping, o ReadOptions) (m *Model, err error) {
	r := newReader(file, o)
	defer func() {
		if err != nil {
			// Unmapping what was mapped a moment ago does not fail, and the error that matters is the other one.
			_ = r.set.close()
		}
	}()
	pb := &onnxpb.ModelProto{}
	if err := r.unmarshal(modelMsg, pb); err != nil {
		return nil, err
	}
	return r.model(pb)
}

// reader turns one file into a Model.
type reader struct {
	o        ReadOptions
	file     *mapping
	set      *fileSet
	external *externalFiles
	nonce    [16]byte
	cuts     []region
}

func newReader(file *mapping, o ReadOptions) *reader {
	set := &fileSet{}
	set.add(file)
	return &reader{o: o, file: file, set: set, external: &externalFiles{dir: o.Dir, alias: o.alias, set: set, known: map[string]*externalFile{}}}
}

// unmarshal scans the file and decodes what is left of it when the bytes of large tensors are cut out.
func (r *reader) unmarshal(root msgType, pb proto.Unmarshaler) error {
	// A placeholder is recognised by its first bytes. They are random, so a file cannot hold bytes that look like one and stand
	// for data of somewhere else.
	if _, err := rand.Read(r.nonce[:]); err != nil {
		return fmt.Errorf("random numbers: %w", err)
	}
	var trimmed []byte
	err := r.file.use(func(data []byte) error {
		if err := recognise(data); err != nil {
			return err
		}
		edits, size, err := scan(data, root, defaultLimits(), func(start, end int) (int64, bool) {
			if end-start < cutFrom {
				return 0, false
			}
			r.cuts = append(r.cuts, region{file: r.file, off: int64(start), n: int64(end - start)})
			return placeholderLen, true
		})
		if err != nil {
			return err
		}
		var out bytes.Buffer
		out.Grow(int(size))
		err = splice(&out, data, edits, func(i int) error {
			_, err := out.Write(appendPlaceholder(nil, r.nonce, i))
			return err
		})
		trimmed = out.Bytes()
		return err
	})
	if err != nil {
		return err
	}
	if r.file.lazy {
		// The mapped file may have been written to since it was scanned; the copy cannot. Scanning it again makes sure that the limits
		// hold for what is decoded.
		if _, _, err := scan(trimmed, root, defaultLimits(), nil); err != nil {
			return fmt.Errorf("the file changed while it was being read: %w", err)
		}
	}
	if err := pb.Unmarshal(trimmed); err != nil {
		return &InvalidError{Problem: fmt.Sprintf("not an ONNX model or damaged: %v", err)}
	}
	return nil
}

const placeholderLen = 24

func appendPlaceholder(b []byte, nonce [16]byte, i int) []byte {
	b = append(b, nonce[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(i))
}

// placeholderIndex is the inverse of appendPlaceholder; -1 for bytes that are no placeholder of this nonce.
func placeholderIndex(b []byte, nonce [16]byte) int {
	if len(b) != placeholderLen || !bytes.Equal(b[:16], nonce[:]) {
		return -1
	}
	return int(binary.BigEndian.Uint64(b[16:]))
}

func (r *reader) cutAt(raw []byte) (region, bool) {
	i := placeholderIndex(raw, r.nonce)
	if i < 0 || i >= len(r.cuts) {
		return region{}, false
	}
	return r.cuts[i], true
}

// recognise gives the usual non-models a message of their own.
func recognise(data []byte) error {
	switch {
	case len(data) == 0:
		return &InvalidError{Problem: "the file is empty"}
	case bytes.HasPrefix(data, []byte("version https://git-lfs.github.com/spec/")):
		return &InvalidError{Problem: "this is a git-lfs pointer, not the file itself; fetch it with `git lfs pull`"}
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return &InvalidError{Problem: "this is a zip archive (a PyTorch checkpoint or .npz?), not an ONNX model"}
	case bytes.HasPrefix(data, []byte("\x89HDF\r\n")):
		return &InvalidError{Problem: "this is an HDF5 file (a Keras model?), not an ONNX model"}
	}
	return nil
}

// header checks what decides whether the rest of a model can be understood at all.
func (r *reader) header(pb *onnxpb.ModelProto) error {
	ir := pb.GetIrVersion()
	switch {
	case ir < 1:
		return invalid("", "not an ONNX model: ir_version is %d", ir)
	case ir > maxIR && !r.o.ForceIR:
		return invalid("", "ir_version is %d, versions up to %d are known", ir, maxIR)
	case pb.Graph == nil:
		return invalid("", "the model has no graph")
	case len(pb.OpsetImport) == 0 && ir >= 3:
		return invalid("", "the model imports no operator set")
	}
	for _, o := range pb.OpsetImport {
		if o.GetDomain() != "" && o.GetDomain() != "ai.onnx" {
			continue
		}
		if v := o.GetVersion(); v < 1 || v > maxOpset {
			return invalid("", "operator set version %d of ai.onnx does not exist (known are 1 to %d)", v, maxOpset)
		}
	}
	return nil
}
