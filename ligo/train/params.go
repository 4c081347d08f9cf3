package train

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// weight is a constant of the task's graph that is trained.
type weight struct {
	v    *graph.Value
	role Role
}

// findParams decides what is trained and edits the graph so that each parameter is one constant of it.
func (t *Task) findParams(r *axes.Result) error {
	f := newFlow(r)
	var ws []weight
	for _, c := range r.Graph.Consts {
		v := t.Graph.Value(c.Name)
		if v == nil || v.Const != c.Const || len(v.Uses) == 0 {
			continue // in a branch that is not taken, or without influence on the loss
		}
		if role := f.role(c); role != "" {
			ws = append(ws, weight{v, role})
		}
	}
	groups, err := t.tie(ws)
	if err != nil {
		return err
	}
	only, err := patterns(t.Spec.Only)
	if err != nil {
		return err
	}
	freeze, err := patterns(t.Spec.Freeze)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, g := range groups {
		p := &Param{Name: g[0].v.Origin, Role: g[0].role, DType: g[0].v.Const.DType, Shape: shape(g[0].v), value: g[0].v.Name}
		if names[p.Name] {
			p.Name = p.value
		}
		for i := 2; names[p.Name]; i++ {
			p.Name = fmt.Sprintf("%s_%d", p.value, i)
		}
		names[p.Name] = true
		chosen, frozen := len(only) == 0, false
		for _, w := range g {
			p.copies = append(p.copies, copied{w.v.Name, w.transposed})
			// Constants of one initializer that are trained apart can be named together or one by one.
			for _, name := range []string{w.v.Origin, w.v.Name} {
				chosen = match(only, name) || chosen
				frozen = match(freeze, name) || frozen
			}
		}
		t.join(g)
		if chosen && !frozen {
			t.Params = append(t.Params, p)
		}
	}
	for _, list := range [][]*pattern{only, freeze} {
		for _, p := range list {
			if !p.used {
				return fmt.Errorf("no trainable parameter has a name like %q", p.text)
			}
		}
	}
	return nil
}

// takeParams makes parameters of the constants that Spec.Params names, as far as the loss depends on them.
func (t *Task) takeParams() error {
	for _, name := range t.Spec.Params {
		v := t.source.Value(name)
		if !v.IsConst() || !v.Const.DType.Growable() {
			return fmt.Errorf("parameter %q is no floating constant of the graph", name)
		}
		if v = t.Graph.Value(name); v == nil || len(v.Uses) == 0 {
			continue
		}
		t.Params = append(t.Params, &Param{Name: name, DType: v.Const.DType, Shape: shape(v), value: name, copies: []copied{{name, false}}})
	}
	return nil
}

func shape(v *graph.Value) []int {
	out := make([]int, len(v.Const.Dims))
	for i, d := range v.Const.Dims {
		out[i] = int(d)
	}
	return out
}

// join makes the constants of a group one: the others' uses read the first, through a Transpose where they hold its transpose, so
// that its gradient is the sum over all uses.
func (t *Task) join(g []tied) {
	first := g[0].v
	var turned *graph.Value
	for _, w := range g[1:] {
		with := first
		if w.transposed {
			if turned == nil {
				turned = t.Graph.NewValue(first.Name+"_transposed", nil)
				t.Graph.NewNode("Transpose", "", "", []*graph.Value{first}, []*graph.Value{turned}, graph.IntsAttr("perm", 1, 0))
			}
			with = turned
		}
		for _, u := range slices.Clone(w.v.Uses) {
			t.Graph.SetInput(u.Node, u.Index, with)
		}
		t.Graph.RemoveConst(w.v)
	}
}

// pattern is a name with * for any text and ? for any character.
type pattern struct {
	text string
	re   *regexp.Regexp
	used bool
}

func patterns(texts []string) ([]*pattern, error) {
	var out []*pattern
	for _, s := range texts {
		quoted := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(s))
		re, err := regexp.Compile("^(?s:" + quoted + ")$")
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", s, err)
		}
		out = append(out, &pattern{text: s, re: re})
	}
	return out, nil
}

// match reports whether a pattern fits the name, and notes which do.
func match(list []*pattern, name string) bool {
	found := false
	for _, p := range list {
		if p.re.MatchString(name) {
			p.used, found = true, true
		}
	}
	return found
}
