// Package bench measures the command as its users run it: a process of its own, from file to file, with its peak memory. What
// happens inside is measured by the benchmarks of the packages. Peak memory is asked of the kernel in Linux's units.
package bench

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// BenchmarkExpandBERT grows BERT-small to BERT-base, the LiGO paper's main case. copy-ratio is the median wall time over that
// of copying the output file and syncing the copy, the least that any tool could take.
func BenchmarkExpandBERT(b *testing.B) {
	dir := b.TempDir()
	command := filepath.Join(dir, "ligoonnx")
	if out, err := exec.Command("go", "build", "-o", command, "github.com/ligoonnx/ligoonnx/cli/ligoonnx").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	small, base := filepath.Join(dir, "small.onnx"), filepath.Join(dir, "base.onnx")
	if err := onnxio.Write(context.Background(), fixtures.BERT(fixtures.BERTSmall()), small, onnxio.WriteOptions{}); err != nil {
		b.Fatal(err)
	}
	grow := strings.Fields("expand --quiet --force --layers 12 --hidden 768 --heads 12 --ffn 3072")
	for _, mode := range []string{"--no-verify", "certificate"} {
		b.Run(strings.TrimLeft(mode, "-"), func(b *testing.B) {
			args := slices.Clone(grow)
			if strings.HasPrefix(mode, "-") {
				args = append(args, mode)
			}
			args = append(args, small, base)
			var peak int64
			var grown, copied []time.Duration
			pair := func() {
				start := time.Now()
				peak = max(peak, run(b, command, args...))
				grown = append(grown, time.Since(start))
				b.StopTimer()
				start = time.Now()
				if err := copyAndSync(base+".copy", base); err != nil {
					b.Fatal(err)
				}
				copied = append(copied, time.Since(start))
				b.StartTimer()
			}
			for b.Loop() {
				pair()
			}
			for len(grown) < fewestPairs {
				pair()
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-RSS-MiB")
			if peak > mostMemory {
				b.Errorf("took %d MiB of memory, %d MiB are allowed", peak>>20, mostMemory>>20)
			}
			b.ReportMetric(0, "ns/op") // the median says it
			b.ReportMetric(median(grown).Seconds(), "median-s")
			b.ReportMetric(float64(median(grown))/float64(median(copied)), "copy-ratio")
		})
	}
}

// mostMemory is what the command may take: less than the file it writes, whose weights are never in memory together.
const mostMemory = 400 << 20

// run executes the command and returns its peak resident memory in bytes.
func run(b *testing.B, command string, args ...string) int64 {
	b.Helper()
	var output bytes.Buffer
	cmd := exec.Command(command, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, output.Bytes())
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}

// fewestPairs is how often the command and the copy run, in turn, as a shared machine changes its speed.
const fewestPairs = 7

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func copyAndSync(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	return out.Close()
}
