//go:build unix

package onnxio

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fileLock keeps two processes from writing the same output. The system drops it when its holder dies, however it dies.
type fileLock struct{ f *os.File }

// acquire takes the lock file at path, for the output target, without waiting.
func acquire(target, path string) (*fileLock, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o666)
		if err != nil {
			return nil, &TargetError{Path: target, Problem: "cannot be written", Err: err}
		}
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
		case errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			return nil, &LockedError{Path: target}
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOLCK):
			// Some network file systems have no locks. Writing is still atomic there; only the clear message is missing.
		default:
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The previous holder may have removed the file between our opening and locking it: then this lock is on a file that
		// nobody else will find.
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if there, err := os.Lstat(path); err == nil && os.SameFile(mine, there) {
			return &fileLock{f}, nil
		}
		f.Close()
	}
}

func (l *fileLock) release() error {
	// Removed while held, so that nobody can lock the file just before it goes.
	return errors.Join(removeIfThere(l.f.Name()), l.f.Close())
}

// syncDir makes the renames in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}
