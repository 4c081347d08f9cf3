package onnxio

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// TargetError says that a file cannot be written where it was asked for.
type TargetError struct {
	Path    string
	Problem string
	Err     error // what the operating system said, if anything
}

func (e *TargetError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Path, e.Problem, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Path, e.Problem)
}

func (e *TargetError) Unwrap() error { return e.Err }

// CheckTarget tells before any work whether Create could write to path: its folder must exist and be writable, path must not be
// the file in (which may be empty), and must not exist unless force is given.
func CheckTarget(path, in string, force bool) error {
	if err := checkExisting(path, in, force); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case err != nil:
		return &TargetError{Path: path, Problem: fmt.Sprintf("the folder %s cannot be used", dir), Err: reason(err)}
	case !info.IsDir():
		return &TargetError{Path: path, Problem: dir + " is not a folder"}
	}
	// Permission bits do not tell (read-only file systems, ACLs, quotas); making a file does.
	name, err := tempName(dir, filepath.Base(path))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name+tempSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &TargetError{Path: path, Problem: fmt.Sprintf("the folder %s is not writable", dir), Err: reason(err)}
	}
	return errors.Join(f.Close(), removeIfThere(f.Name()))
}

func checkExisting(path, in string, force bool) error {
	if path == "" || strings.HasSuffix(path, string(filepath.Separator)) {
		return &TargetError{Path: path, Problem: "is not a file name"}
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Lstat(path) // a link to nowhere is there all the same
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return &TargetError{Path: path, Problem: "cannot be written", Err: reason(err)}
	}
	if in != "" {
		if source, err := os.Stat(in); err == nil && os.SameFile(source, info) {
			return &TargetError{Path: path, Problem: "the output is the input itself"}
		}
	}
	switch {
	case info != nil && !info.Mode().IsRegular():
		return &TargetError{Path: path, Problem: "is " + kindOf(info.Mode()) + ", not a file"}
	case !force:
		return &ExistsError{Path: path}
	}
	return nil
}

// tempPrefix begins the names of the temporary files of a target: hidden, recognisable, and short enough where the target's
// own name is as long as the system allows.
func tempPrefix(base string) string {
	if len(base) > 180 {
		sum := sha256.Sum256([]byte(base))
		base = strings.ToValidUTF8(base[:120], "") + "-" + hex.EncodeToString(sum[:8])
	}
	return "." + base + ".ligoonnx-"
}

const (
	tempSuffix    = ".tmp"       // of a temporary model
	dataSuffix    = ".data.tmp"  // of its temporary data file
	journalSuffix = ".names.tmp" // of the list of data files that a commit makes or leaves without a model
)

// tempName is a new name for temporary files of a target, without suffix.
func tempName(dir, base string) (string, error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("random numbers: %w", err)
	}
	return filepath.Join(dir, tempPrefix(base)+hex.EncodeToString(id[:])), nil
}

// dataFileName is a name for the external data of a target that no file has: <name>.data, or with a number. A data file that exists
// is never written over, because the model that refers to it stays valid until the moment it is replaced.
func dataFileName(dir, base string) (string, error) {
	for i := 0; ; i++ {
		name := numberedData(base, i)
		_, err := os.Lstat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
}

func numberedData(base string, i int) string {
	if i == 0 {
		return base + ".data"
	}
	return fmt.Sprintf("%s.%d.data", base, i)
}

// ownData reports whether name is one that dataFileName gives to the target base.
func ownData(base, name string) bool {
	if name == base+".data" {
		return true
	}
	var i int
	middle := strings.TrimSuffix(strings.TrimPrefix(name, base+"."), ".data")
	_, err := fmt.Sscanf(middle, "%d", &i)
	return err == nil && i > 0 && name == numberedData(base, i)
}

// sweep removes what runs that died left behind for a target. The caller holds the target's lock, so nobody is writing to them.
func sweep(dir, base string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, tempPrefix(base)) || !strings.HasSuffix(name, tempSuffix) || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, journalSuffix) {
			errs = append(errs, sweepJournal(dir, base, path))
		}
		errs = append(errs, removeIfThere(path))
	}
	return errors.Join(errs...)
}

// sweepJournal finishes or undoes a commit: of the data files that it lists, those go that the model there now does not use.
func sweepJournal(dir, base, journal string) error {
	text, err := os.ReadFile(journal)
	if err != nil {
		return err
	}
	current, err := externalNames(filepath.Join(dir, base))
	if err != nil {
		return nil // a model that cannot be read may be using any of them
	}
	var errs []error
	for name := range strings.Lines(string(text)) {
		if name = strings.TrimSuffix(name, "\n"); ownData(base, name) && !current[name] {
			errs = append(errs, removeIfThere(filepath.Join(dir, name)))
		}
	}
	return errors.Join(errs...)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// externalNames lists the external data files that a model refers to; none for a model that does not exist.
func externalNames(path string) (map[string]bool, error) {
	f, info, err := openRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > maxMessage {
		return nil, &LimitError{File: path, What: "file size in bytes", Found: info.Size(), Limit: maxMessage}
	}
	file, err := contents(f, info.Size())
	if err != nil {
		return nil, err
	}
	defer file.close()
	pb := &onnxpb.ModelProto{}
	if err := newReader(file, ReadOptions{}).unmarshal(modelMsg, pb); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	collectExternal(pb.GetGraph(), names)
	return names, nil
}

func collectExternal(g *onnxpb.GraphProto, names map[string]bool) {
	add := func(t *onnxpb.TensorProto) {
		for _, e := range t.GetExternalData() {
			if e.GetKey() == "location" {
				names[e.GetValue()] = true
			}
		}
	}
	for _, t := range g.GetInitializer() {
		add(t)
	}
	for _, n := range g.GetNode() {
		for _, a := range n.Attribute {
			add(a.T)
			for _, t := range a.Tensors {
				add(t)
			}
			collectExternal(a.G, names)
			for _, sub := range a.Graphs {
				collectExternal(sub, names)
			}
		}
	}
}
