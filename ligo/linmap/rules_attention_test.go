package linmap

import (
	"math"
	"slices"
	"testing"
)

// The rules by which attention grows: more heads, larger heads, more key-value groups.

// wholeHeads is the plan that copies heads of size d by index, with uneven shares of the output weight.
func wholeHeads(t *testing.T, y toy, index []int) plan {
	copies := Kron(Copy(index, nil, y.heads), Identity(y.size))
	return plan{t: t, Q: copies, K: copies, V: copies, OL: Kron(Split(index, y.shares(index), y.heads), Identity(y.size))}
}

// fillNew makes what a growth left zero in the producers q, k, v random.
func (y toy) fillNew(g *net, q, k, v bool) {
	for i := range g.blocks {
		b := &g.blocks[i]
		if q {
			y.freeRows(b.q, b.bq)
		}
		if k {
			y.freeRows(b.k, b.bk)
		}
		if v {
			y.freeRows(b.v, b.bv)
		}
	}
}

func TestHeads(t *testing.T) {
	y := newToy(11)
	n := y.net()
	t.Run("4.3 copied heads, divisible and not", func(t *testing.T) {
		for _, heads := range []int{4, 5, 6, 7} {
			g := wholeHeads(t, y, cyclic(heads, 3)).net(n)
			g.heads, g.groups = heads, heads
			wantExact(t, g, n)
		}
	})
	t.Run("4.3 new heads with zero output", func(t *testing.T) {
		g := wholeHeads(t, y, firsts(5, 3)).net(n)
		y.fillNew(g, true, true, true)
		g.heads, g.groups = 5, 5
		wantExact(t, g, n)
	})
	t.Run("4.3 mixed heads are wrong", func(t *testing.T) {
		mix := Kron(Dense(4, 3, []float64{1, 0, 0, 0, 1, 0, 0, 0, 1, .4, .3, .3}), Identity(8))
		g := plan{t: t, Q: mix, K: mix, V: mix, OL: Kron(Split([]int{0, 1, 2, -1}, nil, 3), Identity(8))}.net(n)
		g.heads, g.groups = 4, 4
		wantExact(t, g, n) // as long as nobody reads the mixed head
		for i := range g.blocks {
			b := &g.blocks[i]
			b.o = plan{t: t}.growAs(n.blocks[i].o, nil, Kron(Dense(3, 4, []float64{.6, 0, 0, .4, 0, .7, 0, .3, 0, 0, .7, .3}), Identity(8)))
		}
		wantWrong(t, g, n, 1e-2)
	})
	t.Run("4.3 cutting heads differently is wrong", func(t *testing.T) {
		g := *n
		g.heads, g.groups, g.size, g.scale = 6, 6, 4, 0.5
		wantWrong(t, &g, n, 1e-2)
	})
	t.Run("4.3 gauge freedom of each head", func(t *testing.T) {
		var M, Minv, T, Tinv []Matrix
		for range 3 {
			m, w := y.vector(64, 0, 1), y.vector(64, 0, 1)
			M, Minv = append(M, Dense(8, 8, m)), append(Minv, Dense(8, 8, inverse(8, m)))
			T, Tinv = append(T, Dense(8, 8, w)), append(Tinv, Dense(8, 8, inverse(8, w)))
		}
		g := plan{t: t, Q: DirectSum(M...), K: Transpose(DirectSum(Minv...)), V: DirectSum(T...), OL: DirectSum(Tinv...)}.net(n)
		wantExact(t, g, n)
	})
}

// inverse is a⁻¹ by elimination with row exchanges.
func inverse(n int, a []float64) []float64 {
	m, x := slices.Clone(a), DenseOf(Identity(n))
	for c := range n {
		p := c
		for i := c; i < n; i++ {
			if math.Abs(m[i*n+c]) > math.Abs(m[p*n+c]) {
				p = i
			}
		}
		for j := range n {
			m[c*n+j], m[p*n+j] = m[p*n+j], m[c*n+j]
			x[c*n+j], x[p*n+j] = x[p*n+j], x[c*n+j]
		}
		for i := range n {
			f := m[i*n+c] / m[c*n+c]
			if i == c {
				f = 1 - 1/m[c*n+c]
			}
			axpy(x[i*n:][:n], slices.Clone(x[c*n:][:n]), -f)
			axpy(m[i*n:][:n], slices.Clone(m[c*n:][:n]), -f)
		}
	}
	return x
}

func TestHeadSize(t *testing.T) {
	y := newToy(12)
	n := y.net()
	each := func(m Matrix) Matrix { return Kron(Identity(3), m) }
	resize := func(g *net, d int) *net {
		g.size, g.scale = d, 1/math.Sqrt(float64(d))
		return g
	}
	for _, d := range []int{9, 12, 16} {
		pad := Pad(d, 8)
		p := plan{t: t, Q: each(pad), K: each(Scaled(pad, math.Sqrt(float64(d)/8))), V: each(pad), OL: each(firstCopies(d, 8))}
		t.Run("4.3 zero padding, keys rescaled, queries and values free", func(t *testing.T) {
			g := resize(p.net(n), d)
			y.fillNew(g, true, false, true)
			wantExact(t, g, n)
		})
		t.Run("4.3 zero padding, scale of the scores kept", func(t *testing.T) {
			p.K = each(pad)
			g := resize(p.net(n), d)
			wantWrong(t, g, n, 1e-3)
			g.scale = n.scale
			wantExact(t, g, n)
		})
	}
	t.Run("4.3 duplication", func(t *testing.T) {
		for _, k := range []int{2, 3} {
			index := cyclic(8*k, 8)
			dup := Copy(index, nil, 8)
			p := plan{t: t, Q: each(Scaled(dup, 1/math.Sqrt(float64(k)))), K: each(dup), V: each(dup), OL: each(Split(index, y.shares(index), 8))}
			wantExact(t, resize(p.net(n), 8*k), n)
			root := math.Pow(float64(k), -0.25)
			p.Q, p.K = each(Scaled(dup, root)), each(Scaled(dup, root))
			wantExact(t, resize(p.net(n), 8*k), n)
		}
	})
}

// standard is the usual rotary frequencies of dims elements.
func standard(dims int) []float64 {
	f := make([]float64, dims/2)
	for i := range f {
		f[i] = math.Pow(10000, -2*float64(i)/float64(dims))
	}
	return f
}

func TestRotary(t *testing.T) {
	y := newToy(13)
	y.rms, y.gated, y.noBias = true, true, true
	n := y.net()
	n.rotary, n.freq = 8, standard(8)
	each := func(m Matrix) Matrix { return Kron(Identity(3), m) }
	wider := func(pad Matrix, unpad Matrix, d int) *net {
		g := plan{t: t, Q: each(pad), K: each(Scaled(pad, math.Sqrt(float64(d)/8))), V: each(pad), OL: each(unpad)}.net(n)
		g.size, g.scale = d, 1/math.Sqrt(float64(d))
		y.fillNew(g, true, false, true)
		return g
	}
	halves := DirectSum(Pad(6, 4), Pad(6, 4))
	t.Run("4.3 RoPE: inside each half, frequencies kept", func(t *testing.T) {
		g := wider(halves, Transpose(halves), 12)
		g.rotary, g.freq = 12, append(standard(8), 0.3, 0.7)
		wantExact(t, g, n)
	})
	t.Run("4.3 RoPE: the standard table of the new size is wrong", func(t *testing.T) {
		g := wider(halves, Transpose(halves), 12)
		g.rotary, g.freq = 12, standard(12)
		wantWrong(t, g, n, 1e-3)
	})
	t.Run("4.3 RoPE: padding at the end is wrong", func(t *testing.T) {
		g := wider(Pad(12, 8), firstCopies(12, 8), 12)
		g.rotary, g.freq = 12, append(standard(8), 0.3, 0.7)
		wantWrong(t, g, n, 1e-3)
	})
	t.Run("4.3 RoPE: copied heads and groups", func(t *testing.T) {
		g := wholeHeads(t, y, cyclic(5, 3)).net(n)
		g.heads, g.groups = 5, 5
		wantExact(t, g, n)
	})
	t.Run("4.3 RoPE: gauge that commutes with the planes", func(t *testing.T) {
		var M, Minv []Matrix
		for range 3 {
			m := make([]float64, 64) // [[A, -B], [B, A]], A and B diagonal: a rotation and scaling of each plane
			for i := range 4 {
				a, b := y.NormFloat64(), y.NormFloat64()
				m[i*8+i], m[i*8+i+4], m[(i+4)*8+i], m[(i+4)*8+i+4] = a, -b, b, a
			}
			M, Minv = append(M, Dense(8, 8, m)), append(Minv, Dense(8, 8, inverse(8, m)))
		}
		wantExact(t, plan{t: t, Q: DirectSum(M...), K: Transpose(DirectSum(Minv...))}.net(n), n)
	})
	t.Run("4.3 partial rotary: behind the rotated elements", func(t *testing.T) {
		n.rotary, n.freq = 4, standard(4)
		g := wider(Pad(12, 8), firstCopies(12, 8), 12)
		wantExact(t, g, n)
		g.rotary, g.freq = 6, append(standard(4), 0.3)
		wantWrong(t, g, n, 1e-3)
	})
}

func TestQueryKeyNorm(t *testing.T) {
	y := newToy(14)
	y.rms, y.gated, y.noBias = true, true, true
	n := y.net()
	for i := range n.blocks {
		n.blocks[i].qn = &norm{rms: true, gain: y.vector(8, 1, 0.3), eps: 1e-6}
		n.blocks[i].kn = &norm{rms: true, gain: y.vector(8, 1, 0.3), eps: 1e-6}
	}
	each := func(m Matrix) Matrix { return Kron(Identity(3), m) }
	t.Run("4.3 QK-norm: duplication, query gains split", func(t *testing.T) {
		for _, k := range []int{2, 3} {
			index := cyclic(8*k, 8)
			dup := Copy(index, nil, 8)
			p := plan{t: t, Q: each(dup), K: each(dup), V: each(dup), OL: each(Split(index, y.shares(index), 8))}
			g := p.net(n)
			g.size, g.scale = 8*k, 1/math.Sqrt(float64(8*k))
			for i := range g.blocks {
				old, b := &n.blocks[i], &g.blocks[i]
				b.qn = &norm{rms: true, eps: 1e-6, gain: p.vector(old.qn.gain, Scaled(Copy(index, y.shares(index), 8), math.Sqrt(float64(k))))}
				b.kn = &norm{rms: true, eps: 1e-6, gain: p.vector(old.kn.gain, dup)}
			}
			wantExact(t, g, n)
		}
	})
	t.Run("4.3 QK-norm: zero padding of the keys alone is wrong", func(t *testing.T) {
		pad := Pad(12, 8)
		p := plan{t: t, Q: each(pad), K: each(pad), V: each(pad), OL: each(firstCopies(12, 8))}
		g := p.net(n)
		y.fillNew(g, true, false, false)
		g.size, g.scale = 12, 1/math.Sqrt(12)
		for i := range g.blocks {
			old, b := &n.blocks[i], &g.blocks[i]
			b.qn = &norm{rms: true, eps: 1e-6, gain: p.vector(old.qn.gain, pad)}
			b.kn = &norm{rms: true, eps: 1e-6, gain: p.vector(old.kn.gain, pad)}
		}
		wantWrong(t, g, n, 1e-3)
	})
}

func TestGroups(t *testing.T) {
	y := newToy(15)
	y.rms, y.gated, y.noBias = true, true, true
	y.heads, y.groups = 4, 2
	n := y.net()
	grow := func(q, kv []int, shares []float64) *net {
		p := plan{t: t, Q: Kron(Copy(q, nil, 4), Identity(8)), K: Kron(Copy(kv, nil, 2), Identity(8)), V: Kron(Copy(kv, nil, 2), Identity(8)),
			OL: Kron(Split(q, shares, 4), Identity(8))}
		g := p.net(n)
		g.heads, g.groups = len(q), len(kv)
		y.fillNew(g, true, true, true)
		return g
	}
	t.Run("4.3 GQA: groups appended with zero output", func(t *testing.T) {
		wantExact(t, grow([]int{0, 1, 2, 3, -1, -1}, []int{0, 1, -1}, nil), n)
	})
	t.Run("4.3 GQA: groups copied with their heads", func(t *testing.T) {
		q := []int{0, 1, 2, 3, 0, 1}
		wantExact(t, grow(q, []int{0, 1, 0}, y.shares(q)), n)
	})
	t.Run("4.3 GQA: heads inserted inside each group", func(t *testing.T) {
		q := []int{0, 1, 0, 2, 3, 2}
		wantExact(t, grow(q, []int{0, 1}, y.shares(q)), n)
		wantExact(t, grow([]int{0, 1, -1, 2, 3, -1}, []int{0, 1}, nil), n)
	})
	t.Run("4.3 GQA: heads appended at the end are wrong", func(t *testing.T) {
		q := []int{0, 1, 2, 3, 0, 2}
		wantWrong(t, grow(q, []int{0, 1}, y.shares(q)), n, 1e-2)
		wantWrong(t, grow([]int{0, 1, 2, 3, -1, -1}, []int{0, 1}, nil), n, 1e-2)
	})
	t.Run("4.3 GQA: key-value heads repeated", func(t *testing.T) {
		wantExact(t, grow(cyclic(4, 4), []int{0, 0, 1, 1}, nil), n)
	})
	t.Run("4.3 MQA: heads appended", func(t *testing.T) {
		y.groups = 1
		one := y.net()
		q := []int{0, 1, 2, 3, 2, 1}
		g := plan{t: t, Q: Kron(Copy(q, nil, 4), Identity(8)), OL: Kron(Split(q, y.shares(q), 4), Identity(8))}.net(one)
		g.heads = 6
		wantExact(t, g, one)
	})
}

func TestALiBi(t *testing.T) {
	slopes := func(heads int) []float64 {
		s := make([]float64, heads)
		for i := range s {
			s[i] = math.Pow(2, -8*float64(i+1)/float64(heads))
		}
		return s
	}
	y := newToy(16)
	n := y.net()
	n.slopes = slopes(3)
	index := cyclic(6, 3)
	p := wholeHeads(t, y, index)
	g := p.net(n)
	g.heads, g.groups = 6, 6
	t.Run("4.3 ALiBi: slopes copied with their heads", func(t *testing.T) {
		g.slopes = p.vector(n.slopes, Copy(index, nil, 3))
		wantExact(t, g, n)
	})
	t.Run("4.3 ALiBi: the standard slopes of more heads are wrong", func(t *testing.T) {
		g.slopes = slopes(6)
		wantWrong(t, g, n, 1e-3)
	})
}
