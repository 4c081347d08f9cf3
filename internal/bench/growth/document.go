package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What is between these lines of results.md is written by this program; the rest is by people.
const (
	markBegin = "<!-- make bench-growth: begin -->\n"
	markEnd   = "<!-- make bench-growth: end -->\n"
)

// document writes the tables into results.md, and the plots beside it.
func document(dir string, tasks []*task, results []*result) error {
	path := filepath.Join(dir, "results.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte(markBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(markEnd))
	if !ok || !ok2 {
		return fmt.Errorf("%s: the lines %q and %q are missing", path, markBegin, markEnd)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(markBegin)
	all := summaries(results)
	for _, t := range tasks {
		var mine []*summary
		for _, s := range all {
			if s.task == t.Name {
				mine = append(mine, s)
			}
		}
		if len(mine) == 0 {
			continue
		}
		name := "results-" + t.Name + ".svg"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(plot(t.Name, mine)), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n![loss against FLOPs](%s)\n\n", strings.ToUpper(t.Name[:1])+t.Name[1:], t.account(mine), name)
		b.WriteString(table(mine, results))
	}
	b.WriteString(markEnd)
	b.Write(after)
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// account says what a task's numbers are of.
func (t *task) account(all []*summary) string {
	r := all[0].runs[0]
	var seeds []uint64
	for _, r := range all[0].runs {
		seeds = append(seeds, r.Seed)
	}
	batch := fmt.Sprintf("%d images", t.Rows)
	if t.Tokens > 0 {
		batch = fmt.Sprintf("%d x %d tokens", t.Rows, t.Tokens)
	}
	return fmt.Sprintf(`Data: %s. Models: %s. Batches of %s. The small model is trained for %d steps at %g (%.2f TFLOP), the large one
from scratch for %d steps at %g, warmup %d, of %.2f GFLOP each; AdamW (0.9, 0.95), weight decay 0.01, clipping at 1, cosine to a tenth. Small model's loss: %.4f.
Measured on %d rows. Seeds: %s.`,
		t.data.describe(), t.sizes(), batch, t.Small, t.SmallLR, r.SmallFLOPs/1e12, t.Large, t.LR, t.Warmup, r.StepFLOPs/1e9,
		all[0].over(func(r *result) float64 { return r.SmallLoss }), t.batchesOf(t.EvalRows)*t.Rows, strings.Trim(fmt.Sprint(seeds), "[]"))
}
