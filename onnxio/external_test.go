//go:build unix

package onnxio

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// attackDir is a folder with a model's good data file and everything that must not be taken for one.
func attackDir(t testing.TB) string {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "model")
	secret, public := bytes.Repeat([]byte("secret!!"), 8), bytes.Repeat([]byte("public!!"), 8)
	for path, data := range map[string][]byte{
		"secret.bin": secret, "outside/secret.bin": secret, "model/data.bin": public, "model/sub/data.bin": public,
		"model/empty.bin": nil,
	} {
		path = filepath.Join(top, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Symlink("data.bin", filepath.Join(dir, "link.bin")),
		os.Symlink("../outside", filepath.Join(dir, "linkdir")),
		os.Symlink("sub", filepath.Join(dir, "innerlink")),
		os.Link(filepath.Join(top, "secret.bin"), filepath.Join(dir, "hard.bin")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644),
		os.Symlink("/dev/zero", filepath.Join(dir, "zero")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestExternalAttacks(t *testing.T) {
	dir := attackDir(t)
	secret := filepath.Join(filepath.Dir(dir), "secret.bin")
	for name, c := range map[string]struct {
		entries []string
		want    string
	}{
		"parent":              {[]string{"location", "../secret.bin"}, "leaves the model's folder"},
		"parent inside":       {[]string{"location", "sub/../../secret.bin"}, "leaves the model's folder"},
		"parent of nothing":   {[]string{"location", "a/../../secret.bin"}, "leaves the model's folder"},
		"harmless parent":     {[]string{"location", "sub/../data.bin"}, "leaves the model's folder"},
		"absolute":            {[]string{"location", secret}, "absolute"},
		"passwd":              {[]string{"location", "/etc/passwd"}, "absolute"},
		"windows drive":       {[]string{"location", `C:\secret.bin`}, "backslash"},
		"windows drive slash": {[]string{"location", "C:/secret.bin"}, "colon"},
		"windows parent":      {[]string{"location", `..\secret.bin`}, "backslash"},
		"windows share":       {[]string{"location", `\\host\share`}, "backslash"},
		"alternate stream":    {[]string{"location", "data.bin:stream"}, "colon"},
		"double slash":        {[]string{"location", "sub//data.bin"}, "simplest form"},
		"dot inside":          {[]string{"location", "sub/./data.bin"}, "simplest form"},
		"trailing slash":      {[]string{"location", "data.bin/"}, "simplest form"},
		"zero byte":           {[]string{"location", "data.bin\x00.txt"}, "plain text"},
		"not UTF-8":           {[]string{"location", "\xff\xfe"}, "plain text"},
		"very long":           {[]string{"location", strings.Repeat("a/", 4000) + "b"}, "longer than"},
		"long name":           {[]string{"location", strings.Repeat("a", 300)}, "name too long"},
		"no location":         {[]string{"offset", "0"}, "no location"},
		"empty location":      {[]string{"location", ""}, "no location"},
		"dot":                 {[]string{"location", "."}, "a directory"},
		"directory":           {[]string{"location", "sub"}, "a directory"},
		"file as folder":      {[]string{"location", "data.bin/x"}, "not a folder"},
		"symbolic link":       {[]string{"location", "link.bin"}, "symbolic link"},
		"link to a folder":    {[]string{"location", "linkdir/secret.bin"}, "symbolic link"},
		"link inside":         {[]string{"location", "innerlink/data.bin"}, "symbolic link"},
		"link to a device":    {[]string{"location", "zero"}, "symbolic link"},
		"hard link":           {[]string{"location", "hard.bin"}, "hard link"},
		"named pipe":          {[]string{"location", "fifo"}, "named pipe"},
		"missing":             {[]string{"location", "missing.bin"}, "no such file"},
		"empty file":          {[]string{"location", "empty.bin"}, "which has 0 bytes"},
		"offset beyond end":   {[]string{"location", "data.bin", "offset", "65"}, "which has 64 bytes"},
		"end beyond end":      {[]string{"location", "data.bin", "offset", "49"}, "which has 64 bytes"},
		"offset at the limit": {[]string{"location", "data.bin", "offset", "9223372036854775807"}, "which has 64 bytes"},
		"offset overflow":     {[]string{"location", "data.bin", "offset", "9223372036854775808"}, "not a number"},
		"negative offset":     {[]string{"location", "data.bin", "offset", "-1"}, "not a number"},
		"float offset":        {[]string{"location", "data.bin", "offset", "1e30"}, "not a number"},
		"hex offset":          {[]string{"location", "data.bin", "offset", "0x10"}, "not a number"},
		"spaced offset":       {[]string{"location", "data.bin", "offset", " 1"}, "not a number"},
		"empty offset":        {[]string{"location", "data.bin", "offset", ""}, "not a number"},
		"length too small":    {[]string{"location", "data.bin", "length", "15"}, "need 16"},
		"length too large":    {[]string{"location", "data.bin", "length", "17"}, "need 16"},
		"petabyte":            {[]string{"location", "data.bin", "length", "1125899906842624"}, "need 16"},
		"negative length":     {[]string{"location", "data.bin", "length", "-16"}, "not a number"},
		"unknown key":         {[]string{"location", "data.bin", "basepath", "/"}, "unknown"},
		"python attribute":    {[]string{"location", "data.bin", "__class__", "x"}, "unknown"},
		"location twice":      {[]string{"location", "data.bin", "location", "../secret.bin"}, "given twice"},
	} {
		for place := range places {
			path := filepath.Join(dir, "attack.onnx")
			if err := os.WriteFile(path, modelWith(t, place, externalTensor(c.entries...)), 0o644); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, err := Read(path, ReadOptions{})
			var inv *InvalidError
			held := strings.HasPrefix(place, "sparse") || strings.HasPrefix(place, "training")
			if !errors.As(err, &inv) || !held && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s in %s: %v, want an InvalidError with %q", name, place, err, c.want)
			} else if !strings.Contains(err.Error(), `"w"`) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s in %s: %v names neither tensor nor file", name, place, err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("%s in %s took %v", name, place, d)
			}
		}
	}
}

func TestExternalReferencesThatAreFine(t *testing.T) {
	dir := attackDir(t)
	for name, entries := range map[string][]string{
		"plain":         {"location", "data.bin"},
		"dot slash":     {"location", "./data.bin"},
		"folder":        {"location", "sub/data.bin", "offset", "48", "length", "16"},
		"overlap":       {"location", "data.bin", "offset", "8", "checksum", "da39a3ee"},
		"leading zeros": {"location", "data.bin", "offset", "0008"},
		"all keys":      {"location", "data.bin", "offset", "0", "length", "16"},
	} {
		path := filepath.Join(dir, "fine.onnx")
		if err := os.WriteFile(path, modelWith(t, "initializer", externalTensor(entries...)), 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := Read(path, ReadOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		w := m.Graph.Initializers[0]
		raw, err := w.Bytes()
		if err != nil || string(raw) != "public!!public!!" || !w.Mapped() || !m.External {
			t.Errorf("%s: %q, mapped %v, external %v, %v", name, raw, w.Mapped(), m.External, err)
		}
		w.Forget()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if _, err := w.Bytes(); !errors.Is(err, ErrClosed) {
			t.Errorf("bytes of a closed model: %v", err)
		}
	}
}

// A file that is swapped for another between reading the model and reading the tensor is noticed.
func TestExternalFileIsReplaced(t *testing.T) {
	dir := attackDir(t)
	path := filepath.Join(dir, "m.onnx")
	if err := os.WriteFile(path, modelWith(t, "initializer", externalTensor("location", "data.bin")), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, swap := range map[string]func(string) error{
		"another file": func(p string) error {
			return errors.Join(os.WriteFile(p+"x", make([]byte, 64), 0o644), os.Rename(p+"x", p))
		},
		"shorter":  func(p string) error { return os.Truncate(p, 10) },
		"a link":   func(p string) error { return errors.Join(os.Remove(p), os.Symlink("../secret.bin", p)) },
		"nothing":  os.Remove,
		"an input": func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o644)) },
	} {
		data := filepath.Join(dir, "data.bin")
		os.Remove(data)
		if err := os.WriteFile(data, make([]byte, 64), 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := Read(path, ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := swap(data); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Graph.Initializers[0].Bytes(); err == nil {
			t.Errorf("%s: not noticed", name)
		}
		m.Close()
	}
}

// A mapped file that is cut short while it is in use would kill the process; reading through the package gives an error.
func TestMappedFileIsTruncated(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	m := &Model{IRVersion: 8, Opsets: []Opset{{"", 17}}, Graph: &Graph{
		Initializers: []*Tensor{FromFloat32s("w", []int64{1 << 20}, make([]float32, 1<<20))}}}
	if err := Write(context.Background(), m, path, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	m, err := Read(path, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	w := m.Graph.Initializers[0]
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ReadAt(make([]byte, 4096), 1<<20); err == nil || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("ReadAt: %v", err)
	}
	if _, err := Encode(m); err == nil || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("Encode: %v", err)
	}
}

func TestExternalRoundTrip(t *testing.T) {
	paths := []string{}
	for _, path := range append(models(t, debianModels), exported()...) {
		info, err := os.Stat(path)
		if err == nil && info.Size() > 4000 {
			paths = append(paths, path)
		}
	}
	dir := t.TempDir()
	for i, path := range paths {
		if i%4 != 0 && !strings.Contains(path, "extdata") {
			continue
		}
		m, err := Read(path, ReadOptions{})
		if err != nil {
			t.Error(err)
			continue
		}
		// Written twice under the same name, from the original and from what was written: the bytes must agree.
		var files [2][]byte
		from := m
		for j := range files {
			sub := filepath.Join(dir, string(rune('a'+j)))
			os.RemoveAll(sub)
			if err := os.Mkdir(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(sub, "m.onnx")
			if err := Write(context.Background(), from, out, WriteOptions{External: ExternalAlways}); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			a, _ := os.ReadFile(out)
			b, _ := os.ReadFile(out + ".data")
			files[j] = append(a, b...)
			again, err := Read(out, ReadOptions{})
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			defer again.Close()
			for k, w := range m.Graph.Initializers {
				if same, err := w.Equal(again.Graph.Initializers[k]); err != nil || !same {
					t.Errorf("%s: tensor %s: same %v, %v", path, w.Name, same, err)
				}
			}
			from = again
		}
		if !bytes.Equal(files[0], files[1]) {
			t.Errorf("%s: writing it twice gives different bytes", path)
		}
		m.Close()
	}
}

// exported is ownModels for tests that also have other models.
func exported() (paths []string) {
	if dir := os.Getenv("LIGOONNX_TESTDATA"); dir != "" {
		paths, _ = filepath.Glob(filepath.Join(dir, "models", "extdata", "*", "*.onnx"))
	}
	return paths
}
