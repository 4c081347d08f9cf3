package axes

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
)

func matmul(s *state, n *graph.Node) string {
	a, b := n.In[0], n.In[1]
	if s.unknown(b) {
		return fmt.Sprintf("the rank of %s is not known", b.Name)
	}
	if n.Int("transBatchA", 0) != 0 || n.Int("transBatchB", 0) != 0 {
		return "batch transposition"
	}
	ta, tb := n.Int("transA", 0) != 0, n.Int("transB", 0) != 0
	ax, bx := s.axes[a], s.axes[b]
	if len(ax) == 0 || len(bx) == 0 {
		return "a scalar operand"
	}
	// positions of the contracted axis and of the kept one (-1: none)
	pos := func(rank int, trans, left bool) (inner, outer int) {
		if rank == 1 {
			return 0, -1
		}
		inner, outer = rank-1, rank-2
		if !left {
			inner, outer = outer, inner
		}
		if trans {
			inner, outer = outer, inner
		}
		return
	}
	ai, ao := pos(len(ax), ta, true)
	bi, bo := pos(len(bx), tb, false)
	s.unify(ax[ai], bx[bi], n, "contracted axis")
	batch := func(x []*node) []*node { return x[:max(0, len(x)-2)] }
	out := s.broadcast([][]*node{batch(ax), batch(bx)}, n, "batch axes")
	p := &product2{at: n, inner: ax[ai], batch: out, a: a, b: b}
	org := make([][]constAxis, len(out))
	for i := range out {
		for _, x := range []*graph.Value{a, b} {
			if k := i - (len(out) - len(batch(s.axes[x]))); k >= 0 {
				org[i] = mergeOrigins(org[i], s.originsOf(x, k))
			}
		}
	}
	if ao >= 0 {
		out = append(out[:len(out):len(out)], ax[ao])
		org = append(org, s.originsOf(a, ao))
	}
	if bo >= 0 {
		p.cols = bx[bo]
		out = append(out[:len(out):len(out)], bx[bo])
		org = append(org, s.originsOf(b, bo))
	}
	s.setAxes(n.Out[0], out)
	s.contract(n, a, ai, b, bi, p)
	s.setWeightOnly(n, a, b)
	if s.weightOnly[n.Out[0]] {
		s.origins[n.Out[0]] = org
	}
	return ""
}

// contract records a contraction: the weight's side is the consumer; two activations are a candidate for attention. In a product
// of two weights the right one consumes.
func (s *state) contract(n *graph.Node, a *graph.Value, ai int, b *graph.Value, bi int, p *product2) {
	p.inner.flag(UseContracted, "")
	switch {
	case s.weightOnly[b]:
		s.consumeOrFreeze(n, b, bi)
	case s.weightOnly[a]:
		s.consumeOrFreeze(n, a, ai)
	default:
		s.products = append(s.products, p)
	}
}

func (s *state) consumeOrFreeze(n *graph.Node, v *graph.Value, axis int) {
	if len(s.originsOf(v, axis)) == 0 {
		s.axes[v][axis].flag(FlagNoRule, fmt.Sprintf("%s: contracts %s, a weight that is computed in the graph", n, v.Name))
		return
	}
	s.consume(v, axis)
}

func gemm(s *state, n *graph.Node) string {
	a, b := n.In[0], n.In[1]
	ax, bx := s.axes[a], s.axes[b]
	if len(ax) != 2 || len(bx) != 2 {
		return "operands that are not matrices"
	}
	ai, bi := 1, 0
	if n.Int("transA", 0) != 0 {
		ai = 0
	}
	if n.Int("transB", 0) != 0 {
		bi = 1
	}
	s.unify(ax[ai], bx[bi], n, "contracted axis")
	out := []*node{ax[1-ai], bx[1-bi]}
	p := &product2{at: n, inner: ax[ai], cols: out[1], a: a, b: b}
	if len(n.In) > 2 && n.In[2] != nil {
		if s.unknown(n.In[2]) || len(s.axes[n.In[2]]) > 2 {
			return fmt.Sprintf("a bias %s that is no matrix", n.In[2].Name)
		}
		out = s.broadcast([][]*node{out, s.axes[n.In[2]]}, n, "bias")
	}
	s.setAxes(n.Out[0], out)
	s.contract(n, a, ai, b, bi, p)
	s.setWeightOnly(n, n.In...)
	if s.weightOnly[n.Out[0]] {
		s.origins[n.Out[0]] = [][]constAxis{s.originsOf(a, 1-ai), s.originsOf(b, 1-bi)}
	}
	return ""
}

func conv(s *state, n *graph.Node) string {
	x, w := n.In[0], n.In[1]
	xx, wx := s.axes[x], s.axes[w]
	if len(xx) < 3 || len(wx) != len(xx) {
		return fmt.Sprintf("input of rank %d with a kernel of rank %d", len(xx), len(wx))
	}
	group := n.Int("group", 1)
	out := []*node{xx[0], wx[0]}
	switch {
	case group == 1:
		s.unify(xx[1], wx[1], n, "input channels")
		xx[1].flag(UseContracted, "")
		if s.weightOnly[w] {
			s.consumeOrFreeze(n, w, 1)
		}
	case group == xx[1].find().size && wx[1].find().size == 1 && wx[0].find().size == group:
		s.unify(xx[1], wx[0], n, "channels of a depthwise convolution")
		s.requireAttr(n, "group", 0, group, wx[0])
		for _, o := range s.originsOf(w, 0) {
			s.gains[o] = true // one kernel for each channel
		}
	default:
		why := fmt.Sprintf("%s: grouped convolution", n)
		xx[1].flag(FlagNoRule, why)
		wx[0].flag(FlagNoRule, why)
		wx[1].flag(FlagNoRule, why)
	}
	if len(n.In) > 2 && n.In[2] != nil && len(s.axes[n.In[2]]) == 1 {
		s.unify(s.axes[n.In[2]][0], wx[0], n, "bias")
	}
	kernel := make([]int64, len(wx)-2)
	for i := range kernel {
		kernel[i] = wx[2+i].find().size
		wx[2+i].flag(FlagSpatial, fmt.Sprintf("%s: kernel of a convolution", n))
	}
	sp, why := s.spatial(n, xx[2:], kernel)
	if why != "" {
		return why
	}
	s.setAxes(n.Out[0], append(out, sp...))
	return ""
}

// spatial computes the spatial axes after a convolution or pooling.
func (s *state) spatial(n *graph.Node, in []*node, kernel []int64) ([]*node, string) {
	strides, pads, dil := n.Ints("strides"), n.Ints("pads"), n.Ints("dilations")
	auto := n.Str("auto_pad", "NOTSET")
	out := make([]*node, len(in))
	at := func(l []int64, i int, def int64) int64 {
		if i < len(l) {
			return l[i]
		}
		return def
	}
	for i, a := range in {
		why := fmt.Sprintf("%s: a spatial axis", n)
		a.flag(FlagSpatial, why)
		stride, d := at(strides, i, 1), at(dil, i, 1)
		const most = 1 << 24 // of anything that moves a kernel, so that no product of them overflows
		lo, hi := at(pads, i, 0), at(pads, i+len(in), 0)
		if stride < 1 || d < 1 || i >= len(kernel) || kernel[i] < 1 || max(stride, d, kernel[i], lo, hi, -lo, -hi) > most {
			return nil, "strides, dilations, padding or kernel out of range"
		}
		z := a.find().size
		span := d*(kernel[i]-1) + 1
		switch auto {
		case "SAME_UPPER", "SAME_LOWER":
			z = (z + stride - 1) / stride
		case "VALID":
			z = (z-span)/stride + 1
		default:
			z += lo + hi - span
			if n.Int("ceil_mode", 0) != 0 {
				z += stride - 1
			}
			z = z/stride + 1
		}
		if z < 1 {
			return nil, fmt.Sprintf("kernel %d does not fit the spatial size %d", kernel[i], a.find().size)
		}
		if a.run() {
			out[i] = s.runLeaf(z, why)
		} else {
			out[i] = s.leaf(z)
		}
		out[i].flag(FlagSpatial, why)
	}
	return out, ""
}

func pool(s *state, n *graph.Node) string {
	x := s.axes[n.In[0]]
	if len(x) < 3 {
		return fmt.Sprintf("pooling of a value of rank %d", len(x))
	}
	sp, why := s.spatial(n, x[2:], n.Ints("kernel_shape"))
	if why != "" {
		return why
	}
	for _, o := range n.Out {
		s.setAxes(o, append([]*node{x[0], x[1]}, sp...))
	}
	return ""
}

func globalPool(s *state, n *graph.Node) string {
	x := s.axes[n.In[0]]
	if len(x) < 2 {
		return fmt.Sprintf("pooling of a value of rank %d", len(x))
	}
	out := []*node{x[0], x[1]}
	for _, a := range x[2:] {
		a.flag(FlagSpatial, fmt.Sprintf("%s: a spatial axis", n))
		out = append(out, s.leaf(1))
	}
	s.setAxes(n.Out[0], out)
	return ""
}

func arg(n *graph.Node, i int) *graph.Value {
	if i < len(n.In) {
		return n.In[i]
	}
	return nil
}
