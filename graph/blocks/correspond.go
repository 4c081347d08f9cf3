package blocks

import (
	"cmp"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
)

// correspond walks all blocks at once, backwards from their ends, and pairs up what it meets: constants become modules, graph
// inputs the blocks' caches, and the names of corresponding things tell how the model numbers its layers.
func (b *builder) correspond(s *signer) {
	sigs := make([]map[*graph.Value]uint64, len(b.blocks))
	for i := range b.blocks {
		sigs[i] = s.segment(b.units[i], b.bounds[i], b.beside)
	}
	w := &walk{b: b, seen: map[*graph.Value]bool{}, sig: func(i int, v *graph.Value) uint64 {
		if h, ok := sigs[i][v]; ok {
			return h
		}
		return s.side(v)
	}}
	for k := range b.blocks[0].Out {
		w.push(func(bl *Block) []*graph.Value { return bl.Out }, k)
	}
	for k := range b.blocks[0].Outputs {
		w.push(func(bl *Block) []*graph.Value { return bl.Outputs }, k)
		var names []string // the last block may lack one: the state that a final norm follows
		for _, bl := range b.blocks {
			if k < len(bl.Outputs) {
				names = append(names, bl.Outputs[k].Name)
			}
		}
		// The names of the signature count twice: there are few, but people wrote them.
		b.tuples = append(b.tuples, names, names)
	}
	w.run()
	if len(w.inputs) > 0 {
		// in the order of the model's signature
		slices.SortFunc(w.inputs, func(x, y []*graph.Value) int {
			return cmp.Compare(slices.Index(b.f.r.Graph.Inputs, x[0]), slices.Index(b.f.r.Graph.Inputs, y[0]))
		})
		for _, t := range w.inputs {
			for i, bl := range b.blocks {
				bl.Inputs = append(bl.Inputs, t[i])
			}
		}
	}
	pos := positions(b.f.r.Graph)
	slices.SortFunc(b.modules, func(x, y *Module) int {
		ux, uy := x.Consts[0].Uses[0], y.Consts[0].Uses[0]
		return cmp.Or(cmp.Compare(pos[ux.Node], pos[uy.Node]), cmp.Compare(ux.Index, uy.Index))
	})
}

type walk struct {
	b      *builder
	sig    func(block int, v *graph.Value) uint64
	seen   map[*graph.Value]bool
	stack  [][]*graph.Value // one value of each block
	inputs [][]*graph.Value
}

// push adds the k-th value of a list of every block, where each has one.
func (w *walk) push(list func(*Block) []*graph.Value, k int) {
	t := make([]*graph.Value, len(w.b.blocks))
	for i, bl := range w.b.blocks {
		vs := list(bl)
		if k >= len(vs) {
			return
		}
		t[i] = vs[k]
	}
	w.stack = append(w.stack, t)
}

func (w *walk) run() {
	for len(w.stack) > 0 {
		t := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		if w.seen[t[0]] || w.atStart(t) {
			continue
		}
		w.seen[t[0]] = true
		w.visit(t)
	}
}

// atStart reports whether the walk ends here: at a boundary, at a value that the blocks share, or where one has none.
func (w *walk) atStart(t []*graph.Value) bool {
	for i, v := range t {
		if v == nil || slices.Contains(w.b.blocks[i].In, v) || slices.Contains(w.b.beside, v) || (i > 0 && v == t[0]) {
			return true
		}
	}
	return false
}

func (w *walk) visit(t []*graph.Value) {
	all := func(ok func(i int, v *graph.Value) bool) bool {
		for i, v := range t {
			if !ok(i, v) {
				return false
			}
		}
		return true
	}
	first := t[0]
	switch {
	case first.IsConst():
		same := all(func(_ int, v *graph.Value) bool {
			return v.IsConst() && v.Const.DType == first.Const.DType && slices.Equal(v.Const.Dims, first.Const.Dims) && len(v.Uses) > 0
		})
		if same {
			m := &Module{Consts: t}
			w.b.modules = append(w.b.modules, m)
			w.b.module[first] = m
			w.name(t)
		}
	case first.Producer == nil:
		if all(func(i int, v *graph.Value) bool { return v.Producer == nil && !slices.Contains(t[:i], v) }) {
			w.inputs = append(w.inputs, t)
			w.name(t)
			w.name(t)
		}
	default:
		n := first.Producer
		same := all(func(i int, v *graph.Value) bool {
			p := v.Producer
			return p != nil && w.b.in[i][p] && p.Op == n.Op && p.Domain == n.Domain && len(p.In) == len(n.In) && v.OutIndex == first.OutIndex
		})
		if same {
			w.name(t)
			w.descend(t)
		}
	}
}

func (w *walk) descend(t []*graph.Value) {
	nodes := make([]string, len(t))
	order := make([][]*graph.Value, len(t))
	for i, v := range t {
		nodes[i] = v.Producer.Name
		order[i] = slices.Clone(v.Producer.In)
		if commutes(v.Producer) {
			slices.SortStableFunc(order[i], func(x, y *graph.Value) int { return cmp.Compare(w.sig(i, x), w.sig(i, y)) })
		}
	}
	w.b.tuples = append(w.b.tuples, nodes)
	for k := range order[0] {
		next := make([]*graph.Value, len(t))
		for i := range t {
			next[i] = order[i][k]
		}
		w.stack = append(w.stack, next)
	}
}

func (w *walk) name(t []*graph.Value) {
	names := make([]string, len(t))
	for i, v := range t {
		names[i] = v.Name
		if v.IsConst() && v.Origin != "" {
			names[i] = v.Origin
		}
	}
	w.b.tuples = append(w.b.tuples, names)
}
