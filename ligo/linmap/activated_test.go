package linmap

import (
	"fmt"
	"math"
	"testing"
)

// transformed is a head of BERT's kind, logits = U·LN(act(W·h + b)), on random states h that a norm wrote.
type transformed struct {
	act  func(float64) float64
	w    weight
	b    []float64
	norm norm
	u    weight
	last norm // the norm that writes h
}

func (y toy) transformed(act func(float64) float64) transformed {
	n := *y.norm()
	n.eps = 1e-12
	return transformed{act: act, w: y.weight(y.d, y.d), b: y.vector(y.d, 0, 0.3), norm: n, u: y.weight(50, y.d), last: *y.norm()}
}

func (x transformed) of(h []float64) []float64 {
	v := plus(x.w.mul(h), x.b)
	for i := range v {
		v[i] = x.act(v[i])
	}
	return x.u.mul(x.norm.of(v))
}

func (x transformed) grow(t *testing.T, to int, share []float64) transformed {
	std := make([]float64, len(x.last.gain))
	for i, g := range x.last.gain {
		std[i] = math.Abs(g)
	}
	r := GrowActivatedNorm(to, Activated{Act: x.act, Weight: x.w.x, Bias: x.b, Mean: x.last.bias, Std: std,
		Gain: x.norm.gain, Shift: x.norm.bias, Share: share})
	p := plan{t: t}
	g := x
	g.w, g.b = p.growAs(x.w, r.R, nil), r.Bias
	g.norm = norm{gain: r.Gain, bias: r.Shift, eps: x.norm.eps * r.Epsilon}
	g.u = p.growAs(x.u, nil, r.L)
	return g
}

// copied grows by copies of some features, averages being no better.
func (x transformed) copied(t *testing.T, to int) transformed {
	from := x.w.out
	index := cyclic(to, from)
	p := plan{t: t}
	c := Copy(index, nil, from)
	g := x
	g.w, g.b = p.growAs(x.w, c, nil), p.vector(x.b, c)
	g.norm.gain, g.norm.bias = p.vector(x.norm.gain, c), p.vector(x.norm.bias, c)
	g.u = p.growAs(x.u, nil, firstCopies(to, from))
	return g
}

func TestActivatedNorm(t *testing.T) {
	for _, act := range []struct {
		name string
		f    func(float64) float64
	}{{"GELU", gelu}, {"ReLU", relu}, {"SiLU", silu}, {"tanh", math.Tanh}} {
		for _, c := range []struct{ from, to int }{{32, 48}, {32, 80}, {96, 160}, {64, 70}, {32, 64}} {
			t.Run(fmt.Sprintf("%s, %d to %d", act.name, c.from, c.to), func(t *testing.T) {
				var got, copied, average float64
				for seed := range uint64(3) {
					y := newToy(seed)
					y.d = c.from
					x := y.transformed(act.f)
					share := y.shares(cyclic(c.to/c.from*c.from, c.from))
					large, other := x.grow(t, c.to, share), x.copied(t, c.to)
					for range 20 {
						h := x.last.of(y.vector(c.from, 0, 1))
						e := relative(large.of(h), x.of(h))
						got, average = max(got, e), average+e/60
						copied = max(copied, relative(other.of(h), x.of(h)))
					}
				}
				t.Logf("off by %.1e on average, at most %.1e; copies %.1e", average, got, copied)
				switch {
				case c.to%c.from == 0:
					if !(got < exact) {
						t.Errorf("off by %g", got)
					}
				case !(average < 5e-3) || got > copied/4:
					t.Errorf("off by %g, copies by %g", got, copied)
				}
			})
		}
	}
}

// Units that see nothing, gains that are zero and no bias at all are unusual, but no reason for infinities.
func TestActivatedNormOddities(t *testing.T) {
	y := newToy(5)
	y.d = 32
	x := y.transformed(gelu)
	x.norm.gain[3], x.norm.gain[4] = 0, 1e-9
	clear(x.w.x[7*32:][:32])
	clear(x.b)
	large := x.grow(t, 80, nil)
	h := x.last.of(y.vector(32, 0, 1))
	if e := relative(large.of(h), x.of(h)); !(e < 1e-2) {
		t.Errorf("off by %g", e)
	}
}
