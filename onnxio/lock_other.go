//go:build !unix

package onnxio

import (
	"errors"
	"io/fs"
	"os"
)

// fileLock keeps two processes from writing the same output. Without advisory locks it is a file that must not exist; one that a
// dead process has left can be removed, one that is open cannot.
type fileLock struct{ f *os.File }

func acquire(target, path string) (*fileLock, error) {
	// Fails on Windows while the holder lives, which is what decides below.
	_ = os.Remove(path)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, &LockedError{Path: target}
	case err != nil:
		return nil, &TargetError{Path: target, Problem: "cannot be written", Err: err}
	}
	return &fileLock{f}, nil
}

func (l *fileLock) release() error {
	return errors.Join(l.f.Close(), removeIfThere(l.f.Name()))
}

// syncDir does nothing: folders cannot be synced here.
func syncDir(string) error { return nil }
