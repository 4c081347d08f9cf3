package linmap

import (
	"math"
	"slices"
	"testing"
)

// The rules by which hidden layers grow, and what breaks the symmetry of copies.

func TestFFN(t *testing.T) {
	for _, act := range []struct {
		name string
		f    func(float64) float64
	}{{"GELU", gelu}, {"tanh GELU", tanhGELU}, {"ReLU", relu}, {"SiLU", silu}} {
		y := newToy(21)
		n := y.net()
		n.act = act.f
		t.Run("4.4 "+act.name+": copied units, split outputs", func(t *testing.T) {
			index := append(cyclic(40, 32), 0, 0, 31)
			wantExact(t, plan{t: t, up: Copy(index, nil, 32), downL: Split(index, y.shares(index), 32)}.net(n), n)
		})
		padded := plan{t: t, up: Pad(40, 32), downL: Split(firsts(40, 32), nil, 32)}
		t.Run("4.4 "+act.name+": new units with zero output", func(t *testing.T) {
			g := padded.net(n)
			for i := range g.blocks {
				y.freeRows(g.blocks[i].up, g.blocks[i].bup)
			}
			wantExact(t, g, n)
		})
		t.Run("4.4 "+act.name+": new units in cancelling pairs", func(t *testing.T) {
			pairs := append(cyclic(32, 32), 32, 32, 33, 33, 34, 34, 35, 35)
			for _, sign := range []float64{-1, 1} {
				g := plan{t: t, up: Pad(36, 32), downL: Split(firsts(36, 32), nil, 32)}.net(n)
				for i := range g.blocks {
					b := &g.blocks[i]
					y.freeRows(b.up, b.bup)
					b.up, b.bup = padded.growAs(b.up, Copy(pairs, nil, 36), nil), padded.vector(b.bup, Copy(pairs, nil, 36))
					b.down = padded.growAs(b.down, nil, Split(pairs, nil, 36))
					for o := range b.down.out {
						row := b.down.x[o*40:][:40]
						for k := 32; k < 40; k += 2 {
							row[k] = y.NormFloat64()
							row[k+1] = sign * row[k]
						}
					}
				}
				if sign < 0 {
					wantExact(t, g, n)
				} else {
					wantWrong(t, g, n, 1e-3)
				}
			}
		})
		t.Run("4.4 "+act.name+": two units carry a linear map", func(t *testing.T) {
			for range 100 {
				if u := 3 * y.NormFloat64(); math.Abs(act.f(u)-act.f(-u)-u) > 1e-15*max(1, math.Abs(u)) {
					t.Errorf("φ(u) - φ(-u) = %g for u = %g", act.f(u)-act.f(-u), u)
				}
			}
			// y = W x through an ffn of twice as many units: up [W; -W], down [I, -I].
			w, x := y.weight(24, 24), y.vector(24, 0, 1)
			p := plan{t: t}
			up := p.growAs(w, Copy(cyclic(48, 24), append(slices.Repeat([]float64{1}, 24), slices.Repeat([]float64{-1}, 24)...), 24), nil)
			h := up.mul(x)
			got := make([]float64, 24)
			for i := range got {
				got[i] = act.f(h[i]) - act.f(h[i+24])
			}
			if e := relative(got, w.mul(x)); !(e < exact) {
				t.Errorf("off by %g", e)
			}
		})
	}
	t.Run("4.4 mixed units are wrong", func(t *testing.T) {
		y := newToy(22)
		n := y.net()
		R := Dense(40, 32, y.orthonormal(40, 32, nil))
		wantWrong(t, plan{t: t, up: R, downL: Transpose(R)}.net(n), n, 1e-2)
	})
	t.Run("4.4 SwiGLU: gates copied, ups scaled", func(t *testing.T) {
		y := newToy(23)
		y.rms, y.gated, y.noBias = true, true, true
		n := y.net()
		index := append(cyclic(45, 32), 7)
		c := y.vector(46, 1, 0.3)
		down := y.shares(index)
		for j := range down {
			down[j] /= c[j]
		}
		p := plan{t: t, up: Copy(index, c, 32), gate: Copy(index, nil, 32), downL: Split(index, down, 32)}
		wantExact(t, p.net(n), n)
		p.gate = p.up
		wantWrong(t, p.net(n), n, 1e-3)
		p = plan{t: t, up: Pad(40, 32), gate: Pad(40, 32), downL: Split(firsts(40, 32), nil, 32)}
		g := p.net(n)
		for i := range g.blocks {
			y.freeRows(g.blocks[i].up, nil)
			y.freeRows(g.blocks[i].gate, nil)
		}
		wantExact(t, g, n)
	})
}

func TestSymmetry(t *testing.T) {
	y := newToy(28)
	n := y.net()
	target := y.vector(len(ids)*y.vocab, 0, 1)
	index := append(cyclic(32, 32), 3) // unit 32 is a copy of unit 3
	// gradients of the loss Σ logits·target with respect to the rows of units 3 and 32.
	gradients := func(g *net) (a, b []float64) {
		const h = 1e-5
		for _, unit := range []int{3, 32} {
			for j := range 24 {
				at := &g.blocks[0].up.x[unit*24+j]
				old := *at
				*at = old + h
				up := dot(g.forward(ids), target)
				*at = old - h
				down := dot(g.forward(ids), target)
				*at = old
				if v := (up - down) / (2 * h); unit == 3 {
					a = append(a, v)
				} else {
					b = append(b, v)
				}
			}
		}
		return a, b
	}
	for _, c := range []struct {
		name  string
		share float64
		equal bool
	}{{"equal", 0.5, true}, {"unequal", 0.4, false}} {
		t.Run("4.4 symmetry: "+c.name+" shares, "+c.name+" gradients", func(t *testing.T) {
			alpha := slices.Repeat([]float64{1}, 33)
			alpha[3], alpha[32] = c.share, 1-c.share
			g := plan{t: t, up: Copy(index, nil, 32), downL: Split(index, alpha, 32)}.net(n)
			wantExact(t, g, n)
			a, b := gradients(g)
			if e := relative(a, b); c.equal && e > 1e-7 || !c.equal && e < 0.1 {
				t.Errorf("gradients of the copies are %g apart", e)
			}
		})
	}
	t.Run("4.4 symmetry: dead if nothing goes in and nothing comes out", func(t *testing.T) {
		g := plan{t: t, up: Pad(33, 32), downL: Split(firsts(33, 32), nil, 32)}.net(n)
		_, b := gradients(g)
		if e := slices.Max(b) - slices.Min(b); e != 0 {
			t.Errorf("gradient %g of a unit without output", e)
		}
	})
}
