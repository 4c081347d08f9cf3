//go:build unix

package onnxio

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nonblock makes opening a named pipe return at once instead of waiting for a writer.
const nonblock = unix.O_NONBLOCK

// mapFile maps the first size bytes of a file for reading; the file may be closed afterwards.
func mapFile(f *os.File, size int) ([]byte, error) {
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return data, nil
}

func unmapFile(data []byte) error { return unix.Munmap(data) }

// dropPages takes the pages that lie wholly inside part out of memory; the kernel reads them again when they are touched.
func dropPages(part []byte) {
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	skip := int((page - start%page) % page)
	if skip >= len(part) {
		return
	}
	part = part[skip:]
	part = part[:len(part)-len(part)%int(page)]
	if len(part) > 0 {
		// Advice only: a kernel that refuses it costs memory, not correctness.
		_ = unix.Madvise(part, unix.MADV_DONTNEED)
	}
}

// links is the number of names a file has.
func links(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}
