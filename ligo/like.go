package ligo

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// like takes the sizes of another model of the family: atoms correspond by role, in the order of appearance. The graph is deepened
// to the other's layers before, so that the numbers of atoms agree where the structure does. Where they do not (the exporter wrote
// some width differently), a role of one size throughout still tells what to do.
func (ch *chooser) like(other *Analysis, out *choice) {
	mine, theirs := byRole(ch.r), byRole(other.Axes)
	for _, role := range []axes.Role{axes.RoleHidden, axes.RoleHeads, axes.RoleKVHeads, axes.RoleFFN, axes.RoleHeadDim, axes.RoleNone} {
		as, bs := mine[role], theirs[role]
		switch {
		case len(as) == len(bs):
			for i, a := range as {
				out.sizes[a] = bs[i].Size
				out.asked[a] = true
			}
		case role == axes.RoleNone:
			// Widths without a role follow the residual stream, or what the equations say.
			ch.follow(as, other, out)
		case uniform(as) && uniform(bs):
			for _, a := range as {
				out.sizes[a] = bs[0].Size
				out.asked[a] = true
			}
		default:
			out.refuse(Problem{Code: CodeUnlike, Text: fmt.Sprintf("the model to be like has %d widths of the kind %q, this one has %d", len(bs), role, len(as))})
		}
	}
	for a, n := range out.sizes {
		if n == a.Size {
			delete(out.sizes, a)
		}
	}
}

func (ch *chooser) follow(as []*axes.Atom, other *Analysis, out *choice) {
	if ch.r.Hidden == nil || other.Axes.Hidden == nil {
		return
	}
	from, to := ch.r.Hidden.Size, other.Axes.Hidden.Size
	for _, a := range as {
		if a.Size*to%from == 0 {
			out.sizes[a] = a.Size * to / from
		}
	}
}

func byRole(r *axes.Result) map[axes.Role][]*axes.Atom {
	out := map[axes.Role][]*axes.Atom{}
	for _, a := range r.Atoms {
		if a.Growable() {
			out[a.Role] = append(out[a.Role], a)
		}
	}
	return out
}

func uniform(as []*axes.Atom) bool {
	for _, a := range as {
		if a.Size != as[0].Size {
			return false
		}
	}
	return len(as) > 0
}

// replay takes the sizes of an earlier choice.
func (ch *chooser) replay(rec *Record, out *choice) {
	byName := map[string]*axes.Atom{}
	for _, a := range ch.r.Atoms {
		byName[a.Name] = a
	}
	for name, n := range rec.Axes {
		a := byName[name]
		if a == nil {
			out.refuse(Problem{Code: CodeNoSuchAxis, Text: fmt.Sprintf("the record names an axis %q that this model does not have", name)})
			continue
		}
		out.sizes[a] = n
		out.asked[a] = true
	}
}
