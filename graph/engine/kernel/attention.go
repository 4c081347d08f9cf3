package kernel

import "math"

// AttentionParams describes scaled dot-product attention over a batch of heads.
type AttentionParams struct {
	Batch, Heads, KVHeads int
	// Queries, Keys and the sizes of a head of queries (and keys) and of values.
	Queries, Keys, HeadSize, ValueSize int
	// Strides of q, k, v and y: batch, head, position. The elements of a head are contiguous.
	Q, K, V, Y [3]int
	Scale      float64
	// Softcap, where above 0, replaces scores s by Softcap * tanh(s / Softcap).
	Softcap float64
	// Bias is added to the scores; its strides are batch, head, query, key (0 repeats).
	Bias [4]int
	// Visible returns the half-open range of keys that a query may see; nil: all.
	Visible func(batch, query int) (lo, hi int)
	// Tap says which stage of the scores the caller wants to see.
	Tap Stage
}

// Stage is a point in the computation of attention weights.
type Stage int

// The stages in order: scaled products, after the soft cap, with the bias (and -Inf for keys out of sight), and the weights.
const (
	TapProducts Stage = iota
	TapCapped
	TapBiased
	TapWeights
)

// Attention computes y = softmax(scale * q kT + bias) v for each batch and head. A query that sees no key gives zeros. bias may be
// nil. Consecutive groups of Heads/KVHeads query heads share a head of keys and values. tap, where not nil, receives the scores
// at the stage p.Tap as [batch, head, query, key].
func Attention[T Float](threads int, p *AttentionParams, y, q, k, v, bias, tap []T) {
	group := max(1, p.Heads/max(1, p.KVHeads))
	inner := 1
	if p.Batch*p.Heads < threads {
		inner = threads
	}
	Parallel(threads, p.Batch*p.Heads, 1, func(lo, hi int) {
		room := borrow[T](p.Queries * p.Keys)
		defer giveBack(room)
		for bh := lo; bh < hi; bh++ {
			b, h := bh/p.Heads, bh%p.Heads
			s := (*room)[:p.Queries*p.Keys]
			qs := q[b*p.Q[0]+h*p.Q[1]:]
			ks, vs := k[b*p.K[0]+h/group*p.K[1]:], v[b*p.V[0]+h/group*p.V[1]:]
			Gemm(inner, false, true, p.Queries, p.Keys, p.HeadSize, T(p.Scale), qs, p.Q[2], ks, p.K[2], 0, s, p.Keys)
			for i := range p.Queries {
				row := s[i*p.Keys : i*p.Keys+p.Keys]
				var seen []T
				if tap != nil {
					seen = tap[(bh*p.Queries+i)*p.Keys:][:p.Keys]
				}
				attendRow(p, row, bias, seen, b, h, i)
			}
			Gemm(inner, false, false, p.Queries, p.ValueSize, p.Keys, 1, s, p.Keys, vs, p.V[2], 0, y[b*p.Y[0]+h*p.Y[1]:], p.Y[2])
		}
	})
}

// attendRow turns the scores of query i into weights: soft cap, bias, visible range, softmax.
func attendRow[T Float](p *AttentionParams, row, bias, tap []T, b, h, i int) {
	look := func(at Stage) {
		if tap != nil && p.Tap == at {
			copy(tap, row)
		}
	}
	look(TapProducts)
	if p.Softcap > 0 {
		for j, v := range row {
			row[j] = T(p.Softcap * math.Tanh(float64(v)/p.Softcap))
		}
	}
	look(TapCapped)
	if bias != nil {
		at := b*p.Bias[0] + h*p.Bias[1] + i*p.Bias[2]
		for j := range row {
			row[j] += bias[at]
			at += p.Bias[3]
		}
	}
	lo, hi := 0, len(row)
	if p.Visible != nil {
		lo, hi = p.Visible(b, i)
		lo = max(0, min(lo, len(row)))
		hi = max(lo, min(hi, len(row)))
	}
	if tap != nil && p.Tap == TapBiased {
		for j := range tap {
			tap[j] = T(math.Inf(-1))
		}
		copy(tap[lo:hi], row[lo:hi])
	}
	clear(row[:lo])
	clear(row[hi:])
	if seen := row[lo:hi]; len(seen) > 0 && !math.IsInf(float64(rowMax(seen)), -1) {
		SoftmaxRow(seen, seen)
	} else {
		clear(seen)
	}
	look(TapWeights)
}
