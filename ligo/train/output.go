package train

import (
	"fmt"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// output finds the output that the loss is of.
func (t *Task) output(r *axes.Result) (*graph.Value, error) {
	var fitting, listed []*graph.Value
	for _, v := range t.Graph.Outputs {
		if name := t.Spec.Output; name != "" {
			if v.Name != name {
				continue
			}
			if v.Type != nil && v.Type.Elem != 0 && !v.Type.Elem.Growable() {
				return nil, fmt.Errorf("output %q has type %v, a loss needs a floating type", name, v.Type.Elem)
			}
			if t.Spec.Loss != MSE && rankOf(v, r) < 2 {
				return nil, fmt.Errorf("the rank of output %q is not known to be at least 2, which loss %s needs", name, t.Spec.Loss)
			}
			return v, nil
		}
		if v.Producer == nil || v.Type != nil && v.Type.Elem != 0 && !v.Type.Elem.Growable() {
			continue
		}
		listed = append(listed, v)
		if t.Spec.fits(rankOf(v, r)) {
			fitting = append(fitting, v)
		}
	}
	switch {
	case t.Spec.Output != "":
		return nil, fmt.Errorf("the model has no output %q; it has %s", t.Spec.Output, outputs(t.Graph.Outputs, r))
	case len(fitting) == 1:
		return fitting[0], nil
	case len(fitting) > 1:
		return nil, fmt.Errorf("loss %s fits several outputs, one must be named: %s", t.Spec.Loss, outputs(fitting, r))
	case len(listed) == 0:
		return nil, fmt.Errorf("loss %s needs a floating output that is computed, the model has none", t.Spec.Loss)
	}
	return nil, fmt.Errorf("no output has the rank that loss %s needs (%s): %s", t.Spec.Loss, t.Spec.ranks(), outputs(listed, r))
}

// fits reports whether the loss expects that rank where no output is named.
func (s Spec) fits(rank int) bool {
	switch s.Loss {
	case CausalLM, MaskedLM:
		return rank == 3
	case Classify:
		return rank == 2
	case Distill:
		return rank == 2 || rank == 3
	}
	return true
}

func (s Spec) ranks() string {
	switch s.Loss {
	case CausalLM, MaskedLM:
		return "3: batch, sequence, vocabulary"
	case Classify:
		return "2: batch, classes"
	}
	return "2 or 3"
}

func outputs(vs []*graph.Value, r *axes.Result) string {
	const most = 8
	parts := make([]string, 0, len(vs))
	for i, v := range vs {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(vs)-most))
			break
		}
		rank := "?"
		if n := rankOf(v, r); n >= 0 {
			rank = fmt.Sprint(n)
		}
		parts = append(parts, fmt.Sprintf("%s (rank %s)", v.Name, rank))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// rankOf is the rank of a value by its declaration, or else by inference; -1 where neither says.
func rankOf(v *graph.Value, r *axes.Result) int {
	if v.Type != nil && v.Type.HasShape {
		return len(v.Type.Dims)
	}
	if r == nil {
		return -1
	}
	if w := r.Graph.Value(v.Name); w != nil {
		if ax := r.Axes(w); ax != nil {
			return len(ax)
		}
	}
	return -1
}
