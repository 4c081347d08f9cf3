package kernel

import "math"

// Stage is a point in the computation of attention weights.
type Stage int

// The stages in order: scaled products, after the soft cap, with the bias (and -Inf for keys out of sight), and the weights.
const (
	TapProducts Stage = iota
	TapCapped
	TapBiased
	TapWeights
)

// AttentionScores writes the scores of an attention at the stage p.Tap as [batch, head, query, key].
func AttentionScores[T Float](threads int, p *AttentionParams, dst, q, k, bias []T) {
	blocks := (p.Queries + blockQueries - 1) / blockQueries
	Parallel(p.threads(threads), p.Batch*p.Heads*blocks, 1, func(lo, hi int) {
		for u := lo; u < hi; u++ {
			t := newTile(p, q, k, nil, bias, u/blocks/p.Heads, u/blocks%p.Heads, u%blocks*blockQueries)
			s := dst[(u/blocks*p.Queries+t.i0)*p.Keys:]
			t.products(1, s, 0, p.Keys)
			for r := range t.rows {
				t.tap(s[r*p.Keys:][:p.Keys], r)
			}
		}
	})
}

// tap takes the products of the r-th query with all keys to the stage.
func (t *attendTile[T]) tap(row []T, r int) {
	if t.Tap >= TapCapped && t.Softcap > 0 {
		capRow(row, row, t.Softcap)
	}
	if t.Tap < TapBiased {
		return
	}
	t.addBias(row, r, 0)
	lo, hi := t.visible(r)
	out := T(math.Inf(-1))
	if t.Tap == TapWeights {
		out = 0
		if seen := row[lo:hi]; hidden(seen, vecMax(seen)) {
			clear(seen)
		} else {
			SoftmaxRow(seen, seen)
		}
	}
	for j := range row {
		if j < lo || j >= hi {
			row[j] = out
		}
	}
}
