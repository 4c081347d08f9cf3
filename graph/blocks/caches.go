package blocks

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
)

// caches gives new layers graph inputs and outputs of their own where their source has them, and takes away those of layers that
// went. They stand where a larger model of the same kind would have them: after the last layer's, or, where the signature lists
// all keys before all values, after the last of their kind.
func (d *deepener) caches(st *Stage, ls []Layer, fresh []*layerCopy) {
	gone := make([]bool, len(st.Blocks))
	for i := range gone {
		gone[i] = !slices.Contains(ls, Layer{Source: i})
	}
	side := func(of func(*Block) []*graph.Value) (old, made [][]*graph.Value) {
		for _, bl := range st.Blocks {
			var row []*graph.Value
			for _, v := range of(bl) {
				row = append(row, d.value[v])
			}
			old = append(old, row)
		}
		for _, c := range fresh {
			var row []*graph.Value
			for _, v := range of(c.block) {
				row = append(row, c.value[v])
			}
			made = append(made, row)
		}
		return old, made
	}
	old, made := side(func(b *Block) []*graph.Value { return b.Inputs })
	d.to.Inputs = arrange(d.to.Inputs, old, made)
	for i, row := range old {
		if gone[i] {
			d.unused = append(d.unused, row...) // once nothing uses them
		}
	}
	old, made = side(func(b *Block) []*graph.Value { return b.Outputs })
	d.to.Outputs = arrange(d.to.Outputs, old, made)
	for i, row := range old {
		if gone[i] {
			d.to.Outputs = slices.DeleteFunc(d.to.Outputs, func(v *graph.Value) bool { return slices.Contains(row, v) })
		}
	}
}

// arrange puts the values of new layers into a list that has those of the old layers.
func arrange(list []*graph.Value, old, made [][]*graph.Value) []*graph.Value {
	list = slices.DeleteFunc(slices.Clone(list), func(v *graph.Value) bool {
		return slices.ContainsFunc(made, func(row []*graph.Value) bool { return slices.Contains(row, v) })
	})
	kinds := 0
	for _, row := range old {
		kinds = max(kinds, len(row))
	}
	at := func(layer, kind int) int {
		if kind >= len(old[layer]) {
			return -1
		}
		return slices.Index(list, old[layer][kind])
	}
	byKind := kinds > 1 && len(old) > 1 && at(0, kinds-1) > at(1, 0)
	last := func(kind int) int { // the place after the last layer's value of that kind
		p := -1
		for l := range old {
			p = max(p, at(l, kind))
		}
		if p < 0 {
			return len(list)
		}
		return p + 1
	}
	if !byKind {
		end := 0
		for k := range kinds {
			end = max(end, last(k))
		}
		return slices.Insert(list, end, slices.Concat(made...)...)
	}
	for k := range kinds {
		var col []*graph.Value
		for _, row := range made {
			if k < len(row) {
				col = append(col, row[k])
			}
		}
		list = slices.Insert(list, last(k), col...)
	}
	return list
}
