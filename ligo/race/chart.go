package race

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Sizes of a chart, in its own units.
const (
	chartWidth, chartHeight = 860, 440
	chartLeft, chartRight   = 58, 190
	chartTop, chartBottom   = 18, 46
	labelHeight             = 17 // least distance of two names
)

// style is of colours that tell on white and on black; each line has a dash of its own besides, for those who do not tell colours apart.
var style = []struct{ colour, dash string }{
	{"#8a8a8a", ""}, {"#2e86c1", "9 4"}, {"#c27c0e", "2 4"}, {"#d1495b", ""}, {"#2a9d6f", "9 3 2 3"}, {"#8e5bd0", "5 3"}, {"#138d90", "1 3"}, {"#a0522d", "14 4"},
}

// Chart draws the curves as an SVG of its own: loss against TFLOP, with what was spent before the race. Its text takes the colour of the page
// around it. The first curve is the reference; its last loss is a line across.
func Chart(curves []*Curve) string {
	f := frameOf(curves)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="validation loss against TFLOP" fill="currentColor" font-family="system-ui, sans-serif" font-size="12">`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<clipPath id="plot"><rect x="%d" y="%d" width="%d" height="%d"/></clipPath>`+"\n", chartLeft, chartTop-4, chartWidth-chartLeft-chartRight+8, chartHeight-chartTop-chartBottom+8)
	bottom, right := chartHeight-chartBottom, chartWidth-chartRight
	for _, v := range ticks(f.low, f.high) {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="currentColor" stroke-opacity=".15"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`+"\n", chartLeft, f.y(v), right, chartLeft-8, f.y(v)+4, v)
	}
	for _, v := range ticks(0, f.most/1e12) {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="currentColor" stroke-opacity=".15"/><text x="%.1f" y="%d" text-anchor="middle">%.4g</text>`+"\n", f.x(v*1e12), chartTop, bottom, f.x(v*1e12), bottom+18, v)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">TFLOP, with those for learning an operator</text>`+"\n", (chartLeft+right)/2, chartHeight-8)
	if len(curves) > 0 && len(curves[0].Points) > 0 {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="currentColor" stroke-dasharray="3 3"/>`+"\n", chartLeft, f.y(curves[0].Final().Loss), right)
	}
	for i, c := range curves {
		f.line(&b, i, c)
	}
	f.names(&b, curves)
	b.WriteString("</svg>\n")
	return b.String()
}

// frame is the part of the plane that is shown.
type frame struct{ low, high, most float64 }

func (f frame) x(flops float64) float64 {
	return chartLeft + flops/f.most*(chartWidth-chartLeft-chartRight)
}

func (f frame) y(loss float64) float64 {
	return chartTop + (f.high-loss)/(f.high-f.low)*(chartHeight-chartTop-chartBottom)
}

// frameOf leaves out where a model from scratch begins: what is above the others' starts and above a tenth of the reference's way would
// press everything else together.
func frameOf(curves []*Curve) frame {
	f := frame{low: math.Inf(1), high: math.Inf(-1), most: 0}
	for i, c := range curves {
		for j, p := range c.Points {
			f.low, f.most = min(f.low, p.Loss), max(f.most, p.FLOPs)
			if i > 0 || j >= min(len(c.Points)-1, max(1, len(c.Points)/10)) {
				f.high = max(f.high, p.Loss)
			}
		}
	}
	if !(f.high > f.low) {
		f.low, f.high = f.low-1, f.low+1
		if math.IsInf(f.low, 0) {
			f.low, f.high = 0, 1
		}
	}
	if f.most == 0 {
		f.most = 1
	}
	margin := .05 * (f.high - f.low)
	f.low, f.high = f.low-margin, f.high+margin
	return f
}

func (f frame) line(b *strings.Builder, i int, c *Curve) {
	s := style[i%len(style)]
	var d []string
	for _, p := range c.Points {
		d = append(d, fmt.Sprintf("%.1f %.1f", f.x(p.FLOPs), f.y(p.Loss)))
	}
	if len(d) == 0 {
		return
	}
	fmt.Fprintf(b, `<g clip-path="url(#plot)"><path d="M%s" fill="none" stroke="%s" stroke-width="2" stroke-linejoin="round" stroke-dasharray="%s"/>`+"\n", strings.Join(d, "L"), s.colour, s.dash)
	for _, p := range c.Points {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: loss %.4f after %d steps, %.3g TFLOP</title></circle>`+"\n",
			f.x(p.FLOPs), f.y(p.Loss), s.colour, html.EscapeString(c.Name), p.Loss, p.Step, p.FLOPs/1e12)
	}
	b.WriteString("</g>\n")
}

// names puts every curve's name beside its end, moved apart where ends are close.
func (f frame) names(b *strings.Builder, curves []*Curve) {
	type label struct {
		i    int
		y    float64
		text string
	}
	var all []label
	for i, c := range curves {
		if len(c.Points) > 0 {
			all = append(all, label{i, f.y(c.Final().Loss), fmt.Sprintf("%s %.3f", c.Name, c.Final().Loss)})
		}
	}
	slices.SortStableFunc(all, func(a, b label) int { return cmp.Compare(a.y, b.y) })
	for i := range all {
		least := float64(chartTop)
		if i > 0 {
			least = all[i-1].y + labelHeight
		}
		all[i].y = max(all[i].y, least)
	}
	for i := len(all) - 1; i >= 0; i-- {
		most := float64(chartHeight - chartBottom)
		if i < len(all)-1 {
			most = all[i+1].y - labelHeight
		}
		all[i].y = min(all[i].y, most)
	}
	x := chartWidth - chartRight + 8
	for _, l := range all {
		s := style[l.i%len(style)]
		fmt.Fprintf(b, `<path d="M%d %.1fh22" stroke="%s" stroke-width="2" stroke-dasharray="%s"/><text x="%d" y="%.1f">%s</text>`+"\n", x, l.y, s.colour, s.dash, x+27, l.y+4, html.EscapeString(l.text))
	}
}

// ticks are some round numbers in a range.
func ticks(from, to float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10((to-from)/4)))
	for _, by := range []float64{2, 2.5, 2} {
		if (to-from)/step > 7 {
			step *= by
		}
	}
	var out []float64
	for i := math.Ceil(from / step); i*step <= to; i++ {
		out = append(out, i*step)
	}
	return out
}
