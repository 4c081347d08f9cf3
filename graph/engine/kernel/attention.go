package kernel

import "math"

// AttentionParams describes scaled dot-product attention over a batch of heads. Consecutive groups of Heads/KVHeads heads of queries
// share a head of keys and values.
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
	// Replaces says that keys a query does not see have the score Hidden (plus the bias), instead of no weight; ReplacesBias, that
	// those whose bias is -Inf have it. Where Hidden is far below what a query sees, which costs nothing to find, that is the same.
	Replaces, ReplacesBias bool
	Hidden                 float64
	// Undefined makes a query that sees no key NaN instead of zeros, and the gradients through it.
	Undefined bool
	// Tap says which stage of the scores AttentionScores gives.
	Tap Stage
}

// Scores are computed a block of queries and keys at a time: the block of scores, and what it is made of, stay in the second-level
// cache. A block of queries is a unit of work; blocks of keys that none of its queries sees are skipped.
const (
	blockQueries = 64
	blockKeys    = 256
)

// threads is 1 where one goroutine is done before another has begun.
func (p *AttentionParams) threads(n int) int {
	if p.Batch*p.Heads*p.Queries*p.Keys*(p.HeadSize+p.ValueSize) < smallProduct {
		return 1
	}
	return n
}

// Attention computes y = softmax(scale * q kT + bias) v for each batch and head, in memory linear in the number of keys (online
// softmax: Milakov & Gimelshein 2018; Dao 2023, FlashAttention-2). A query that sees no key gives zeros. bias may be nil. stats,
// where not nil, receives each query's highest score and the inverse of the sum of e^(score - highest) as [batch, head, query, 2];
// -Inf and 0 for a query that sees no key. One number, the logarithm of the sum, would do but where a finite number of the size of
// the largest float32 is added to all scores of a row: it would be lost in it.
func Attention[T Float](threads int, p *AttentionParams, y, q, k, v, bias, stats []T) {
	threads = p.threads(threads)
	blocks := (p.Queries + blockQueries - 1) / blockQueries
	units, inner := p.Batch*p.Heads*blocks, 1
	if units < threads {
		inner = threads
	}
	Parallel(threads, units, 1, func(lo, hi int) {
		room := borrow[T](min(blockQueries, p.Queries) * min(blockKeys, p.Keys))
		defer giveBack(room)
		for u := lo; u < hi; u++ {
			t := newTile(p, q, k, v, bias, u/blocks/p.Heads, u/blocks%p.Heads, u%blocks*blockQueries)
			top := t.attend(inner, *room, y, stats)
			if t.replace(top) {
				t.attend(inner, *room, y, stats)
			}
		}
	})
}

// attendTile is a block of queries of one head and the keys that they see.
type attendTile[T Float] struct {
	*AttentionParams
	b, h, i0, rows int
	lo, hi         int                // keys that at least one of the queries sees
	q, bias        []T                // from the first query on
	k, v           []T                // from the head's first key on
	byBias         bool               // gradients are by the biased scores, not by the products
	replaced       [blockQueries]bool // rows in which keys have the score Hidden
}

// newTile is the block of queries from i0 on of head h in sequence b.
func newTile[T Float](p *AttentionParams, q, k, v, bias []T, b, h, i0 int) attendTile[T] {
	kv := h / (p.Heads / p.KVHeads)
	t := attendTile[T]{AttentionParams: p, b: b, h: h, i0: i0, rows: min(blockQueries, p.Queries-i0), lo: p.Keys,
		q: q[b*p.Q[0]+h*p.Q[1]+i0*p.Q[2]:], k: k[b*p.K[0]+kv*p.K[1]:]}
	if v != nil {
		t.v = v[b*p.V[0]+kv*p.V[1]:]
	}
	if bias != nil {
		t.bias = bias[b*p.Bias[0]+h*p.Bias[1]+i0*p.Bias[2]:]
	}
	for r := range t.rows {
		lo, hi := t.visible(r)
		if lo < hi {
			t.lo, t.hi = min(t.lo, lo), max(t.hi, hi)
		}
	}
	return t
}

// visible is the range of keys that the r-th query sees.
func (t *attendTile[T]) visible(r int) (lo, hi int) {
	if t.Visible == nil {
		return 0, t.Keys
	}
	lo, hi = t.Visible(t.b, t.i0+r)
	lo = max(0, min(lo, t.Keys))
	return lo, max(lo, min(hi, t.Keys))
}

// seen is the part of n keys from j0 on that the r-th query sees.
func (t *attendTile[T]) seen(n, r, j0 int) (lo, hi int) {
	lo, hi = t.visible(r)
	lo = min(max(lo-j0, 0), n)
	return lo, min(max(hi-j0, lo), n)
}

// outputs is the part of a tensor of y's form that begins with the first query.
func (t *attendTile[T]) outputs(y []T) []T { return y[t.b*t.Y[0]+t.h*t.Y[1]+t.i0*t.Y[2]:] }

// stats is the part of the statistics that begins with the first query.
func (t *attendTile[T]) stats(s []T) []T { return s[2*((t.b*t.Heads+t.h)*t.Queries+t.i0):] }

// products writes the scaled products of the queries with keys [j0, j1) as [rows, j1-j0].
func (t *attendTile[T]) products(threads int, s []T, j0, j1 int) {
	Gemm(threads, false, true, t.rows, j1-j0, t.HeadSize, T(t.Scale), t.q, t.Q[2], t.k[j0*t.K[2]:], t.K[2], 0, s, j1-j0)
}

// addBias adds the bias of the r-th query and keys from j0 on.
func (t *attendTile[T]) addBias(row []T, r, j0 int) {
	if t.bias == nil {
		return
	}
	at, step := r*t.Bias[2]+j0*t.Bias[3], t.Bias[3]
	if step == 1 {
		vecAdd(row, row, t.bias[at:at+len(row)])
		return
	}
	for j := range row {
		row[j] += t.bias[at]
		at += step
	}
}

// attend computes the block's rows of y, and returns their highest scores.
func (t *attendTile[T]) attend(threads int, s, y, stats []T) (top [blockQueries]T) {
	y = t.outputs(y)
	var sum [blockQueries]float64
	for r := range t.rows {
		top[r] = T(math.Inf(-1))
	}
	for j0 := t.lo; j0 < t.hi; j0 += blockKeys {
		j1 := min(j0+blockKeys, t.hi)
		n := j1 - j0
		t.products(threads, s, j0, j1)
		for r := range t.rows {
			row := s[r*n : r*n+n]
			seen := t.score(row, r, j0)
			high := max(top[r], vecMax(seen))
			if hidden(seen, high) {
				clear(row)
				continue
			}
			if j0 > t.lo && high > top[r] {
				// What has been added up so far was relative to a lower score.
				c := math.Exp(float64(top[r]) - float64(high))
				sum[r] *= c
				part := y[r*t.Y[2]:][:t.ValueSize]
				vecScale(part, part, T(c))
			}
			top[r] = high
			sum[r] += vecExpSum(seen, seen, high)
		}
		beta := T(1)
		if j0 == t.lo {
			beta = 0
		}
		Gemm(threads, false, false, t.rows, t.ValueSize, n, 1, s, n, t.v[j0*t.V[2]:], t.V[2], beta, y, t.Y[2])
	}
	for r := range t.rows {
		row, inv := y[r*t.Y[2]:][:t.ValueSize], T(0)
		switch {
		case sum[r] == 0 && t.Undefined:
			inv = T(math.NaN())
			for i := range row {
				row[i] = inv
			}
		case sum[r] == 0:
			clear(row)
		default:
			inv = T(1 / sum[r])
			vecScale(row, row, inv)
		}
		if stats != nil {
			at := t.stats(stats)[2*r:]
			at[0], at[1] = top[r], inv
		}
	}
	return top
}

// score finishes a row of products of the r-th query with keys from j0 on. It returns the part that the query sees; the rest is 0.
func (t *attendTile[T]) score(row []T, r, j0 int) []T {
	lo, hi := t.seen(len(row), r, j0)
	seen := row[lo:hi]
	if t.Softcap > 0 {
		capRow(seen, seen, t.Softcap)
	}
	if t.replaced[r] {
		t.replaceRow(row, r, j0, lo, hi)
		return row
	}
	clear(row[:lo])
	clear(row[hi:])
	t.addBias(seen, r, j0+lo)
	return seen
}

// hidden reports whether all scores of a row with that highest number are -Inf. NaNs, which are higher than nothing, are not.
func hidden[T Float](row []T, high T) bool {
	if !math.IsInf(float64(high), -1) {
		return false
	}
	for _, v := range row {
		if v != v {
			return false
		}
	}
	return true
}

// capRow replaces scores by limit * tanh(score / limit). ratio receives the hyperbolic tangents; it may be the row.
func capRow[T Float](row, ratio []T, limit float64) {
	vecDivScalar(ratio, row, T(limit))
	switch x := any(ratio).(type) {
	case []float32:
		Tanh.F32(x, x)
	case []float64:
		Tanh.F64(x, x)
	}
	vecScale(row, ratio, T(limit))
}
