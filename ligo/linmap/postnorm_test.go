package linmap

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// postNet is a random post-norm network of width d. Branches are scaled by branch: the smaller, the longer the stream remembers. Two
// features have gains larger by outlier at every norm, as trained networks do.
func postNet(seed uint64, d, layers int, spread, branch, outlier float64) *net {
	y := newToy(seed)
	y.d, y.layers, y.spread, y.post, y.untied = d, layers, spread, true, true
	y.heads, y.groups, y.size, y.ffn = 4, 4, d/4, 2*d
	n := y.net()
	for _, m := range n.stream() {
		m.gain[0] *= outlier
		m.gain[1] *= outlier
	}
	for i := range n.blocks {
		scale(n.blocks[i].o.x, n.blocks[i].o.x, branch)
		scale(n.blocks[i].down.x, n.blocks[i].down.x, branch)
	}
	return n
}

// stream is the norms of a post-norm network, in order.
func (n *net) stream() []*norm {
	all := []*norm{n.first}
	for i := range n.blocks {
		all = append(all, n.blocks[i].n1, n.blocks[i].n2)
	}
	return all
}

// growPost grows a post-norm network by GrowPostNorm.
func growPost(t testing.TB, n *net, to int) *net {
	var gains [][]float64
	for _, m := range n.stream() {
		gains = append(gains, m.gain)
	}
	streams, norms := GrowPostNorm(to, gains)
	p := plan{t: t, R: streams[0], L: firstCopies(to, n.tokens.in)}
	g := p.net(n)
	g.first = &norm{gain: norms[0].Gain, bias: p.vector(n.first.bias, norms[0].Bias), eps: norms[0].Epsilon * n.first.eps}
	for i := range n.blocks {
		old, b := &n.blocks[i], &g.blocks[i]
		for k, m := range []**norm{&b.n1, &b.n2} {
			v, small := norms[2*i+1+k], []*norm{old.n1, old.n2}[k]
			*m = &norm{gain: v.Gain, bias: p.vector(small.bias, v.Bias), eps: v.Epsilon * small.eps}
		}
		b.o, b.bo = p.growAs(old.o, streams[2*i+1], nil), p.vector(old.bo, streams[2*i+1])
		b.down, b.bdown = p.growAs(old.down, streams[2*i+2], nil), p.vector(old.bdown, streams[2*i+2])
	}
	return g
}

// firstCopies is the consumer that reads the first copy of each feature.
func firstCopies(to, from int) Matrix {
	return Split(firsts(to, from), nil, from)
}

// growByMeans is average expansion, which is exact for pre-norm only; bias says what the rest of a norm's bias is.
func growByMeans(t testing.TB, n *net, to int, bias Matrix) *net {
	from := n.tokens.in
	s := float64(to/from*from) / float64(to)
	return plan{t: t, R: Average(to, from), L: firstCopies(to, from), eps: s, bias: bias,
		gain: Scaled(Average(to, from), math.Sqrt(s))}.net(n)
}

// The table of the package documentation: the rule of GrowPostNorm against means with zero bias and with mean bias.
func TestPostNormIndivisible(t *testing.T) {
	for _, c := range []struct {
		from, to, layers        int
		spread, branch, outlier float64
		bound                   float64 // relative to the largest logit
	}{
		{32, 48, 2, 0.3, 1, 1, 2e-3},
		{32, 48, 2, 0.6, 1, 1, 5e-3},
		{32, 80, 2, 0.3, 1, 1, 2e-3}, // two copies and a rest
		{64, 96, 6, 0.2, 1, 1, 1e-3},
		{64, 96, 12, 0.2, 0.3, 1, 1e-3},
		{64, 96, 12, 0.5, 0.5, 1, 2e-3},
		{64, 96, 12, 0.3, 0.3, 2, 5e-3},
		{64, 96, 12, 0.2, 1, 4, 1.2e-2},
		{64, 99, 6, 0.3, 0.5, 1, 2e-3},
		{64, 68, 6, 0.3, 0.5, 1, 5e-3},
		{64, 66, 6, 0.3, 0.5, 1, 8e-3},
	} {
		t.Run(fmt.Sprintf("%d to %d, %d layers, spread %g, branch %g, outlier %g", c.from, c.to, c.layers, c.spread, c.branch, c.outlier),
			func(t *testing.T) {
				var got, zeroBias, meanBias float64
				seeds := 3.0
				if testing.Short() {
					seeds = 1
				}
				for seed := range uint64(seeds) {
					n := postNet(seed, c.from, c.layers, c.spread, c.branch, c.outlier)
					e := off(growPost(t, n, c.to), n)
					if !(e < c.bound) {
						t.Errorf("seed %d: off by %.2g of the largest logit, want %g", seed, e, c.bound)
					}
					got += e / seeds
					zeroBias += off(growByMeans(t, n, c.to, Pad(c.to, c.from)), n) / seeds
					meanBias += off(growByMeans(t, n, c.to, Average(c.to, c.from)), n) / seeds
				}
				t.Logf("off by %.1e; means with zero bias %.1e, with mean bias %.1e", got, zeroBias, meanBias)
				if got > meanBias*1.2 {
					t.Errorf("worse than means with mean bias")
				}
			})
	}
}

func TestPostNormExactCases(t *testing.T) {
	for _, to := range []int{33, 34, 36, 48, 79} {
		n := postNet(1, 32, 3, 0, 1, 1)
		for i, m := range n.stream() { // equal gains within each norm, any biases
			for j := range m.gain {
				m.gain[j] = 0.5 + float64(i)/3
			}
		}
		if e := off(growPost(t, n, to), n); !(e < 1e-12) {
			t.Errorf("constant gains, 32 to %d: off by %g", to, e)
		}
	}
	n := postNet(1, 32, 3, 0.4, 1, 1)
	for _, to := range []int{32, 64, 96} {
		if e := off(growPost(t, n, to), n); !(e < 1e-12) {
			t.Errorf("32 to %d: off by %g", to, e)
		}
	}
}

// Errors in the rest must not grow on their way through the norms, or a model in float32 would drift.
func TestPostNormDoesNotAmplify(t *testing.T) {
	n := postNet(3, 64, 12, 0.3, 0.3, 1)
	g := growPost(t, n, 96)
	before := g.forward(ids)
	r := newToy(9)
	noisy := *g
	noisy.tokens.x = slices.Clone(g.tokens.x)
	for i := range noisy.tokens.x {
		noisy.tokens.x[i] *= 1 + 1e-6*r.NormFloat64()
	}
	if e := relative(noisy.forward(ids), before); e > 1e-4 {
		t.Errorf("1e-6 of noise in the embeddings became %g", e)
	}
}

func TestPostNormStructure(t *testing.T) {
	y := newToy(1)
	gains := make([][]float64, 25)
	for i := range gains {
		gains[i] = y.vector(512, 1, 0.2)
	}
	streams, norms := GrowPostNorm(768, gains)
	if len(streams) != 26 || len(norms) != 25 {
		t.Fatalf("%d streams and %d norms for 25 norms", len(streams), len(norms))
	}
	L := firstCopies(768, 512)
	ones := Dense(512, 1, slices.Repeat([]float64{1}, 512))
	for n, R := range streams {
		// The rest has 32 different rows, few enough to compute each once.
		if m := R.(*sparse); m.nnz() > 512+32*512 {
			t.Errorf("stream %d stores %d entries", n, m.nnz())
		}
		if e := MaxDiff(Mul(L, R), Identity(512)); e != 0 {
			t.Errorf("stream %d: L·R is off an identity by %g", n, e)
		}
		if e := MaxDiff(Mul(R, ones), Dense(768, 1, slices.Repeat([]float64{1}, 768))); !(e < 1e-13) {
			t.Errorf("stream %d: a constant does not stay constant, off by %g", n, e)
		}
		// Condition (1): the rows of the rest sum to r/D1.
		sums := DenseOf(Mul(Transpose(R), Dense(768, 1, slices.Repeat([]float64{1}, 768))))
		for j, v := range sums {
			if math.Abs(v-1.5) > 1e-12 {
				t.Fatalf("stream %d: feature %d counts %g times in the mean, want 1.5", n, j, v)
			}
		}
	}
	if e := MaxDiff(streams[25], Average(768, 512)); !(e < 1e-15) {
		t.Errorf("the last norm does not write means, off by %g", e)
	}
	for n, v := range norms {
		for i, x := range v.Gain {
			if math.Abs(x) > 3 {
				t.Errorf("norm %d has a gain of %g at %d", n, x, i)
			}
		}
	}
	if _, err := Grow(floatTensor(t, "b", onnxio.Double, []int64{512}, gains[0]), []Matrix{norms[0].Bias}); err != nil {
		t.Error(err)
	}
}
