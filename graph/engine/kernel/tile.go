package kernel

// maxTile is the largest number of elements that a tile of C has.
const maxTile = 14 * 32

// tile is a register-blocked product of some rows of A with some columns of B, for a few heights and two widths: full, and
// narrow for what is left of the columns (0: none).
type tile[T Float] struct {
	name         string
	heights      []int // descending
	full, narrow int
	// run computes c[i*ldc+j] = alpha * sum over p < k of a[i*lda+p*step] * b[p*ldb+j], p ascending, plus beta * d[i*ldd+j] if beta
	// is not 0, for m (a height) rows and n (full or narrow) columns. Every element is computed alike in all of them.
	run func(m, n, k int, a []T, lda, step int, b []T, ldb int, c []T, ldc int, d []T, ldd int, alpha, beta T)
	// packed says that run wants a panel of A: lda is 1 and step the height.
	packed bool
	// packRows and packCols are those of the package, or faster ones.
	packRows func(dst, src []T, ld, rows, k, w int)
	packCols func(dst, src []T, ld, cols, k, w int)
}

// The tiles in use, chosen once by what the processor has.
var (
	tile32 = tiles32()[0]
	tile64 = tiles64()[0]
)

// pickTile returns the tile for T.
func pickTile[T Float]() tile[T] {
	var t any = tile32
	if _, ok := t.(tile[T]); !ok {
		t = tile64
	}
	return t.(tile[T])
}

func portable[T Float]() tile[T] {
	return tile[T]{name: "portable", packed: true, heights: []int{4}, full: 2, run: tile4x2[T], packRows: packRows[T, T], packCols: packCols[T, T]}
}

// tile4x2 is the portable tile. It keeps eight accumulators in registers; larger tiles spill on amd64, which has fifteen usable
// scalar registers.
func tile4x2[T Float](_, _, k int, a []T, _, _ int, b []T, ldb int, c []T, ldc int, d []T, ldd int, alpha, beta T) {
	var c00, c01, c10, c11, c20, c21, c30, c31 T
	for p := range k {
		q, r := (*[4]T)(a[4*p:]), (*[2]T)(b[p*ldb:])
		b0, b1 := r[0], r[1]
		c00 += q[0] * b0
		c01 += q[0] * b1
		c10 += q[1] * b0
		c11 += q[1] * b1
		c20 += q[2] * b0
		c21 += q[2] * b1
		c30 += q[3] * b0
		c31 += q[3] * b1
	}
	for i, s := range [4][2]T{{c00, c01}, {c10, c11}, {c20, c21}, {c30, c31}} {
		o := (*[2]T)(c[i*ldc:])
		for j, v := range s {
			v *= alpha
			if beta != 0 {
				v += beta * d[i*ldd+j]
			}
			o[j] = v
		}
	}
}

// packRows interleaves rows (contiguous along k): dst[p*w+r] = src[r*ld+p], and 0 for rows <= r < w.
func packRows[T, S Float](dst []T, src []S, ld, rows, k, w int) {
	for r := range rows {
		for p, v := range src[r*ld : r*ld+k] {
			dst[p*w+r] = T(v)
		}
	}
	pad(dst, rows, k, w)
}

// packCols copies strips of rows that run along the panel: dst[p*w+r] = src[p*ld+r], and 0 for cols <= r < w.
func packCols[T, S Float](dst []T, src []S, ld, cols, k, w int) {
	for p := range k {
		widenRun(dst[p*w:p*w+cols], src[p*ld:p*ld+cols])
	}
	pad(dst, cols, k, w)
}

// pad fills the elements of a panel of width w that are past n.
func pad[T Float](dst []T, n, k, w int) {
	for p := 0; n < w && p < k; p++ {
		clear(dst[p*w+n : p*w+w])
	}
}
