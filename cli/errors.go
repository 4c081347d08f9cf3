package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Exit codes. They are part of the interface: scripts and CI decide by them.
const (
	exitOK          = 0
	exitError       = 1 // internal or I/O error
	exitUsage       = 2
	exitFailed      = 3 // verification failed
	exitInvalid     = 4 // invalid or unsupported model
	exitLimit       = 5 // a limit refused it
	exitInterrupted = 130
)

// usageError is a mistake in how the command was called.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// limitError says that the caller's own limit forbids something.
type limitError struct{ text string }

func (e *limitError) Error() string { return e.text }

// errFailed says that a verification failed. Everything about it has been printed already.
var errFailed = errors.New("verification failed")

// fileError adds the file to an error of a package that knows nothing of files.
type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string { return e.path + ": " + e.err.Error() }

func (e *fileError) Unwrap() error { return e.err }

func inFile(path string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &fileError{path, err}
}

// exitCode says what kind of error it is.
func exitCode(err error) int {
	var (
		usage       *usageError
		limit       *limitError
		invalidFile *onnxio.InvalidError
		tooLarge    *onnxio.LimitError
		exists      *onnxio.ExistsError
		target      *onnxio.TargetError
		invalid     *graph.InvalidError
		impossible  *ligo.TargetError
		misfit      *ligo.OperatorError
		unsupported *engine.UnsupportedError
		node        *engine.NodeError
		input       *engine.InputError
		memory      *engine.MemoryError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return exitInterrupted
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.As(err, &tooLarge), errors.As(err, &memory), errors.As(err, &limit):
		return exitLimit
	case errors.As(err, &usage), errors.As(err, &exists), errors.As(err, &impossible), errors.As(err, &misfit), errors.As(err, &input):
		return exitUsage
	case errors.As(err, &target):
		if target.Err != nil {
			return exitError // the operating system refused, nothing is wrong with the call
		}
		return exitUsage
	case errors.As(err, &invalidFile), errors.As(err, &invalid), errors.As(err, &unsupported), errors.As(err, &node):
		return exitInvalid
	}
	return exitError
}

// separate takes joined errors apart; each is reported on a line of its own.
func separate(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, separate(e)...)
	}
	return all
}

// message is an error as one line for people, with what to do about it where that is known.
func message(err error) string {
	text := err.Error()
	var (
		path   *fs.PathError
		exists *onnxio.ExistsError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &exists):
		text += "; --force replaces it"
	case errors.As(err, &path):
		// "open x: no such file" says what the program did; what happened to the file is what the reader wants.
		text = strings.Replace(text, path.Error(), path.Path+": "+plain(path.Err), 1)
	}
	return strings.Join(strings.Fields(text), " ")
}

// plain is what the operating system said, for the cases that everybody meets.
func plain(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, os.ErrPermission):
		return "permission denied"
	}
	return err.Error()
}

// isSystem reports whether the operating system is at the bottom of an error.
func isSystem(err error) bool {
	var path *fs.PathError
	var call *os.SyscallError
	return errors.As(err, &path) || errors.As(err, &call)
}
