package onnxio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// External data is the one place where a model file makes its reader open other files, and every ONNX library has been caught
// by it: "../" and absolute locations, "a/../../b" past a prefix check, symbolic links in the path, hard links, named pipes,
// offsets beyond the end. The rules here are: a location is a list of plain names below the model's own folder; no component
// may be a link; the last is an ordinary file with one name; and the bytes must lie inside it before anything reads them.

// externalFiles resolves the external data of one model.
type externalFiles struct {
	dir   string            // the model's folder; empty where there is none
	alias map[string]string // location → the name it has for now, for a model that is not committed yet
	set   *fileSet
	known map[string]*externalFile
}

type externalFile struct {
	size int64
	file *mapping
}

const maxLocation = 4096

// locate validates a tensor's reference and returns its data; want is the number of bytes that its type and shape need.
func (x *externalFiles) locate(p *onnxpb.TensorProto, want int64) (Data, error) {
	ref, err := parseExternal(p.ExternalData)
	if err != nil {
		return nil, err
	}
	if ref.length >= 0 && ref.length != want {
		return nil, fmt.Errorf("external data length is %d bytes, type and shape need %d", ref.length, want)
	}
	f, err := x.open(ref.location)
	if err != nil {
		return nil, err
	}
	if ref.offset > f.size || want > f.size-ref.offset {
		return nil, fmt.Errorf("external data is at bytes %d to %d+%d of %q, which has %d bytes", ref.offset, ref.offset, want,
			ref.location, f.size)
	}
	return region{file: f.file, off: ref.offset, n: want}, nil
}

type externalRef struct {
	location string
	offset   int64
	length   int64 // -1: not given
}

func parseExternal(entries []*onnxpb.StringStringEntryProto) (externalRef, error) {
	ref := externalRef{length: -1}
	seen := map[string]bool{}
	for _, e := range entries {
		key, value := e.GetKey(), e.GetValue()
		if seen[key] {
			return ref, fmt.Errorf("external data key %q is given twice", key)
		}
		var err error
		switch key {
		case "location":
			ref.location = value
		case "offset":
			ref.offset, err = parseSize(value)
		case "length":
			ref.length, err = parseSize(value)
		case "checksum":
			// A SHA-1 that exporters rarely write and readers do not check; it says nothing about who made the file.
		default:
			return ref, fmt.Errorf("external data key %q is unknown (location, offset, length and checksum are allowed)", key)
		}
		if err != nil {
			return ref, fmt.Errorf("external data %s: %w", key, err)
		}
		// Only the four known keys get here, so the map stays small whatever the file holds.
		seen[key] = true
	}
	return ref, checkLocation(ref.location)
}

func parseSize(s string) (int64, error) {
	v, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a number of bytes", s)
	}
	return int64(v), nil
}

// checkLocation accepts relative paths of plain names, in a form that means the same on every system.
func checkLocation(loc string) error {
	bad := func(why string) error { return fmt.Errorf("external data location %.200q %s", loc, why) }
	switch {
	case loc == "":
		return errors.New("external data has no location")
	case len(loc) > maxLocation:
		return bad(fmt.Sprintf("is longer than %d bytes", maxLocation))
	case !utf8.ValidString(loc) || strings.ContainsRune(loc, 0):
		return bad("is not plain text")
	case strings.HasPrefix(loc, "/"):
		return bad("is absolute; it must be relative to the model's folder")
	case strings.ContainsAny(loc, `\:`):
		return bad(`contains a backslash or colon; only "/" separates names`)
	}
	for i, name := range strings.Split(loc, "/") {
		switch {
		case name == "..":
			return bad("leaves the model's folder")
		case name == "" || name == "." && i > 0:
			return bad("is not in its simplest form")
		}
	}
	return nil
}

// open checks a location in the file system, once per location.
func (x *externalFiles) open(loc string) (*externalFile, error) {
	loc = strings.TrimPrefix(loc, "./")
	if f := x.known[loc]; f != nil {
		return f, nil
	}
	if x.dir == "" {
		return nil, fmt.Errorf("external data in %q cannot be found: the model was not read from a file", loc)
	}
	name := loc
	if tmp, ok := x.alias[loc]; ok {
		name = tmp
	}
	path := filepath.Join(x.dir, filepath.FromSlash(name))
	f, info, err := openBelow(x.dir, name)
	if err != nil {
		return nil, err
	}
	f.Close()
	e := &externalFile{size: info.Size()}
	// Mapped when the first byte is wanted; by then it must still be the file that was checked.
	e.file = x.set.add(&mapping{path: path, lazy: true, open: func() ([]byte, error) {
		if info.Size() == 0 {
			return nil, nil
		}
		if int64(int(info.Size())) != info.Size() {
			return nil, &LimitError{File: path, What: "file size in bytes", Found: info.Size(), Limit: int64(^uint(0) >> 1)}
		}
		f, now, err := openBelow(x.dir, name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if !os.SameFile(info, now) || now.Size() != info.Size() {
			return nil, fmt.Errorf("%s: the file was replaced while the model was open", path)
		}
		return mapFile(f, int(info.Size()))
	}})
	x.known[loc] = e
	return e, nil
}

// openBelow opens a plain file below dir without following any link.
func openBelow(dir, name string) (*os.File, os.FileInfo, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	parts := strings.Split(name, "/")
	var last os.FileInfo
	for i := range parts {
		at := filepath.Join(parts[:i+1]...)
		info, err := root.Lstat(at)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("external data %q: %w", name, reason(err))
		case info.Mode()&os.ModeSymlink != 0:
			return nil, nil, fmt.Errorf("external data %q: %q is a symbolic link, which could lead anywhere", name, at)
		case i < len(parts)-1 && !info.IsDir():
			return nil, nil, fmt.Errorf("external data %q: %q is not a folder", name, at)
		}
		last = info
	}
	if err := plainFile(last); err != nil {
		return nil, nil, fmt.Errorf("external data %q %w", name, err)
	}
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("external data %q: %w", name, reason(err))
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(info, last) {
		err = fmt.Errorf("external data %q was replaced while it was being opened", name)
	}
	if err == nil {
		if perr := plainFile(info); perr != nil {
			err = fmt.Errorf("external data %q %w", name, perr)
		}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func plainFile(info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("is " + kindOf(info.Mode()) + ", not a file")
	}
	if n := links(info); n > 1 {
		return fmt.Errorf("is a hard link (the file has %d names), so it may be a file from elsewhere", n)
	}
	return nil
}

// reason drops the operation and path from an error whose path the message around it already names.
func reason(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
