package ligo

import (
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/graph/blocks"
)

// layerPlan is one layer of the large model.
type layerPlan struct {
	blocks.Layer
	// Weights is the small layer that the weights come from; -1 for none (zeros).
	Weights int
	// Inert says that the modules of Stage.Zero are zero in this layer.
	Inert bool
	// Yields says that the last norm on the stream has gain 1 and bias 0 here: an inert copy follows that takes gain and bias over
	// (LEMON's affine shift). In inert layers the other norms on the stream have them too.
	Yields bool
}

// plain says that norm i of the n on the stream has gain 1 and bias 0.
func (l layerPlan) plain(i, n int) bool {
	return i >= 0 && (i == n-1 && l.Yields || i < n-1 && l.Inert)
}

// stageLayers is what one stage consists of; nil layers leave it as it is.
type stageLayers struct{ layers []layerPlan }

func (s stageLayers) plan(from int) StagePlan {
	p := StagePlan{From: int64(from), To: int64(from)}
	if s.layers == nil {
		for i := range from {
			p.Sources = append(p.Sources, i)
		}
		return p
	}
	p.To = int64(len(s.layers))
	inert := false
	for _, l := range s.layers {
		p.Sources = append(p.Sources, l.Source)
		p.Inert = append(p.Inert, l.Inert)
		inert = inert || l.Inert
	}
	if !inert {
		p.Inert = nil
	}
	return p
}

// arrange fills n layers of a stage by a depth rule.
func arrange(st *blocks.Stage, n int, rule depthRule) stageLayers {
	old := len(st.Blocks)
	if n == old {
		return stageLayers{}
	}
	ls := make([]layerPlan, n)
	for i := range ls {
		l := &ls[i]
		switch rule {
		case depthStack:
			l.Source = i % old
			l.New = i >= old
		case depthOnTop:
			l.Source = min(i, old-1)
			l.New = i >= old
		case depthLEMON:
			l.Source, l.New = lemonSource(i, n, old)
		default:
			l.Source = i * old / n
			l.New = i > 0 && ls[i-1].Source == l.Source
		}
		l.Weights = l.Source
		if !l.New {
			continue
		}
		switch rule {
		case depthInert:
			l.Inert = true
		case depthLEMON:
			// The inner weights come from the layer that follows, so that the copy is no twin of its source.
			l.Inert, l.Weights = true, min(l.Source+1, old-1)
		case depthOnTop:
			l.Inert, l.Weights = true, -1
		}
	}
	for i := range ls {
		if ls[i].Inert && len(st.Shift) > 0 && i > 0 && ls[i-1].Source == ls[i].Source {
			ls[i-1].Yields = true
		}
	}
	return stageLayers{ls}
}

// lemonSource spreads layers as LEMON does: as long as at most doubling is asked for, the first 2·old-n layers stay single and every
// later one is followed by an inert layer. Beyond doubling the new layers are spread evenly.
func lemonSource(i, n, old int) (source int, isNew bool) {
	single := 2*old - n
	switch {
	case single < 0:
		s := i * old / n
		return s, i > 0 && (i-1)*old/n == s
	case i < single:
		return i, false
	}
	return single + (i-single)/2, (i-single)%2 == 1
}

// stageTargets decides how many layers each stage gets.
func stageTargets(a *Analysis, t Target, rule depthRule) ([]int, []Problem, []Reason) {
	now := make([]int, len(a.Blocks.Stages))
	for i, s := range a.Blocks.Stages {
		now[i] = len(s.Blocks)
	}
	want := slices.Clone(now)
	asked := t.Layers != 0 || t.Depth != 0
	factor := t.Depth
	if t.zero() {
		factor = 2
	}
	switch {
	case t.replay != nil:
		if len(t.replay.Layers) != len(want) {
			return now, []Problem{{Code: CodeUnlike, Text: fmt.Sprintf("the record is of a model with %d runs of layers, this one has %d", len(t.replay.Layers), len(want))}}, nil
		}
		for i, n := range t.replay.Layers {
			want[i] = int(min(n, maxLayers+1))
		}
	case t.Like != nil:
		if len(t.Like.Blocks.Stages) != len(want) {
			return now, []Problem{{Code: CodeUnlike, Text: fmt.Sprintf("the model to be like has %d runs of layers, this one has %d", len(t.Like.Blocks.Stages), len(want))}}, nil
		}
		for i, s := range t.Like.Blocks.Stages {
			want[i] = len(s.Blocks)
		}
	case t.Layers != 0:
		if t.Layers > maxLayers {
			return now, []Problem{tooDeep(t.Layers)}, nil
		}
		if len(now) == 0 {
			break
		}
		most := mainStage(now)
		if int(t.Layers) < now[most] {
			return now, []Problem{{Code: CodeShrink, Nearest: []int64{int64(now[most])}, Text: fmt.Sprintf("the model has %d layers already, %d are fewer", now[most], t.Layers)}}, nil
		}
		want[most] = int(t.Layers)
	case factor != 0:
		for i, n := range now {
			want[i] = int(math.Round(min(float64(n)*factor, maxLayers+1)))
		}
	}
	for name, n := range t.Axes {
		var i int
		if _, err := fmt.Sscanf(name, "layers.%d", &i); err == nil && i >= 0 && i < len(want) {
			want[i], asked = int(min(n, maxLayers+1)), true
		}
	}
	if asked && len(now) == 0 {
		text := "no repeated layers were found"
		if len(a.Blocks.Notes) > 0 {
			text += ": " + a.Blocks.Notes[0]
		}
		return now, []Problem{{Code: CodeNoLayers, Text: text}}, nil
	}
	var problems []Problem
	var notes []Reason
	for i, s := range a.Blocks.Stages {
		if want[i] > maxLayers {
			return now, []Problem{tooDeep(int64(want[i]))}, nil
		}
		if want[i] < now[i] {
			problems = append(problems, Problem{Code: CodeShrink, Nearest: []int64{int64(now[i])},
				Text: fmt.Sprintf("%d layers cannot become %d", now[i], want[i])})
		}
		exact := rule == depthInert || rule == depthLEMON
		if want[i] > now[i] && exact && s.Why != "" {
			if asked || t.Like != nil || t.replay != nil {
				problems = append(problems, Problem{Code: CodeNoDepthRule, Text: "new layers cannot be made to pass the stream through: " + s.Why, Nearest: []int64{int64(now[i])}})
			} else {
				notes = append(notes, Reason{Code: CodeNoDepthRule, Text: "no new layers: " + s.Why})
				want[i] = now[i]
			}
		}
	}
	return want, problems, notes
}

// maxLayers bounds the layers of a stage: every layer is some hundred nodes in memory, several times over.
const maxLayers = 4096

func tooDeep(n int64) Problem {
	return Problem{Code: CodeTooLarge, Text: fmt.Sprintf("%d layers are too many", n), Nearest: []int64{maxLayers}}
}

// mainStage is the stage that people mean by a model's layers: the one with the most, the first of equals. (CaiT's two layers of class
// attention after its main stage are the other kind.)
func mainStage[T int | int64](layers []T) int {
	most := 0
	for i, n := range layers {
		if n > layers[most] {
			most = i
		}
	}
	return most
}

// slot is the place of a constant of the deepened graph among the layers.
type slot struct {
	stage, layer, module int
}

// deepened is the graph with all its layers at the small widths, and where its constants come from.
type deepened struct {
	axes  *axes.Result
	slots map[*graph.Value]slot // constants of layers, by value of axes.Graph
	// from gives the atom of the small graph that an atom of the deepened graph is (a copy of).
	from map[*axes.Atom]*axes.Atom
}

// trace finds from: deep leads from the values of the deepened graph to those that they are copies of.
func (d *deepened) trace(small *axes.Result, deep *blocks.Deep) {
	d.from = map[*axes.Atom]*axes.Atom{}
	visit := func(v *graph.Value) {
		made := deep.Graph.Value(v.Name)
		if made == nil || deep.Values[made] == nil {
			return
		}
		es, old := d.axes.Axes(v), small.Axes(deep.Values[made])
		if len(es) != len(old) {
			return
		}
		for i := range es {
			pair(es[i], old[i], func(a, b *axes.Atom) {
				if d.from[a] == nil && a.Size == b.Size {
					d.from[a] = b
				}
			})
		}
	}
	for _, v := range d.axes.Graph.Consts {
		visit(v)
	}
	for _, n := range d.axes.Graph.Nodes {
		for _, o := range n.Out {
			if o != nil {
				visit(o)
			}
		}
	}
}

// pair walks two expressions of the same structure.
func pair(a, b *axes.Expr, f func(a, b *axes.Atom)) {
	if a.Kind != b.Kind || len(a.Args) != len(b.Args) {
		return
	}
	if a.Kind == axes.Leaf {
		f(a.Atom, b.Atom)
		return
	}
	for i := range a.Args {
		pair(a.Args[i], b.Args[i], f)
	}
}
