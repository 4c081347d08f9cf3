package axes

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// attend is an attention layer of 2 heads of size 16; %Q, %S and %P are put on the queries, the scores and the probabilities.
const attend = `in x [b, s, 32]; w wq [32, 32]; w wk [32, 32]; w wv [32, 32]; w wo [32, 32]; ints t 0 0 2 16; ints u 0 0 32
q0 = MatMul(x, wq); k0 = MatMul(x, wk); v0 = MatMul(x, wv)
q1 = Reshape(q0, t); k1 = Reshape(k0, t); v1 = Reshape(v0, t)
q2 = Transpose(q1) perm=[0,2,1,3]; k2 = Transpose(k1) perm=[0,2,3,1]; v2 = Transpose(v1) perm=[0,2,1,3]
float c4 4.0; float quarter 0.25; float half 0.5; float c16 16.0; float two 2.0; float c3 3.0; int i16 16
%Q
s0 = MatMul(q, k)
%S
p = Softmax(s1)
y0 = MatMul(p, v2); y1 = Transpose(y0) perm=[0,2,1,3]; y2 = Reshape(y1, u); y3 = MatMul(y2, wo); out y3`

func attention16(queries, scores string) string {
	return strings.NewReplacer("%Q", queries, "%S", scores).Replace(attend)
}

// TestScores finds the scalar factors of attention scores on their path, how they depend on the head size, and what becomes of them
// and of their literals when the head size goes from 16 to 64.
func TestScores(t *testing.T) {
	const plain = "q = Identity(q2); k = Identity(k2)"
	for _, c := range []struct {
		name, src string
		powers    string
		ratio     float64 // for 16 -> 64
		literals  string
	}{
		{"division by 4", attention16(plain, "s1 = Div(s0, c4)"), "-0.5", 0.5, "c4=8"},
		{"times 1/4", attention16(plain, "s1 = Mul(s0, quarter)"), "-0.5", 0.5, "quarter=0.125"},
		{"literal first", attention16(plain, "s1 = Mul(quarter, s0)"), "-0.5", 0.5, "quarter=0.125"},
		{"on the queries", attention16("q = Mul(q2, quarter); k = Identity(k2)", "s1 = Identity(s0)"), "-0.5", 0.5, "quarter=0.125"},
		{"quarter powers on both", attention16("q = Mul(q2, half); k = Mul(k2, half)", "s1 = Identity(s0)"), "-0.25 -0.25", 0.5, "half=0.353553 half_2=0.353553"},
		{"root of a literal", attention16(plain, "r = Sqrt(c16); s1 = Div(s0, r)"), "-0.5", 0.5, "c16=64"},
		{"root of an integer", attention16(plain, "f = Cast(i16) to=1; r = Sqrt(f); s1 = Div(s0, r)"), "-0.5", 0.5, "i16=64"},
		{"computed from the shape", attention16(plain, "sh = Shape(q2) start=3; f = Cast(sh) to=1; r = Sqrt(f); s1 = Div(s0, r)"), "computed", 0.5, ""},
		{"no factor", attention16(plain, "s1 = Identity(s0)"), "", 1, ""},
		{"a factor of its own", attention16(plain, "s1 = Mul(s0, c3)"), "0", 1, ""},
		{"mask after the scale", attention16(plain, "w m [1, 1]; a = Div(s0, c4); s1 = Add(a, m)"), "-0.5", 0.5, "c4=8"},
		{"behind the softmax", strings.Replace(attention16(plain, "s1 = Div(s0, c4)"), "y0 = MatMul(p, v2)", "pq = Mul(p, half); y0 = MatMul(pq, v2)", 1), "-0.5", 0.5, "c4=8"},
		// 0.5 is 16^(-1/4): only the path tells the factor of a GELU from a scale
		{"GELU in front", strings.Replace(attention16(plain, "s1 = Div(s0, c4)"), "q0 = MatMul(x, wq)", "w wg [32, 32]; g0 = MatMul(x, wg); g1 = Erf(g0); g2 = Mul(g0, g1); g3 = Mul(g2, half); q0 = MatMul(g3, wq)", 1), "-0.5", 0.5, "c4=8"},
		{"FusedMatMul", attention16("q = Identity(q2); k = Identity(k2)", "s1 = Identity(s0)"), "-0.5", 0.5, "alpha=0.125"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "FusedMatMul" {
				c.src = strings.Replace(c.src, "s0 = MatMul(q, k)", "s0 = ms.FusedMatMul(q, k) alpha=0.25", 1)
			}
			r := inferred(t, c.src)
			if len(r.Scores) != 1 || len(r.Conflicts) > 0 || len(r.refused) > 0 {
				t.Fatalf("%d scores, %v, %v", len(r.Scores), r.Conflicts, r.refused)
			}
			sc := r.Scores[0]
			if sc.Inner.String() != "head_dim.0" || sc.Batch.String() != "heads.0" {
				t.Errorf("inner %s, batch %s", sc.Inner, sc.Batch)
			}
			var powers []string
			for _, sl := range sc.Scales {
				if sl.Computed {
					powers = append(powers, "computed")
				} else {
					powers = append(powers, fmt.Sprint(sl.Power))
				}
			}
			if got := strings.Join(powers, " "); got != c.powers {
				t.Errorf("powers %q, want %q", got, c.powers)
			}
			z := Sizes{sc.Inner.Atom: 64}
			if got := sc.Ratio(z); math.Abs(got-c.ratio) > 1e-12 {
				t.Errorf("ratio %g, want %g", got, c.ratio)
			}
			e, _ := r.Solve(z)
			var literals []string
			for _, v := range r.Graph.Consts {
				n := e.Consts[v]
				if n == nil || n.NumElements() != 1 {
					continue
				}
				x := 0.0
				if n.DType.Integer() {
					ints, err := n.Int64s()
					if err != nil {
						t.Fatal(err)
					}
					x = float64(ints[0])
				} else if f, err := n.Float64s(); err == nil {
					x = f[0]
				}
				literals = append(literals, fmt.Sprintf("%s=%.6g", v.Name, x))
			}
			for _, n := range r.Graph.Nodes {
				for _, a := range e.Attrs[n] {
					literals = append(literals, fmt.Sprintf("%s=%g", a.Name, a.F))
				}
			}
			if got := strings.Join(literals, " "); got != c.literals {
				t.Errorf("literals %q, want %q", got, c.literals)
			}
		})
	}
}

// TestFusedScores covers the scale attribute of fused attention, and that what follows the operator is no scale.
func TestFusedScores(t *testing.T) {
	const src = "opset 23; in x [b, s, 32]; w wq [32, 32]; w wk [32, 32]; w wv [32, 32]; q = MatMul(x, wq); k = MatMul(x, wk); v = MatMul(x, wv); float half 0.5\n"
	for _, c := range []struct {
		attr  string
		ratio float64
		want  string
	}{
		{"", 0.5, ""},
		{"scale=0.25", 0.5, "scale=0.125 "},
		{"scale=0.3", 1, ""},
	} {
		r := inferred(t, src+"y = Attention(q, k, v) q_num_heads=2 kv_num_heads=2 "+c.attr+"; z = Mul(y, half); out z")
		if len(r.Scores) != 1 || len(r.Scores[0].Scales) != 1 {
			t.Fatalf("%+v", r.Scores)
		}
		z := Sizes{r.Scores[0].Inner.Atom: 64}
		if got := r.Scores[0].Ratio(z); got != c.ratio {
			t.Errorf("%q: ratio %g, want %g", c.attr, got, c.ratio)
		}
		e, probs := r.Solve(z)
		if len(probs) > 0 {
			t.Errorf("%q: %v", c.attr, probs)
		}
		got := ""
		for _, n := range r.Graph.Nodes {
			for _, a := range e.Attrs[n] {
				got += fmt.Sprintf("%s=%g ", a.Name, a.F)
			}
		}
		if got != c.want {
			t.Errorf("%q: attributes %q, want %q", c.attr, got, c.want)
		}
	}
}

// TestRoles names the widths of a layer, and query groups when there are fewer key and value heads, one included.
func TestRoles(t *testing.T) {
	const grouped = `in x [b, s, 32]; w wq [32, 64]; w wk [32, %KV]; w wv [32, %KV]; w wo [64, 32]; ints t 0 0 4 16; ints u 0 0 64; ints tk 0 0 %H 16
q0 = MatMul(x, wq); k0 = MatMul(x, wk); v0 = MatMul(x, wv); q1 = Reshape(q0, t); k1 = Reshape(k0, tk); v1 = Reshape(v0, tk)
q2 = Transpose(q1) perm=[0,2,1,3]; k2 = Transpose(k1) perm=[0,2,1,3]; v2 = Transpose(v1) perm=[0,2,1,3]
ints ax 2; ke = Unsqueeze(k2, ax); ve = Unsqueeze(v2, ax); ints g 1 1 %G 1 1; kx = Expand(ke, g); vx = Expand(ve, g)
sh = Shape(q2); kr = Reshape(kx, sh); vr = Reshape(vx, sh); kt = Transpose(kr) perm=[0,1,3,2]
s0 = MatMul(q2, kt); p = Softmax(s0); y0 = MatMul(p, vr); y1 = Transpose(y0) perm=[0,2,1,3]; y2 = Reshape(y1, u); y3 = MatMul(y2, wo)
r1 = Add(x, y3); w g1 [32]; n = LayerNormalization(r1, g1); w f1 [32, 96]; w f2 [96, 32]; h = MatMul(n, f1); h1 = Relu(h); h2 = MatMul(h1, f2); r2 = Add(r1, h2)
w g2 [32]; n2 = LayerNormalization(r2, g2); out n2`
	for _, c := range []struct{ kv, h, g, want string }{
		{"32", "2", "2", "heads.0=2 of kv_heads.0, kv_heads.0=2, head_dim.0=16, head_dim.1=16, hidden=32, ffn.0=96"},
		{"16", "1", "4", "heads.0=4 of kv_heads.0, kv_heads.0=1, head_dim.0=16, head_dim.1=16, hidden=32, ffn.0=96"},
	} {
		r := inferred(t, strings.NewReplacer("%KV", c.kv, "%H", c.h, "%G", c.g).Replace(grouped))
		found := map[string]bool{}
		for _, a := range r.Atoms {
			if a.Growable() {
				s := fmt.Sprintf("%s=%d", a.Name, a.Size)
				if a.Groups != nil {
					s += " of " + a.Groups.Name
				}
				found[s] = true
			}
		}
		for _, w := range strings.Split(c.want, ", ") {
			if !found[w] {
				t.Errorf("%s key/value heads: no %s in %v", c.h, w, found)
			}
			delete(found, w)
		}
		for s := range found {
			t.Errorf("%s key/value heads: %s is one too many", c.h, s)
		}
		for _, k := range r.Conflicts {
			t.Errorf("conflict %s", k.Reason)
		}
	}
	// weights that a product of two activations makes one column of, as a dynamic convolution does: a place to broadcast, no head size
	c := inferred(t, `in x [b, s, 8]; w a [8, 8]; w k [8, 3]; w o [8, 8]; w g [8]; ints hv 0 0 8 1; ints hk 0 0 1 3; ints back 0 0 8
v0 = MatMul(x, a); v = Reshape(v0, hv); k0 = MatMul(x, k); k1 = Reshape(k0, hk); k2 = Softmax(k1); m = MatMul(v, k2); kt = Transpose(k2) perm=[0,1,3,2]; y0 = MatMul(m, kt)
y1 = Reshape(y0, back); y2 = MatMul(y1, o); r = Add(x, y2); n = LayerNormalization(r, g); out n`)
	for _, a := range c.Atoms {
		if a.Role == RoleHeadDim && a.Size == 1 {
			t.Errorf("%s of 1 is a head size", a.Name)
		}
	}
	// two hidden widths: a narrow embedding that is normalised, too
	r := inferred(t, `in i int64 [b, s]; w e [50, 12]; w g0 [12]; w p [12, 32]; w g1 [32]; w g2 [32]; w f1 [32, 64]; w f2 [64, 32]
x = Gather(e, i); n0 = LayerNormalization(x, g0); h = MatMul(n0, p); n1 = LayerNormalization(h, g1); a = MatMul(n1, f1); o = MatMul(a, f2); r = Add(h, o); n2 = LayerNormalization(r, g2); out n2`)
	for name, size := range map[string]int64{"hidden": 32, "hidden.1": 12, "ffn.0": 64} {
		ok := false
		for _, a := range r.Atoms {
			ok = ok || (a.Name == name && a.Size == size && a.Growable())
		}
		if !ok {
			t.Errorf("no %s of %d", name, size)
		}
	}
	seen := map[string]bool{}
	for i, a := range r.Atoms {
		if a.ID != i || seen[a.Name] {
			t.Errorf("atom %d has the name %s and the number %d", i, a.Name, a.ID)
		}
		seen[a.Name] = true
	}
}
