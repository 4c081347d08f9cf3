package linmap

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// The rules by which the width of a residual stream grows past its norms; D1 features become D2 = k·D1 + r.

// averagePlan is average expansion of a pre-norm stream with layer norms (LEMON), any width, with free columns for the rest of every
// consumer but a tied head.
func averagePlan(t *testing.T, y toy, to int) plan {
	k := to / y.d
	s := float64(k*y.d) / float64(to)
	index := cyclic(to, y.d)
	for i := k * y.d; i < to; i++ {
		index[i] = -1
	}
	average := Average(to, y.d)
	return plan{t: t, R: average, L: y.freeColumns(Split(index, y.shares(index), y.d)), HL: Transpose(average),
		gain: Scaled(average, math.Sqrt(s)), bias: Copy(index, nil, y.d), eps: s}
}

func TestStreamAverage(t *testing.T) {
	for _, to := range []int{40, 48, 56} {
		y := newToy(uint64(to))
		n := y.net()
		p := averagePlan(t, y, to)
		heads, units := cyclic(to/8, 3), cyclic(45, y.ffn)
		p.Q = Kron(Copy(heads, nil, 3), Identity(8))
		p.K, p.V = p.Q, p.Q
		p.OL = Kron(Split(heads, y.shares(heads), 3), Identity(8))
		p.up, p.downL = Copy(units, nil, y.ffn), Split(units, y.shares(units), y.ffn)
		grow := func() *net {
			g := p.net(n)
			g.heads, g.groups = to/8, to/8
			// The head is tied to the embeddings, so the final norm undoes that each feature is there k times.
			scale(g.last.gain, g.last.gain, 1/float64(to/24))
			scale(g.last.bias, g.last.bias, 1/float64(to/24))
			return g
		}
		t.Run(fmt.Sprintf("4.2.1 24 to %d, heads, ffn, tied head", to), func(t *testing.T) {
			wantExact(t, grow(), n)
		})
		if to%24 != 0 {
			t.Run(fmt.Sprintf("4.2.1 24 to %d is wrong with epsilon as it was", to), func(t *testing.T) {
				p.eps = 1
				wantWrong(t, grow(), n, 1e-8)
			})
		}
	}
}

// centred is n with every producer of the stream centred by SubMean.
func centred1(t *testing.T, n *net) *net {
	sub := func(w weight, axis int) weight {
		out, err := SubMean(floatTensor(t, "w", onnxio.Double, []int64{int64(w.out), int64(w.in)}, w.x), axis)
		if err != nil {
			t.Fatal(err)
		}
		return weight{w.out, w.in, values(t, out)}
	}
	c := *n
	c.tokens, c.pos = sub(n.tokens, 1), sub(n.pos, 1)
	c.blocks = slices.Clone(n.blocks)
	for i := range c.blocks {
		b := &c.blocks[i]
		b.o, b.down = sub(b.o, 0), sub(b.down, 0)
		b.bo, b.bdown = sub(weight{len(b.bo), 1, b.bo}, 0).x, sub(weight{len(b.bdown), 1, b.bdown}, 0).x
	}
	return &c
}

func TestStreamCentred(t *testing.T) {
	y := newToy(2)
	y.untied = true
	n := y.net()
	c := centred1(t, n)
	t.Run("4.2.2 centring changes nothing", func(t *testing.T) { wantExact(t, c, n) })
	t.Run("4.2.2 zero padding of a centred stream", func(t *testing.T) {
		for _, to := range []int{25, 31, 40, 72} {
			s := 24 / float64(to)
			g := plan{t: t, R: Pad(to, 24), L: y.freeColumns(firstCopies(to, 24)), gain: Scaled(Average(to, 24), math.Sqrt(s)),
				bias: Pad(to, 24), eps: s}.net(c)
			wantExact(t, g, n)
		}
	})
	t.Run("4.2.2 zero padding without centring is wrong", func(t *testing.T) {
		s := 24 / 40.0
		g := plan{t: t, R: Pad(40, 24), L: firstCopies(40, 24), gain: Scaled(Pad(40, 24), math.Sqrt(s)), bias: Pad(40, 24), eps: s}.net(n)
		wantWrong(t, g, n, 1e-3)
	})
	t.Run("4.2.2 centring tied embeddings is wrong", func(t *testing.T) {
		tied := *n
		tied.head = n.tokens
		wrong := *c
		wrong.head = c.tokens
		wantWrong(t, &wrong, &tied, 1e-3)
	})
	t.Run("4.2.4 one copy or three", func(t *testing.T) {
		// Features 0 to 4 are there three times, with Σα = Σα² = 1; the others once.
		index, alpha := cyclic(24, 24), make([]float64, 34)
		for i := range alpha {
			alpha[i] = 1
		}
		for i := range 5 {
			index = append(index, i, i)
			alpha[i], alpha[24+2*i], alpha[25+2*i] = 2/3.0, 2/3.0, -1/3.0
		}
		s := 24 / 34.0
		p := plan{t: t, R: Copy(index, alpha, 24), L: Split(index, alpha, 24), gain: Scaled(Copy(index, nil, 24), math.Sqrt(s)),
			bias: Copy(index, alpha, 24), eps: s}
		wantExact(t, p.net(c), n)
		wantWrong(t, p.net(n), n, 1e-3) // a stream that is not centred does not stay in step
	})
	t.Run("4.2.3 any orthonormal map that keeps the mean direction", func(t *testing.T) {
		f := folded(t, c)
		d1, d2 := slices.Repeat([]float64{1}, 24), slices.Repeat([]float64{1}, 37)
		R := Mul(Dense(37, 24, y.orthonormal(37, 24, d2)), Transpose(Dense(24, 24, y.orthonormal(24, 24, d1))))
		wantExact(t, orthonormalGrowth(t, f, R), n)
		wantWrong(t, orthonormalGrowth(t, f, Dense(37, 24, y.orthonormal(37, 24, nil))), n, 1e-3)
	})
}

// folded is n with the gains and biases of its norms folded into the weights that read them; the head must be untied and, as heads
// have no bias, the last norm's bias is dropped from both.
func folded(t *testing.T, n *net) *net {
	n.last.bias = nil
	fold := func(w weight, b []float64, m *norm) (weight, []float64) {
		if m.bias != nil {
			b = plus(w.mul(m.bias), b)
		}
		out, err := MulAlong(floatTensor(t, "w", onnxio.Double, []int64{int64(w.out), int64(w.in)}, w.x), 1,
			floatTensor(t, "gain", onnxio.Double, []int64{1, int64(w.in)}, m.gain))
		if err != nil {
			t.Fatal(err)
		}
		return weight{w.out, w.in, values(t, out)}, b
	}
	bare := func(m *norm) *norm {
		return &norm{rms: m.rms, eps: m.eps, gain: slices.Repeat([]float64{1}, len(m.gain))}
	}
	f := *n
	f.head, _ = fold(n.head, nil, n.last)
	f.last = bare(n.last)
	f.blocks = slices.Clone(n.blocks)
	for i := range f.blocks {
		b := &f.blocks[i]
		b.q, b.bq = fold(b.q, b.bq, b.n1)
		b.k, b.bk = fold(b.k, b.bk, b.n1)
		b.v, b.bv = fold(b.v, b.bv, b.n1)
		b.up, b.bup = fold(b.up, b.bup, b.n2)
		if b.gate.out > 0 {
			b.gate, _ = fold(b.gate, nil, b.n2)
		}
		b.n1, b.n2 = bare(b.n1), bare(b.n2)
	}
	return &f
}

// orthonormalGrowth grows the stream of a net without gains by R, the consumers by Rᵀ: LiGO's tie.
func orthonormalGrowth(t *testing.T, n *net, R Matrix) *net {
	to, from := R.Dims()
	s := float64(from) / float64(to)
	return plan{t: t, R: R, L: Transpose(R), gain: Scaled(Copy(make([]int, to), nil, from), math.Sqrt(s)), eps: s}.net(n)
}

func TestStreamRMS(t *testing.T) {
	y := newToy(3)
	y.rms, y.gated, y.noBias = true, true, true
	tied := y.net()
	y.untied = true
	n := y.net()
	t.Run("4.2.3 zero padding, tied and untied", func(t *testing.T) {
		for _, to := range []int{25, 40, 60} {
			s := 24 / float64(to)
			p := plan{t: t, R: Pad(to, 24), L: y.freeColumns(firstCopies(to, 24)), gain: Scaled(Pad(to, 24), math.Sqrt(s)), eps: s}
			wantExact(t, p.net(n), n)
			p.HL = Transpose(p.R)
			wantExact(t, p.net(tied), tied)
			p.eps = 1
			wantWrong(t, p.net(n), n, 1e-9)
		}
	})
	t.Run("4.2.3 weighted copies, Σα² = 1", func(t *testing.T) {
		index := append(cyclic(24, 24), 0, 1, 1, 2, 2, 2, 3, 23)
		alpha := y.shares(index)
		for j := range alpha {
			alpha[j] = math.Sqrt(alpha[j]) * []float64{1, -1}[j%2]
		}
		to := len(index)
		s := 24 / float64(to)
		p := plan{t: t, R: Copy(index, alpha, 24), L: Split(index, alpha, 24), gain: Scaled(Copy(index, nil, 24), math.Sqrt(s)), eps: s}
		wantExact(t, p.net(n), n)
		wantExact(t, p.net(tied), tied) // L = Rᵀ, so the tie holds by itself
	})
	t.Run("4.2.3 any orthonormal map", func(t *testing.T) {
		wantExact(t, orthonormalGrowth(t, folded(t, n), Dense(37, 24, y.orthonormal(37, 24, nil))), n)
	})
	t.Run("4.2.6 scales that depend on the width, gains stored less one", func(t *testing.T) {
		small := *tied
		small.embed, small.logit = math.Sqrt(24), 1/math.Sqrt(24)
		p := plan{t: t, R: Pad(40, 24), L: firstCopies(40, 24), gain: Scaled(Pad(40, 24), math.Sqrt(24.0/40)), eps: 24.0 / 40}
		p.HL = Transpose(p.R)
		g := p.net(&small)
		g.embed, g.logit = math.Sqrt(40), 1/math.Sqrt(40)
		wantWrong(t, g, &small, 1e-3)
		// The embeddings undo their scale; what that does to the tied head, and the head's own scale, the final norm undoes.
		scale(g.tokens.x, g.tokens.x, math.Sqrt(24.0/40))
		scale(g.pos.x, g.pos.x, math.Sqrt(24.0/40))
		g.head = g.tokens
		scale(g.last.gain, g.last.gain, 40.0/24)
		wantExact(t, g, &small)

		// γ = 1 + g is stored as g: √s·(1+g) - 1 = √s·g + (√s - 1).
		stored := slices.Clone(tied.blocks[0].n1.gain)
		for i := range stored {
			stored[i]--
		}
		grown, err := Grow(floatTensor(t, "g", onnxio.Double, []int64{24}, stored), []Matrix{p.gain})
		if err != nil {
			t.Fatal(err)
		}
		if grown, err = Add(grown, Fill(onnxio.Double, []int64{40}, math.Sqrt(24.0/40)-1)); err != nil {
			t.Fatal(err)
		}
		for i, v := range values(t, grown)[:24] {
			if want := g.blocks[0].n1.gain[i]; math.Abs(1+v-want) > 1e-15 {
				t.Errorf("gain %d: 1 + %g, want %g", i, v, want)
			}
		}
	})
}

func TestStreamPostNorm(t *testing.T) {
	y := newToy(4)
	y.post, y.untied = true, true
	n := y.net()
	t.Run("4.2.5 whole copies, uneven consumers", func(t *testing.T) {
		for _, k := range []int{2, 3} {
			index := cyclic(24*k, 24)
			copies := Copy(index, nil, 24)
			wantExact(t, plan{t: t, R: copies, L: Split(index, y.shares(index), 24), gain: copies, bias: copies}.net(n), n)
		}
	})
	t.Run("4.2.5 equal gains, any width, mean bias", func(t *testing.T) {
		y.spread = 0
		flat := y.net()
		for _, to := range []int{25, 40, 56} {
			wantExact(t, growByMeans(t, flat, to, Average(to, 24)), flat)
		}
	})
	t.Run("4.2.5 other gains are not exact", func(t *testing.T) {
		wantWrong(t, growByMeans(t, n, 40, Average(40, 24)), n, 1e-3)
	})
}
