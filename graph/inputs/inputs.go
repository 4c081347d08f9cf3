// Package inputs reads from a graph what the numbers of its inputs mean: rows of a table, a mask, positions of a rotation, or just
// numbers. Names say nothing; what a graph does with an input does.
package inputs

import (
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Kind is what the numbers of an input mean.
type Kind uint8

// Unsupported is the kind of what is neither number nor boolean.
const (
	Unsupported Kind = iota
	Index            // rows of a table
	Mask             // integers or booleans that are compared or calculated with: 0 and 1
	Floats
)

// Meaning is what an input is used for.
type Meaning struct {
	Kind Kind
	Rows int64 // Index: how many rows the smallest table has
}

// Of reads the meaning of an input with a declared element type.
func Of(v *graph.Value) Meaning {
	dt := v.Type.Elem
	switch {
	case dt.Growable():
		return Meaning{Kind: Floats}
	case dt == onnxio.Bool:
		return Meaning{Kind: Mask}
	case !dt.Integer():
		return Meaning{}
	}
	if rows := tableRows(v, map[*graph.Value]bool{}); rows > 0 {
		return Meaning{Index, rows}
	}
	return Meaning{Kind: Mask}
}

// tableRows follows an integer value to the tables it is looked up in and returns the rows of the smallest; 0 when there is none.
func tableRows(v *graph.Value, seen map[*graph.Value]bool) int64 {
	if seen[v] {
		return 0
	}
	seen[v] = true
	least := int64(0)
	found := func(n int64) {
		if n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	for _, u := range v.Uses {
		if u.Index < 0 {
			continue
		}
		n := u.Node
		switch n.Op {
		case "Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Identity", "Expand", "Slice", "Split", "Tile":
			if u.Index == 0 {
				for _, o := range n.Out {
					if o != nil {
						found(tableRows(o, seen))
					}
				}
			}
		case "Concat":
			found(tableRows(n.Out[0], seen))
		case "Add":
			// An offset moves the row: positions that begin behind the padding row.
			if offset, ok := scalarInt(n.In[1-u.Index]); ok && offset >= 0 {
				if rows := tableRows(n.Out[0], seen); rows > offset {
					found(rows - offset)
				}
			}
		case "Gather":
			if u.Index == 1 {
				found(lookedUp(n.In[0], n.Int("axis", 0)))
			} else {
				found(tableRows(n.Out[0], seen)) // a token picked out of the sequence
			}
		case "GatherElements":
			if u.Index == 1 {
				found(lookedUp(n.In[0], n.Int("axis", 0)))
			}
		case "GatherND":
			if u.Index == 1 {
				found(lookedUp(n.In[0], n.Int("batch_dims", 0)))
			}
		case "OneHot":
			if depth, ok := scalarInt(n.In[1]); ok && u.Index == 0 {
				found(depth)
			}
		case "EmbedLayerNormalization":
			// ids, segments, word table, position table, segment table, gamma, beta, mask, positions
			if table, ok := map[int]int{0: 2, 1: 4, 8: 3}[u.Index]; ok && table < len(n.In) && n.In[table] != nil {
				found(lookedUp(n.In[table], 0))
			}
		}
	}
	return least
}

// lookedUp is the size of an axis of a table, 0 when it is not known. A table may pass through views on its way from the file.
func lookedUp(table *graph.Value, axis int64) int64 {
	for range 8 {
		if table == nil {
			return 0
		}
		if table.IsConst() {
			return sizeAt(len(table.Const.Dims), axis, func(i int) int64 { return table.Const.Dims[i] })
		}
		if t := table.Type; t != nil && t.HasShape {
			if n := sizeAt(len(t.Dims), axis, func(i int) int64 { return t.Dims[i].Value }); n > 0 {
				return n
			}
		}
		p := table.Producer
		if p == nil || len(p.In) == 0 {
			return 0
		}
		switch p.Op {
		case "Cast", "Identity":
		case "Transpose":
			perm := p.Ints("perm")
			if axis < 0 || int(axis) >= len(perm) {
				return 0
			}
			axis = perm[axis]
		default:
			return 0
		}
		table = p.In[0]
	}
	return 0
}

func sizeAt(rank int, axis int64, dim func(int) int64) int64 {
	if axis < 0 {
		axis += int64(rank)
	}
	if axis < 0 || axis >= int64(rank) {
		return 0
	}
	return dim(int(axis))
}

func scalarInt(v *graph.Value) (int64, bool) {
	if !v.IsConst() || v.Const.NumElements() != 1 || !v.Const.DType.Integer() {
		return 0, false
	}
	n, err := v.Const.Int64s()
	if err != nil {
		return 0, false
	}
	return n[0], true
}
