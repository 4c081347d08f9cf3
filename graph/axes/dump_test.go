package axes

import (
	"fmt"
	"slices"
	"strings"
)

// dump writes everything that an inference found, for comparing two of them.
func dump(r *Result) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, a := range r.Atoms {
		group := ""
		if a.Groups != nil {
			group = a.Groups.Name
		}
		line("atom %d %s size %d role %q layer %d parts %d flags %x groups %q why %q", a.ID, a.Name, a.Size, a.Role, a.Layer, a.Parts, a.Flags, group, a.Why)
	}
	for _, n := range r.Graph.Nodes {
		for _, v := range n.Out {
			if v == nil {
				continue
			}
			ints, known := r.Static(v)
			line("value %s %v static %v %v", v.Name, r.Axes(v), ints, known)
		}
	}
	for _, w := range r.Weights {
		line("weight %s %v sides %v matmul %v", w.Value.Name, w.Axes, w.Sides, w.Matmul)
	}
	name := func(v interface{ String() string }) string { return v.String() }
	for _, n := range r.Norms {
		line("norm %s %s of %s eps %g offset %g post %v gain %v bias %v", n.Kind, name(n.Node), n.Axis, n.Eps, n.GainOffset, n.Post, n.Gain != nil, n.Bias != nil)
	}
	for _, s := range r.Scores {
		line("score %s inner %s batch %v", s.Node, s.Inner, s.Batch)
		for _, sl := range s.Scales {
			line("  scale %s const %v attr %q power %g divide %v computed %v", sl.Node, sl.Const != nil, sl.Attr, sl.Power, sl.Divide, sl.Computed)
		}
	}
	for _, c := range r.Conflicts {
		line("conflict %s %s", c.Node, c.Reason)
	}
	var eqs []string
	for _, e := range r.Equations() {
		eqs = append(eqs, fmt.Sprintf("equation %s = %s at %s", e.Left, e.Right, e.Node))
	}
	slices.Sort(eqs)
	line("%s", strings.Join(eqs, "\n"))
	return b.String()
}
