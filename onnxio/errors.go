package onnxio

import (
	"errors"
	"fmt"
	"strings"
)

// InvalidError says that a file is not a valid ONNX file, or uses something that ligoonnx does not support.
type InvalidError struct {
	File    string // the file, empty for bytes in memory
	Where   string // the node, tensor or field, such as `tensor "wte"`; empty for the file as a whole
	Problem string // what was found and what was expected
	Err     error  // what the operating system said, where that is the problem; nil otherwise
}

func (e *InvalidError) Unwrap() error { return e.Err }

func (e *InvalidError) Error() string { return located(e.File, e.Where, e.Problem) }

// LimitError says that a file was refused for its size or depth before it was decoded.
type LimitError struct {
	File  string
	Where string
	What  string // what there is too much of, such as "messages"
	Found int64  // how much was found; counting stops soon after the limit
	Limit int64
}

func (e *LimitError) Error() string {
	return located(e.File, e.Where, fmt.Sprintf("too large: %s is %d, the limit is %d", e.What, e.Found, e.Limit))
}

// ExistsError says that an output would replace a file without having been told to.
type ExistsError struct{ Path string }

func (e *ExistsError) Error() string { return fmt.Sprintf("%s: exists already", e.Path) }

// LockedError says that another process is writing the same output.
type LockedError struct{ Path string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s: another process is writing this file", e.Path)
}

// ErrClosed is returned for the bytes of a tensor whose model has been closed.
var ErrClosed = errors.New("the model this tensor belongs to is closed")

func located(file, where, problem string) string {
	parts := make([]string, 0, 3)
	for _, s := range []string{file, where, problem} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// inFile adds the file name to errors of this package that were made where the name was not known.
func inFile(err error, file string) error {
	var inv *InvalidError
	var lim *LimitError
	switch {
	case err == nil || file == "":
	case errors.As(err, &inv) && inv.File == "":
		inv.File = file
	case errors.As(err, &lim) && lim.File == "":
		lim.File = file
	}
	return err
}

func invalid(where, format string, args ...any) *InvalidError {
	err := fmt.Errorf(format, args...)
	return &InvalidError{Where: where, Problem: err.Error(), Err: errors.Unwrap(err)}
}
