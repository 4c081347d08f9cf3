package ligo

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// repair makes sizes satisfy the equations of the graph by changing atoms that were not asked for. What cannot be repaired is a
// problem.
func (ch *chooser) repair(out *choice) {
	// Every change satisfies one equation and may break others; a graph whose equations chase each other in a circle has no
	// solution that can be found this way.
	for range len(ch.r.Atoms) + 1 {
		changed := false
		for _, e := range ch.equations {
			if out.sizes.Eval(e.Left) == out.sizes.Eval(e.Right) {
				continue
			}
			if a, n := ch.solve(e, out); a != nil {
				out.sizes[a] = n
				changed = true
			}
		}
		if !changed {
			break
		}
	}
	seen := map[string]bool{}
	for _, e := range ch.equations {
		l, r := out.sizes.Eval(e.Left), out.sizes.Eval(e.Right)
		text := fmt.Sprintf("%s must equal %s: %d and %d", e.Left, e.Right, l, r)
		if l == r || e.Soft || seen[text] {
			continue
		}
		seen[text] = true
		p := Problem{Code: CodeSizeEquation, Text: text}
		if e.Node != nil {
			p.Node = e.Node.String()
		}
		out.refuse(p)
	}
}

// solve finds the atom of a broken equation that may change, and the size that it needs.
func (ch *chooser) solve(e axes.Equation, out *choice) (*axes.Atom, int64) {
	type answer struct {
		a *axes.Atom
		n int64
	}
	var answers []answer
	try := func(side, other *axes.Expr) {
		target := out.sizes.Eval(other)
		side.Atoms(func(a *axes.Atom) {
			if out.asked[a] || !a.Growable() || carries(other, a) {
				return
			}
			if n, ok := solveFor(side, a, target, out.sizes); ok && n >= a.Size {
				answers = append(answers, answer{a, n})
			}
		})
	}
	try(e.Left, e.Right)
	try(e.Right, e.Left)
	if len(answers) == 0 {
		return nil, 0
	}
	// The widths that matter least to a model give way first.
	rank := func(a *axes.Atom) int {
		return slices.Index([]axes.Role{axes.RoleNone, axes.RoleFFN, axes.RoleHeads, axes.RoleKVHeads, axes.RoleHeadDim, axes.RoleHidden}, a.Role)
	}
	best := slices.MinFunc(answers, func(x, y answer) int {
		if d := rank(x.a) - rank(y.a); d != 0 {
			return d
		}
		return x.a.ID - y.a.ID
	})
	return best.a, best.n
}

// solveFor is the size of a that makes e measure target.
func solveFor(e *axes.Expr, a *axes.Atom, target int64, s axes.Sizes) (int64, bool) {
	switch e.Kind {
	case axes.Leaf:
		return target, e.Atom == a
	case axes.Product:
		rest := int64(1)
		var with *axes.Expr
		for _, f := range e.Args {
			switch {
			case !carries(f, a):
				rest *= s.Eval(f)
			case with != nil:
				return 0, false // quadratic
			default:
				with = f
			}
		}
		if with == nil || rest == 0 || target%rest != 0 {
			return 0, false
		}
		return solveFor(with, a, target/rest, s)
	default:
		var with *axes.Expr
		n := int64(0)
		for _, f := range e.Args {
			switch {
			case !carries(f, a):
				target -= s.Eval(f)
			case with != nil && with.String() != f.String():
				return 0, false
			default:
				with = f
				n++
			}
		}
		if n == 0 || target <= 0 || target%n != 0 {
			return 0, false
		}
		return solveFor(with, a, target/n, s)
	}
}

func carries(e *axes.Expr, a *axes.Atom) bool {
	found := false
	e.Atoms(func(b *axes.Atom) { found = found || a == b })
	return found
}

// nearest looks for sizes near the one that was asked for, on both sides, that have no problem. get and set access one field of the
// target.
func (ch *chooser) nearest(t Target, field func(*Target) *int64) []int64 {
	asked := *field(&t)
	if asked == 0 {
		return nil
	}
	// Sizes of transformers are multiples of small numbers: a few hundred steps reach the next legal one, or there is none near.
	const reach = 1024
	legal := func(n int64) bool {
		*field(&t) = n
		return len(ch.choose(t).problems) == 0
	}
	var out []int64
	for n := asked - 1; n > 0 && n > asked-reach; n-- {
		if legal(n) {
			out = append(out, n)
			break
		}
	}
	for n := asked + 1; n < asked+reach; n++ {
		if legal(n) {
			out = append(out, n)
			break
		}
	}
	return out
}

// explain adds the nearest legal sizes to the problems of a choice, for the first role that was asked for and has any.
func (ch *chooser) explain(t Target, problems []Problem) {
	for _, field := range []func(*Target) *int64{
		func(t *Target) *int64 { return &t.Hidden },
		func(t *Target) *int64 { return &t.Heads },
		func(t *Target) *int64 { return &t.KVHeads },
		func(t *Target) *int64 { return &t.HeadDim },
		func(t *Target) *int64 { return &t.FFN },
	} {
		if *field(&t) == 0 {
			continue
		}
		near := ch.nearest(t, field)
		if len(near) == 0 {
			continue
		}
		for i := range problems {
			if problems[i].Code == CodeSizeEquation && len(problems[i].Nearest) == 0 {
				problems[i].Nearest = near
			}
		}
		return
	}
}
