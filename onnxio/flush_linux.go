package onnxio

import (
	"os"

	"golang.org/x/sys/unix"
)

// beginFlush asks the system to write n bytes of a file from off on to the disk now, without waiting for it.
func beginFlush(f *os.File, off, n int64) {
	// Advice only: that the file is complete on the disk is what Sync sees to.
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
