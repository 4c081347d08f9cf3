//go:build linux

package onnxio

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLargerThanAMessage writes, reads and rewrites a model of 2.2 GiB and watches the memory that takes.
func TestLargerThanAMessage(t *testing.T) {
	if os.Getenv("LIGOONNX_LARGE") == "" {
		t.Skip("LIGOONNX_LARGE is not set: the test that writes 4.4 GiB is left out")
	}
	const tensors, size = 35, 64 << 20
	g := &Graph{Name: "g"}
	for i := range tensors {
		g.Initializers = append(g.Initializers, NewTensor(fmt.Sprintf("w%d", i), Float16, []int64{size / 2}, filled{byte(i), size, 0, nil}))
	}
	m := &Model{IRVersion: 8, Opsets: []Opset{{"", 17}}, Graph: g}
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.onnx"), filepath.Join(dir, "two.onnx")
	if err := Write(context.Background(), m, one, WriteOptions{External: ExternalNever}); err == nil {
		t.Error("a message of more than 2 GiB was written")
	}
	if err := Write(context.Background(), m, one, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	a, err := Read(one, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := Write(context.Background(), a, two, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	b, err := Read(two, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i, w := range a.Graph.Initializers {
		if same, err := w.Equal(b.Graph.Initializers[i]); err != nil || !same {
			t.Fatalf("%s: same %v, %v", w.Name, same, err)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kib int64
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				t.Fatal(err)
			}
			t.Logf("peak resident set: %d MiB", kib>>10)
			if kib<<10 > size+256<<20 {
				t.Errorf("peak resident set of %d MiB, more than one tensor and 256 MiB", kib>>10)
			}
		}
	}
}
