package onnxio_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// A file is complete or as it was, whatever happens while it is written.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.bin")
	say := func(text string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	}
	check := func(want string) {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("the file holds %q, %v", got, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("the folder holds %v, %v", entries, err)
		}
	}
	if err := onnxio.WriteFile(path, false, say("one")); err != nil {
		t.Fatal(err)
	}
	check("one")
	var exists *onnxio.ExistsError
	if err := onnxio.WriteFile(path, false, say("two")); !errors.As(err, &exists) {
		t.Errorf("error %v", err)
	}
	check("one")
	broken := errors.New("broken")
	half := func(w io.Writer) error { _ = say("ha")(w); return broken }
	if err := onnxio.WriteFile(path, true, half); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	check("one")
	if err := onnxio.WriteFile(path, true, say("three")); err != nil {
		t.Fatal(err)
	}
	check("three")
	// Somebody else's file that appears while ours is written stays.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	err := onnxio.WriteFile(path, false, func(w io.Writer) error { return os.WriteFile(path, []byte("theirs"), 0o666) })
	if !errors.As(err, &exists) {
		t.Errorf("error %v", err)
	}
	check("theirs")
}
