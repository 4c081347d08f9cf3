package onnxio

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// fileSet is the mapped files that a model's tensors are in.
type fileSet struct {
	maps []*mapping
}

func (s *fileSet) add(m *mapping) *mapping {
	s.maps = append(s.maps, m)
	return m
}

func (s *fileSet) close() error {
	var errs []error
	for _, m := range s.maps {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// mapping is the bytes of one file. External data files are opened and mapped when the first of their bytes is wanted: a model
// with one file per tensor would otherwise hold hundreds of them for `inspect`, which needs none.
type mapping struct {
	path string
	lazy bool // bytes are in a file rather than on the heap

	mu     sync.RWMutex
	open   func() ([]byte, error) // nil once opened
	data   []byte
	closed bool
}

// heapMapping serves bytes that are in memory as if they were a mapped file.
func heapMapping(data []byte) *mapping { return &mapping{data: data} }

// use runs f on the bytes while keeping them from being unmapped. A file that another process has cut short faults when it is
// touched; use turns that fault into an error.
func (m *mapping) use(f func(data []byte) error) (err error) {
	m.mu.RLock()
	for m.open != nil && !m.closed {
		m.mu.RUnlock()
		if err := m.load(); err != nil {
			return err
		}
		m.mu.RLock()
	}
	defer m.mu.RUnlock()
	if m.closed {
		return ErrClosed
	}
	if !m.lazy {
		return f(m.data)
	}
	return m.guard(func() error { return f(m.data) })
}

func (m *mapping) guard(f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		fault, ok := r.(interface {
			runtime.Error
			Addr() uintptr
		})
		if !ok {
			panic(r) // not a memory fault: a defect, not a property of the file
		}
		err = fmt.Errorf("%s: the file changed while it was being read: %w", m.path, fault)
	}()
	return f()
}

func (m *mapping) load() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil || m.closed {
		return nil
	}
	data, err := m.open()
	if err != nil {
		return err
	}
	m.data, m.open = data, nil
	return nil
}

// forget lets go of the memory behind a part of the bytes.
func (m *mapping) forget(part []byte) {
	if m.lazy {
		dropPages(part)
	}
}

func (m *mapping) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	data := m.data
	wasOpen := !m.closed && m.open == nil
	m.closed, m.data = true, nil
	if !wasOpen || !m.lazy || len(data) == 0 {
		return nil
	}
	if err := unmapFile(data); err != nil {
		return fmt.Errorf("%s: unmap: %w", m.path, err)
	}
	return nil
}

// smallFile is the size up to which a file is simply read: mapping pays from here on, and a file on the heap cannot change
// under us.
const smallFile = 1 << 20

// openRegular opens a file that must be a plain one. Opening never blocks on a named pipe.
func openRegular(path string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &InvalidError{File: path, Problem: "is " + kindOf(info.Mode()) + ", not a file"}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// contents maps or reads a whole open file of the given size.
func contents(f *os.File, size int64) (*mapping, error) {
	if int64(int(size)) != size {
		return nil, &LimitError{File: f.Name(), What: "file size in bytes", Found: size, Limit: int64(^uint(0) >> 1)}
	}
	if size <= smallFile {
		data := make([]byte, size)
		if n, err := f.ReadAt(data, 0); n < len(data) {
			return nil, fmt.Errorf("read %s: %w", f.Name(), err)
		}
		return &mapping{path: f.Name(), data: data}, nil
	}
	data, err := mapFile(f, int(size))
	if err != nil {
		return nil, err
	}
	return &mapping{path: f.Name(), lazy: true, data: data}, nil
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&os.ModeSymlink != 0:
		return "a symbolic link"
	case mode&os.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&os.ModeSocket != 0:
		return "a socket"
	case mode&os.ModeDevice != 0:
		return "a device"
	}
	return "a special file"
}
