package ligo

import (
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// widen applies what Plan.widen does, symbolically: axes with dense matrices one by one, those that copy units at once.
func (l *Learnable) widen(w weaver, wp *weightPlan, x woven) (woven, error) {
	if wp.fold != nil {
		gain, err := l.base(weaver{l.Graph, wp.fold.Name}, wp.fold)
		if err != nil {
			return x, err
		}
		x = w.scaleAxis(x, wp.foldAxis, gain)
	}
	copies := make([]*copiedAxis, len(wp.axes))
	any := false
	for i := range wp.axes {
		m := l.plan.slotMatrix(l.op, wp, i)
		if m == nil || linmap.IsIdentity(m) && !l.grows(wp, i) {
			continue
		}
		parts, err := l.parts(wp, i, m)
		if err != nil {
			return x, err
		}
		if copies[i] = l.copied(w, parts); copies[i] != nil {
			any = true
		} else {
			x = w.mapParts(x, i, parts)
		}
	}
	factor := wp.factor
	if any {
		x, factor = l.copy(w, wp, x, copies)
	}
	if factor != 1 {
		f, err := onnxio.FromFloats("", wp.value.Const.DType, []int64{1}, []float64{factor})
		if err != nil {
			return x, err
		}
		x = w.mul(x, l.Graph.NewConst(wp.value.Name+"/grow/factor", f))
	}
	if s := wp.norm; s != nil && wp.gain && s.norm.GainOffset != 0 && wp.factor != 1 {
		x = w.add(x, l.Graph.NewConst(wp.value.Name+"/grow/offset", linmap.Fill(wp.value.Const.DType, x.dims, s.norm.GainOffset*(wp.factor-1))))
	}
	return x, nil
}

// part is a segment of an axis and its matrix; a nil slot leaves it as it is.
type part struct {
	size int64 // of the small segment
	slot *learnedSlot
}

// parts are the segments of axis i, whose whole matrix is m.
func (l *Learnable) parts(wp *weightPlan, i int, m linmap.Matrix) ([]part, error) {
	segs := l.plan.segments(wp, i)
	out := make([]part, len(segs))
	for j, s := range segs {
		out[j].size = s.expr.Size
		sm := m
		if len(segs) > 1 {
			if sm = l.plan.segmentMatrix(l.op, wp, i, s); sm == nil {
				continue
			}
		}
		var err error
		if out[j].slot, err = l.slot(s, sm, wp); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// copiedAxis is an axis each of whose units is a multiple of a small one: which, and the factors (a value of its length).
type copiedAxis struct {
	index   []int64
	factors woven
}

// copied joins the segments of an axis that copy units; it is nil if one of them does more.
func (l *Learnable) copied(w weaver, parts []part) *copiedAxis {
	out := &copiedAxis{}
	var factors []woven
	at := int64(0)
	for _, p := range parts {
		switch {
		case p.slot == nil:
			for j := range p.size {
				out.index = append(out.index, at+j)
			}
			ones := linmap.Fill(l.dtype(parts), []int64{p.size}, 1)
			factors = append(factors, woven{l.Graph.NewConst(w.label+"/grow/ones", ones), ones.Dims})
		case p.slot.index == nil:
			return nil
		default:
			for _, j := range p.slot.index {
				out.index = append(out.index, at+j)
			}
			factors = append(factors, woven{p.slot.value, []int64{int64(p.slot.to)}})
		}
		at += p.size
	}
	out.factors = factors[0]
	if len(factors) > 1 {
		out.factors = w.concat(0, factors)
	}
	return out
}

// dtype is that of the segments' matrices.
func (l *Learnable) dtype(parts []part) onnxio.DType {
	for _, p := range parts {
		if p.slot != nil {
			return p.slot.dtype
		}
	}
	return onnxio.Float
}

// copy grows all axes that copy units at once, and takes the weight's factor into the factors of an axis. Axes that are neither the
// first nor the last are looked up one by one.
func (l *Learnable) copy(w weaver, wp *weightPlan, x woven, axes []*copiedAxis) (woven, float64) {
	last := len(x.dims) - 1
	for i, a := range axes {
		if a != nil && i > 0 && i < last {
			x = w.scaleAxis(w.gather(x, i, a.index), i, a.factors)
		}
	}
	first, tail := axes[0], axes[last]
	if last == 0 {
		tail = nil
	}
	if first == nil && tail == nil {
		return x, wp.factor
	}
	factor := wp.factor
	if factor != 1 {
		by := first
		if by == nil {
			by = tail
		}
		f := linmap.Fill(wp.value.Const.DType, []int64{1}, factor)
		scaled := *by
		scaled.factors = w.mul(by.factors, l.Graph.NewConst(w.label+"/grow/factor", f))
		if factor = 1; first != nil {
			first = &scaled
		} else {
			tail = &scaled
		}
	}
	return w.grow(x, first, tail), factor
}

// grows reports whether an axis of a weight gets another size.
func (l *Learnable) grows(wp *weightPlan, i int) bool {
	return l.plan.sizes.Eval(wp.axes[i]) != wp.axes[i].Size
}
