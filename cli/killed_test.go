package cli_test

import (
	"bufio"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Learning that is killed at ten moments, and gone on with every time, writes what it would have written.
func TestLearnKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short")
	}
	bin := filepath.Join(t.TempDir(), "ligoonnx")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", bin, "./ligoonnx").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	in := gpt2(t)
	checkpoints := beside(in, "checkpoints")
	args := []string{"expand", in, "--data", stream(t, filepath.Dir(in), 3000), "--steps", "60", "--batch", "2", "--seq-len", "16", "--init", "paper", "--threads", "1", "--verbose"}
	ok(t, append(args, beside(in, "straight.onnx"))...)
	args = append(args, beside(in, "out.onnx"), "--checkpoint", checkpoints, "--checkpoint-every", "1", "--force")

	random := rand.New(rand.NewPCG(1, 2))
	last := ""
	for kill := range 11 {
		saved, err := filepath.Glob(filepath.Join(checkpoints, "step-*"))
		if err != nil {
			t.Fatal(err)
		}
		call := args
		if len(saved) > 0 {
			call = append(call, "--resume")
			last = saved[len(saved)-1]
		}
		cmd := exec.Command(bin, call...)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(stderr)
		for {
			line, err := lines.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "step ") {
				break
			}
		}
		if kill < 10 {
			time.AfterFunc(time.Duration(random.IntN(40))*time.Millisecond, func() { _ = cmd.Process.Kill() }) // it may be done already
		}
		_, _ = io.Copy(io.Discard, lines) // to its end
		if err := cmd.Wait(); kill == 10 && err != nil {
			t.Fatal(err)
		}
	}
	if filepath.Base(last) < "step-00000010" {
		t.Errorf("the last run went on from %q: the kills came before any work", last)
	}
	same(t, beside(in, "straight.onnx"), beside(in, "out.onnx"))
}
