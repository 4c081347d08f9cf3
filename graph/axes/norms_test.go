package axes

import (
	"fmt"
	"strings"
	"testing"
)

const (
	normInput = "in x [b, s, 8]; w p [8, 8]; h = MatMul(x, p); float two 2; float one 1; float eps 0.25; float half 0.5; float mhalf -0.5\nw g [8]; w c [8]\n"
	meanVar   = "m = ReduceMean(h) axes=[-1]; d = Sub(h, m); q = Pow(d, two); v = ReduceMean(q) axes=[-1]; e = Add(v, eps)\n"
	squares   = "q = Mul(h, h); v = ReduceMean(q) axes=[-1]; e = Add(v, eps)\n"
)

// TestNorms recognises every way to write a normalisation, and what looks like one is none.
func TestNorms(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"operator", "y = LayerNormalization(h, g, c) epsilon=0.125", "layer norm of hidden h->y eps 0.125 node gain g bias c"},
		{"operator, default epsilon", "y = LayerNormalization(h, g)", "layer norm of hidden h->y eps 1e-05 node gain g"},
		{"RMS operator", "y = RMSNormalization(h, g) epsilon=0.125", "RMS norm of hidden h->y eps 0.125 node gain g"},
		{"decomposed", meanVar + "r = Sqrt(e); n = Div(d, r); a = Mul(n, g); y = Add(a, c)", "layer norm of hidden h->y eps 0.25 const gain g bias c"},
		{"gain first operand", meanVar + "r = Sqrt(e); n = Div(d, r); a = Mul(g, n); y = Add(c, a)", "layer norm of hidden h->y eps 0.25 const gain g bias c"},
		{"epsilon first operand", strings.Replace(meanVar, "Add(v, eps)", "Add(eps, v)", 1) + "r = Sqrt(e); y = Div(d, r)", "layer norm of hidden h->y eps 0.25 const"},
		{"without affine", meanVar + "r = Sqrt(e); y = Div(d, r)", "layer norm of hidden h->y eps 0.25 const"},
		{"without epsilon", meanVar + "r = Sqrt(v); y = Div(d, r)", "layer norm of hidden h->y eps 0 none"},
		{"centred twice", meanVar + "r = Sqrt(e); d2 = Sub(h, m); n = Div(d2, r); y = Mul(n, g)", "layer norm of hidden h->y eps 0.25 const gain g"},
		{"mirrored square", strings.Replace(meanVar, "Sub(h, m)", "Sub(m, h)", 1) + "r = Sqrt(e); d2 = Sub(h, m); y = Div(d2, r)", "layer norm of hidden h->y eps 0.25 const"},
		{"d times d", strings.Replace(meanVar, "Pow(d, two)", "Mul(d, d)", 1) + "r = Sqrt(e); y = Div(d, r)", "layer norm of hidden h->y eps 0.25 const"},
		{"casts between", "m = ReduceMean(h) axes=[-1]; d = Sub(h, m); dc = Cast(d) to=1; q = Pow(dc, two); v = ReduceMean(q) axes=[-1]; e = Add(v, eps); r = Sqrt(e); n = Div(d, r); nc = Cast(n) to=1; y = Mul(nc, g)", "layer norm of hidden h->y eps 0.25 const gain g"},
		{"keras", meanVar + "r = Sqrt(e); i = Reciprocal(r); k = Mul(i, g); hk = Mul(h, k); mk = Mul(m, k); off = Sub(c, mk); y = Add(hk, off)", "layer norm of hidden h->y eps 0.25 const gain g bias c"},
		{"RMS 1/sqrt", squares + "r = Sqrt(e); i = Div(one, r); n = Mul(h, i); y = Mul(n, g)", "RMS norm of hidden h->y eps 0.25 const gain g"},
		{"RMS Reciprocal", squares + "r = Sqrt(e); i = Reciprocal(r); n = Mul(i, h); y = Mul(n, g)", "RMS norm of hidden h->y eps 0.25 const gain g"},
		{"RMS power", squares + "i = Pow(e, mhalf); n = Mul(h, i); y = Mul(n, g)", "RMS norm of hidden h->y eps 0.25 const gain g"},
		{"RMS x/sqrt", squares + "r = Sqrt(e); n = Div(h, r); y = Mul(n, g)", "RMS norm of hidden h->y eps 0.25 const gain g"},
		{"RMS x/power", squares + "r = Pow(e, half); n = Div(h, r); y = Mul(n, g)", "RMS norm of hidden h->y eps 0.25 const gain g"},
		{"RMS gain before x", squares + "r = Sqrt(e); i = Reciprocal(r); k = Mul(i, g); y = Mul(h, k)", "RMS norm of hidden h->y eps 0.25 const gain g"},
		{"RMS 1+gain", squares + "r = Sqrt(e); i = Reciprocal(r); n = Mul(h, i); g1 = Add(g, one); y = Mul(n, g1)", "RMS norm of hidden h->y eps 0.25 const gain g+1"},
		{"batch norm", "t = Transpose(h) perm=[0,2,1]; w mean [8]; w var [8]; y = BatchNormalization(t, g, c, mean, var)", "batch norm of hidden t->y eps 1e-05 node gain g bias c"},
		{"skip norm", "z, _, _, sum = ms.SkipLayerNormalization(x, h, g, c) epsilon=0.125; y = Add(z, sum)", "layer norm of hidden x->z eps 0.125 node gain g bias c"},
		// none of these is a norm: the axis is frozen
		{"mean only", "m = ReduceMean(h) axes=[-1]; y = Sub(h, m)", "frozen"},
		{"cube", strings.Replace(meanVar, "Pow(d, two)", "Pow(d, one)", 1) + "r = Sqrt(e); y = Div(d, r)", "frozen"},
		{"sum instead of mean", "q = Mul(h, h); v = ReduceSum(q) axes=[-1]; e = Add(v, eps); r = Sqrt(e); y = Div(h, r)", "frozen"},
		{"variance of something else", meanVar + "r = Sqrt(e); y = Div(x, r)", "frozen"},
		{"variance used elsewhere", meanVar + "r = Sqrt(e); n = Div(d, r); y = Add(n, e)", "frozen"},
		{"no root", meanVar + "y = Div(d, e)", "frozen"},
		{"nothing behind", "q = Mul(h, h); y = ReduceMean(q) axes=[-1]", "frozen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := inferred(t, normInput+c.src+"; w o [8, 8]; z9 = MatMul(y, o); out z9")
			if c.name == "batch norm" {
				r = inferred(t, normInput+c.src+"; out y")
			}
			var got []string
			for _, n := range r.Norms {
				s := fmt.Sprintf("%s of %s %s->%s eps %.6g", n.Kind, n.Axis, n.In.Name, n.Out.Name, n.Eps)
				switch {
				case n.EpsConst != nil && n.EpsNode == nil:
					s += " const"
				case n.EpsNode != nil && n.EpsConst == nil:
					s += " node"
				default:
					s += " none"
				}
				if n.Gain != nil {
					s += " gain " + n.Gain.Name
				}
				if n.GainOffset != 0 {
					s += fmt.Sprintf("+%g", n.GainOffset)
				}
				if n.Bias != nil {
					s += " bias " + n.Bias.Name
				}
				got = append(got, s)
			}
			if len(got) == 0 {
				got = []string{"not frozen"}
				for _, e := range r.Axes(r.Graph.Value("h")) {
					if e.Atom != nil && e.Atom.Flags&FlagIndex != 0 {
						got = []string{"frozen"}
					}
				}
			}
			if s := strings.Join(got, "; "); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
			for _, n := range r.Norms {
				if g := n.Gain; g != nil && n.Kind != BatchNorm {
					if w := r.Weight(g); w == nil || w.Sides[len(w.Sides)-1] != Gain {
						t.Errorf("the gain is no gain: %+v", w)
					}
				}
			}
		})
	}
}

// TestPostNorm tells norms on the residual stream from norms in front of a branch.
func TestPostNorm(t *testing.T) {
	const block = `in x [b, s, 8]; w g1 [8]; w g2 [8]; w g3 [8]; w p [8, 16]; w q [16, 8]; w u [8, 16]; w v [16, 8]
`
	pre := block + `n = LayerNormalization(x, g1); a = MatMul(n, p); r = Relu(a); o = MatMul(r, q); y = Add(x, o)
n2 = LayerNormalization(y, g2); a2 = MatMul(n2, u); r2 = Relu(a2); o2 = MatMul(r2, v); y2 = Add(y, o2); z = LayerNormalization(y2, g3); out z`
	post := block + `a = MatMul(x, p); r = Relu(a); o = MatMul(r, q); s1 = Add(x, o); n = LayerNormalization(s1, g1)
a2 = MatMul(n, u); r2 = Relu(a2); o2 = MatMul(r2, v); s2 = Add(n, o2); y = LayerNormalization(s2, g2); out y`
	fused := strings.NewReplacer("s1 = Add(x, o); n = LayerNormalization(s1, g1)", "n = ms.SkipLayerNormalization(x, o, g1)",
		"s2 = Add(n, o2); y = LayerNormalization(s2, g2)", "y = ms.SkipLayerNormalization(n, o2, g2)").Replace(post)
	for _, c := range []struct{ name, src, want string }{
		{"pre", pre, "false false false"},
		{"post", post, "true false"},
		{"fused post", fused, "true false"},
		{"norm before norm", block + "n = LayerNormalization(x, g1); y = LayerNormalization(n, g2); out y", "true false"},
	} {
		r := inferred(t, c.src)
		var got []string
		for _, n := range r.Norms {
			got = append(got, fmt.Sprint(n.Post))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: post %s, want %s", c.name, s, c.want)
		}
		if r.Hidden == nil || r.Hidden.Has(UsePostNorm) != strings.Contains(c.want, "true") {
			t.Errorf("%s: hidden %+v", c.name, r.Hidden)
		}
	}
}
