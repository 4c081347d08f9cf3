package kernel

// scatterCols is how many columns one unit of a scatter's work has.
const scatterCols = 256

// AddRows adds row k of src [len(rows), width] to row rows[k] of dst [n, width], in ascending order of k.
func AddRows[T Float](threads int, dst, src []T, rows []int, n, width int) {
	if len(src) < walkGrain {
		threads = 1
	}
	// A unit of work is a range of columns and of dst's rows. All look through the whole list, which is short next to the rows.
	cols := min(width, scatterCols)
	height := max(1, 16*walkGrain/max(1, cols))
	strips, bands := (width+cols-1)/max(1, cols), (n+height-1)/height
	Parallel(threads, strips*bands, 1, func(lo, hi int) {
		for u := lo; u < hi; u++ {
			c0, r0 := u%strips*cols, u/strips*height
			c1, r1 := min(c0+cols, width), min(r0+height, n)
			for k, r := range rows {
				if r < r0 || r >= r1 {
					continue
				}
				d := dst[r*width+c0 : r*width+c1]
				vecAdd(d, d, src[k*width+c0:k*width+c1])
			}
		}
	})
}
