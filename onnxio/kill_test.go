//go:build unix

package onnxio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var winners []byte
	for i := range 8 {
		wg.Go(func() {
			err := Write(context.Background(), mark(byte(i), 8<<20), path, WriteOptions{})
			var locked *LockedError
			var exists *ExistsError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				winners = append(winners, byte(i))
			case !errors.As(err, &locked) && !errors.As(err, &exists):
				t.Errorf("a loser's error: %v", err)
			}
		})
	}
	wg.Wait()
	if b, err := marked(path); len(winners) != 1 || err != nil || b != winners[0] {
		t.Errorf("winners %v, the file is by %d (%v)", winners, b, err)
	}
	if got := names(t, dir); got != "m.onnx" {
		t.Errorf("files are %s", got)
	}
}

const (
	writerEnv = "LIGOONNX_TEST_WRITER" // makes the test binary a process that writes models until it is killed
	limitEnv  = "LIGOONNX_TEST_FSIZE"  // the same with a limit on the size of files
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		for i := byte(1); ; i++ {
			mode := ExternalMode(1 + i%2)
			if err := Write(context.Background(), mark(i, 8<<20), path, WriteOptions{Force: true, External: mode}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	if path := os.Getenv(limitEnv); path != "" {
		lim := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
		err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lim)
		if err == nil {
			err = Write(context.Background(), mark(9, 8<<20), path, WriteOptions{Force: true})
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func child(t *testing.T, env string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), env)
	return cmd
}

// A writer that is killed at any moment leaves a complete model, old or new, and nothing that the next run does not clear up.
func TestKilledWhileWriting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	if err := Write(context.Background(), mark(0, 8<<20), path, WriteOptions{External: ExternalAlways}); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	left := 0
	for range 20 {
		var stderr bytes.Buffer
		cmd := child(t, writerEnv+"="+path)
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+rng.IntN(180)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if stderr.Len() > 0 {
			t.Fatalf("the writer: %s", stderr.String())
		}
		if _, err := marked(path); err != nil {
			t.Fatalf("after a kill: %v (%s)", err, names(t, dir))
		}
		if strings.Contains(names(t, dir), ".tmp") {
			left++
		}
	}
	if err := Write(context.Background(), mark(7, 5000), path, WriteOptions{Force: true, External: ExternalNever}); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "m.onnx" {
		t.Errorf("after the next run: %s", got)
	}
	t.Logf("20 kills, %d of them in the middle of a write", left)
}

// The moments inside Commit are too short for a random kill to find them all: their traces are made by hand.
func TestKilledInsideCommit(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	for _, old := range []bool{false, true} {
		for steps := range 4 {
			if old {
				if err := Write(ctx, mark(1, 5000), path, WriteOptions{External: ExternalAlways}); err != nil {
					t.Fatal(err)
				}
			}
			p, err := Create(ctx, mark(2, 5000), path, WriteOptions{External: ExternalAlways, Force: true})
			if err != nil {
				t.Fatal(err)
			}
			want := byte(1)
			if steps > 0 {
				_, err = p.writeJournal()
			}
			if steps > 1 {
				err = errors.Join(err, os.Rename(p.data, filepath.Join(dir, p.dataName)))
			}
			if steps > 2 {
				err = errors.Join(err, os.Rename(p.model, path))
				want = 2
			}
			if err := errors.Join(err, p.lock.release()); err != nil {
				t.Fatal(err)
			}
			if old || steps > 2 {
				if b, err := marked(path); b != want || err != nil {
					t.Errorf("after %d steps: %d, %v", steps, b, err)
				}
			}
			// The next run fails or not; either way it clears up and leaves the model that is in place whole.
			if err := Write(ctx, &Model{}, path, WriteOptions{Force: true}); err == nil {
				t.Error("a model without graph was written")
			}
			files := strings.Fields(names(t, dir))
			if wantFiles := map[bool]int{false: 0, true: 2}[old || steps > 2]; len(files) != wantFiles {
				t.Errorf("after %d steps, old model %v: the next run leaves %s", steps, old, files)
			}
			if old || steps > 2 {
				if b, err := marked(path); b != want || err != nil {
					t.Errorf("after %d steps and the next run: %d, %v", steps, b, err)
				}
			}
			for _, name := range files {
				os.Remove(filepath.Join(dir, name))
			}
		}
	}
}

func TestFileSizeLimit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	if err := Write(context.Background(), mark(1, 5000), path, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	out, _ := child(t, limitEnv+"="+path).CombinedOutput()
	if !strings.Contains(string(out), "file too large") || !strings.Contains(string(out), "needs 8388") {
		t.Errorf("the writer said: %s", out)
	}
	if b, err := marked(path); b != 1 || err != nil || names(t, dir) != "m.onnx" {
		t.Errorf("afterwards: %d, %v, %s", b, err, names(t, dir))
	}
}
