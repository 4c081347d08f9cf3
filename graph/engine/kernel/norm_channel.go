package kernel

import "math"

// GroupNorm normalises each of the groups of a [batch, channels, size] tensor over its channels and size. Instance normalisation
// has as many groups as channels. gain and bias have an entry per channel or per group. mean and invStd, where not nil, receive
// the statistics as [batch, groups].
func GroupNorm[T Float](threads int, dst, src, gain, bias, mean, invStd []T, batch, channels, size, groups int, eps float64) {
	per := channels / groups
	n := per * size
	parallelRows(threads, batch*groups, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			x, y := src[r*n:r*n+n], dst[r*n:r*n+n]
			mu := vecSum(x) / float64(n)
			var s float64
			for _, v := range x {
				d := float64(v) - mu
				s += d * d
			}
			inv := 1 / math.Sqrt(s/float64(n)+eps)
			for i := range per {
				k := perChannel(r%groups*per+i, channels, len(gain))
				g, b := inv*float64(gain[k]), float64(bias[k])
				out := y[i*size : i*size+size]
				for j, v := range x[i*size : i*size+size] {
					out[j] = T((float64(v)-mu)*g + b)
				}
			}
			if mean != nil {
				mean[r] = T(mu)
			}
			if invStd != nil {
				invStd[r] = T(inv)
			}
		}
	})
}

// perChannel is where the number of channel c is in a list of n for all channels or for groups of them.
func perChannel(c, channels, n int) int { return c * n / channels }

// GroupNormGrad computes the gradients of GroupNorm; those by gain and bias where they are not nil. DX may be X or
// DY.
func GroupNormGrad[T Float](threads int, g *NormGrads[T], batch, channels, size, groups int) {
	per := channels / groups
	n := per * size
	// The sums over a channel of dy and of dy * the normalised operand.
	sums := borrow[float64](2 * batch * channels)
	defer giveBack(sums)
	parallelRows(threads, batch*groups, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			mu, inv := float64(g.Mean[r]), float64(g.InvStd[r])
			var a, b float64
			for i := range per {
				at := r*per + i // over the batch
				var s, p float64
				dy := g.DY[at*size : at*size+size]
				for j, v := range g.X[at*size : at*size+size] {
					s += float64(dy[j])
					p += float64(dy[j]) * (float64(v) - mu)
				}
				p *= inv
				(*sums)[2*at], (*sums)[2*at+1] = s, p
				gain := float64(g.Gain[perChannel(at%channels, channels, len(g.Gain))])
				a += gain * s
				b += gain * p
			}
			a, b = a/float64(n), b/float64(n)
			for i := range per {
				at := r*per + i
				gain := float64(g.Gain[perChannel(at%channels, channels, len(g.Gain))])
				dy, dx := g.DY[at*size:at*size+size], g.DX[at*size:at*size+size]
				for j, v := range g.X[at*size : at*size+size] {
					dx[j] = T(inv * (gain*float64(dy[j]) - a - (float64(v)-mu)*inv*b))
				}
			}
		}
	})
	for i, dst := range [][]T{g.DBias, g.DGain} {
		if dst == nil {
			continue
		}
		acc := make([]float64, len(dst))
		for at := range batch * channels {
			acc[perChannel(at%channels, channels, len(dst))] += (*sums)[2*at+i]
		}
		for c, v := range acc {
			dst[c] = T(v)
		}
	}
}

// BatchNorm computes (x - mean) / sqrt(variance + eps) * gain + bias per channel of a [batch, channels, size] tensor.
func BatchNorm[T Float](threads int, dst, src, gain, bias, mean, variance []T, channels, size int, eps float64) {
	parallelRows(threads, len(src)/max(size, 1), size, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			c := r % channels
			k := float64(gain[c]) / math.Sqrt(float64(variance[c])+eps)
			mu, b := float64(mean[c]), float64(bias[c])
			y := dst[r*size : r*size+size]
			for i, v := range src[r*size : r*size+size] {
				y[i] = T((float64(v)-mu)*k + b)
			}
		}
	})
}

// BatchNormGrads are the operands and results of BatchNormGrad; results other than DX may be nil.
type BatchNormGrads[T Float] struct {
	X, Gain, Mean, Variance, DY        []T
	DX, DGain, DBias, DMean, DVariance []T
}

// BatchNormGrad computes the gradients of BatchNorm by all its operands, the statistics being operands like the others. DX may be X or
// DY.
func BatchNormGrad[T Float](threads int, g *BatchNormGrads[T], channels, size int, eps float64) {
	if g.DGain != nil || g.DBias != nil || g.DMean != nil || g.DVariance != nil {
		g.sums(threads, channels, size, eps)
	}
	parallelRows(threads, len(g.X)/max(size, 1), size, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			c := r % channels
			k := T(float64(g.Gain[c]) / math.Sqrt(float64(g.Variance[c])+eps))
			dx := g.DX[r*size : r*size+size]
			for i, v := range g.DY[r*size : r*size+size] {
				dx[i] = v * k
			}
		}
	})
}

// sums computes the gradients by gain, bias and statistics.
func (g *BatchNormGrads[T]) sums(threads int, channels, size int, eps float64) {
	batch := len(g.X) / max(channels*size, 1)
	parallelRows(threads, channels, batch*size, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			mu, inv := float64(g.Mean[c]), 1/math.Sqrt(float64(g.Variance[c])+eps)
			var s, p float64
			for b := range batch {
				at := (b*channels + c) * size
				dy := g.DY[at : at+size]
				for i, v := range g.X[at : at+size] {
					s += float64(dy[i])
					p += float64(dy[i]) * (float64(v) - mu)
				}
			}
			gain := float64(g.Gain[c])
			for _, d := range []struct {
				dst []T
				v   float64
			}{{g.DGain, p * inv}, {g.DBias, s}, {g.DMean, -s * gain * inv}, {g.DVariance, -p * gain * inv * inv * inv / 2}} {
				if d.dst != nil {
					d.dst[c] = T(d.v)
				}
			}
		}
	})
}

// ChannelStats writes the mean and the (population) variance of every channel of a [batch, channels, size] tensor.
func ChannelStats[T Float](threads int, mean, variance, src []T, channels, size int) {
	batch := len(src) / (channels * size)
	each := func(c int, f func(v float64)) {
		for b := range batch {
			for _, v := range src[(b*channels+c)*size:][:size] {
				f(float64(v))
			}
		}
	}
	n := float64(batch * size)
	parallelRows(threads, channels, batch*size, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			var s, d float64
			each(c, func(v float64) { s += v })
			mu := s / n
			each(c, func(v float64) { d += (v - mu) * (v - mu) })
			mean[c], variance[c] = T(mu), T(d/n)
		}
	})
}

// ChannelStatsGrad is the gradient by ChannelStats' operand from those by the means and the variances, either of which may be nil.
func ChannelStatsGrad[T Float](threads int, dx, src, mean, dmean, dvariance []T, channels, size int) {
	n := float64(len(src) / channels)
	parallelRows(threads, len(src)/size, size, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			c := r % channels
			var shift, slope float64
			if dmean != nil {
				shift = float64(dmean[c]) / n
			}
			if dvariance != nil {
				slope = 2 * float64(dvariance[c]) / n
			}
			mu, d := float64(mean[c]), dx[r*size:r*size+size]
			for i, v := range src[r*size : r*size+size] {
				d[i] = T(shift + (float64(v)-mu)*slope)
			}
		}
	})
}
