//go:build amd64 && !noasm

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate sh -c "cd gen && go run . -out ../tile_amd64.s -stubs ../tile_stubs_amd64.go -pkg kernel"

// tiles32 lists the tiles that this machine can run, the best first.
func tiles32() []tile[float32] {
	list := []tile[float32]{portable[float32]()}
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return list
	}
	faster := tile[float32]{name: "AVX2", heights: []int{6, 4}, full: 16, narrow: 8, packRows: packRowsAVX2, packCols: packColsAVX2,
		run: choose(16, map[int][2]asmTile[float32]{6: {stile6x16AVX2, stile6x8AVX2}, 4: {stile4x16AVX2, stile4x8AVX2}})}
	list = append([]tile[float32]{faster}, list...)
	if cpu.X86.HasAVX512F {
		faster.name, faster.heights, faster.full, faster.narrow = "AVX-512", []int{14, 12, 8, 4}, 32, 16
		faster.run = choose(32, map[int][2]asmTile[float32]{
			14: {stile14x32AVX512, stile14x16AVX512}, 12: {stile12x32AVX512, stile12x16AVX512},
			8: {stile8x32AVX512, stile8x16AVX512}, 4: {stile4x32AVX512, stile4x16AVX512}})
		list = append([]tile[float32]{faster}, list...)
	}
	return list
}

// tiles64 is tiles32 for float64.
func tiles64() []tile[float64] {
	list := []tile[float64]{portable[float64]()}
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return list
	}
	faster := list[0]
	faster.packed = false
	faster.name, faster.heights, faster.full, faster.narrow = "AVX2", []int{6, 4}, 8, 4
	faster.run = choose(8, map[int][2]asmTile[float64]{6: {dtile6x8AVX2, dtile6x4AVX2}, 4: {dtile4x8AVX2, dtile4x4AVX2}})
	list = append([]tile[float64]{faster}, list...)
	if cpu.X86.HasAVX512F {
		faster.name, faster.heights, faster.full, faster.narrow = "AVX-512", []int{14, 12, 8, 4}, 16, 8
		faster.run = choose(16, map[int][2]asmTile[float64]{
			14: {dtile14x16AVX512, dtile14x8AVX512}, 12: {dtile12x16AVX512, dtile12x8AVX512},
			8: {dtile8x16AVX512, dtile8x8AVX512}, 4: {dtile4x16AVX512, dtile4x8AVX512}})
		list = append([]tile[float64]{faster}, list...)
	}
	return list
}

// asmTile is a tile in assembly; its leading dimensions and step are in bytes.
type asmTile[T Float] func(k int, a *T, lda, step int, b *T, ldb int, c *T, ldc int, d *T, ldd int, alpha, beta T, read bool)

// choose makes one function of the tiles of some heights, each in two widths of which full is the larger. It panics where an
// operand is too short instead of letting assembly leave it.
func choose[T Float](full int, tiles map[int][2]asmTile[T]) func(m, n, k int, a []T, lda, step int, b []T, ldb int, c []T, ldc int, d []T, ldd int, alpha, beta T) {
	var table [15][2]asmTile[T]
	for m, t := range tiles {
		table[m] = t
	}
	return func(m, n, k int, a []T, lda, step int, b []T, ldb int, c []T, ldc int, d []T, ldd int, alpha, beta T) {
		_, _, _, _ = a[(m-1)*lda+(k-1)*step], b[(k-1)*ldb+n-1], c[(m-1)*ldc+n-1], d[(m-1)*ldd+n-1]
		f := table[m][0]
		if n < full {
			f = table[m][1]
		}
		size := int(unsafe.Sizeof(alpha))
		f(k, &a[0], lda*size, step*size, &b[0], ldb*size, &c[0], ldc*size, &d[0], ldd*size, alpha, beta, beta != 0)
	}
}

// packRowsAVX2 is packRows by transposition of squares of 8 or 4 elements, which overlap at the far edges.
func packRowsAVX2(dst, src []float32, ld, rows, k, w int) {
	s := 8
	turn := transpose8AVX2
	if rows < 8 || k < 8 {
		s, turn = 4, transpose4AVX2
	}
	if rows < s || k < s {
		packRows(dst, src, ld, rows, k, w)
		return
	}
	_, _ = dst[k*w-1], src[(rows-1)*ld+k-1]
	for r := 0; r < rows; r += s {
		r = min(r, rows-s)
		turn(k/s, &dst[r], 4*w, &src[r*ld], 4*ld)
		if k%s != 0 {
			turn(1, &dst[(k-s)*w+r], 4*w, &src[r*ld+k-s], 4*ld)
		}
	}
	pad(dst, rows, k, w)
}

// packColsAVX2 is packCols in strips of 32, 8 or 4 columns, of which the last two overlap.
func packColsAVX2(dst, src []float32, ld, cols, k, w int) {
	if cols < 4 {
		packCols(dst, src, ld, cols, k, w)
		return
	}
	_, _ = dst[k*w-1], src[(k-1)*ld+cols-1]
	s, move := 4, strip4AVX2
	switch {
	case cols == 32:
		s, move = 32, strip32AVX2
	case cols >= 8:
		s, move = 8, strip8AVX2
	}
	for r := 0; r < cols; r += s {
		r = min(r, cols-s)
		move(k, &dst[r], 4*w, &src[r], 4*ld)
	}
	pad(dst, cols, k, w)
}
