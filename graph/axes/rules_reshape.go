package axes

import (
	"fmt"
	"math"

	"github.com/ligoonnx/ligoonnx/graph"
)

func reshape(s *state, n *graph.Node) string {
	in := s.axes[n.In[0]]
	if n.Op == "Flatten" {
		axis := n.Int("axis", 1)
		if axis < 0 {
			axis += int64(len(in))
		}
		if axis < 0 || axis > int64(len(in)) {
			return fmt.Sprintf("axis %d of a value of rank %d", axis, len(in))
		}
		s.setAxes(n.Out[0], []*node{s.product(in[:axis]...), s.product(in[axis:]...)})
		s.setWeightOnly(n, n.In[0])
		return ""
	}
	shape := s.dims(n, 1, "shape")
	if shape == nil {
		if v := arg(n, 1); v == nil || s.vals[v] == nil {
			return "the target shape is not known without running the model"
		}
	}
	total := volumeOf(in)
	if total == 0 || total == math.MaxInt64 {
		return fmt.Sprintf("cannot follow %s, a value of %d elements", axesString(in), total)
	}
	zero := n.Int("allowzero", 0) == 0
	sizes := make([]int64, len(shape))
	rest, known := -1, int64(1)
	for i, y := range shape {
		switch {
		case y.ival == -1:
			if rest >= 0 {
				return "two sizes of -1"
			}
			rest = i
		case y.ival == 0 && zero:
			if i >= len(in) {
				return fmt.Sprintf("a 0 in position %d copies an axis that is not there", i)
			}
			sizes[i] = in[i].find().size
			known = times(known, sizes[i])
		case y.ival < 0:
			return fmt.Sprintf("a size of %d", y.ival)
		default:
			sizes[i] = y.ival
			known = times(known, y.ival)
		}
	}
	if rest >= 0 {
		if known == 0 || total%known != 0 {
			return fmt.Sprintf("%d elements do not divide by %d", total, known)
		}
		sizes[rest] = total / known
	} else if known != total {
		return fmt.Sprintf("%d elements into a shape of %d", total, known)
	}
	out := make([]*node, len(sizes))
	for i, y := range shape {
		if y.ival == 0 && zero && y.literal() {
			out[i] = in[i] // copied by the operator's own definition: the same axis
		} else if y.dim != nil && y.dim.run() && y.dim.find().size == sizes[i] {
			out[i] = y.dim
		}
	}
	org := make([][]constAxis, len(out))
	if why := s.refine(n, in, out, sizes, shape, org); why != "" {
		return why
	}
	for i, y := range shape {
		if y.ival > 0 && !(y.dim != nil && y.dim.run()) {
			s.reqs = append(s.reqs, req{y: y, axis: out[i], at: n, why: "reshape target", operand: s.concatOperand(n, i, y)})
		}
	}
	s.view(n, out, org)
	if st := s.vals[n.In[0]]; st != nil {
		s.vals[n.Out[0]] = &static{shape: sizes, elems: st.elems}
	}
	return ""
}

// refine matches the factors of the input axes with the output sizes from the outermost, cutting and merging as needed.
func (s *state) refine(n *graph.Node, in, out []*node, sizes []int64, shape []*sym, org [][]constAxis) string {
	type factor struct {
		a    *node
		from int // the input axis, when the factor is all of it
	}
	var fs []factor
	for i, a := range in {
		for _, f := range a.flat(Product) {
			if f.size == 1 && f.one && f.born == nil {
				continue
			}
			from := -1
			if f == a.find() {
				from = i
			}
			fs = append(fs, factor{f, from})
		}
	}
	i := 0
	for i < len(out) {
		want := sizes[i]
		if want == 1 {
			switch {
			case len(fs) > 0 && fs[0].a.find().size == 1 && (fs[0].a.born != nil || !fs[0].a.find().one):
				// a candidate width of 1 meets a target of 1: keep it
				if out[i] == nil {
					out[i] = fs[0].a
				}
				fs = fs[1:]
			case out[i] == nil:
				out[i] = s.leaf(1)
				key := birthKey{n.Out[0].Name, i}
				if s.activation(n.In[0]) && len(out) > len(in) && shape[i].literal() && i+1 < len(out) {
					out[i].born = []birthKey{key}
					if s.realOnes[key] {
						out[i].one = false
						s.pendingOnes = append(s.pendingOnes, pendingOne{out[i], n.Out[0], i + 1})
					}
				}
			}
			i++
			continue
		}
		// a candidate width of 1 in front of a larger target becomes part of it
		var group []*node
		have := int64(1)
		for len(fs) > 0 && have < want {
			f := fs[0]
			f.a = f.a.find()
			if f.a.kind == Product {
				var sub []factor
				for _, g := range f.a.flat(Product) {
					sub = append(sub, factor{g, -1})
				}
				fs = append(sub, fs[1:]...)
				continue
			}
			z := f.a.size
			switch {
			case z == want && have == 1 && len(group) == 0:
				if f.from >= 0 {
					org[i] = s.originsOf(n.In[0], f.from)
				}
				group, have, fs = append(group, f.a), want, fs[1:]
			case have*z <= want && want%(have*z) == 0:
				group, have, fs = append(group, f.a), have*z, fs[1:]
			case z > want/have && want%have == 0 && z%(want/have) == 0:
				need := want / have
				if f.a.kind == Leaf {
					parts := s.splitFor(n, f.a, need, z/need, out[i], len(group) == 0)
					fs = append([]factor{{parts[0], -1}, {parts[1], -1}}, fs[1:]...)
					continue
				}
				// a sum: gather as many targets as it takes to cover it
				j, p := i+1, want
				if len(group) > 0 {
					return s.mismatch(n, in, sizes)
				}
				for j < len(out) && p < z {
					p = times(p, sizes[j])
					j++
				}
				if p != z {
					return s.mismatch(n, in, sizes)
				}
				var parts []*node
				for k := i; k < j; k++ {
					if out[k] == nil {
						out[k] = s.leaf(sizes[k])
						out[k].one = sizes[k] == 1
					}
					parts = append(parts, out[k])
				}
				s.unify(f.a, s.product(parts...), n, "reshape")
				fs = fs[1:]
				i = j - 1
				group, have = nil, want
			default:
				return s.mismatch(n, in, sizes)
			}
		}
		if have != want {
			return s.mismatch(n, in, sizes)
		}
		if len(group) > 0 {
			p := s.product(group...)
			if out[i] == nil {
				out[i] = p
			} else if out[i].find() != p.find() {
				s.unify(out[i], p, n, "reshape")
			}
		} else if out[i] == nil {
			out[i] = s.leaf(want)
		}
		i++
	}
	for _, p := range s.pendingOnes {
		if p.out == n.Out[0] && p.next < len(out) {
			s.attachOne(p, out)
		}
	}
	s.pendingOnes = nil
	return ""
}

// splitFor cuts a leaf into two factors; a target that is already a run-time axis gives its own.
func (s *state) splitFor(n *graph.Node, l *node, first, second int64, target *node, whole bool) []*node {
	parts := s.split(l, Product, first, second)
	if whole && target != nil && target.find().size == first && target.find() != parts[0] {
		s.unify(target, parts[0], n, "reshape")
		parts[0] = target.find()
		l.args[0] = parts[0]
	}
	return parts
}

func (s *state) mismatch(n *graph.Node, in []*node, sizes []int64) string {
	return fmt.Sprintf("cannot tell how %s becomes %v", axesString(in), sizes)
}

func axesString(in []*node) string {
	out := "["
	for i, a := range in {
		if i > 0 {
			out += ", "
		}
		out += a.String()
	}
	return out + "]"
}

// pendingOne is a width of 1 that a reshape splits off in front of the axis next.
type pendingOne struct {
	one  *node
	out  *graph.Value
	next int
}

// attachOne makes the axis after a width of 1 carry it: what was x is now 1 * x, so that the weights behind x know of it.
func (s *state) attachOne(p pendingOne, out []*node) {
	x := out[p.next].find()
	if x.kind != Leaf || x.flags&FlagRun != 0 || x.size == 1 {
		return
	}
	inner := s.leaf(x.size)
	inner.one, inner.flags, inner.why = false, x.flags, x.why
	x.kind, x.args = Product, []*node{p.one, inner}
	out[p.next] = inner
}

// concatOperand is the operand of the Concat that makes a node's target shape which holds element i, a size taken from another
// axis, and nothing else; nil where the shape is made in another way or for other nodes too.
func (s *state) concatOperand(n *graph.Node, i int, y *sym) *graph.Use {
	v := arg(n, 1)
	if v == nil || y.literal() || y.run() || !isOp(v.Producer, "Concat") || len(v.Uses) != 1 || s.g.IsOutput(v) {
		return nil
	}
	for j, x := range v.Producer.In {
		st := s.vals[x]
		if st == nil {
			return nil
		}
		if k := len(st.elems); i >= k {
			i -= k
			continue
		} else if k != 1 || len(st.shape) != 1 {
			return nil
		}
		return &graph.Use{Node: v.Producer, Index: j}
	}
	return nil
}
