package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Sizes of a plot, in pixels.
const (
	plotWidth, plotHeight = 860, 460
	plotLeft, plotRight   = 64, 220
	plotTop, plotBottom   = 36, 48
)

// colours that tell on white and on black.
var colours = []string{"#d33c3c", "#2f7ed8", "#2a9d54", "#c77d00", "#8e5bd0", "#0f9aa8", "#c2479a", "#7a7f1e", "#7d7d7d", "#b5603a", "#4c6fb1", "#5aa02c"}

// plot draws the loss of each method, the mean of its seeds, against the FLOPs.
func plot(task string, all []*summary) string {
	rows := slices.Clone(all)
	slices.SortStableFunc(rows, func(a, b *summary) int { return compare(a.over(finalLoss), b.over(finalLoss)) })
	low, high, most := math.Inf(1), 0.0, 0.0
	for _, s := range rows {
		low = min(low, s.over(finalLoss))
		most = max(most, s.over(totalFLOPs))
		if s.name == "scratch" {
			// What is above an early point of the run from scratch would press everything else together.
			c := s.mean()
			high = c[min(len(c)-1, max(1, len(c)/6))].Loss
		}
	}
	if high <= low {
		high = low + 1
	}
	low -= .04 * (high - low)
	x := func(f float64) float64 { return plotLeft + f/most*(plotWidth-plotLeft-plotRight) }
	y := func(l float64) float64 {
		return plotTop + (high-min(l, high))/(high-low)*(plotHeight-plotTop-plotBottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">
<style>text{fill:#333}.grid{stroke:#8884;fill:none}.line{fill:none;stroke-width:2;stroke-linejoin:round}@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>
<text x="%d" y="20" font-size="14">%s: loss on test data against total TFLOP (operator learning included)</text>
`, plotWidth, plotHeight, plotLeft, html.EscapeString(task))
	for _, v := range ticks(low, high) {
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`+"\n", plotLeft, y(v), plotWidth-plotRight, plotLeft-8, y(v)+4, v)
	}
	for _, v := range ticks(0, most/1e12) {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %dV%d"/><text x="%.1f" y="%d" text-anchor="middle">%.4g</text>`+"\n", x(v*1e12), plotTop, plotHeight-plotBottom, x(v*1e12), plotHeight-plotBottom+18, v)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">TFLOP</text>`+"\n", (plotLeft+plotWidth-plotRight)/2, plotHeight-10)
	for i, s := range rows {
		var d []string
		for _, p := range s.mean() {
			d = append(d, fmt.Sprintf("%.1f %.1f", x(p.FLOPs), y(p.Loss)))
		}
		colour, dash := colours[i%len(colours)], ""
		if s.runs[0].Operator != nil {
			dash = ` stroke-dasharray="7 3"`
		}
		fmt.Fprintf(&b, `<path class="line" stroke="%s"%s d="M%s"/>`+"\n", colour, dash, strings.Join(d, "L"))
		at := plotTop + 8 + 22*i
		fmt.Fprintf(&b, `<path class="line" stroke="%s"%s d="M%d %dh28"/><text x="%d" y="%d">%s  %.4f</text>`+"\n", colour, dash, plotWidth-plotRight+14, at,
			plotWidth-plotRight+50, at+4, html.EscapeString(s.name), s.over(finalLoss))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// mean is the curve over the seeds, as far as all of them have it.
func (s *summary) mean() []measured {
	n := math.MaxInt
	for _, r := range s.runs {
		n = min(n, len(r.Curve))
	}
	out := make([]measured, n)
	for _, r := range s.runs {
		for i := range n {
			out[i].FLOPs += r.Curve[i].FLOPs / float64(len(s.runs))
			out[i].Loss += r.Curve[i].Loss / float64(len(s.runs))
		}
	}
	return out
}

// ticks are some round numbers in a range.
func ticks(from, to float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10((to-from)/4)))
	for (to-from)/step > 8 {
		step *= 2
	}
	var out []float64
	for i := math.Ceil(from / step); i*step <= to; i++ {
		out = append(out, i*step)
	}
	return out
}
