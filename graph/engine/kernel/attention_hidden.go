package kernel

import "math"

// negligible is how far a score must lie below another one for its weight to be zero in float64.
const negligible = 800

// replace finds the rows in which the score of hidden keys matters, given the highest scores of those that are seen, and reports whether
// there are any. The block is to be computed again then, with all keys.
func (t *attendTile[T]) replace(top [blockQueries]T) bool {
	if !t.Replaces && !t.ReplacesBias {
		return false
	}
	any := false
	for r := range t.rows {
		t.replaced[r] = !(float64(top[r])-t.highestHidden(r) > negligible)
		any = any || t.replaced[r]
	}
	if any {
		t.lo, t.hi = 0, t.Keys
	}
	return any
}

// replaceAs is replace with the statistics of a row: with hidden keys or without, its highest score tells which it was.
func (t *attendTile[T]) replaceAs(stats []T) {
	var top [blockQueries]T
	s := t.stats(stats)
	for r := range t.rows {
		top[r] = s[2*r]
	}
	t.replace(top)
}

// highestHidden is at least the score of any hidden key of the r-th query.
func (t *attendTile[T]) highestHidden(r int) float64 {
	if t.bias == nil || t.ReplacesBias {
		return t.Hidden
	}
	row := t.bias[r*t.Bias[2]:]
	if t.Bias[3] == 0 {
		return t.Hidden + float64(row[0])
	}
	return t.Hidden + float64(vecMax(row[:(t.Keys-1)*t.Bias[3]+1])) // of more than the row where its elements are apart
}

// replaceRow finishes a row of products with keys from j0 on, of which [lo, hi) are seen, with the score of hidden keys.
func (t *attendTile[T]) replaceRow(row []T, r, j0, lo, hi int) {
	if t.Replaces {
		for j := range row {
			if j < lo || j >= hi {
				row[j] = T(t.Hidden)
			}
		}
	}
	t.addBias(row, r, j0)
	if t.ReplacesBias {
		for j := range row {
			if t.hides(r, j0+j) {
				row[j] = T(t.Hidden)
			}
		}
	}
}

// hides reports whether the bias hides key j from the r-th query.
func (t *attendTile[T]) hides(r, j int) bool {
	return t.bias != nil && math.IsInf(float64(t.bias[r*t.Bias[2]+j*t.Bias[3]]), -1)
}

// replacedWeights is weightRow where hidden keys have weights. Their scores depend on no product.
func (t *attendTile[T]) replacedWeights(row, grad []T, r, j0 int, top, inv, inner T) {
	lo, hi := t.seen(len(row), r, j0)
	slope := make([]T, len(row))
	for j, v := range row {
		slope[j] = 1
		if t.Softcap > 0 {
			c := math.Tanh(float64(v) / t.Softcap)
			row[j], slope[j] = T(t.Softcap*c), T(1-c*c)
		}
		if t.Replaces && (j < lo || j >= hi) || t.ReplacesBias && t.hides(r, j0+j) {
			slope[j] = 0
		}
	}
	t.replaceRow(row, r, j0, lo, hi)
	for j, v := range row {
		row[j] = T(math.Exp(float64(v)-float64(top))) * inv
		grad[j] = row[j] * (grad[j] - inner)
		if !t.byBias {
			grad[j] *= slope[j]
		}
	}
}
