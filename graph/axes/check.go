package axes

import (
	"context"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

// Check is the gate: it infers the grown graph again and compares it with what was planned, for everything that has the same name
// in both graphs: the sizes of every value, and the heads and head size of every score. A node that the grown graph no longer
// explains is a problem too. Each difference is one Problem.
func (r *Result) Check(ctx context.Context, grown *graph.Graph, z Sizes) ([]Problem, error) {
	g, err := Infer(ctx, grown, Options{})
	if err != nil {
		return nil, err
	}
	c := &gate{planned: r, grown: g, sizes: z}
	c.nodes("conflict", r.Conflicts, g.Conflicts)
	c.nodes("not covered", r.refused, g.refused)
	for _, n := range r.Graph.Nodes {
		for _, v := range n.Out {
			if v != nil {
				c.value(v)
			}
		}
	}
	for _, v := range r.Graph.Consts {
		c.value(v)
	}
	c.scores()
	return c.problems, nil
}

type gate struct {
	planned, grown *Result
	sizes          Sizes
	problems       []Problem
}

func (c *gate) report(n *graph.Node, format string, args ...any) {
	c.problems = append(c.problems, Problem{Code: "gate", Node: n, Text: fmt.Sprintf(format, args...)})
}

// nodes reports the nodes that are at fault in the grown graph and were not before. A node of a new layer is known when a node of
// its operator was at fault.
func (c *gate) nodes(what string, before, after []Conflict) {
	names, ops := map[string]bool{}, map[opKey]bool{}
	for _, k := range before {
		names[k.Node.String()] = true
		ops[opKey{k.Node.Domain, k.Node.Op}] = true
	}
	old := map[string]bool{}
	for _, n := range c.planned.Graph.Nodes {
		old[n.String()] = true
	}
	for _, k := range after {
		name := k.Node.String()
		if names[name] || (!old[name] && ops[opKey{k.Node.Domain, k.Node.Op}]) {
			continue
		}
		c.report(k.Node, "in the grown graph, %s: %s (%s)", name, k.Reason, what)
	}
}

func (c *gate) value(v *graph.Value) {
	w := c.grown.Graph.Value(v.Name)
	if w == nil {
		return
	}
	a, b := c.planned.axes[v], c.grown.axes[w]
	switch {
	case a == nil, b == nil && len(w.Uses) == 0: // unused
		return
	case b == nil:
		c.report(v.Producer, "%s: the grown graph does not tell its sizes", v.Name)
		return
	case len(a) != len(b):
		c.report(v.Producer, "%s: planned %d axes, the grown graph has %d", v.Name, len(a), len(b))
		return
	}
	for i := range a {
		if n := c.sizes.Eval(a[i]); n != b[i].Size && !runtime(a[i]) {
			c.report(v.Producer, "%s: axis %d was planned to be %d, the grown graph has %d", v.Name, i, n, b[i].Size)
		}
	}
}

// scores compares what attention contracts and batches over: a wrong head count may leave every outer size right.
func (c *gate) scores() {
	grown := map[string]*Score{}
	for _, s := range c.grown.Scores {
		grown[s.Node.Out[0].Name] = s
	}
	for _, s := range c.planned.Scores {
		t := grown[s.Node.Out[0].Name]
		if t == nil {
			continue
		}
		compare := func(what string, a, b *Expr) {
			if a == nil || b == nil || runtime(a) {
				return
			}
			if n := c.sizes.Eval(a); n != b.Size {
				c.report(s.Node, "%s: the %s was planned to be %d, the grown graph has %d", s.Node, what, n, b.Size)
			}
		}
		compare("head size", s.Inner, t.Inner)
		compare("head count", s.Batch, t.Batch)
	}
}

func runtime(e *Expr) bool {
	run := false
	e.Atoms(func(a *Atom) { run = run || a.Flags&FlagRun != 0 })
	return run
}
