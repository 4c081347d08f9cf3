package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkAttention is causal attention of 1024 tokens with 4 heads of 64, in sequences of two lengths.
func BenchmarkAttention(b *testing.B) {
	for _, length := range []int{128, 1024} {
		b.Run(fmt.Sprint(length), func(b *testing.B) { benchmarkAttention(b, 1024/length, length) })
	}
}

func benchmarkAttention(b *testing.B, batch, length int) {
	r := rand.New(rand.NewPCG(1, 2))
	p := &AttentionParams{Batch: batch, Heads: 4, KVHeads: 4, Queries: length, Keys: length, HeadSize: 64, ValueSize: 64, Scale: 0.125}
	n := p.Heads * p.HeadSize
	s := [3]int{length * 3 * n, p.HeadSize, 3 * n}
	p.Q, p.K, p.V, p.Y = s, s, s, [3]int{length * n, p.HeadSize, n}
	p.Visible = func(_, i int) (int, int) { return 0, i + 1 }
	qkv := randoms[float32](r, 1024*3*n)
	g := &AttentionGrads[float32]{Q: qkv, K: qkv[n:], V: qkv[2*n:], Y: make([]float32, 1024*n), Stats: make([]float32, 1024*4*2), DY: randoms[float32](r, 1024*n), DQ: make([]float32, len(qkv))}
	g.DK, g.DV = g.DQ[n:], g.DQ[2*n:]
	Attention(1, p, g.Y, g.Q, g.K, g.V, nil, g.Stats)
	b.Run("forward", func(b *testing.B) {
		for b.Loop() {
			Attention(1, p, g.Y, g.Q, g.K, g.V, nil, g.Stats)
		}
	})
	b.Run("backward", func(b *testing.B) {
		for b.Loop() {
			AttentionGrad(1, p, g)
		}
	})
}

// BenchmarkLayerNorm is forward and backward of 1024 rows of 512.
func BenchmarkLayerNorm(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const rows, n = 1024, 512
	g := &NormGrads[float32]{X: randoms[float32](r, rows*n), Gain: randoms[float32](r, n), Mean: make([]float32, rows), InvStd: make([]float32, rows),
		DY: randoms[float32](r, rows*n), DX: make([]float32, rows*n), DGain: make([]float32, n), DBias: make([]float32, n)}
	LayerNorm(1, g.DX, g.X, g.Gain, g.Gain, g.Mean, g.InvStd, n, 1e-5)
	b.Run("forward", func(b *testing.B) {
		b.SetBytes(2 * 4 * rows * n)
		for b.Loop() {
			LayerNorm(1, g.DX, g.X, g.Gain, g.Gain, g.Mean, g.InvStd, n, 1e-5)
		}
	})
	b.Run("backward", func(b *testing.B) {
		b.SetBytes(3 * 4 * rows * n)
		for b.Loop() {
			LayerNormGrad(1, g, n)
		}
	})
}

// BenchmarkCrossEntropy is forward and backward of 64 rows of 50257 classes.
func BenchmarkCrossEntropy(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const rows, n = 64, 50257
	x, dx, lse, by, label := randoms[float32](r, rows*n), make([]float32, rows*n), make([]float32, rows), randoms[float32](r, rows), make([]int64, rows)
	LogSumExp(1, lse, x, n)
	b.Run("forward", func(b *testing.B) {
		b.SetBytes(4 * rows * n)
		for b.Loop() {
			LogSumExp(1, lse, x, n)
		}
	})
	b.Run("backward", func(b *testing.B) {
		b.SetBytes(2 * 4 * rows * n)
		for b.Loop() {
			CrossEntropyGrad(1, dx, x, lse, by, label, n)
		}
	})
}

// BenchmarkRotate is 1024 tokens with 8 heads of 64.
func BenchmarkRotate(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	p := &RotaryParams{Batch: 8, Heads: 8, Length: 128, HeadSize: 64, Dim: 64, Strides: [3]int{128 * 512, 64, 512}, Table: [3]int{0, 32, 1}}
	x, y, cos, sin := randoms[float32](r, 1024*512), make([]float32, 1024*512), randoms[float32](r, 128*32), randoms[float32](r, 128*32)
	b.SetBytes(2 * 4 * 1024 * 512)
	for b.Loop() {
		Rotate(1, p, y, x, cos, sin, false)
	}
}
