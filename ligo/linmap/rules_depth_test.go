package linmap

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// The rules by which depth grows.

// insert is n with a copy of block i behind it, changed by f.
func (n *net) insert(i int, f func(b *block)) *net {
	b := n.blocks[i]
	copyOf := func(m *norm) *norm {
		c := *m
		return &c
	}
	b.n1, b.n2 = copyOf(b.n1), copyOf(b.n2)
	f(&b)
	g := *n
	g.blocks = slices.Insert(slices.Clone(n.blocks), i+1, b)
	return &g
}

// silent makes a block add nothing: its output projections are blends of no layer.
func silent(t *testing.T, b *block) {
	none := func(x []float64) []float64 {
		if x == nil {
			return nil
		}
		v := floatTensor(t, "w", onnxio.Double, []int64{int64(len(x))}, x)
		z, err := Blend([]*onnxio.Tensor{v, v}, []float64{0, 0})
		if err != nil {
			t.Fatal(err)
		}
		return values(t, z)
	}
	b.o.x, b.bo, b.down.x, b.bdown = none(b.o.x), none(b.bo), none(b.down.x), none(b.bdown)
}

func TestDepth(t *testing.T) {
	y := newToy(24)
	n := y.net()
	for i := range n.blocks {
		t.Run(fmt.Sprintf("4.4 pre-norm: zero block behind block %d", i), func(t *testing.T) {
			wantExact(t, n.insert(i, func(b *block) { silent(t, b) }), n)
			wantWrong(t, n.insert(i, func(*block) {}), n, 1e-2)
		})
	}
	t.Run("4.4 layer scale 0", func(t *testing.T) {
		scaled := *n
		scaled.blocks = slices.Clone(n.blocks)
		for i := range scaled.blocks {
			scaled.blocks[i].scale1, scaled.blocks[i].scale2 = y.vector(24, 0.5, 0.3), y.vector(24, 0.5, 0.3)
		}
		none := make([]float64, 24)
		g := scaled.insert(0, func(b *block) { b.scale1, b.scale2 = none, none })
		wantExact(t, g, &scaled)
	})
	t.Run("4.4 layer scale folded, then average expansion", func(t *testing.T) {
		scaled := *n
		scaled.blocks = slices.Clone(n.blocks)
		fold := *n
		fold.blocks = slices.Clone(n.blocks)
		for i := range scaled.blocks {
			s, f := &scaled.blocks[i], &fold.blocks[i]
			s.scale1, s.scale2 = y.vector(24, 0.5, 0.3), y.vector(24, 0.5, 0.3)
			for _, c := range []struct {
				w     *weight
				b     *[]float64
				scale []float64
			}{{&f.o, &f.bo, s.scale1}, {&f.down, &f.bdown, s.scale2}} {
				gain := floatTensor(t, "ls", onnxio.Double, []int64{24}, c.scale)
				out, err := MulAlong(floatTensor(t, "w", onnxio.Double, []int64{24, int64(c.w.in)}, c.w.x), 0, gain)
				if err != nil {
					t.Fatal(err)
				}
				*c.w, *c.b = weight{24, c.w.in, values(t, out)}, times(*c.b, c.scale)
			}
		}
		wantExact(t, &fold, &scaled)
		g := averagePlan(t, y, 40).net(&fold)
		wantExact(t, g, &scaled)
		p := averagePlan(t, y, 40)
		p.gain = Scaled(p.gain, math.Sqrt(40.0/24)) // for the scales alone; the norms' gains are put right below
		wrong := p.net(&scaled)
		for i := range wrong.blocks {
			scale(wrong.blocks[i].n1.gain, wrong.blocks[i].n1.gain, math.Sqrt(24/40.0))
			scale(wrong.blocks[i].n2.gain, wrong.blocks[i].n2.gain, math.Sqrt(24/40.0))
		}
		scale(wrong.last.gain, wrong.last.gain, math.Sqrt(24/40.0))
		wantWrong(t, wrong, &scaled, 1e-4)
	})
}

func TestDepthPostNorm(t *testing.T) {
	y := newToy(25)
	y.post, y.untied = true, true
	n := y.net()
	one, none := slices.Repeat([]float64{1}, 24), make([]float64, 24)
	shift := func(eps float64) (got, want *net) {
		want = y.withEpsilon(n, eps)
		got = want.insert(0, func(b *block) {
			silent(t, b)
			b.n1.gain, b.n1.bias = one, none
		})
		// The predecessor's last norm hands its gain and bias to the new block's last one, a copy of it.
		pred := *got.blocks[0].n2
		pred.gain, pred.bias = one, none
		got.blocks[0].n2 = &pred
		return got, want
	}
	for _, c := range []struct{ eps, least, most float64 }{{0, 0, exact}, {1e-12, 0, 1e-10}, {1e-5, 1e-7, 1e-3}} {
		t.Run(fmt.Sprintf("4.4 post-norm: affine shift, epsilon %g", c.eps), func(t *testing.T) {
			got, want := shift(c.eps)
			e := off(got, want)
			t.Logf("off by %.1e", e)
			if !(e >= c.least && e < c.most) {
				t.Errorf("off by %g, want %g to %g", e, c.least, c.most)
			}
		})
	}
	t.Run("4.4 post-norm: a zero block alone is wrong", func(t *testing.T) {
		wantWrong(t, n.insert(0, func(b *block) { silent(t, b) }), n, 1e-2)
	})
	t.Run("4.4 post-norm: depth, then indivisible width", func(t *testing.T) {
		got, want := shift(1e-12)
		e := off(growPost(t, got, 36), want)
		t.Logf("off by %.1e", e)
		if !(e < 5e-3) {
			t.Errorf("off by %g", e)
		}
	})
}

// withEpsilon is n with another epsilon in all norms of the stream.
func (y toy) withEpsilon(n *net, eps float64) *net {
	set := func(m *norm) *norm {
		c := *m
		c.eps = eps
		return &c
	}
	g := *n
	g.first = set(n.first)
	g.blocks = slices.Clone(n.blocks)
	for i := range g.blocks {
		g.blocks[i].n1, g.blocks[i].n2 = set(n.blocks[i].n1), set(n.blocks[i].n2)
	}
	return &g
}
