package ligo

import (
	"math"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// normSite is what growth does to one norm: gain and bias are multiplied by gain and bias beyond being copied, epsilon by eps.
type normSite struct {
	norm            *axes.Norm
	gain, bias, eps float64
	// tie is the rule of an embedding that the norm's output is multiplied with: each output is divided by the number of its copies
	// there. Nil for none.
	tie *rule
	// rest is the whole grown gain, without what is copied, of a norm on a stream that GrowPostNorm grows; nil for others.
	rest []float64
}

// sites works out the norms. With x* = c·[x; …; x; residue] the statistics are c²·s times the old ones; gain √s·c gives c times the
// old output, which is what the readers of a gauged axis expect.
func (u *ruler) sites(rules map[*axes.Atom]*rule) []*normSite {
	var out []*normSite
	for _, n := range u.r.Norms {
		st := statisticsOf(n.Axis, rules)
		s, c, grows := st.kept/st.size, st.gauge, st.grows
		site := &normSite{norm: n, gain: 1, bias: 1, eps: 1}
		out = append(out, site)
		if !grows && c == 1 || n.Kind == axes.BatchNorm {
			continue
		}
		if u.width == widthPad || u.width == widthScratch || u.width == widthPaper {
			continue
		}
		if st.uneven {
			u.because(CodeCompositeNorm, n, "the parts of %s grow by different factors inside one norm", n.Axis)
		}
		site.gain, site.bias, site.eps = math.Sqrt(s)*c, c, s*c*c
		if site.gain != 1 && n.Gain == nil {
			u.because(CodeNormWithoutGain, n, "the norm of %s has no gain to take the factor %.4g", n.Axis, site.gain)
		}
		if site.eps != 1 && n.EpsConst == nil && n.EpsNode == nil && n.Eps != 0 {
			u.because(CodeEpsilon, n, "the epsilon %g of the norm of %s cannot be edited", n.Eps, n.Axis)
		}
		u.postNorm(n, rules)
	}
	return out
}

// statistics is what growth does to the mean square (or the variance) over an axis: of size units kept copy the small axis's, all of
// them equally often, the others are zero (or the mean); and all are multiplied by gauge.
type statistics struct {
	kept, size, gauge float64
	copies            float64 // of each unit
	grows, uneven     bool
}

func statisticsOf(e *axes.Expr, rules map[*axes.Atom]*rule) statistics {
	if e.Kind == axes.Leaf {
		r := rules[e.Atom]
		return statistics{float64(r.kept), float64(r.n2), r.gauge, float64(r.kept) / float64(r.n1), r.grows(), false}
	}
	out := statisticsOf(e.Args[0], rules)
	for _, a := range e.Args[1:] {
		s := statisticsOf(a, rules)
		out.grows = out.grows || s.grows
		out.uneven = out.uneven || s.uneven
		if e.Kind == axes.Product {
			out.kept, out.size, out.gauge, out.copies = out.kept*s.kept, out.size*s.size, out.gauge*s.gauge, out.copies*s.copies
			continue
		}
		out.uneven = out.uneven || s.gauge != out.gauge || s.copies != out.copies
		out.kept, out.size = out.kept+s.kept, out.size+s.size
	}
	return out
}

// postNorm judges a norm on the stream. Its output γ∘x̂ + β is the stream from here on, and the residue of the stream must hold its
// mean. With a constant gain that mean is mean(β), a constant, which the residue's bias can be; otherwise it varies with x̂.
func (u *ruler) postNorm(n *axes.Norm, rules map[*axes.Atom]*rule) {
	if !n.Post || n.Kind != axes.LayerNorm || n.Axis.Kind != axes.Leaf {
		return
	}
	r := rules[n.Axis.Atom]
	if r.form != formMean || constant(n.Gain) {
		return
	}
	u.because(CodePostNormWidth, n, "%s grows from %d to %d, no whole multiple, and this norm with a gain that varies is on the residual stream", n.Axis, r.n1, r.n2)
}

// constant reports whether all elements of a (small) constant are equal; a missing gain is constant.
func constant(v *graph.Value) bool {
	if v == nil {
		return true
	}
	x, err := v.Const.Float64s()
	if err != nil {
		return false
	}
	for _, e := range x {
		if e != x[0] {
			return false
		}
	}
	return true
}
