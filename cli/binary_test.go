package cli_test

import (
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ligoonnx/ligoonnx/fixtures"
)

// Some mistakes show only in the program itself: the wrong version of a dependency of gorgonia compiles and panics when it starts.
func TestBinary(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "ligoonnx")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", bin, "./ligoonnx").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin, "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "ligoonnx ") {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err = exec.Command(bin, "expand", "x").CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	if runtime.GOOS == "windows" {
		return
	}
	// A signal ends it cleanly, wherever it is: from the first word it says on; before that the program
	// may not have come as far as asking for signals.
	in := save(t, fixtures.GPT2(fixtures.Config{Layers: 6, Hidden: 256, Heads: 4, Vocab: 4000}))
	for _, wait := range []time.Duration{0, 50, 150, 400} {
		cmd := exec.Command(bin, "expand", in, beside(in, "large.onnx"))
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = stderr.Read(make([]byte, 1)) // at its end where the work was too short for words
		go io.Copy(io.Discard, stderr)
		time.Sleep(wait * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may be done already
		err = cmd.Wait()
		want := "small.onnx"
		switch code := cmd.ProcessState.ExitCode(); code {
		case 0:
			want = "large.onnx small.onnx"
		case 130:
		default:
			t.Errorf("after %d ms: %v", wait, err)
		}
		if names := files(t, filepath.Dir(in)); names != want {
			t.Errorf("after %d ms (%v) the folder holds %s", wait, err, names)
		}
		if want != "small.onnx" {
			break
		}
	}
}
