package train

import (
	"bytes"
	"encoding/binary"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// tied is a weight in a group of constants that are one parameter.
type tied struct {
	weight
	transposed bool // holds the transpose of the group's first
}

// tie groups the weights that are one parameter, in the order of the file. Tensors whose elements are all equal stay apart: exporters
// merge them by accident, all zero biases of a fresh model for instance.
func (t *Task) tie(ws []weight) ([][]tied, error) {
	var groups [][]tied
	of := map[*onnxio.Tensor]int{}
	similar := map[key][]int{} // groups by what equal tensors have in common
	for _, w := range ws {
		k, uniform, err := fingerprint(w.v.Const)
		if err != nil {
			return nil, err
		}
		if uniform {
			groups = append(groups, []tied{{w, false}})
			continue
		}
		if i, ok := of[w.v.Const]; ok { // one initializer: equal and not turned
			groups[i] = append(groups[i], tied{w, groups[i][turn(groups[i], w)].transposed})
			continue
		}
		at, turned := -1, false
		for _, i := range similar[k] {
			if !t.Spec.TieEqual && !embeds(groups[i], w) {
				continue
			}
			var ok bool
			if ok, turned, err = same(groups[i][0].v.Const, w.v.Const); err != nil {
				return nil, err
			} else if ok {
				at = i
				break
			}
		}
		if at < 0 {
			at = len(groups)
			groups = append(groups, nil)
			similar[k] = append(similar[k], at)
		}
		of[w.v.Const] = at
		groups[at] = append(groups[at], tied{w, turned})
	}
	return groups, nil
}

// turn is the index of the member of the group that holds the same tensor as w.
func turn(g []tied, w weight) int {
	for i, m := range g {
		if m.v.Const == w.v.Const {
			return i
		}
	}
	return 0
}

// embeds reports whether w and a member of the group are tied by being equal: matrices, one of which at least is a table.
func embeds(g []tied, w weight) bool {
	if len(w.v.Const.Dims) != 2 {
		return false
	}
	if w.role == RoleTable {
		return true
	}
	for _, m := range g {
		if m.role == RoleTable {
			return true
		}
	}
	return false
}

// key is what tensors with the same numbers in any order have in common.
type key struct {
	dt       onnxio.DType
	elements int64
	sum      uint64
}

// fingerprint is the key of a tensor, and whether its elements are all equal.
func fingerprint(t *onnxio.Tensor) (key, bool, error) {
	raw, err := t.Bytes()
	if err != nil {
		return key{}, false, err
	}
	size := t.DType.Bits() / 8
	k := key{dt: t.DType, elements: t.NumElements()}
	uniform := true
	var word [8]byte
	for at := 0; at < len(raw); at += size {
		clear(word[:])
		copy(word[:], raw[at:at+size])
		// A sum over mixed elements (splitmix64) does not depend on their order.
		z := binary.LittleEndian.Uint64(word[:]) + 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		k.sum += z ^ z>>31
		uniform = uniform && bytes.Equal(raw[at:at+size], raw[:size])
	}
	t.Forget()
	return k, uniform, nil
}

// same reports whether two tensors hold the same numbers in the same places, or b those of a transposed.
func same(a, b *onnxio.Tensor) (ok, transposed bool, err error) {
	if ok, err = a.Equal(b); ok || err != nil {
		return ok, false, err
	}
	if len(a.Dims) != 2 || len(b.Dims) != 2 || a.Dims[0] != b.Dims[1] || a.Dims[1] != b.Dims[0] {
		return false, false, nil
	}
	x, err := a.Bytes()
	if err != nil {
		return false, false, err
	}
	y, err := b.Bytes()
	if err != nil {
		return false, false, err
	}
	rows, cols, size := int(a.Dims[0]), int(a.Dims[1]), a.DType.Bits()/8
	const tile = 64 // rows of both matrices stay in the cache
	for i0 := 0; i0 < rows; i0 += tile {
		for j := range cols {
			for i := i0; i < min(i0+tile, rows); i++ {
				if !bytes.Equal(x[(i*cols+j)*size:][:size], y[(j*rows+i)*size:][:size]) {
					return false, false, nil
				}
			}
		}
	}
	a.Forget()
	b.Forget()
	return true, true, nil
}
