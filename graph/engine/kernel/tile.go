package kernel

// maxTile is the largest tile.m * tile.n of any tile.
const maxTile = 14 * 32

// tile is a register-blocked product of two packed panels.
type tile[T Float] struct {
	name string
	m, n int
	// run computes acc[i*n+j] = sum over p < k of a[p*m+i] * b[p*n+j], p ascending.
	run func(k int, a, b, acc []T)
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

// tile4x2 is the portable tile. It keeps eight accumulators in registers; larger tiles spill on amd64, which has fifteen usable
// scalar registers.
func tile4x2[T Float](k int, a, b, acc []T) {
	var c00, c01, c10, c11, c20, c21, c30, c31 T
	a, b = a[:4*k], b[:2*k]
	for len(a) >= 8 && len(b) >= 4 {
		p, q := (*[8]T)(a), (*[4]T)(b)
		b0, b1 := q[0], q[1]
		c00 += p[0] * b0
		c01 += p[0] * b1
		c10 += p[1] * b0
		c11 += p[1] * b1
		c20 += p[2] * b0
		c21 += p[2] * b1
		c30 += p[3] * b0
		c31 += p[3] * b1
		b0, b1 = q[2], q[3]
		c00 += p[4] * b0
		c01 += p[4] * b1
		c10 += p[5] * b0
		c11 += p[5] * b1
		c20 += p[6] * b0
		c21 += p[6] * b1
		c30 += p[7] * b0
		c31 += p[7] * b1
		a, b = a[8:], b[4:]
	}
	if len(a) >= 4 && len(b) >= 2 {
		b0, b1 := b[0], b[1]
		c00 += a[0] * b0
		c01 += a[0] * b1
		c10 += a[1] * b0
		c11 += a[1] * b1
		c20 += a[2] * b0
		c21 += a[2] * b1
		c30 += a[3] * b0
		c31 += a[3] * b1
	}
	o := (*[8]T)(acc)
	o[0], o[1], o[2], o[3] = c00, c01, c10, c11
	o[4], o[5], o[6], o[7] = c20, c21, c30, c31
}
