package ligo

import (
	"context"
	"fmt"
	"slices"

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
