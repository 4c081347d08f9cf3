package kernel

// AttentionBiasGrad computes the gradient by an attention's bias, whose strides are p.Bias: what is repeated is added up. The scores
// are computed again, so that it takes no more memory than the bias does.
func AttentionBiasGrad[T Float](threads int, p *AttentionParams, g *AttentionGrads[T], dbias []T) {
	clear(dbias)
	blocks := (p.Queries + blockQueries - 1) / blockQueries
	// A unit of work is a part of the bias; what is repeated is a loop inside of it.
	var units, loops [3]int
	for i, n := range []int{p.Batch, p.Heads, blocks} {
		units[i], loops[i] = n, 1
		if p.Bias[i] == 0 {
			units[i], loops[i] = 1, n
		}
	}
	Parallel(threads, units[0]*units[1]*units[2], 1, func(lo, hi int) {
		w := newAttendGrad(p, g)
		defer w.close()
		for u := lo; u < hi; u++ {
			b, h, i := u/units[2]/units[1], u/units[2]%units[1], u%units[2]
			for l := range loops[0] * loops[1] * loops[2] {
				w.bias(dbias, b+l/loops[2]/loops[1], h+l/loops[2]%loops[1], (i+l%loops[2])*blockQueries)
			}
		}
	})
}

// bias adds what the block of queries from i0 on gives to the gradient by the bias.
func (w *attendGrad[T]) bias(dbias []T, b, h, i0 int) {
	p, g := w.p, w.g
	t := newTile(p, g.Q, g.K, g.V, g.Bias, b, h, i0)
	t.byBias = true
	t.replaceAs(g.Stats)
	dy := t.outputs(g.DY)
	inner := t.innerProducts(dy, g)
	for j0 := t.lo; j0 < t.hi; j0 += blockKeys {
		n := min(j0+blockKeys, t.hi) - j0
		s, d := (*w.s)[:t.rows*n], (*w.d)[:t.rows*n]
		t.weights(s, d, dy, g, &inner, j0, n)
		for r := range t.rows {
			at := b*p.Bias[0] + h*p.Bias[1] + (i0+r)*p.Bias[2] + j0*p.Bias[3]
			if p.Bias[3] == 0 {
				dbias[at] += T(vecSum(d[r*n : r*n+n]))
			} else {
				to := dbias[at : at+n]
				vecAdd(to, to, d[r*n:r*n+n])
			}
		}
	}
}
