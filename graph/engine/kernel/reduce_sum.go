package kernel

// sumRows is how many rows of a sum over rows one unit of work has, sumCols how many columns: its sums stay in the first-level cache.
const (
	sumRows = 256
	sumCols = 512
)

// reduceSum adds the middle axis of [outer, n, inner] up and divides by div. It reads rows one after the other: a sum over rows keeps
// a strip of them in float64. Long sums are cut into pieces, whose sums are added in order.
func reduceSum[T Float](threads int, div float64, out, in []T, outer, n, inner int) {
	if n == 0 || len(out) == 0 {
		for i := range out {
			out[i] = T(0 / div)
		}
		return
	}
	if inner == 1 {
		sumOfRows(threads, div, out, in, outer, n)
		return
	}
	pieces := (n + sumRows - 1) / sumRows
	partial := borrow[float64](outer * pieces * inner)
	defer giveBack(partial)
	strips := (inner + sumCols - 1) / sumCols
	// Units of short sums are joined up to the usual grain.
	grain := max(1, walkGrain/(min(n, sumRows)*min(inner, sumCols)))
	Parallel(threads, outer*pieces*strips, grain, func(lo, hi int) {
		for u := lo; u < hi; u++ {
			o, p, c := u/strips/pieces, u/strips%pieces, u%strips*sumCols
			width := min(sumCols, inner-c)
			first, last := p*sumRows, min((p+1)*sumRows, n)
			sumColumns((*partial)[(o*pieces+p)*inner+c:][:width], in[(o*n+first)*inner+c:], last-first, inner)
		}
	})
	Parallel(threads, outer, max(1, walkGrain/(pieces*inner)), func(lo, hi int) {
		for o := lo; o < hi; o++ {
			total := (*partial)[o*pieces*inner:][:inner]
			for p := 1; p < pieces; p++ {
				for i, v := range (*partial)[(o*pieces+p)*inner:][:inner] {
					total[i] += v
				}
			}
			for i, v := range total {
				out[o*inner+i] = T(v / div)
			}
		}
	})
}

// sumOfRows is reduceSum of the last axis.
func sumOfRows[T Float](threads int, div float64, out, in []T, outer, n int) {
	if n <= walkGrain {
		Parallel(threads, outer, max(1, walkGrain/n), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				out[r] = T(vecSum(in[r*n:(r+1)*n]) / div)
			}
		})
		return
	}
	pieces := (n + walkGrain - 1) / walkGrain
	partial := borrow[float64](outer * pieces)
	defer giveBack(partial)
	Parallel(threads, outer*pieces, 1, func(lo, hi int) {
		for u := lo; u < hi; u++ {
			o, p := u/pieces, u%pieces*walkGrain
			(*partial)[u] = vecSum(in[o*n+p : o*n+min(p+walkGrain, n)])
		}
	})
	for o := range outer {
		out[o] = T(vecSum((*partial)[o*pieces:(o+1)*pieces]) / div)
	}
}

// sumColumns sets acc to the sums of the columns of rows that are ld apart.
func sumColumns[T Float](acc []float64, in []T, rows, ld int) {
	clear(acc)
	for r := range rows {
		vecAddWide(acc, in[r*ld:r*ld+len(acc)])
	}
}
