package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// summary is a method on a task, over its seeds.
type summary struct {
	task, name string
	runs       []*result
}

// summaries groups results, in the order of their first.
func summaries(results []*result) []*summary {
	var out []*summary
	for _, r := range results {
		i := slices.IndexFunc(out, func(s *summary) bool { return s.task == r.Task && s.name == r.Name })
		if i < 0 {
			i = len(out)
			out = append(out, &summary{task: r.Task, name: r.Name})
		}
		out[i].runs = append(out[i].runs, r)
	}
	return out
}

// over is the mean over the seeds.
func (s *summary) over(f func(*result) float64) float64 {
	sum := 0.0
	for _, r := range s.runs {
		sum += f(r)
	}
	return sum / float64(len(s.runs))
}

func finalLoss(r *result) float64  { return r.final().Loss }
func firstLoss(r *result) float64  { return r.Curve[0].Loss }
func totalFLOPs(r *result) float64 { return r.final().FLOPs }

// reach is where a run comes to a loss and stays at or below it, between two measurements on a straight line; NaN if nowhere.
func (r *result) reach(loss float64) float64 {
	at := math.NaN()
	for i := len(r.Curve) - 1; i >= 0 && r.Curve[i].Loss <= loss; i-- {
		at = r.Curve[i].FLOPs
		if i > 0 {
			if a, b := r.Curve[i-1], r.Curve[i]; a.Loss > loss {
				at = a.FLOPs + (b.FLOPs-a.FLOPs)*(a.Loss-loss)/(a.Loss-b.Loss)
			}
		}
	}
	return at
}

// saved is the share of the FLOPs of a run from scratch that another needs for the same final loss; small is charged on top.
func saved(r, scratch *result, small float64) float64 {
	return 1 - (r.reach(scratch.final().Loss)+small)/scratch.final().FLOPs
}

// find is the run of a method with the task and seed of another.
func find(results []*result, name string, of *result) *result {
	for _, r := range results {
		if r.Name == name && r.Task == of.Task && r.Seed == of.Seed {
			return r
		}
	}
	return nil
}

// table compares the methods on a task, best first.
func table(rows []*summary, results []*result) string {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b *summary) int { return compare(a.over(finalLoss), b.over(finalLoss)) })
	var b strings.Builder
	b.WriteString("| method | loss at the start | at the end | of each seed | operator: steps | its share of the FLOPs | steps | TFLOP in all | saved against scratch | against scratch-long | the same, small model charged |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range rows {
		b.WriteString(s.row(results))
	}
	return b.String()
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (s *summary) row(results []*result) string {
	var each []string
	for _, r := range s.runs {
		each = append(each, fmt.Sprintf("%.4f", finalLoss(r)))
	}
	opSteps, opShare := "", ""
	if o := s.runs[0].Operator; o != nil {
		opSteps = fmt.Sprint(o.Steps)
		opShare = fmt.Sprintf("%.1f %%", 100*s.over(func(r *result) float64 { return r.Operator.FLOPs / r.final().FLOPs }))
	}
	share := func(name string, charged bool) string {
		if s.name == name {
			return ""
		}
		sum, reached := 0.0, 0
		for _, r := range s.runs {
			other := find(results, name, r)
			if other == nil {
				return ""
			}
			x := saved(r, other, 0)
			if charged {
				x = saved(r, other, r.SmallFLOPs)
			}
			if !math.IsNaN(x) {
				sum += x
				reached++
			}
		}
		text := fmt.Sprintf("%.0f %%", 100*sum/float64(max(1, reached)))
		switch {
		case reached == 0:
			return "not reached"
		case reached < len(s.runs):
			text += fmt.Sprintf(" (%d of %d)", reached, len(s.runs))
		}
		return text
	}
	return fmt.Sprintf("| %s | %.4f | %.4f | %s | %s | %s | %d | %.2f | %s | %s | %s |\n", s.name, s.over(firstLoss), s.over(finalLoss), strings.Join(each, ", "), opSteps, opShare,
		s.runs[0].final().Step, s.over(totalFLOPs)/1e12, share("scratch", false), share("scratch-long", false), share("scratch-long", true))
}
