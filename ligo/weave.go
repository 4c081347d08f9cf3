package ligo

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// weaver adds nodes that compute weights to a graph, in ONNX operators whose meaning no opset changes. Shapes are known throughout.
type weaver struct {
	g     *graph.Graph
	label string // the weight that is being computed: it names nodes and values
}

// woven is a computed value and its shape.
type woven struct {
	v    *graph.Value
	dims []int64
}

func (w weaver) node(op string, dims []int64, attrs []*onnxio.Attribute, in ...*graph.Value) woven {
	out := w.g.NewValue(w.label+"/grow", nil)
	w.g.NewNode(op, "", w.label+"/grow/"+op, in, []*graph.Value{out}, attrs...)
	return woven{out, dims}
}

func (w weaver) ints(v ...int64) *graph.Value {
	return w.g.NewConst(w.label+"/grow/ints", onnxio.FromInt64s("", []int64{int64(len(v))}, v))
}

func (w weaver) reshape(x woven, dims ...int64) woven {
	if slices.Equal(x.dims, dims) {
		return x
	}
	return w.node("Reshape", dims, nil, x.v, w.ints(dims...))
}

func (w weaver) transpose(x woven, perm ...int64) woven {
	dims := make([]int64, len(perm))
	for i, p := range perm {
		dims[i] = x.dims[p]
	}
	return w.node("Transpose", dims, []*onnxio.Attribute{graph.IntsAttr("perm", perm...)}, x.v)
}

// matmul is the product of two matrices.
func (w weaver) matmul(a, b woven) woven {
	return w.node("MatMul", []int64{a.dims[0], b.dims[1]}, nil, a.v, b.v)
}

// mul multiplies with something that broadcasts to x.
func (w weaver) mul(x woven, by *graph.Value) woven { return w.node("Mul", x.dims, nil, x.v, by) }

// add adds something of x's shape.
func (w weaver) add(x woven, y *graph.Value) woven { return w.node("Add", x.dims, nil, x.v, y) }

// gather takes entries along an axis.
func (w weaver) gather(x woven, axis int, index []int64) woven {
	dims := slices.Clone(x.dims)
	dims[axis] = int64(len(index))
	return w.node("Gather", dims, []*onnxio.Attribute{graph.IntAttr("axis", int64(axis))}, x.v, w.ints(index...))
}

func (w weaver) concat(axis int, parts []woven) woven {
	dims := slices.Clone(parts[0].dims)
	dims[axis] = 0
	in := make([]*graph.Value, len(parts))
	for i, p := range parts {
		dims[axis] += p.dims[axis]
		in[i] = p.v
	}
	return w.node("Concat", dims, []*onnxio.Attribute{graph.IntAttr("axis", int64(axis))}, in...)
}

// mapAxis applies a matrix [to, from] along an axis of x.
func (w weaver) mapAxis(x woven, axis int, m woven) woven {
	to, rank := m.dims[0], len(x.dims)
	dims := slices.Clone(x.dims)
	dims[axis] = to
	n := x.dims[axis]
	rest := int64(1)
	for i, d := range x.dims {
		if i != axis {
			rest *= d
		}
	}
	switch {
	case axis == 0:
		return w.reshape(w.matmul(m, w.reshape(x, n, rest)), dims...)
	case axis == rank-1:
		return w.reshape(w.matmul(w.reshape(x, rest, n), w.transpose(m, 1, 0)), dims...)
	}
	// To the front and back again.
	perm, back := []int64{int64(axis)}, make([]int64, rank)
	for i := range rank {
		if i != axis {
			perm = append(perm, int64(i))
		}
	}
	for i, p := range perm {
		back[p] = int64(i)
	}
	return w.transpose(w.mapAxis(w.transpose(x, perm...), 0, m), back...)
}

// scaleAxis multiplies along an axis of x with a vector.
func (w weaver) scaleAxis(x woven, axis int, by woven) woven {
	dims := make([]int64, len(x.dims)-axis)
	for i := range dims {
		dims[i] = 1
	}
	dims[0] = by.dims[0]
	return w.mul(x, w.reshape(by, dims...).v)
}

// mapParts applies the matrices of an axis's segments.
func (w weaver) mapParts(x woven, axis int, parts []part) woven {
	if len(parts) == 1 {
		return w.mapPart(x, axis, parts[0])
	}
	var out []woven
	at := int64(0)
	for _, p := range parts {
		index := make([]int64, p.size)
		for j := range index {
			index[j] = at + int64(j)
		}
		at += p.size
		out = append(out, w.mapPart(w.gather(x, axis, index), axis, p))
	}
	return w.concat(axis, out)
}

// mapPart applies one matrix. Of [I; S], I costs nothing.
func (w weaver) mapPart(x woven, axis int, p part) woven {
	s := p.slot
	switch {
	case s == nil:
		return x
	case s.index != nil:
		return w.scaleAxis(w.gather(x, axis, s.index), axis, woven{s.value, []int64{int64(s.to)}})
	case s.kept > 0:
		return w.concat(axis, []woven{x, w.mapAxis(x, axis, woven{s.value, []int64{int64(s.to - s.from), int64(s.from)}})})
	}
	return w.mapAxis(x, axis, woven{s.value, []int64{int64(s.to), int64(s.from)}})
}

// grow is the engine's operator for units that are multiples of small ones, along the first and the last axis (nil: as it is).
func (w weaver) grow(x woven, first, last *copiedAxis) woven {
	dims, flat := slices.Clone(x.dims), slices.Clone(x.dims)
	if n := len(dims) - 1; n > 1 {
		// What lies between goes with the axis that stays, or with the first.
		between := int64(1)
		for _, d := range dims[1:n] {
			between *= d
		}
		switch {
		case last == nil:
			flat = []int64{dims[0], between * dims[n]}
		case first == nil:
			flat = []int64{dims[0] * between, dims[n]}
		default:
			x = w.scaleAxis(w.gather(x, 0, first.index), 0, first.factors)
			return w.grow(x, nil, last)
		}
	}
	in := []*graph.Value{w.reshape(x, flat...).v}
	for i, a := range []*copiedAxis{first, last} {
		if a == nil {
			in = append(in, nil, nil)
			continue
		}
		in = append(in, w.ints(a.index...), a.factors.v)
		flat[i], dims[i*(len(dims)-1)] = int64(len(a.index)), int64(len(a.index))
	}
	if len(flat) == 1 {
		in = in[:3]
	}
	out := w.g.NewValue(w.label+"/grow", nil)
	w.g.NewNode("Grow", engine.Domain, w.label+"/grow/Grow", in, []*graph.Value{out})
	return w.reshape(woven{out, flat}, dims...)
}
