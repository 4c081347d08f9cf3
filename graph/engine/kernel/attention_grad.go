package kernel

// AttentionGrads are the operands of an attention's gradient and its results: slices of the form that Attention has them in. Y and
// Stats are what Attention gave, DY is the gradient by Y. DK and DV may be slices of DQ's tensor, where the three are packed, or nil
// where nobody wants them.
type AttentionGrads[T Float] struct {
	Q, K, V, Bias, Y, Stats, DY []T
	DQ, DK, DV                  []T
}

// minUnits is how many units of work the gradient is cut into where there are fewer heads of keys than that: a head's queries go
// to several units then, each of which sums the gradients by its keys and values apart.
const minUnits = 8

// AttentionGrad computes the gradients by queries, keys and values. The scores are computed again, a block at a time, from the
// statistics (Dao 2023, FlashAttention-2): with weights P and dP = dy vT, dS = P * (dP - sum(P * dP)), where the sum is that of y * dy.
func AttentionGrad[T Float](threads int, p *AttentionParams, g *AttentionGrads[T]) {
	blocks := (p.Queries + blockQueries - 1) / blockQueries
	heads := p.Batch * p.KVHeads
	parts := 1
	if heads > 0 && heads < minUnits {
		parts = max(1, min(blocks, 2*minUnits/heads))
	}
	// With parts of their own, gradients by keys and values are [head, part, key, size].
	var partK, partV []T
	if parts > 1 {
		for _, to := range []struct {
			dst  []T
			part *[]T
			size int
		}{{g.DK, &partK, p.HeadSize}, {g.DV, &partV, p.ValueSize}} {
			if to.dst != nil {
				room := borrow[T](heads * parts * p.Keys * to.size)
				defer giveBack(room)
				*to.part = *room
			}
		}
	}
	threads = p.threads(threads)
	Parallel(threads, heads*parts, 1, func(lo, hi int) {
		w := newAttendGrad(p, g)
		defer w.close()
		for u := lo; u < hi; u++ {
			b, kv, part := u/parts/p.KVHeads, u/parts%p.KVHeads, u%parts
			if parts > 1 {
				w.dk, w.dv = keyGrads(p, partK, u*p.Keys*p.HeadSize, p.HeadSize, p.HeadSize), keyGrads(p, partV, u*p.Keys*p.ValueSize, p.ValueSize, p.ValueSize)
			} else {
				w.dk, w.dv = keyGrads(p, g.DK, b*p.K[0]+kv*p.K[1], p.K[2], p.HeadSize), keyGrads(p, g.DV, b*p.V[0]+kv*p.V[1], p.V[2], p.ValueSize)
			}
			group := p.Heads / p.KVHeads
			for h := kv * group; h < (kv+1)*group; h++ {
				for i := part * blocks / parts; i < (part+1)*blocks/parts; i++ {
					w.queries(b, h, i*blockQueries)
				}
			}
		}
	})
	if partK != nil {
		sumParts(threads, p, parts, g.DK, partK, p.K, p.HeadSize)
	}
	if partV != nil {
		sumParts(threads, p, parts, g.DV, partV, p.V, p.ValueSize)
	}
}

// rowsOf is a matrix of which the gradients of one head are added up; rows is nil where nobody wants them.
type rowsOf[T Float] struct {
	rows []T
	ld   int
}

// keyGrads is the matrix of one head's gradients by its keys or values, cleared.
func keyGrads[T Float](p *AttentionParams, all []T, at, ld, size int) rowsOf[T] {
	if all == nil {
		return rowsOf[T]{}
	}
	rows := all[at:]
	for j := range p.Keys {
		clear(rows[j*ld:][:size])
	}
	return rowsOf[T]{rows, ld}
}

// add adds aT b to the rows from j0 on, for a [m, n] and b [m, size].
func (r rowsOf[T]) add(j0, m, n, size int, alpha T, a, b []T, ldb int) {
	if r.rows != nil {
		Gemm(1, true, false, n, size, m, alpha, a, n, b, ldb, 1, r.rows[j0*r.ld:], r.ld)
	}
}

// sumParts adds up the parts of the gradients by keys or values, in order.
func sumParts[T Float](threads int, p *AttentionParams, parts int, dst, part []T, strides [3]int, size int) {
	parallelRows(threads, p.Batch*p.KVHeads*p.Keys, parts*size, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			head, j := r/p.Keys, r%p.Keys
			row := dst[head/p.KVHeads*strides[0]+head%p.KVHeads*strides[1]+j*strides[2]:][:size]
			for i := range parts {
				from := part[((head*parts+i)*p.Keys+j)*size:][:size]
				if i == 0 {
					copy(row, from)
					continue
				}
				vecAdd(row, row, from)
			}
		}
	})
}

// attendGrad is one goroutine's state: where the gradients by keys and values go, and room for a block's weights and their gradients.
type attendGrad[T Float] struct {
	p      *AttentionParams
	g      *AttentionGrads[T]
	dk, dv rowsOf[T]
	s, d   *[]T
}

func newAttendGrad[T Float](p *AttentionParams, g *AttentionGrads[T]) *attendGrad[T] {
	n := min(blockQueries, p.Queries) * min(blockKeys, p.Keys)
	return &attendGrad[T]{p: p, g: g, s: borrow[T](n), d: borrow[T](n)}
}

func (w *attendGrad[T]) close() {
	giveBack(w.s)
	giveBack(w.d)
}

// queries adds what the block of queries from i0 on gives to the gradients by keys and values, and writes those by the queries.
func (w *attendGrad[T]) queries(b, h, i0 int) {
	p, g := w.p, w.g
	t := newTile(p, g.Q, g.K, g.V, g.Bias, b, h, i0)
	t.replaceAs(g.Stats)
	dy, dq := t.outputs(g.DY), g.DQ[b*p.Q[0]+h*p.Q[1]+i0*p.Q[2]:]
	if t.lo >= t.hi {
		for r := range t.rows {
			clear(dq[r*p.Q[2]:][:p.HeadSize])
		}
		return
	}
	inner := t.innerProducts(dy, g)
	beta := T(0)
	scale := T(p.Scale)
	for j0 := t.lo; j0 < t.hi; j0 += blockKeys {
		n := min(j0+blockKeys, t.hi) - j0
		s, d := (*w.s)[:t.rows*n], (*w.d)[:t.rows*n]
		t.weights(s, d, dy, g, &inner, j0, n)
		w.dv.add(j0, t.rows, n, p.ValueSize, 1, s, dy, p.Y[2])
		Gemm(1, false, false, t.rows, p.HeadSize, n, scale, d, n, t.k[j0*p.K[2]:], p.K[2], beta, dq, p.Q[2])
		w.dk.add(j0, t.rows, n, p.HeadSize, scale, d, t.q, p.Q[2])
		beta = 1
	}
}

// innerProducts is the sum of y * dy for each query.
func (t *attendTile[T]) innerProducts(dy []T, g *AttentionGrads[T]) (inner [blockQueries]T) {
	y := t.outputs(g.Y)
	for r := range t.rows {
		at := r * t.Y[2]
		inner[r] = T(vecDot(y[at:at+t.ValueSize], dy[at:at+t.ValueSize]))
	}
	return inner
}

// weights writes the weights of n keys from j0 on to s, and the gradients by their scores (before the scale) to d.
func (t *attendTile[T]) weights(s, d, dy []T, g *AttentionGrads[T], inner *[blockQueries]T, j0, n int) {
	t.products(1, s, j0, j0+n)
	Gemm(1, false, true, t.rows, n, t.ValueSize, 1, dy, t.Y[2], t.v[j0*t.V[2]:], t.V[2], 0, d, n)
	stats := t.stats(g.Stats)
	for r := range t.rows {
		top, inv := stats[2*r], stats[2*r+1]
		row, grad := s[r*n:r*n+n], d[r*n:r*n+n]
		if inv == 0 { // it saw no key
			clear(row)
			clear(grad)
			continue
		}
		t.weightRow(row, grad, r, j0, top, inv, inner[r])
	}
}

// weightRow turns a row of products into weights and the gradients by them into those by the products.
func (t *attendTile[T]) weightRow(row, grad []T, r, j0 int, top, inv, inner T) {
	lo, hi := t.seen(len(row), r, j0)
	if t.replaced[r] {
		t.replacedWeights(row, grad, r, j0, top, inv, inner)
		return
	}
	clear(row[:lo])
	clear(row[hi:])
	clear(grad[:lo])
	clear(grad[hi:])
	row, grad = row[lo:hi], grad[lo:hi]
	var ratio []T
	if t.Softcap > 0 {
		room := borrow[T](len(row))
		defer giveBack(room)
		ratio = *room
		capRow(row, ratio, t.Softcap)
	}
	t.addBias(row, r, j0+lo)
	vecExpSum(row, row, top)
	vecScale(row, row, inv)
	vecMulDiff(grad, row, grad, inner)
	if ratio != nil && !t.byBias {
		tanhGradRow(grad, grad, ratio)
	}
}
