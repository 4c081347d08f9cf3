package ligo

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// tie is an embedding whose table is the output matrix as well: logits = E·z. The table grows as a producer, E* = E Rᵀ, and used on
// the grown z* it counts every unit as often as it was copied. That is put right in the norm in front of the head, which divides
// each output by the number of its copies: E*·z* = E·z with one and the same E* (Shen et al. 2022 divide by 2, LEMON by k).
type tie struct {
	table, head *axes.Weight
	norm        *axes.Norm
	on          *rule // of the table's axis
	// others read the norm too; their weights take the factor k back.
	others []*axes.Weight
	copies int
}

// findTies looks for heads that hold the numbers of an embedding, and decides which can stay tied. The others are noted.
func (u *ruler) findTies(rules map[*axes.Atom]*rule, sites []*normSite) (ties []tie, notes []Reason, err error) {
	tables, heads := u.candidates(rules)
	for _, h := range heads {
		for _, t := range tables {
			same, err := sameMatrix(t.w.Value.Const, t.axis, h.w.Value.Const, h.axis)
			if err != nil {
				return nil, nil, err
			}
			if !same {
				continue
			}
			ty, why := u.tie(t, h, rules, sites)
			if why != "" {
				notes = append(notes, Reason{Code: CodeUntied, Tensor: h.w.Value.Origin, Text: fmt.Sprintf("%s and %s were equal and grow apart: %s", t.w.Value.Origin, h.w.Value.Origin, why)})
				continue
			}
			ties = append(ties, ty)
			break
		}
	}
	return ties, notes, nil
}

// candidate is a weight with one growing axis.
type candidate struct {
	w    *axes.Weight
	axis int
	atom *axes.Atom
}

func (u *ruler) candidates(rules map[*axes.Atom]*rule) (tables, heads []candidate) {
	for _, w := range u.r.Weights {
		if len(w.Axes) != 2 || !w.Matmul {
			continue
		}
		var c candidate
		grown := 0
		for i, e := range w.Axes {
			if e.Kind == axes.Leaf && e.Atom.Growable() {
				c = candidate{w, i, e.Atom}
				grown++
			}
		}
		if grown != 1 || !rules[c.atom].grows() {
			continue
		}
		switch w.Sides[c.axis] {
		case axes.Consumer:
			heads = append(heads, c)
		case axes.Producer:
			if lookedUp(w.Value) {
				tables = append(tables, c)
			}
		}
	}
	return
}

// lookedUp reports whether rows of a constant are taken by data.
func lookedUp(v *graph.Value) bool {
	for _, use := range v.Uses {
		if use.Index == 0 && use.Node.Op == "Gather" || use.Node.Op == "EmbedLayerNormalization" {
			return true
		}
	}
	return false
}

// tie decides whether table and head can stay equal; why says why not.
func (u *ruler) tie(t, h candidate, rules map[*axes.Atom]*rule, sites []*normSite) (ty tie, why string) {
	on, at := rules[t.atom], rules[h.atom]
	if on.n2 != at.n2 || on.form != at.form || on.kept != at.kept || on.gauge != 1 || at.gauge != 1 {
		return ty, fmt.Sprintf("%s grows to %d and %s to %d", t.atom.Name, on.n2, h.atom.Name, at.n2)
	}
	if u.activated[h.atom] {
		return ty, fmt.Sprintf("%s passes a non-linear function and a norm, and its readers take out what growth adds there", h.atom.Name)
	}
	_, x := reader(h.w.Value)
	x = behind(x)
	var site *normSite
	for _, s := range sites {
		if s.norm.Out == x && x != nil && s.norm.Axis.Kind == axes.Leaf && s.norm.Axis.Atom == h.atom {
			site = s
		}
	}
	if site == nil || site.norm.Gain == nil || site.norm.GainOffset != 0 {
		return ty, "no norm with a gain in front of the output takes the number of copies"
	}
	ty = tie{table: t.w, head: h.w, norm: site.norm, on: on, copies: on.kept / on.n1}
	if ty.copies > 1 || on.form == formCopies {
		uniform := on.kept%on.n1 == 0
		uses, _ := readers(u.r.Graph, x)
		for _, use := range uses {
			w := u.consumerOf(use, h.atom)
			switch {
			case w == nil || w != h.w && !uniform:
				return ty, fmt.Sprintf("%s reads the normalised values as well", use.Node)
			case w != h.w:
				ty.others = append(ty.others, w)
			}
		}
	}
	// Both axes must copy the same units.
	at.index = on.index
	site.tie = on
	return ty, ""
}

// consumerOf is the weight that contracts axis a of the value that a use reads; nil if none does.
func (u *ruler) consumerOf(use graph.Use, a *axes.Atom) *axes.Weight {
	for _, w := range u.r.Weights {
		n, _ := reader(w.Value)
		if n != use.Node {
			continue
		}
		for i, e := range w.Axes {
			if w.Sides[i] == axes.Consumer && e.Kind == axes.Leaf && e.Atom == a {
				return w
			}
		}
	}
	return nil
}

// sameMatrix reports whether two matrices are equal when the given axes are laid on each other.
func sameMatrix(a *onnxio.Tensor, axisA int, b *onnxio.Tensor, axisB int) (bool, error) {
	if a.DType != b.DType || a.Dims[axisA] != b.Dims[axisB] || a.Dims[1-axisA] != b.Dims[1-axisB] {
		return false, nil
	}
	if axisA == axisB {
		if a == b {
			return true, nil
		}
		return a.Equal(b)
	}
	x, err := a.Bytes()
	if err != nil {
		return false, err
	}
	y, err := b.Bytes()
	if err != nil {
		return false, err
	}
	same := transposed(x, y, int(a.Dims[0]), int(a.Dims[1]), a.DType.Bits()/8)
	a.Forget()
	b.Forget()
	return same, nil
}

// transposed reports whether y is the transpose of the rows x cols matrix x.
func transposed(x, y []byte, rows, cols, size int) bool {
	if len(x) != rows*cols*size || len(y) != len(x) {
		return false
	}
	at := func(i, j int) bool { return bytes.Equal(x[(i*cols+j)*size:][:size], y[(j*rows+i)*size:][:size]) }
	// A few elements tell different matrices apart without reading them.
	for k := range min(rows, 16) {
		if !at(k*(rows-1)/max(min(rows, 16)-1, 1), k%cols) {
			return false
		}
	}
	const tile = 64 // rows of both matrices stay in the cache
	for i0 := 0; i0 < rows; i0 += tile {
		for j0 := 0; j0 < cols; j0 += tile {
			n := min(tile, rows-i0)
			for j := j0; j < min(j0+tile, cols); j++ {
				if !sameColumn(x[(i0*cols+j)*size:], cols*size, y[(j*rows+i0)*size:][:n*size], size) {
					return false
				}
			}
		}
	}
	return true
}

// sameColumn reports whether the elements of x that are stride bytes apart are those of y one after the other.
func sameColumn(x []byte, stride int, y []byte, size int) bool {
	if size == 4 { // most models
		for at := 0; len(y) >= 4; at += stride {
			if binary.LittleEndian.Uint32(x[at:]) != binary.LittleEndian.Uint32(y) {
				return false
			}
			y = y[4:]
		}
		return true
	}
	for at := 0; len(y) >= size; at += stride {
		if !bytes.Equal(x[at:][:size], y[:size]) {
			return false
		}
		y = y[size:]
	}
	return true
}
