package linmap

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Bounds on what a reader holds, in elements. Together with the four blocks on their way to the writer they keep a stream, which
// has two readers, below 32 MB, a mean over rows of a million elements included; longer rows are combined piece by piece. Tests
// make them small.
var (
	blockSize    = 128 << 10 // computed at a time
	residentSize = 1 << 20   // a source up to this size is read once and kept
	cachedSize   = 1 << 20   // a sum of rows up to this size is kept for the rows that repeat it
)

// Grow is the tensor (M_0 ⊗ M_1 ⊗ …) src, in which maps[i] acts on axis i: every element of the result is
// Σ_c M_0[i_0,c_0]·M_1[i_1,c_1]·…·src[c_0,c_1,…]. A nil map is an identity, and so are those missing at the end. The name stays.
//
// Nothing is computed yet: the bytes are computed block by block whenever they are written, holding never more than a few
// blocks beyond the source. Numbers are multiplied and added in float64 in a fixed order and rounded once; where every map only
// copies, bits are copied. A tensor that this package made is read before it is rounded.
//
// Tensors of any type whose elements are whole bytes can be copied and padded; weights and sums need one of the floating types that
// onnxio.DType.Growable accepts. Grow returns an error for another type, and for sizes that do not match.
func Grow(src *onnxio.Tensor, maps []Matrix) (*onnxio.Tensor, error) {
	if len(maps) > len(src.Dims) {
		return nil, fmt.Errorf("linmap: tensor %q has %d axes, cannot apply %d maps", src.Name, len(src.Dims), len(maps))
	}
	dims := slices.Clone(src.Dims)
	var ops []op
	same := true
	for i, d := range src.Dims {
		m := Matrix(identity(d))
		if i < len(maps) && maps[i] != nil {
			m = maps[i]
		}
		to, from := m.Dims()
		if int64(from) != d {
			return nil, fmt.Errorf("linmap: axis %d of tensor %q has size %d, its map takes %d", i, src.Name, d, from)
		}
		dims[i] = int64(to)
		_, one := m.(identity)
		same = same && one
		ops = append(ops, m.ops()...)
	}
	if same {
		return src, nil
	}
	size, err := elementBytes(src)
	if err != nil {
		return nil, err
	}
	copies := copyOnly(ops)
	if !copies && !src.DType.Growable() {
		return nil, fmt.Errorf("linmap: tensor %q is %v, whose elements can be copied but not multiplied", src.Name, src.DType)
	}
	l := newLazy(src.DType, dims, src)
	if l.n < 0 {
		return nil, fmt.Errorf("linmap: tensor %q would grow to %v, which is more than can be counted", src.Name, dims)
	}
	if src.DType.Growable() {
		l.floats = func() (source[float64], error) {
			s, err := floatsOf(src)
			if err != nil {
				return nil, err
			}
			return newGrown(s, ops, &arena[float64]{}), nil
		}
	}
	if in, ok := src.Data().(*lazy); copies && (!ok || in.bytes != nil) {
		byBytes := append(slices.Clone(ops), identity(size).ops()...)
		l.bytes = func() (source[byte], error) {
			s, err := bytesOf(src)
			if err != nil {
				return nil, err
			}
			return newGrown(s, byBytes, &arena[byte]{}), nil
		}
	}
	return onnxio.NewTensor(src.Name, src.DType, dims, l), nil
}

// elementBytes is the size of an element of t, whose shape and data agree.
func elementBytes(t *onnxio.Tensor) (int, error) {
	bits := t.DType.Bits()
	if bits == 0 || bits%8 != 0 {
		return 0, fmt.Errorf("linmap: tensor %q is %v, whose elements are not whole bytes", t.Name, t.DType)
	}
	if n := t.NumElements(); n < 0 || n*int64(bits/8) != t.Data().Len() {
		return 0, fmt.Errorf("linmap: tensor %q: shape %v and %d bytes do not agree", t.Name, t.Dims, t.Data().Len())
	}
	return bits / 8, nil
}

// grown is ops applied to src, streaming along the first op's axis, whose rows are in elements of the source and out of the result.
type grown[E lane] struct {
	src     source[E]
	ops     []op
	in, out int
	widest  int // the most elements that a row has on its way
	mem     *arena[E]

	load int // size of a source to take into memory when first read; 0: none

	row    int // the row that partial holds, -1 for none
	held   []E
	subRow int // the row that sub computes, -1 for none
	sub    source[E]

	mixRow  int32 // the stored row that mixed holds, -1 for none
	mixHeld []E
}

// newGrown is ops applied to src; ops take its elements as axes, outermost first.
func newGrown[E lane](src source[E], ops []op, mem *arena[E]) source[E] {
	ops = merge(ops)
	if len(ops) == 0 {
		return src
	}
	switch ops[0].kind {
	case byParts:
		return newChain(src, ops, mem)
	case byFactors:
		// Every factor but the last leaves the other axes as they are.
		_, in := sizes(ops[1:])
		fs := ops[0].sums
		for _, f := range fs[:len(fs)-1] {
			src = newGrown(src, append(slices.Clone(f), identity(in).ops()...), mem)
		}
		return newGrown(src, append(slices.Clone(fs[len(fs)-1]), ops[1:]...), mem)
	}
	g := &grown[E]{src: src, ops: ops, mem: mem, row: -1, subRow: -1, mixRow: -1}
	g.out, g.in = sizes(ops[1:])
	g.widest = max(g.in, g.out, 1)
	wide := g.in
	for _, o := range ops[1:] {
		for _, f := range o.sums {
			if to, _ := sizes(f); o.kind == byFactors {
				g.widest = max(g.widest, wide/max(o.from, 1)*to)
			}
		}
		wide = wide / max(o.from, 1) * o.to
		g.widest = max(g.widest, wide)
	}
	if total := ops[0].from * g.in; ops[0].kind != unchanged && total <= residentSize {
		g.load = total
	}
	return g
}

// newChain streams along the parts of ops[0].
func newChain[E lane](src source[E], ops []op, mem *arena[E]) source[E] {
	out, in := sizes(ops[1:])
	c := &chain[E]{}
	off, end := 0, 0
	for _, p := range ops[0].sums {
		to, n := sizes(p)
		input, maps := from(src, off*in, 1), append(slices.Clone(p), ops[1:]...)
		c.make = append(c.make, func() source[E] { return newGrown(input, maps, mem) })
		off, end = off+n, end+to*out
		c.ends = append(c.ends, end)
	}
	return c
}

// merge makes one identity of neighbouring ones and leaves those of size 1 out. Identities alone merge to nothing.
func merge(ops []op) []op {
	var out []op
	work := false
	for _, o := range ops {
		if o.kind == unchanged {
			if o.to == 1 {
				continue
			}
			if n := len(out); n > 0 && out[n-1].kind == unchanged {
				size := out[n-1].to * o.to
				out[n-1].to, out[n-1].from = size, size
				continue
			}
		}
		work = work || o.kind != unchanged
		out = append(out, o)
	}
	if !work {
		return nil
	}
	return out
}

func (g *grown[E]) grain() int {
	if g.widest <= blockSize {
		return max(g.out, 1)
	}
	return 1
}

func (g *grown[E]) read(dst []E, off int) error {
	if err := g.start(); err != nil {
		return err
	}
	most := max(1, blockSize/g.widest)
	for len(dst) > 0 {
		row, skip := off/g.out, off%g.out
		n := min(len(dst), g.out-skip)
		var err error
		switch {
		case g.widest > blockSize:
			err = g.readInside(row, dst[:n], skip)
		case n < g.out:
			err = g.readPart(row, dst[:n], skip)
		default:
			rows := min(len(dst)/g.out, most)
			n = rows * g.out
			err = g.rows(row, rows, dst[:n])
		}
		if err != nil {
			return err
		}
		dst, off = dst[n:], off+n
	}
	return nil
}

// start takes a small source into memory, where any of its rows can be had again.
func (g *grown[E]) start() error {
	if g.load == 0 {
		return nil
	}
	n := g.load
	g.load = 0
	if _, ok := g.src.(resident[E]); ok {
		return nil
	}
	all := make(memory[E], n)
	if err := g.src.read(all, 0); err != nil {
		return err
	}
	g.src = all
	return nil
}

// readPart is a part of one row, which is kept for the next call.
func (g *grown[E]) readPart(row int, dst []E, skip int) error {
	if g.row != row {
		if g.held == nil {
			g.held = make([]E, g.out)
		}
		g.row = -1
		if err := g.rows(row, 1, g.held); err != nil {
			return err
		}
		g.row = row
	}
	copy(dst, g.held[skip:])
	return nil
}

// readInside is a part of a row that is too long to compute as a whole: the row is itself a grown tensor, of the other axes.
func (g *grown[E]) readInside(row int, dst []E, skip int) error {
	if g.subRow != row {
		src, err := g.inner(row)
		if err != nil {
			return err
		}
		g.sub, g.subRow = newGrown(src, g.ops[1:], g.mem), row
	}
	return g.sub.read(dst, skip)
}

// inner is the source of one row's other axes.
func (g *grown[E]) inner(row int) (source[E], error) {
	o := &g.ops[0]
	switch o.kind {
	case unchanged:
		return from(g.src, row*g.in, 1), nil
	case byElements:
		cols := make([]int32, o.from)
		for i := range cols {
			cols[i] = int32(i)
		}
		return g.mixture(cols, o.full[row*o.from:][:o.from]), nil
	}
	col, val := o.m.entries(row)
	switch len(col) {
	case 0:
		return zeros[E]{}, nil
	case 1:
		return from(g.src, int(col[0])*g.in, val[0]), nil
	}
	if g.in > cachedSize {
		return g.mixture(col, val), nil
	}
	mixed, err := g.mixed(row)
	return memory[E](mixed), err
}

func (g *grown[E]) mixture(col []int32, val []float64) source[E] {
	m := &mixture{src: any(g.src).(source[float64]), size: g.in, col: col, val: val}
	return any(m).(source[E])
}

// mixed is the sum of source rows that row is a copy of.
func (g *grown[E]) mixed(row int) ([]E, error) {
	m := g.ops[0].m
	if g.mixRow != m.row[row] {
		// The row that is held may be in use by sub, which goes on to the next row only after it is done with this one.
		g.mixRow = -1
		if g.mixHeld == nil {
			g.mixHeld = make([]E, g.in)
		}
		col, val := m.entries(row)
		if err := g.mixture(col, val).read(g.mixHeld, 0); err != nil {
			return nil, err
		}
		g.mixRow = m.row[row]
	}
	return g.mixHeld, nil
}

// rows computes n whole rows of the result.
func (g *grown[E]) rows(row, n int, dst []E) error {
	if len(g.ops) == 1 || len(g.ops) == 2 && g.ops[1].kind == unchanged {
		return g.combine(row, n, dst)
	}
	tmp := g.mem.get(n * g.in)
	defer g.mem.put(tmp)
	if err := g.combine(row, n, tmp); err != nil {
		return err
	}
	applyAll(g.ops[1:], dst, tmp, n, 1, g.mem)
	return nil
}

// combine applies the first op: n rows of its axis, the other axes as they are in the source.
func (g *grown[E]) combine(row, n int, dst []E) error {
	o := &g.ops[0]
	if o.kind == unchanged {
		return g.src.read(dst, row*g.in)
	}
	if r, ok := g.src.(resident[E]); ok {
		applyRows(o, row, n, dst, r.view(0, o.from*g.in), g.in)
		return nil
	}
	if o.kind == byElements {
		return g.combineDense(row, n, dst)
	}
	return o.eachRun(row, n, func(r run) error {
		to := dst[(r.at-row)*g.in : (r.at-row+r.n)*g.in]
		switch r.how {
		case zero:
			clear(to)
		case moved:
			if err := g.src.read(to, r.src*g.in); err != nil {
				return err
			}
			scale(to, to, r.w)
		case picked:
			for i := range r.n {
				col, val := o.m.entries(r.at + i)
				d := to[i*g.in:][:g.in]
				if err := g.src.read(d, int(col[0])*g.in); err != nil {
					return err
				}
				scale(d, d, val[0])
			}
		case mixed:
			m, err := g.mixed(r.at)
			if err != nil {
				return err
			}
			copy(to, m)
			repeat(to, g.in)
		}
		return nil
	})
}

// combineDense applies rows of a dense first op, reading the source once, in blocks.
func (g *grown[E]) combineDense(row, n int, dst []E) error {
	o := &g.ops[0]
	clear(dst)
	step := max(1, blockSize/max(g.in, 1))
	tmp := g.mem.get(step * g.in)
	defer g.mem.put(tmp)
	for c := 0; c < o.from; c += step {
		k := min(step, o.from-c)
		if err := g.src.read(tmp[:k*g.in], c*g.in); err != nil {
			return err
		}
		addProduct(any(dst).([]float64), o.full[row*o.from+c:], any(tmp).([]float64), n, k, g.in, o.from)
	}
	return nil
}
