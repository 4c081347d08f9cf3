package blocks

import (
	"cmp"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// maxContent is the number of elements up to which integer constants are compared by content; larger ones are tables (masks).
const maxContent = 256

// signer computes structural signatures: two values with one signature are computed in the same way from the boundary, up to the
// numbers in their weights.
//
// Values that are known without running the model count by content, however they are computed, and Reshape counts by the shape it
// gives: constant folding leaves literals in one layer and arithmetic in the next.
type signer struct {
	f     *flow
	loose bool                    // side values count by form alone: layers may take turns in what mask they read
	memo  map[*graph.Value]uint64 // side values
}

func newSigner(f *flow, loose bool) *signer {
	s := &signer{f: f, loose: loose, memo: map[*graph.Value]uint64{}}
	for _, n := range f.r.Graph.Nodes {
		for _, o := range n.Out {
			if o != nil && !f.live[o] {
				s.memo[o] = s.computed(n, o)
			}
		}
	}
	return s
}

// computed is the signature of a side value that a node gives.
func (s *signer) computed(n *graph.Node, o *graph.Value) uint64 {
	if _, static := s.f.r.Static(o); static || !s.loose || s.f.r.Axes(o) == nil {
		return s.node(n, o, s.side)
	}
	return s.sizes(seed("side"), o)
}

// side is the signature of a value outside the flow.
func (s *signer) side(v *graph.Value) uint64 {
	if v == nil {
		return 1
	}
	if h, ok := s.memo[v]; ok {
		return h
	}
	var h uint64
	switch {
	case v.IsConst():
		h = s.constant(v)
	case v.Producer == nil:
		h = s.sizes(mix(seed("input")), v)
		if v.Type != nil {
			h = mix(h, uint64(v.Type.Elem))
		}
	default:
		h = seed("stream")
	}
	s.memo[v] = h
	return h
}

func (s *signer) constant(v *graph.Value) uint64 {
	t := v.Const
	h := mix(seed("const"), uint64(t.DType))
	for _, d := range t.Dims {
		h = mix(h, uint64(d))
	}
	if t.DType.Integer() && t.NumElements() <= maxContent {
		if ints, err := t.Int64s(); err == nil {
			for _, i := range ints {
				h = mix(h, uint64(i))
			}
		}
	}
	return h
}

func (s *signer) sizes(h uint64, v *graph.Value) uint64 {
	for _, e := range s.f.r.Axes(v) {
		h = mix(h, uint64(e.Size))
	}
	return h
}

// node is the signature of output o of node n, given the signatures of the operands.
func (s *signer) node(n *graph.Node, o *graph.Value, of func(*graph.Value) uint64) uint64 {
	if ints, ok := s.f.r.Static(o); ok {
		h := seed("static")
		for _, i := range ints {
			h = mix(h, uint64(i))
		}
		return s.sizes(h, o)
	}
	if s.passes(n, o) {
		return of(n.In[0])
	}
	h := mix(seed(n.Op), seed(n.Domain), uint64(o.OutIndex))
	switch {
	case n.Domain == "" && (n.Op == "Reshape" || n.Op == "Expand") && len(n.In) > 0 && s.f.r.Axes(o) != nil:
		return s.sizes(mix(h, of(n.In[0])), o)
	case commutes(n):
		sigs := make([]uint64, len(n.In))
		for i, v := range n.In {
			sigs[i] = of(v)
		}
		slices.Sort(sigs)
		h = mix(h, sigs...)
	default:
		last := len(n.In)
		for last > 0 && n.In[last-1] == nil {
			last--
		}
		for _, v := range n.In[:last] {
			h = mix(h, of(v))
		}
	}
	attrs := slices.Clone(n.Attrs)
	slices.SortFunc(attrs, func(a, b *onnxio.Attribute) int { return cmp.Compare(a.Name, b.Name) })
	for _, a := range attrs {
		h = attribute(h, a)
	}
	return h
}

// passes reports whether a node gives what it is given: a slice of everything, which exporters write in some layers only.
func (s *signer) passes(n *graph.Node, o *graph.Value) bool {
	if n.Domain != "" || len(n.In) == 0 || n.In[0] == nil {
		return false
	}
	switch n.Op {
	case "Identity":
		return true
	case "Slice":
		for _, i := range slices.Concat(n.Ints("steps"), s.steps(n)) {
			if i != 1 {
				return false
			}
		}
		in, out := s.f.r.Axes(n.In[0]), s.f.r.Axes(o)
		return out != nil && slices.EqualFunc(in, out, func(a, b *axes.Expr) bool { return a.Size == b.Size })
	}
	return false
}

// steps are the steps of a Slice; a step that is not known counts as -1.
func (s *signer) steps(n *graph.Node) []int64 {
	if len(n.In) < 5 || n.In[4] == nil {
		return nil
	}
	if v := n.In[4]; v.IsConst() {
		if ints, err := v.Const.Int64s(); err == nil {
			return ints
		}
	}
	if ints, ok := s.f.r.Static(n.In[4]); ok {
		return ints
	}
	return []int64{-1}
}

// segment gives the signature of every value of the units, computed from the values of the cut and those beside it.
func (s *signer) segment(units []int, from *cut, beside []*graph.Value) map[*graph.Value]uint64 {
	sigs := make(map[*graph.Value]uint64, len(units)+4)
	for i, v := range beside {
		sigs[v] = mix(seed("beside"), uint64(i))
	}
	for i, v := range from.vals {
		sigs[v] = mix(seed("boundary"), uint64(i))
	}
	of := func(v *graph.Value) uint64 {
		if h, ok := sigs[v]; ok {
			return h
		}
		return s.side(v)
	}
	for _, i := range units {
		u := &s.f.units[i]
		for _, o := range u.outs {
			if _, ok := sigs[o]; ok {
				continue
			}
			if u.node == nil {
				sigs[o] = s.side(o)
			} else {
				sigs[o] = s.node(u.node, o, of)
			}
		}
	}
	return sigs
}

func attribute(h uint64, a *onnxio.Attribute) uint64 {
	h = mix(h, seed(a.Name), uint64(a.Kind), uint64(a.I), uint64(math.Float32bits(a.F)), seed(string(a.S)))
	for _, i := range a.Ints {
		h = mix(h, uint64(i))
	}
	for _, x := range a.Floats {
		h = mix(h, uint64(math.Float32bits(x)))
	}
	for _, b := range a.Strings {
		h = mix(h, seed(string(b)))
	}
	if a.T != nil && a.T.ByteLen() <= maxContent {
		if b, err := a.T.Bytes(); err == nil {
			h = mix(h, seed(string(b)))
		}
	}
	if a.G != nil {
		h = mix(h, uint64(len(a.G.Nodes)))
	}
	return h
}

// seed is FNV-1a.
func seed(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix folds numbers into a signature, one after the other (the finalizer of splitmix64).
func mix(h uint64, vs ...uint64) uint64 {
	for _, v := range vs {
		h = h*0x9e3779b97f4a7c15 + v
		h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9
		h = (h ^ (h >> 27)) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}
