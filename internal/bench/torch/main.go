// Command torch is ligoonnx's process of the comparison with PyTorch (make bench-torch): it trains, or runs, the model of a case that
// bench.py has prepared, a given number of steps at a time.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// testCase is case.json.
type testCase struct {
	Family      string  `json:"family"`
	Batches     int     `json:"batches"`
	Batch       int     `json:"batch"`
	Length      int     `json:"length"`
	Vocabulary  int     `json:"vocabulary"`
	LR          float64 `json:"lr"`
	WeightDecay float64 `json:"weight_decay"`
}

// stepper makes one step with one batch and returns the loss, or the first logit where nothing is trained.
type stepper func(batch int) (float64, error)

func run() (err error) {
	folder := flag.String("case", "", "folder with case.json, data.bin and model.onnx")
	mode := flag.String("mode", "train", "train or forward")
	threads := flag.Int("threads", 1, "goroutines of a kernel, and Go's own processors")
	profile := flag.String("cpuprofile", "", "write a profile of the steps after the first batch of them to this file")
	flag.Parse()
	runtime.GOMAXPROCS(*threads)
	text, err := os.ReadFile(filepath.Join(*folder, "case.json"))
	if err != nil {
		return err
	}
	var c testCase
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("case.json: %w", err)
	}
	data, err := readData(filepath.Join(*folder, "data.bin"), c)
	if err != nil {
		return err
	}
	m, err := onnxio.Read(filepath.Join(*folder, "model.onnx"), onnxio.ReadOptions{})
	if err != nil {
		return err
	}
	defer m.Close()
	var step stepper
	switch *mode {
	case "train":
		step, err = trainer(m, c, data, *threads)
	case "forward":
		step, err = forward(m, data, *threads)
	default:
		err = fmt.Errorf("-mode %s: train or forward", *mode)
	}
	if err != nil {
		return err
	}
	return serve(step, c.Batches, *profile)
}

// serve answers every line of standard input, a number of steps, with the steps' times and values; at the end it tells its peak memory.
func serve(step stepper, batches int, profile string) (err error) {
	type times struct {
		Seconds []float64 `json:"seconds"`
		CPU     []float64 `json:"cpu"` // of all threads
		Values  []float64 `json:"values"`
	}
	out := json.NewEncoder(os.Stdout)
	base, done := usage().peak, 0
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for first := true; lines.Scan(); first = false {
		n, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		if err != nil {
			return err
		}
		if !first && profile != "" {
			stop, err := startProfile(profile)
			if err != nil {
				return err
			}
			profile = ""
			defer stop()
		}
		var t times
		for range n {
			start, worked := time.Now(), usage()
			v, err := step(done % batches)
			if err != nil {
				return err
			}
			t.Seconds = append(t.Seconds, time.Since(start).Seconds())
			t.CPU = append(t.CPU, usage().cpu-worked.cpu)
			t.Values = append(t.Values, v)
			done++
		}
		if err := out.Encode(t); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return out.Encode(map[string]int64{"peak": usage().peak, "base": base})
}

func startProfile(path string) (stop func(), err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}, nil
}

// used is what the process has taken so far: seconds of all threads, and bytes of resident memory at most.
type used struct {
	cpu  float64
	peak int64
}

func usage() used {
	var u syscall.Rusage
	// It fails only for arguments that are wrong.
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return used{cpu.Seconds(), u.Maxrss << 10}
}

// forward runs the model as it is.
func forward(m *onnxio.Model, data []map[string]*onnxio.Tensor, threads int) (stepper, error) {
	g, err := graph.FromModel(m)
	if err != nil {
		return nil, err
	}
	e, err := engine.New(g, engine.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	for _, in := range data {
		delete(in, labels)
	}
	return func(batch int) (float64, error) {
		out, err := e.Run(context.Background(), data[batch])
		if err != nil {
			return 0, err
		}
		return firstElement(out["logits"])
	}, nil
}

// firstElement does not decode the others, of which logits have millions.
func firstElement(t *onnxio.Tensor) (float64, error) {
	var raw [4]byte
	if _, err := t.ReadAt(raw[:], 0); err != nil {
		return 0, err
	}
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[:]))), nil
}
