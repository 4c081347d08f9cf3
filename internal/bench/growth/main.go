// Command growth measures what growing saves (make bench-growth): large models trained from scratch and from every way of growing a
// small one, for the same FLOPs, learning an operator included; on a language task and an image task made without any download. Each run is
// a file, so that an interrupted benchmark goes on; the table and the plots of docs/results.md are made of the files.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// settings are what the command line says.
type settings struct {
	dir, docs string
	tasks     []*task
	variants  []variant
	seeds     []uint64
	jobs      int
	bench     *bench
}

func run(ctx context.Context) error {
	s, err := flags()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	results, err := s.all(ctx)
	if err != nil {
		return err
	}
	all := summaries(results)
	for _, t := range s.tasks {
		mine := slices.DeleteFunc(slices.Clone(all), func(s *summary) bool { return s.task != t.Name })
		fmt.Printf("%s\n%s\n", t.Name, table(mine, results))
	}
	if s.docs == "" {
		return nil
	}
	return document(s.docs, s.tasks, results)
}

func flags() (*settings, error) {
	s := &settings{}
	size := flag.String("preset", "full", "full, quick or tiny")
	flag.StringVar(&s.dir, "out", "bench-growth", "folder of results; runs that are there are not made again")
	flag.StringVar(&s.docs, "docs", "", "folder whose results.md and results-*.svg are written anew")
	only := flag.String("tasks", "text,image", "which tasks")
	methods := flag.String("methods", "", "NAME or NAME=START,key=value..., separated by spaces; all that are named unless given")
	seeds := flag.String("seeds", "1,2", "seeds")
	stored := flag.Bool("stored", false, "make no run, report those that are there")
	held := flag.Bool("held", false, "measure on the data for choices, not on the test data")
	large := flag.Int("steps", 0, "steps from scratch, instead of the preset's")
	small := flag.Int("small-steps", 0, "steps of the small model, instead of the preset's")
	lr := flag.Float64("lr", 0, "learning rate of the large model, instead of the preset's")
	smallLR := flag.Float64("small-lr", 0, "learning rate of the small model, instead of the preset's")
	hidden := flag.Int("hidden", 0, "width of the small model, instead of the preset's")
	rows := flag.Int("rows", 0, "rows of a batch, instead of the preset's")
	jobs := flag.Int("jobs", 1, "runs at once")
	threads := flag.Int("threads", 0, "threads of a run; 0: all processors")
	flag.Parse()
	tasks, err := preset(*size)
	if err != nil {
		return nil, err
	}
	for _, t := range tasks {
		if !strings.Contains(","+*only+",", ","+t.Name+",") {
			continue
		}
		if *large > 0 {
			t.Large = *large
		}
		if *small > 0 {
			t.Small = *small
		}
		if *lr > 0 {
			t.LR = *lr
		}
		if *smallLR > 0 {
			t.SmallLR = *smallLR
		}
		if *rows > 0 {
			t.Rows = *rows
		}
		if *hidden > 0 {
			t.Model.Hidden = *hidden
		}
		s.tasks = append(s.tasks, t)
	}
	list := strings.Fields(*methods)
	if len(list) == 0 {
		list = named
	}
	for _, m := range list {
		v, err := parse(m)
		if err != nil {
			return nil, err
		}
		s.variants = append(s.variants, v)
	}
	for _, text := range strings.Split(*seeds, ",") {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("seed %q: %w", text, err)
		}
		s.seeds = append(s.seeds, n)
	}
	s.jobs = max(1, *jobs)
	s.bench = newBench(s.dir, *threads)
	s.bench.stored = *stored
	if *held {
		s.bench.split = splitHeld
	}
	s.bench.log = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	return s, nil
}

// all makes every run, or reads it.
func (s *settings) all(ctx context.Context) ([]*result, error) {
	type job struct {
		t    *task
		seed uint64
		v    variant
		r    *result
		err  error
	}
	var jobs []*job
	for _, seed := range s.seeds {
		for _, t := range s.tasks {
			for _, v := range s.variants {
				jobs = append(jobs, &job{t: t, seed: seed, v: v})
			}
		}
	}
	todo := make(chan *job)
	var wait sync.WaitGroup
	for range s.jobs {
		wait.Go(func() {
			for j := range todo {
				if ctx.Err() == nil {
					j.r, j.err = s.bench.run(ctx, j.t, j.seed, j.v)
				}
			}
		})
	}
	for _, j := range jobs {
		todo <- j
	}
	close(todo)
	wait.Wait()
	var out []*result
	for _, j := range jobs {
		if j.err != nil {
			return nil, j.err
		}
		if j.r != nil {
			out = append(out, j.r)
		}
	}
	return out, ctx.Err()
}
