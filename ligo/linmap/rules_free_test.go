package linmap

import (
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// The free term of consumers, and methods that are points of the family with one.

func TestFreeTerm(t *testing.T) {
	y := newToy(26)
	y.untied = true
	n := y.net()
	index := cyclic(48, 24)
	R, L := Copy(index, nil, 24), Split(index, y.shares(index), 24)
	p := plan{t: t, R: R, L: L, gain: R, bias: R}
	if e := MaxDiff(Mul(L, R), Identity(24)); e > 1e-15 {
		t.Fatalf("L·R is off an identity by %g", e)
	}
	// Z(I - R·L): a consumer may add any multiple of what the growth left out.
	left := DenseOf(Scaled(Mul(R, L), -1))
	for i := range 48 {
		left[i*48+i]++
	}
	add := func(w weight, grown weight) weight {
		z := floatTensor(t, "Z", onnxio.Double, []int64{int64(w.out), 48}, y.vector(w.out*48, 0, 1))
		free, err := Grow(z, []Matrix{nil, Transpose(Dense(48, 48, left))})
		if err != nil {
			t.Fatal(err)
		}
		sum, err := Add(floatTensor(t, "w", onnxio.Double, []int64{int64(w.out), 48}, grown.x), free)
		if err != nil {
			t.Fatal(err)
		}
		return weight{w.out, 48, values(t, sum)}
	}
	t.Run("4.1 C1, 4.4 free term of every consumer", func(t *testing.T) {
		g := p.net(n)
		for i := range g.blocks {
			b, o := &g.blocks[i], &n.blocks[i]
			b.q, b.k, b.v, b.up = add(o.q, b.q), add(o.k, b.k), add(o.v, b.v), add(o.up, b.up)
		}
		g.head = add(n.head, g.head)
		wantExact(t, g, n)
	})
	t.Run("4.1 Staged Training is a free term", func(t *testing.T) {
		w := y.weight(5, 4)
		half := plan{t: t}.growAs(w, Copy(cyclic(10, 5), nil, 5), Split(cyclic(8, 4), slices.Repeat([]float64{0.5}, 8), 4))
		minus := plan{t: t}.growAs(w, Copy(cyclic(10, 5), append(slices.Repeat([]float64{.5}, 5), slices.Repeat([]float64{-.5}, 5)...), 5),
			Split(cyclic(8, 4), []float64{1, 1, 1, 1, -1, -1, -1, -1}, 4))
		both := plan{t: t}.growAs(w, Pad(10, 5), firstCopies(8, 4)) // [[W, 0], [0, 0]]
		for i := range 5 {
			copy(both.x[(5+i)*8+4:][:4], w.x[i*4:][:4])
		}
		if e := relative(plus(half.x, minus.x), both.x); !(e < 1e-15) {
			t.Errorf("off by %g", e)
		}
	})
	t.Run("4.1 HyperCloning's noise cancels", func(t *testing.T) {
		g := p.net(n)
		for i := range g.blocks {
			w := g.blocks[i].q
			for o := range w.out {
				for j := range 24 {
					e := y.NormFloat64()
					w.x[o*48+j] += e
					w.x[o*48+24+j] -= e
				}
			}
		}
		wantExact(t, g, n)
	})
}

func TestCrossAttentionReadsTheEncoder(t *testing.T) {
	// Keys and values of a decoder read another stream: their in-axis takes that stream's map.
	y := newToy(27)
	k, enc := y.weight(16, 20), y.vector(20, 0, 1)
	index := cyclic(30, 20)
	p := plan{t: t}
	grown := p.growAs(k, Kron(Copy(cyclic(3, 2), nil, 2), Identity(8)), Split(index, y.shares(index), 20))
	got := grown.mul(p.vector(enc, Copy(index, nil, 20)))
	want := p.vector(k.mul(enc), Copy(cyclic(24, 16), nil, 16))
	if e := relative(got, want); !(e < exact) {
		t.Errorf("4.3 off by %g", e)
	}
}
