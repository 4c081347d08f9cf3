package ligo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Free says what of an operator is learned.
type Free string

// What is learned.
const (
	FreeDense   Free = "dense"   // every entry of every matrix, and the blends
	FreeSupport Free = "support" // the entries that are not zero at the start, and the blends
	FreeDepth   Free = "depth"   // the blends alone
)

// LearnOptions choose the parametrisation.
type LearnOptions struct {
	Free Free
	Tie  Tie
	// Additive learns the free term N of every grown linear map as well, from the operator's, or zero.
	Additive bool

	// rename gives slots the names that a test wants; those of one name share a matrix, the operator's slot of that name.
	rename func(segment, *weightPlan) string
}

// Learnable is a grown graph whose weights are computed: expressions of the frozen small weights and of the operator's matrices and
// blends, which are its parameters (Wang et al. 2023, eq. 6-8; the gradients by them follow from those of MatMul, Gather and Mul).
type Learnable struct {
	Graph *graph.Graph
	// Params names the constants of Graph that are learned.
	Params []string

	plan    *Plan
	op      *Operator
	o       LearnOptions
	slots   map[string]*learnedSlot // by the name of the matrix
	keys    map[string]string       // slot key -> name of the matrix
	blends  map[string]*graph.Value // by group of modules: [layers, small layers]
	groups  map[string]string       // module key -> group
	stacks  map[string]*graph.Value // by module key: the small layers' tensors, [small layers, elements]
	mixed   map[string]woven        // by module key: [layers, elements]
	free    map[string]*graph.Value // N by the tensor's name
	writers map[string]slotKey      // by axis inside a layer: what writes it
}

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

// Learnable makes the graph through which an operator is learned, starting from op.
func (p *Plan) Learnable(ctx context.Context, op *Operator, o LearnOptions) (*Learnable, error) {
	grown, err := Apply(ctx, p, op)
	if err != nil {
		return nil, err
	}
	l := &Learnable{Graph: grown.Graph, plan: p, op: op, o: o, slots: map[string]*learnedSlot{}, keys: map[string]string{}, blends: map[string]*graph.Value{},
		groups: map[string]string{}, stacks: map[string]*graph.Value{}, mixed: map[string]woven{}, free: map[string]*graph.Value{}, writers: p.writers()}
	l.groupBlends()
	for _, v := range p.deep.Graph.Consts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		w := l.Graph.Value(v.Name)
		if w == nil || !w.IsConst() || op.Dropped[v.Name] || !l.learned(v) {
			continue
		}
		if err := l.weave(v, w); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
	}
	if err := l.Graph.Sort(); err != nil {
		return nil, err
	}
	return l, l.Graph.Validate()
}

// learned reports whether a constant of the deepened graph is a parameter whose growth is learned: it is blended or widened, and it is
// no table or mask.
func (l *Learnable) learned(v *graph.Value) bool {
	p := l.plan
	if !v.Const.DType.Growable() {
		return false
	}
	small := v
	s, inLayer := p.slots[v]
	if inLayer {
		small = p.small.Blocks.Stages[s.stage].Modules[s.module].Consts[0]
	} else if c := p.small.Axes.Graph.Value(v.Name); c != nil {
		small = c
	}
	if !p.parameter(small) {
		return false
	}
	if inLayer && p.layers[s.stage].layers != nil {
		return true
	}
	wp := p.byValue[v]
	if wp == nil || wp.folded {
		return false
	}
	for i := range wp.axes {
		if m := p.slotMatrix(l.op, wp, i); m != nil && !linmap.IsIdentity(m) {
			return true
		}
	}
	return false
}

// weave replaces a constant of the grown graph by its expression.
func (l *Learnable) weave(v, grown *graph.Value) error {
	w := weaver{l.Graph, v.Name}
	x, err := l.base(w, v)
	if err != nil {
		return err
	}
	wp := l.plan.byValue[v]
	if wp != nil {
		if x, err = l.widen(w, wp, x); err != nil {
			return err
		}
	}
	n := l.op.Free[v.Name]
	switch {
	case l.o.Additive && wp != nil && wp.linear():
		if n == nil {
			n = linmap.Fill(v.Const.DType, x.dims, 0)
		}
		l.free[v.Name] = l.param("N/"+v.Name, n)
		x = w.add(x, l.free[v.Name])
	case n != nil:
		x = w.add(x, l.Graph.NewConst(v.Name+"/grow/free", n))
	}
	if !slices.Equal(x.dims, grown.Const.Dims) {
		return fmt.Errorf("its expression has shape %v, the grown weight %v", x.dims, grown.Const.Dims)
	}
	l.Graph.ReplaceUses(grown, x.v)
	l.Graph.RemoveConst(grown)
	return nil
}

// param adds a constant that is learned.
func (l *Learnable) param(name string, t *onnxio.Tensor) *graph.Value {
	v := l.Graph.NewConst(name, t)
	l.Params = append(l.Params, v.Name)
	return v
}

// base is the blend of the small layers' tensors, or the tensor itself.
func (l *Learnable) base(w weaver, v *graph.Value) (woven, error) {
	p := l.plan
	s, ok := p.slots[v]
	if !ok || p.layers[s.stage].layers == nil {
		return woven{l.Graph.NewConst(v.Name+"/small", v.Const), v.Const.Dims}, nil
	}
	st := p.small.Blocks.Stages[s.stage]
	key := moduleKey(s.stage, st, s.module)
	all, ok := l.mixed[key]
	if !ok {
		var err error
		if all, err = l.mix(w, key, st.Modules[s.module].Consts); err != nil {
			return woven{}, err
		}
		l.mixed[key] = all
	}
	return w.reshape(w.gather(all, 0, []int64{int64(s.layer)}), v.Const.Dims...), nil
}

// mix blends all layers of a module in one product: [layers, small layers] x [small layers, elements].
func (l *Learnable) mix(w weaver, key string, small []*graph.Value) (woven, error) {
	rows := l.op.Blends[key]
	dt := small[0].Const.DType
	n := small[0].Const.NumElements()
	stack := make([]float64, 0, int64(len(small))*n)
	for _, c := range small {
		x, err := c.Const.Float64s()
		if err != nil {
			return woven{}, err
		}
		stack = append(stack, x...)
	}
	t, err := onnxio.FromFloats("", dt, []int64{int64(len(small)), n}, stack)
	if err != nil {
		return woven{}, err
	}
	group := l.groups[key]
	blend := l.blends[group]
	if blend == nil {
		flat := slices.Concat(rows...)
		b, err := onnxio.FromFloats("", dt, []int64{int64(len(rows)), int64(len(small))}, flat)
		if err != nil {
			return woven{}, err
		}
		blend = l.param("w/"+group, b)
		l.blends[group] = blend
	}
	return w.matmul(woven{blend, []int64{int64(len(rows)), int64(len(small))}}, woven{l.Graph.NewConst("stack/"+key, t), t.Dims}), nil
}

// groupBlends joins the modules that share a blend: a bias goes with its weight as long as both start alike.
func (l *Learnable) groupBlends() {
	p := l.plan
	for s, st := range p.small.Blocks.Stages {
		if p.layers[s].layers == nil {
			continue
		}
		for i := range st.Modules {
			key := moduleKey(s, st, i)
			l.groups[key] = key
		}
	}
	if l.o.Tie == TiePaper {
		return // the released code has a vector for every tensor
	}
	for v, s := range p.slots {
		wp := p.byValue[v]
		if wp == nil || p.layers[s.stage].layers == nil {
			continue
		}
		o, ok := p.slots[p.owner(wp)]
		if !ok || o.stage != s.stage || o.layer != s.layer || o.layer != 0 {
			continue
		}
		st := p.small.Blocks.Stages[s.stage]
		mine, other := moduleKey(s.stage, st, s.module), moduleKey(o.stage, st, o.module)
		if equalRows(l.op.Blends[mine], l.op.Blends[other]) {
			l.groups[mine] = other
		}
	}
}

func equalRows(a, b [][]float64) bool {
	return slices.EqualFunc(a, b, func(x, y []float64) bool { return slices.Equal(x, y) })
}

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

// Operator is the operator with the learned values: value gives the elements of a parameter, by the name it has in Params.
func (l *Learnable) Operator(value func(param string) []float64) (*Operator, error) {
	out := *l.op
	out.Slots, out.Blends, out.Free = map[string]linmap.Matrix{}, map[string][][]float64{}, map[string]*onnxio.Tensor{}
	matrices := map[string]linmap.Matrix{}
	for name, s := range l.slots {
		m, err := s.matrix(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		matrices[name] = m
	}
	for key, name := range l.keys {
		out.Slots[key] = matrices[name]
	}
	for key, rows := range l.op.Blends {
		out.Blends[key] = rows
		if b := l.blends[l.groups[key]]; b != nil {
			x := value(b.Name)
			learned := make([][]float64, len(rows))
			for i, row := range rows {
				learned[i] = slices.Clone(x[i*len(row) : (i+1)*len(row)])
			}
			out.Blends[key] = learned
		}
	}
	for name, n := range l.op.Free {
		out.Free[name] = n
	}
	for name, v := range l.free {
		n, err := onnxio.FromFloats(name, v.Const.DType, v.Const.Dims, value(v.Name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
		out.Free[name] = n
	}
	return &out, nil
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
