package ligo

import (
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// learnedSlot is a matrix [to, from] as the program holds it.
type learnedSlot struct {
	to, from int
	// index gives the one entry that a row may have; nil: the matrix is dense.
	index []int64
	// value is the matrix, or the entries of its rows.
	value *graph.Value
	// param is the constant that is learned behind value, start its elements, mask what is 0 there for good; nil: nothing.
	param string
	start []float64
	mask  []float64
	// kept is how many elements of start are not learned: those of I in [I; S]. Then value is S.
	kept  int
	dtype onnxio.DType
}

// slot is the matrix of a slot, made where it is needed first.
func (l *Learnable) slot(s segment, m linmap.Matrix, wp *weightPlan) (*learnedSlot, error) {
	name := l.name(s)
	if l.o.rename != nil {
		name = l.o.rename(s, wp)
		m = l.op.Slots[name]
	}
	l.keys[s.key.String()] = name
	if have := l.slots[name]; have != nil {
		return have, nil
	}
	to, from := m.Dims()
	slot := &learnedSlot{to: to, from: from, start: linmap.DenseOf(m), dtype: wp.value.Const.DType}
	dims := []int64{int64(to), int64(from)}
	if index, values, ok := oneEach(slot.start, to, from); ok && l.o.Free != FreeDense {
		slot.index, slot.start, dims = index, values, dims[:1]
	}
	t, err := onnxio.FromFloats("", wp.value.Const.DType, dims, slot.start)
	if err != nil {
		return nil, err
	}
	l.slots[name] = slot
	if l.o.Free == FreeDepth {
		slot.value = l.Graph.NewConst(name, t)
		return slot, nil
	}
	if l.o.Tie == TiePaper && slot.index == nil && startsAsIdentity(slot.start, to, from) {
		return slot, l.below(slot, name, t.DType)
	}
	slot.value = l.param(name, t)
	slot.param = slot.value.Name
	if mask, any := support(slot.start); any && l.o.Free == FreeSupport {
		k, err := onnxio.FromFloats("", t.DType, dims, mask)
		if err != nil {
			return nil, err
		}
		slot.mask = mask
		slot.value = weaver{l.Graph, name}.mul(woven{slot.value, dims}, l.Graph.NewConst(name+"/support", k)).v
	}
	return slot, nil
}

// below learns the rows S of a matrix [I; S], as the released code does.
func (l *Learnable) below(slot *learnedSlot, name string, dt onnxio.DType) error {
	n := slot.from
	slot.kept = n * n
	dims := []int64{int64(slot.to - n), int64(n)}
	s, err := onnxio.FromFloats("", dt, dims, slot.start[n*n:])
	if err != nil {
		return err
	}
	v := l.param(name, s)
	slot.param, slot.value = v.Name, v
	return nil
}

func startsAsIdentity(x []float64, to, from int) bool {
	for i := range from {
		for j, v := range x[i*from : (i+1)*from] {
			if i == j && v != 1 || i != j && v != 0 {
				return false
			}
		}
	}
	return to > from
}

// name is the name of the matrix of a slot under the tie set.
func (l *Learnable) name(s segment) string {
	if l.o.Tie != TiePaper {
		return s.key.String()
	}
	k, ok := l.plan.writerOf(s, l.writers)
	if !ok {
		k = s.key
	}
	return "B" + strings.TrimLeft(k.String(), "RLFMZT")
}

// oneEach reads a matrix as one entry for each row; ok is false where a row has several.
func oneEach(x []float64, to, from int) (index []int64, values []float64, ok bool) {
	index, values = make([]int64, to), make([]float64, to)
	for i := range to {
		found := false
		for j, v := range x[i*from : (i+1)*from] {
			if v == 0 {
				continue
			}
			if found {
				return nil, nil, false
			}
			index[i], values[i], found = int64(j), v, true
		}
	}
	return index, values, true
}

// support is 1 where x is not zero; any says that it is zero somewhere.
func support(x []float64) (mask []float64, any bool) {
	mask = make([]float64, len(x))
	for i, v := range x {
		if v != 0 {
			mask[i] = 1
		} else {
			any = true
		}
	}
	return mask, any
}

// matrix is the slot's matrix with the learned values.
func (s *learnedSlot) matrix(value func(string) []float64) (linmap.Matrix, error) {
	x := s.start
	if s.param != "" {
		x = slices.Concat(s.start[:s.kept], value(s.param))
		for i, m := range s.mask {
			x[i] *= m
		}
	}
	if s.index == nil {
		return linmap.Dense(s.to, s.from, x), nil
	}
	index := make([]int, s.to)
	for i, j := range s.index {
		index[i] = int(j)
	}
	return linmap.Copy(index, x, s.from), nil
}
