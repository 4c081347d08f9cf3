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
}

// Attention computes y = softmax(scale * q kT + bias) v for each batch and head. A query that sees no key gives zeros. bias may be
// nil. Consecutive groups of Heads/KVHeads query heads share a head of keys and values. scores, where not nil, receives the
// softmax as [batch, head, query, key].
func Attention[T Float](threads int, p *AttentionParams, y, q, k, v, bias, scores []T) {
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
			if scores != nil {
				s = scores[bh*p.Queries*p.Keys:][:p.Queries*p.Keys]
			}
			qs := q[b*p.Q[0]+h*p.Q[1]:]
			ks, vs := k[b*p.K[0]+h/group*p.K[1]:], v[b*p.V[0]+h/group*p.V[1]:]
			Gemm(inner, false, true, p.Queries, p.Keys, p.HeadSize, T(p.Scale), qs, p.Q[2], ks, p.K[2], 0, s, p.Keys)
			for i := range p.Queries {
				row := s[i*p.Keys : i*p.Keys+p.Keys]
				attendRow(p, row, bias, b, h, i)
			}
			Gemm(inner, false, false, p.Queries, p.ValueSize, p.Keys, 1, s, p.Keys, vs, p.V[2], 0, y[b*p.Y[0]+h*p.Y[1]:], p.Y[2])
		}
	})
}

// attendRow turns the scores of query i into weights: soft cap, bias, visible range, softmax.
func attendRow[T Float](p *AttentionParams, row, bias []T, b, h, i int) {
	if p.Softcap > 0 {
		for j, v := range row {
			row[j] = T(p.Softcap * math.Tanh(float64(v)/p.Softcap))
		}
	}
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
		lo, hi = max(0, min(lo, len(row))), max(0, min(hi, len(row)))
	}
	if lo >= hi {
		clear(row)
		return
	}
	clear(row[:lo])
	clear(row[hi:])
	if top := rowMax(row[lo:hi]); math.IsInf(float64(top), -1) {
		clear(row[lo:hi])
		return
	}
	SoftmaxRow(row[lo:hi], row[lo:hi])
}
