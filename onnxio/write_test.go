//go:build unix

package onnxio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mark makes a model whose one tensor is full of b, so that a file tells which model it is.
func mark(b byte, size int64) *Model {
	return &Model{IRVersion: 8, Opsets: []Opset{{"", 17}}, Graph: &Graph{
		Name: "g", Initializers: []*Tensor{NewTensor("w", Uint8, []int64{size}, filled{b, size, 0, nil})}}}
}

// filled is data of one byte; writing it can be slowed down and can fail after half.
type filled struct {
	b     byte
	n     int64
	pause time.Duration
	fail  error
}

func (f filled) Len() int64 { return f.n }

func (f filled) WriteTo(w io.Writer) (int64, error) {
	buf := bytes.Repeat([]byte{f.b}, 64<<10)
	n := int64(0)
	for n < f.n {
		if f.fail != nil && n >= f.n/2 {
			return n, f.fail
		}
		k, err := w.Write(buf[:min(int64(len(buf)), f.n-n)])
		n += int64(k)
		if err != nil {
			return n, err
		}
		time.Sleep(f.pause)
	}
	return n, nil
}

// marked reads a model made by mark and returns its byte; every byte of the tensor must be the same.
func marked(path string) (byte, error) {
	m, err := Read(path, ReadOptions{})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	raw, err := m.Graph.Initializers[0].Bytes()
	if err != nil {
		return 0, err
	}
	if bytes.Count(raw, raw[:1]) != len(raw) {
		return 0, errors.New("a mixture of two models")
	}
	return raw[0], nil
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestWriteReplacesOnlyWithForce(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	for _, mode := range []ExternalMode{ExternalNever, ExternalAlways} {
		if err := Write(ctx, mark(1, 5000), path, WriteOptions{External: mode, Force: true}); err != nil {
			t.Fatal(err)
		}
		var exists *ExistsError
		if err := Write(ctx, mark(2, 5000), path, WriteOptions{External: mode}); !errors.As(err, &exists) {
			t.Errorf("%v, want an ExistsError", err)
		}
		if b, err := marked(path); b != 1 || err != nil {
			t.Errorf("after a refused write: %d, %v", b, err)
		}
		if err := Write(ctx, mark(3, 5000), path, WriteOptions{External: mode, Force: true}); err != nil {
			t.Error(err)
		}
		if b, err := marked(path); b != 3 || err != nil {
			t.Errorf("after a forced write: %d, %v", b, err)
		}
	}
	// The data of the model that was replaced is gone, and a plain model takes all of it along.
	if got := names(t, dir); got != "m.onnx m.onnx.1.data" {
		t.Errorf("files are %s", got)
	}
	if err := Write(ctx, mark(4, 5000), path, WriteOptions{Force: true}); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); got != "m.onnx" {
		t.Errorf("files are %s", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o400 == 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestPending(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	for _, mode := range []ExternalMode{ExternalNever, ExternalAlways} {
		p, err := Create(ctx, mark(1, 5000), path, WriteOptions{External: mode, Force: true})
		if err != nil {
			t.Fatal(err)
		}
		m, err := p.Open(ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := m.Graph.Initializers[0].Bytes(); err != nil || raw[4999] != 1 || m.External != (mode == ExternalAlways) {
			t.Errorf("the pending model: external %v, %v", m.External, err)
		}
		m.Close()
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("there before Commit: %v", err)
		}
		if err := p.Abort(); err != nil {
			t.Error(err)
		}
		if got := names(t, dir); got != "" {
			t.Errorf("after Abort: %s", got)
		}
		if err := p.Commit(); err == nil {
			t.Error("committed after Abort")
		}
	}
	// A file that appears between Create and Commit is not replaced either.
	p, err := Create(ctx, mark(1, 5000), path, WriteOptions{External: ExternalAlways})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	var exists *ExistsError
	if err := p.Commit(); !errors.As(err, &exists) {
		t.Errorf("%v, want an ExistsError", err)
	}
	if got := names(t, dir); got != "m.onnx" {
		t.Errorf("files are %s", got)
	}
}

func TestFailuresLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	if err := Write(context.Background(), mark(1, 5000), path, WriteOptions{External: ExternalAlways}); err != nil {
		t.Fatal(err)
	}
	before := names(t, dir)
	for _, mode := range []ExternalMode{ExternalNever, ExternalAlways} {
		for name, fail := range map[string]error{"disk full": syscall.ENOSPC, "I/O error": syscall.EIO} {
			m := mark(2, 1<<20)
			m.Graph.Initializers[0] = NewTensor("w", Uint8, []int64{1 << 20}, filled{2, 1 << 20, 0, fail})
			err := Write(context.Background(), m, path, WriteOptions{External: mode, Force: true})
			if !errors.Is(err, fail) || !strings.Contains(err.Error(), "needs 10") || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", name, err)
			}
			if got := names(t, dir); got != before {
				t.Errorf("%s leaves %s", name, got)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		m := mark(2, 64<<20)
		m.Graph.Initializers[0] = NewTensor("w", Uint8, []int64{64 << 20}, filled{2, 64 << 20, time.Millisecond, nil})
		start := time.Now()
		err := Write(ctx, m, path, WriteOptions{External: mode, Force: true})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
			t.Errorf("cancelled: %v after %v", err, time.Since(start))
		}
		if got := names(t, dir); got != before {
			t.Errorf("cancelling leaves %s", got)
		}
	}
	if b, err := marked(path); b != 1 || err != nil {
		t.Errorf("the old model: %d, %v", b, err)
	}
	for name, m := range map[string]*Model{
		"no graph":    {IRVersion: 8},
		"nil node":    {IRVersion: 8, Graph: &Graph{Nodes: []*Node{nil}}},
		"nil tensor":  {IRVersion: 8, Graph: &Graph{Initializers: []*Tensor{nil}}},
		"nil value":   {IRVersion: 8, Graph: &Graph{Inputs: []*ValueInfo{nil}}},
		"nil attr":    {IRVersion: 8, Graph: &Graph{Nodes: []*Node{{Attrs: []*Attribute{nil}}}}},
		"no tensor":   {IRVersion: 8, Graph: &Graph{Nodes: []*Node{{Attrs: []*Attribute{{Kind: AttrTensor}}}}}},
		"made-up":     {IRVersion: 8, Graph: &Graph{Inputs: []*ValueInfo{{Type: &Type{Kind: "sequence"}}}}},
		"empty":       {IRVersion: 8, Graph: &Graph{Initializers: []*Tensor{{}}}},
		"too large":   mark(1, 1<<40),
		"no function": {IRVersion: 8, Graph: &Graph{}, Functions: []*Function{nil}},
	} {
		if err := Write(context.Background(), m, filepath.Join(dir, "new.onnx"), WriteOptions{External: ExternalNever}); err == nil {
			t.Errorf("%s: was written", name)
		}
		if got := names(t, dir); got != before {
			t.Errorf("%s leaves %s", name, got)
		}
	}
	loop := &Graph{}
	loop.Nodes = []*Node{{OpType: "If", Attrs: []*Attribute{{Kind: AttrGraph, G: loop}}}}
	var limit *LimitError
	if _, err := Encode(&Model{IRVersion: 8, Graph: loop}); !errors.As(err, &limit) {
		t.Errorf("a graph inside itself: %v", err)
	}
}

func TestCheckTarget(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.onnx")
	if err := os.WriteFile(in, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Symlink("in.onnx", filepath.Join(dir, "alias.onnx")), os.Link(in, filepath.Join(dir, "other.onnx")),
		os.Symlink("nowhere", filepath.Join(dir, "dangling.onnx")),
		os.Mkdir(filepath.Join(dir, "folder"), 0o755), syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path  string
		force bool
		want  string
	}{
		{"new.onnx", false, ""},
		{strings.Repeat("n", 250) + ".onnx", false, ""},
		{"in.onnx", true, "the input itself"},
		{"./folder/../in.onnx", true, "the input itself"},
		{"alias.onnx", true, "the input itself"},
		{"other.onnx", true, "the input itself"},
		{"dangling.onnx", false, "exists"},
		{"folder", true, "a directory"},
		{"fifo", true, "a named pipe"},
		{"missing/new.onnx", false, "no such file"},
		{"in.onnx/new.onnx", false, "not a"},
		{"folder/", false, "not a file name"},
	} {
		err := CheckTarget(dir+"/"+c.path, in, c.force)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.40s: %v, want %q", c.path, err, c.want)
		}
	}
	if err := CheckTarget("", in, false); err == nil {
		t.Error("no name was accepted")
	}
	if strings.Contains(names(t, dir), "ligoonnx") {
		t.Errorf("left behind: %s", names(t, dir))
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(filepath.Join(dir, "folder"), 0o555); err != nil {
			t.Fatal(err)
		}
		if err := CheckTarget(filepath.Join(dir, "folder", "x.onnx"), in, false); err == nil {
			t.Error("a read-only folder was accepted")
		}
	}
	long := filepath.Join(dir, strings.Repeat("n", 245)+".onnx")
	if err := Write(context.Background(), mark(1, 5000), long, WriteOptions{External: ExternalAlways}); err != nil {
		t.Errorf("a long name: %v", err)
	}
}

func TestAutoGoesExternal(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	if err := Write(context.Background(), mark(1, 3<<20), path, WriteOptions{ExternalThreshold: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	m, err := Read(path, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if !m.External || names(t, dir) != "m.onnx m.onnx.data" {
		t.Errorf("external %v, files %s", m.External, names(t, dir))
	}
	// A model with external data keeps it; told otherwise, it takes the data in.
	for mode, want := range map[ExternalMode]bool{ExternalAuto: true, ExternalNever: false} {
		again := filepath.Join(dir, "again.onnx")
		if err := Write(context.Background(), m, again, WriteOptions{External: mode, Force: true}); err != nil {
			t.Fatal(err)
		}
		if b, err := marked(again); b != 1 || err != nil {
			t.Errorf("%d, %v", b, err)
		}
		if n, err := Read(again, ReadOptions{}); err != nil || n.External != want {
			t.Errorf("mode %d: %v", mode, err)
		} else {
			n.Close()
		}
	}
}

func TestTensorFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "input_0.pb")
	big := FromFloat32s("x", []int64{40, 50}, make([]float32, 2000))
	for _, x := range []*Tensor{big, FromStrings("s", []int64{1}, [][]byte{[]byte("hi")}), FromInt64s("", nil, []int64{5})} {
		if err := WriteTensorFile(path, x, true); err != nil {
			t.Fatal(err)
		}
		got, err := ReadTensorFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := got.Equal(x); !same || err != nil || got.Name != x.Name {
			t.Errorf("%q: same %v, %v", x.Name, same, err)
		}
	}
	var exists *ExistsError
	if err := WriteTensorFile(path, big, false); !errors.As(err, &exists) {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(path, modelOf(nil), 0o644); err != nil {
		t.Fatal(err)
	}
	var inv *InvalidError
	if _, err := ReadTensorFile(path); !errors.As(err, &inv) || inv.File != path {
		t.Errorf("a model as a tensor: %v", err)
	}
	read, files := 0, 0
	dirs, _ := filepath.Glob(filepath.Join(debianModels, "node", "*", "test_data_set_0", "*.pb"))
	for _, p := range dirs {
		files++
		if _, err := ReadTensorFile(p); err == nil {
			read++
		} else {
			mustBeTyped(t, p, err)
		}
	}
	t.Logf("%d of %d files in the standard's node tests are tensors", read, files)
}

// The digest that a pending model is opened with is that of the file, however it was come by.
func TestDigestOfAPendingModel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	for _, size := range []int64{1 << 10, 3*flushEvery/2 + 1} {
		for _, external := range []ExternalMode{ExternalAuto, ExternalAlways} {
			p, err := Create(context.Background(), mark('x', size), path, WriteOptions{Force: true, External: external, Digest: true})
			if err != nil {
				t.Fatal(err)
			}
			m, err := p.Open(ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := m.SHA256
			if err := errors.Join(m.Close(), p.Commit()); err != nil {
				t.Fatal(err)
			}
			again, err := Read(path, ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got != again.SHA256 || len(got) != 64 {
				t.Errorf("%d bytes, external %v: %q when it was written, %q when it is read", size, external, got, again.SHA256)
			}
			again.Close()
		}
	}
}
