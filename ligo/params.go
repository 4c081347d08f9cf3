package ligo

import (
	"fmt"
	"math"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// searchParams turns a number of parameters into widths and layers. Of the sizes that come near the number it takes those that keep
// the model's ratio of width to depth: being 1 % off the number weighs as much as a ratio that is 10 % off.
func searchParams(a *Analysis, t Target, m Method) (Target, error) {
	width, depth := m.rules()
	e := newEstimate(a)
	if n, _ := parameters(a.Axes.Graph); t.Params < n {
		return t, &TargetError{[]Problem{{Code: CodeShrink, Text: fmt.Sprintf("the model has %d parameters already, %d are fewer", n, t.Params), Nearest: []int64{n}}}}
	}
	ch := &chooser{r: a.Axes, equations: a.Axes.Equations(), whole: width == widthClone || width == widthStaged, doubling: width == widthStaged}
	now := ch.shape()
	layers := int64(0)
	deepens := true
	for _, s := range a.Blocks.Stages {
		layers += int64(len(s.Blocks))
		deepens = deepens && (s.Why == "" || depth == depthStack || depth == depthRepeat)
	}
	deepens = deepens && layers > 0
	step := max(now.hidden/16, 1)
	if now.merged {
		step = now.dim
	}
	best, found := math.Inf(1), Target{}
	const mostWidths = 512
	for i := range int64(mostWidths) {
		try := Target{Hidden: now.hidden + i*step}
		if now.hidden == 0 {
			if i > 0 {
				break
			}
			try.Hidden = 0
		}
		c := ch.choose(try)
		if len(c.problems) > 0 {
			continue
		}
		fixed, perLayer := e.at(c.sizes)
		if fixed+perLayer > 2*float64(t.Params) {
			break
		}
		n := float64(layers)
		if deepens && perLayer > 0 {
			n = max(n, math.Round((float64(t.Params)-fixed)/(perLayer/float64(layers))))
		}
		total := fixed
		if layers > 0 {
			total += perLayer * n / float64(layers)
		}
		off := math.Abs(math.Log(total / float64(t.Params)))
		ratio := 0.0
		if now.hidden > 0 && layers > 0 {
			ratio = math.Abs(math.Log(n / float64(layers) / (float64(try.Hidden) / float64(now.hidden))))
		}
		if score := off + ratio/10; score < best {
			best = score
			found = try
			if deepens && int64(n) != layers {
				found.Depth = n / float64(layers)
			}
		}
	}
	if math.IsInf(best, 1) {
		return t, &TargetError{[]Problem{{Code: CodeSizeEquation, Text: fmt.Sprintf("no sizes were found near %d parameters", t.Params)}}}
	}
	return found, nil
}

// estimate counts parameters as a function of sizes.
type estimate struct {
	a       *Analysis
	inLayer map[*graph.Value]bool
}

func newEstimate(a *Analysis) estimate {
	e := estimate{a, map[*graph.Value]bool{}}
	for _, s := range a.Blocks.Stages {
		for _, m := range s.Modules {
			for _, c := range m.Consts {
				e.inLayer[c] = true
			}
		}
	}
	return e
}

// at is the number of parameters outside the layers, and in all present layers.
func (e estimate) at(s axes.Sizes) (fixed, layers float64) {
	seen := map[string]bool{}
	for _, v := range e.a.Axes.Graph.Consts {
		if !v.Const.DType.Growable() || v.Const.NumElements() <= 1 {
			continue
		}
		n := v.Const.NumElements()
		if w := e.a.Axes.Weight(v); w != nil {
			n = elements(w, s)
		}
		key := fmt.Sprint(v.Origin, n)
		if seen[key] {
			continue
		}
		seen[key] = true
		if e.inLayer[v] {
			layers += float64(n)
		} else {
			fixed += float64(n)
		}
	}
	return fixed, layers
}
