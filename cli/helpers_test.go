package cli_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/cli"
	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// result is what one call of the command gave.
type result struct {
	code     int
	out, err string
}

func ligoonnx(t *testing.T, args ...string) result {
	t.Helper()
	return with(t, context.Background(), args...)
}

func with(t *testing.T, ctx context.Context, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := cli.Run(ctx, args, strings.NewReader(""), &out, &err, nil)
	return result{code, out.String(), err.String()}
}

// ok calls the command and expects success.
func ok(t *testing.T, args ...string) result {
	t.Helper()
	r := ligoonnx(t, args...)
	if r.code != 0 {
		t.Fatalf("ligoonnx %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r
}

// refused calls the command and expects an exit code, one line of error that has the given parts, and nothing on standard output.
func refused(t *testing.T, code int, parts []string, args ...string) {
	t.Helper()
	r := ligoonnx(t, args...)
	call := "ligoonnx " + strings.Join(args, " ")
	if r.code != code {
		t.Errorf("%s: exit code %d, want %d\n%s", call, r.code, code, r.err)
	}
	if strings.Count(r.err, "\n") != 1 || !strings.HasPrefix(r.err, "ligoonnx: ") {
		t.Errorf("%s: not one line of error:\n%s", call, r.err)
	}
	if r.out != "" {
		t.Errorf("%s: standard output has\n%s", call, r.out)
	}
	for _, p := range parts {
		if !strings.Contains(r.err, p) {
			t.Errorf("%s: the error does not say %q: %s", call, p, r.err)
		}
	}
}

// save writes a model that code has built into a new folder and returns its path.
func save(t *testing.T, m *onnxio.Model) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "small.onnx")
	if err := onnxio.Write(context.Background(), m, path, onnxio.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

func gpt2(t *testing.T) string { return save(t, fixtures.GPT2(fixtures.Config{})) }

func beside(path, name string) string { return filepath.Join(filepath.Dir(path), name) }

// files lists a folder.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// measured matches what differs between machines or runs: the last digits of differences, and times.
var measured = regexp.MustCompile(`(max\|Δ\||deviation)=[0-9.e+-]+|in [0-9.]+m?s\b`)

// golden compares with testdata/NAME.txt.
func golden(t *testing.T, name, got string, hide ...string) {
	t.Helper()
	for _, h := range hide {
		got = strings.ReplaceAll(got, h, "DIR")
	}
	got = measured.ReplaceAllStringFunc(got, func(s string) string {
		if head, _, ok := strings.Cut(s, "="); ok {
			return head + "=…"
		}
		return "in …"
	})
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./cli -update writes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./cli -update accepts it); got\n%s\nwant\n%s", path, got, want)
	}
}
