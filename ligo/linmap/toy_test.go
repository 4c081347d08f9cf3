package linmap

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// The networks on which the growth rules are tried: transformers in plain float64 Go, written for reading, with every variation that
// a rule is about. Weights are out x in.

type weight struct {
	out, in int
	x       []float64
}

func (w weight) mul(v []float64) []float64 {
	y := make([]float64, w.out)
	for i := range y {
		y[i] = dot(w.x[i*w.in:][:w.in], v)
	}
	return y
}

func plus(a, b []float64) []float64 {
	if b == nil {
		return a
	}
	y := slices.Clone(a)
	for i := range y {
		y[i] += b[i]
	}
	return y
}

func times(a, b []float64) []float64 {
	if b == nil {
		return a
	}
	y := slices.Clone(a)
	for i := range y {
		y[i] *= b[i]
	}
	return y
}

// norm is layer norm, or RMS norm; without gain it has none.
type norm struct {
	rms        bool
	gain, bias []float64
	eps        float64
}

func (n *norm) of(v []float64) []float64 {
	if n == nil {
		return v
	}
	mean, square := 0.0, 0.0
	if !n.rms {
		for _, x := range v {
			mean += x / float64(len(v))
		}
	}
	for _, x := range v {
		square += (x - mean) * (x - mean) / float64(len(v))
	}
	y := make([]float64, len(v))
	for i, x := range v {
		y[i] = (x - mean) / math.Sqrt(square+n.eps)
	}
	return plus(times(y, n.gain), n.bias)
}

type block struct {
	n1, n2         *norm // before (pre-norm) or after (post-norm) attention and ffn
	q, k, v, o     weight
	bq, bk, bv, bo []float64
	qn, kn         *norm // QK-norm over the head size
	up, gate, down weight
	bup, bdown     []float64
	scale1, scale2 []float64 // LayerScale
}

type net struct {
	post                bool
	heads, groups, size int
	scale               float64 // of scores
	rotary              int     // rotated elements of a head, in halves
	freq                []float64
	slopes              []float64 // ALiBi
	act                 func(float64) float64
	tokens, pos         weight
	first, last         *norm // after the embeddings, before the head
	blocks              []block
	head                weight  // tied: the same as tokens
	embed, logit        float64 // scales of the embeddings and the logits; 0: none
}

func (n *net) forward(ids []int) []float64 {
	x := make([][]float64, len(ids))
	d := n.tokens.in
	for t, id := range ids {
		x[t] = slices.Clone(n.tokens.x[id*d:][:d])
		if n.pos.out > 0 {
			x[t] = plus(x[t], n.pos.x[t*d:][:d])
		}
		if n.embed != 0 {
			scale(x[t], x[t], n.embed)
		}
		x[t] = n.first.of(x[t])
	}
	for i := range n.blocks {
		b := &n.blocks[i]
		x = n.residual(x, b.n1, b.scale1, func(y [][]float64) [][]float64 { return n.attention(b, y) })
		x = n.residual(x, b.n2, b.scale2, func(y [][]float64) [][]float64 { return n.ffn(b, y) })
	}
	var logits []float64
	for t := range x {
		logits = append(logits, n.head.mul(n.last.of(x[t]))...)
	}
	if n.logit != 0 {
		scale(logits, logits, n.logit)
	}
	return logits
}

func (n *net) residual(x [][]float64, nm *norm, scale []float64, f func([][]float64) [][]float64) [][]float64 {
	in, out := make([][]float64, len(x)), make([][]float64, len(x))
	for t := range x {
		in[t] = x[t]
		if !n.post {
			in[t] = nm.of(x[t])
		}
	}
	for t, y := range f(in) {
		out[t] = plus(x[t], times(y, scale))
		if n.post {
			out[t] = nm.of(out[t])
		}
	}
	return out
}

func (n *net) ffn(b *block, x [][]float64) [][]float64 {
	out := make([][]float64, len(x))
	for t, v := range x {
		h := plus(b.up.mul(v), b.bup)
		if b.gate.out > 0 {
			for i, g := range b.gate.mul(v) {
				h[i] *= n.act(g)
			}
		} else {
			for i := range h {
				h[i] = n.act(h[i])
			}
		}
		out[t] = plus(b.down.mul(h), b.bdown)
	}
	return out
}

func (n *net) rotate(v []float64, t int) []float64 {
	y, half := slices.Clone(v), n.rotary/2
	for i := range half {
		s, c := math.Sincos(float64(t) * n.freq[i])
		y[i], y[i+half] = v[i]*c-v[i+half]*s, v[i+half]*c+v[i]*s
	}
	return y
}

func (n *net) attention(b *block, x [][]float64) [][]float64 {
	T, d := len(x), n.size
	q, k, v := make([][]float64, T), make([][]float64, T), make([][]float64, T)
	for t := range x {
		q[t], k[t], v[t] = plus(b.q.mul(x[t]), b.bq), plus(b.k.mul(x[t]), b.bk), plus(b.v.mul(x[t]), b.bv)
	}
	out := make([][]float64, T)
	for t := range out {
		ctx := make([]float64, n.heads*d)
		for h := range n.heads {
			g := h / (n.heads / n.groups)
			qh := n.rotate(b.qn.of(q[t][h*d:][:d]), t)
			p, sum := make([]float64, t+1), 0.0
			for s := range p {
				kh := n.rotate(b.kn.of(k[s][g*d:][:d]), s)
				score := n.scale * dot(qh, kh)
				if n.slopes != nil {
					score -= n.slopes[h] * float64(t-s)
				}
				p[s] = math.Exp(score)
				sum += p[s]
			}
			for s := range p {
				axpy(ctx[h*d:][:d], v[s][g*d:][:d], p[s]/sum)
			}
		}
		out[t] = plus(b.o.mul(ctx), b.bo)
	}
	return out
}

func gelu(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }
func tanhGELU(x float64) float64 {
	return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}
func relu(x float64) float64 { return max(x, 0) }
func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }

// toy makes a random network: a GPT-2-like one (pre-norm, biases, positions, GELU) that tests then change.
type toy struct {
	*rand.Rand
	d, heads, groups, size, ffn, layers, vocab int
	rms, post, gated, noBias, untied           bool
	spread                                     float64 // of the gains
}

const positions = 6

var ids = []int{3, 0, 7, 3, 9, 1}

func newToy(seed uint64) toy {
	return toy{Rand: rand.New(rand.NewPCG(seed, 7)), d: 24, heads: 3, groups: 3, size: 8, ffn: 32, layers: 2, vocab: 11, spread: 0.3}
}

func (y toy) vector(n int, mean, std float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = mean + std*y.NormFloat64()
	}
	return v
}

func (y toy) bias(n int) []float64 {
	if y.noBias {
		return nil
	}
	return y.vector(n, 0, 0.3)
}

func (y toy) weight(out, in int) weight {
	return weight{out, in, y.vector(out*in, 0, 1/math.Sqrt(float64(in)))}
}

func (y toy) norm() *norm {
	n := &norm{rms: y.rms, gain: y.vector(y.d, 1, y.spread), eps: 1e-5}
	if !y.rms {
		n.bias = y.vector(y.d, 0.1, 0.3)
	}
	return n
}

func (y toy) block() block {
	b := block{n1: y.norm(), n2: y.norm()}
	hd, gd := y.heads*y.size, y.groups*y.size
	b.q, b.k, b.v, b.o = y.weight(hd, y.d), y.weight(gd, y.d), y.weight(gd, y.d), y.weight(y.d, hd)
	b.bq, b.bk, b.bv, b.bo = y.bias(hd), y.bias(gd), y.bias(gd), y.bias(y.d)
	b.up, b.down = y.weight(y.ffn, y.d), y.weight(y.d, y.ffn)
	b.bup, b.bdown = y.bias(y.ffn), y.bias(y.d)
	if y.gated {
		b.gate, b.bup = y.weight(y.ffn, y.d), nil
	}
	return b
}

func (y toy) net() *net {
	n := &net{post: y.post, heads: y.heads, groups: y.groups, size: y.size, scale: 1 / math.Sqrt(float64(y.size)), act: gelu}
	if y.gated {
		n.act = silu
	}
	n.tokens, n.pos = y.weight(y.vocab, y.d), y.weight(positions, y.d)
	for range y.layers {
		n.blocks = append(n.blocks, y.block())
	}
	if y.post {
		n.first = y.norm()
	} else {
		n.last = y.norm()
	}
	n.head = n.tokens
	if y.untied {
		n.head = y.weight(y.vocab, y.d)
	}
	return n
}

// plan is the maps of one growth; nil maps are identities. Maps named L are consumers, sources x results.
type plan struct {
	t        testing.TB
	R, L     Matrix // residual stream
	gain     Matrix // of its norms
	bias     Matrix
	eps      float64 // factor; 0: as it is
	HL       Matrix  // the head's consumer of the stream; nil: L
	Q, K, V  Matrix
	OL       Matrix
	up, gate Matrix
	downL    Matrix
}

// growAs is R·w·L, computed by Grow.
func (p plan) growAs(w weight, R, L Matrix) weight {
	if w.out == 0 {
		return w
	}
	if L != nil {
		L = Transpose(L)
	}
	src := floatTensor(p.t, "w", onnxio.Double, []int64{int64(w.out), int64(w.in)}, w.x)
	out, err := Grow(src, []Matrix{R, L})
	if err != nil {
		p.t.Fatal(err)
	}
	return weight{int(out.Dims[0]), int(out.Dims[1]), values(p.t, out)}
}

func (p plan) vector(v []float64, R Matrix) []float64 {
	if v == nil {
		return nil
	}
	return p.growAs(weight{len(v), 1, v}, R, nil).x
}

func (p plan) norm(n *norm) *norm {
	if n == nil {
		return nil
	}
	g := &norm{rms: n.rms, gain: p.vector(n.gain, p.gain), bias: p.vector(n.bias, p.bias), eps: n.eps}
	if p.eps != 0 {
		g.eps *= p.eps
	}
	return g
}

func (p plan) block(b block) block {
	return block{
		n1: p.norm(b.n1), n2: p.norm(b.n2), qn: b.qn, kn: b.kn,
		q: p.growAs(b.q, p.Q, p.L), k: p.growAs(b.k, p.K, p.L), v: p.growAs(b.v, p.V, p.L), o: p.growAs(b.o, p.R, p.OL),
		bq: p.vector(b.bq, p.Q), bk: p.vector(b.bk, p.K), bv: p.vector(b.bv, p.V), bo: p.vector(b.bo, p.R),
		up: p.growAs(b.up, p.up, p.L), gate: p.growAs(b.gate, p.gate, p.L), down: p.growAs(b.down, p.R, p.downL),
		bup: p.vector(b.bup, p.up), bdown: p.vector(b.bdown, p.R),
		scale1: p.vector(b.scale1, p.gain), scale2: p.vector(b.scale2, p.gain),
	}
}

// net is the grown network; what depends on the number or size of heads is left to the test.
func (p plan) net(n *net) *net {
	g := *n
	hl := p.L
	if p.HL != nil {
		hl = p.HL
	}
	var rt Matrix
	if p.R != nil {
		rt = Transpose(p.R)
	}
	g.tokens, g.pos = p.growAs(n.tokens, nil, rt), p.growAs(n.pos, nil, rt)
	g.head = p.growAs(n.head, nil, hl)
	g.first, g.last = p.norm(n.first), p.norm(n.last)
	g.blocks = nil
	for _, b := range n.blocks {
		g.blocks = append(g.blocks, p.block(b))
	}
	return &g
}

// off is how far the outputs of two networks are apart, relative to the largest output of want.
func off(got, want *net) float64 { return relative(got.forward(ids), want.forward(ids)) }

const exact = 1e-12 // of the largest output

func wantExact(t *testing.T, got, want *net) {
	t.Helper()
	if e := off(got, want); !(e < exact) {
		t.Errorf("off by %g of the largest output", e)
	}
}

// wantWrong checks that a rule matters: without it the outputs differ by at least least.
func wantWrong(t *testing.T, got, want *net, least float64) {
	t.Helper()
	if e := off(got, want); !(e > least) {
		t.Errorf("off by only %g of the largest output, expected at least %g", e, least)
	}
}

// shares is random weights for each copy, those of the copies of one source summing to 1; index -1 has none.
func (y toy) shares(index []int) []float64 {
	w, sum := make([]float64, len(index)), map[int]float64{}
	for j, i := range index {
		if i >= 0 {
			w[j] = 0.2 + y.Float64()
			sum[i] += w[j]
		}
	}
	for j, i := range index {
		if i >= 0 {
			w[j] /= sum[i]
		}
	}
	return w
}

// cyclic is 0, 1, …, from-1, 0, 1, …, n long.
func cyclic(n, from int) []int {
	index := make([]int, n)
	for i := range index {
		index[i] = i % from
	}
	return index
}

// firsts is 0, 1, …, from-1, -1, -1, …, n long.
func firsts(n, from int) []int {
	index := make([]int, n)
	for i := range index {
		index[i] = -1
		if i < from {
			index[i] = i
		}
	}
	return index
}

// freeColumns is m plus random numbers in its zero columns, as consumers may have where they read zeros.
func (y toy) freeColumns(m Matrix) Matrix {
	to, from := m.Dims()
	data := DenseOf(m)
	for j := range from {
		zero := true
		for i := range to {
			zero = zero && data[i*from+j] == 0
		}
		for i := range to {
			if zero {
				data[i*from+j] = y.NormFloat64()
			}
		}
	}
	return Dense(to, from, data)
}

// freeRows fills the zero rows of w and b with random numbers, as producers may where nobody reads.
func (y toy) freeRows(w weight, b []float64) {
	for i := range w.out {
		row := w.x[i*w.in:][:w.in]
		if slices.ContainsFunc(row, func(v float64) bool { return v != 0 }) {
			continue
		}
		copy(row, y.vector(w.in, 0, 1/math.Sqrt(float64(w.in))))
		if b != nil {
			b[i] = y.NormFloat64()
		}
	}
}

// orthonormal is a random to x from matrix of orthonormal columns, the first one being first if it is not nil.
func (y toy) orthonormal(to, from int, first []float64) []float64 {
	cols := make([][]float64, from)
	for j := range cols {
		v := y.vector(to, 0, 1)
		if j == 0 && first != nil {
			v = slices.Clone(first)
		}
		for range 2 { // Gram-Schmidt, twice is enough
			for _, u := range cols[:j] {
				axpy(v, u, -dot(u, v))
			}
		}
		scale(v, v, 1/math.Sqrt(dot(v, v)))
		cols[j] = v
	}
	data := make([]float64, to*from)
	for j, c := range cols {
		for i, v := range c {
			data[i*from+j] = v
		}
	}
	return data
}
