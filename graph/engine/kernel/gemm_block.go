package kernel

import (
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// Blocking of the matrix product, as Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008, do it:
// a block of A (blockM x blockK) stays in the second-level cache, a packed panel of B (blockK x a tile's width) in the first, and
// packed columns of B (groupK x as many as packedB allows) in the third. A itself is packed for tiles that need it only: vector units
// multiply with one element of A at a time, which may come from anywhere, and a block is small enough for the cache and the pages of
// the processor even where its rows are far apart (measured up to rows 16 KiB apart, all in the same sets of the first-level cache).
const (
	blockM  = 168
	blockK  = 384
	groupK  = 8 * blockK
	packedB = 2 << 20 // bytes
	// packCut is how many columns one unit of packing has, stripCut the least that one of multiplying has.
	packCut  = 128
	stripCut = 128
	// smallProduct is the number of multiplications that one goroutine does faster than two.
	smallProduct = 1 << 21
	// fewRows is up to which height a row-major B is multiplied with where it lies: it would not be read often enough for a packed
	// copy to pay.
	fewRows = 28
)

// gemm is one product. Its work is a sequence of units, in which those of packing columns of B come before those that multiply with
// them; a unit waits for what is before it in the sequence only, so that any number of goroutines that take units in order come to
// the end.
type gemm[T Float] struct {
	transA, transB bool
	m, n, k        int
	alpha, beta    T
	a, c           []T
	bias           []T // what beta multiplies in every row, instead of C, if not nil
	b              matrix[T]
	lda, ldc       int
	tile           tile[T]

	panels  int // of rows
	direct  bool
	packed  [2]*[]T // columns of B, by the parity of their stage
	groups  int     // of k
	cols    int     // of a stage
	packs   int     // units of packing in a stage
	blocks  int     // units of rows in a stage
	strips  int     // units of columns, of each unit of rows
	stop    atomic.Bool
	packing []atomic.Int32 // units done, by stage
	working []atomic.Int32
}

// run does the product.
func (g *gemm[T]) run(threads int) {
	if g.m*g.n*g.k < smallProduct {
		threads = 1
	}
	g.plan(threads)
	stages := g.groups * ((g.n + g.cols - 1) / g.cols)
	if !g.direct {
		// A second one is packed while other goroutines still multiply with the first.
		for i := range min(stages, threads, 2) {
			g.packed[i] = borrow[T](min(groupK, g.k) * g.cols)
			defer giveBack(g.packed[i])
		}
		if g.packed[1] == nil {
			g.packed[1] = g.packed[0]
		}
	}
	if threads > 1 {
		g.packing, g.working = make([]atomic.Int32, stages), make([]atomic.Int32, stages)
	}
	units := g.packs + g.blocks*g.strips
	if threads <= 1 {
		for u := range stages * units {
			g.unit(u/units, u%units)
		}
		return
	}
	Parallel(threads, stages*units, 1, func(u, _ int) {
		defer g.stopIfPanic()
		g.unit(u/units, u%units)
	})
}

// plan cuts the product.
func (g *gemm[T]) plan(threads int) {
	g.panels = (g.m + g.tile.heights[0] - 1) / g.tile.heights[0]
	g.groups = (g.k + groupK - 1) / groupK
	g.direct = g.b.own != nil && !g.transB && g.m <= fewRows
	fit := packedB / int(unsafe.Sizeof(g.alpha)) / min(g.k, groupK) / g.tile.full * g.tile.full
	g.cols = min(fit, roundUp(g.n, g.tile.full))
	if !g.direct {
		g.packs = (min(g.n, g.cols) + packCut - 1) / packCut
	}
	g.blocks = (g.m + blockM - 1) / blockM
	g.strips = 1
	if threads > 1 {
		want := 4 * threads
		g.blocks = max(g.blocks, min(want, g.m/(4*g.tile.heights[0])))
		g.strips = max(1, min((want+g.blocks-1)/g.blocks, min(g.n, g.cols)/stripCut))
	}
	g.blocks = min(g.blocks, g.panels)
}

// stopIfPanic ends the units that wait for the one that panics.
func (g *gemm[T]) stopIfPanic() {
	if r := recover(); r != nil {
		g.stop.Store(true)
		panic(r)
	}
}

// unit is one unit of a stage.
func (g *gemm[T]) unit(stage, u int) {
	jc, pc := stage/g.groups*g.cols, stage%g.groups*groupK
	nc, kc := min(g.cols, g.n-jc), min(groupK, g.k-pc)
	if u < g.packs {
		if stage > 1 && !g.wait(g.working, stage-2, g.blocks*g.strips) {
			return
		}
		if lo := u * packCut; lo < nc {
			g.packB(*g.packed[stage%2], pc, kc, jc, lo, min(lo+packCut, nc))
		}
		g.done(g.packing, stage)
		return
	}
	if !g.wait(g.packing, stage, g.packs) || stage > 0 && !g.wait(g.working, stage-1, g.blocks*g.strips) {
		return
	}
	u -= g.packs
	block, strip := u/g.strips, u%g.strips
	w := g.tile.full
	wide := (nc + w - 1) / w
	j0, j1 := strip*wide/g.strips*w, min((strip+1)*wide/g.strips*w, nc)
	if j0 < j1 {
		g.multiply(stage, block*g.panels/g.blocks, (block+1)*g.panels/g.blocks, pc, kc, jc, j0, j1)
	}
	g.done(g.working, stage)
}

func (g *gemm[T]) done(count []atomic.Int32, stage int) {
	if count != nil {
		count[stage].Add(1)
	}
}

// wait returns when n units of a stage are done, or false when that will never be. What it waits for takes some microseconds; if it
// takes longer, the goroutine that does it has lost its processor, and spinning would keep it from getting one.
func (g *gemm[T]) wait(count []atomic.Int32, stage, n int) bool {
	const spins = 200
	for i := 0; count != nil && int(count[stage].Load()) < n; i++ {
		if g.stop.Load() {
			return false
		}
		if i < spins {
			runtime.Gosched()
		} else {
			time.Sleep(20 * time.Microsecond)
		}
	}
	return true
}

// blocksOf is in how many blocks k is cut: equal ones, as far as that goes, none of which is larger than blockK.
func blocksOf(k int) int { return (k + blockK - 1) / blockK }

// packB copies columns [jc+lo, jc+hi) of rows [pc, pc+kc) of op(B) into panels, block of k by block of k.
func (g *gemm[T]) packB(dst []T, pc, kc, jc, lo, hi int) {
	n := blocksOf(kc)
	for i := range n {
		p0, p1 := i*kc/n, (i+1)*kc/n
		g.packBlock(dst, kc, p0, pc+p0, p1-p0, jc, lo, hi)
	}
}

// packBlock packs k rows of op(B) from pc on; row p0 of a panel is where they go.
func (g *gemm[T]) packBlock(dst []T, kc, p0, pc, k, jc, lo, hi int) {
	rows, i0, j0 := k, pc, jc+lo
	cols := hi - lo
	if g.transB {
		rows, cols, i0, j0 = hi-lo, k, jc+lo, pc
	}
	switch b := g.b; {
	case b.own != nil:
		row, col := g.tile.packRows, g.tile.packCols
		packPanels(&g.tile, dst, b.own[i0*b.ld+j0:], b.ld, g.transB, kc, p0, k, lo, hi, row, col)
	case b.stored.F32 != nil:
		packPanels(&g.tile, dst, b.stored.F32[b.off+i0*b.ld+j0:], b.ld, g.transB, kc, p0, k, lo, hi, packRows[T, float32], packCols[T, float32])
	default:
		room := borrow[float32](rows * cols)
		defer giveBack(room)
		for i := range rows {
			b.stored.Decode((*room)[i*cols:(i+1)*cols], b.off+(i0+i)*b.ld+j0)
		}
		packPanels(&g.tile, dst, *room, cols, g.transB, kc, p0, k, lo, hi, packRows[T, float32], packCols[T, float32])
	}
}

// packPanels packs columns [lo, hi) of a block of k rows that begins at src into panels of kc rows, from row p0 on.
func packPanels[T, S Float](t *tile[T], dst []T, src []S, ld int, trans bool, kc, p0, k, lo, hi int, rows, cols func(dst []T, src []S, ld, n, k, w int)) {
	for j := lo; j < hi; j += t.full {
		n := min(t.full, hi-j)
		w := t.width(n)
		p := dst[j*kc+p0*w:][:k*w]
		if trans {
			rows(p, src[(j-lo)*ld:], ld, n, k, w)
		} else {
			cols(p, src[j-lo:], ld, n, k, w)
		}
	}
}

// width is the width of the panel that holds n columns.
func (t *tile[T]) width(n int) int {
	if n <= t.narrow {
		return t.narrow
	}
	return t.full
}

// height is that of the next panel where rows are left for so many: the least that leaves the others no more than they can take.
func (t *tile[T]) height(rows, panels int) int {
	i := len(t.heights) - 1
	for i > 0 && t.heights[i]*panels < rows {
		i--
	}
	return t.heights[i]
}

// multiply multiplies panels [from, to) of the rows of op(A) with columns [j0, j1) of a stage.
func (g *gemm[T]) multiply(stage, from, to, pc, kc, jc, j0, j1 int) {
	i0 := 0
	for q := range from {
		i0 += g.tile.height(g.m-i0, g.panels-q)
	}
	h := g.tile.heights[0]
	n := blocksOf(kc)
	panels := 1
	if g.tile.packed {
		panels = to - from
	}
	room := borrow[T](panels*h*((kc+n-1)/n) + maxTile + blockK*g.tile.full)
	defer giveBack(room)
	for i := range n {
		p0, p1 := i*kc/n, (i+1)*kc/n
		g.packA((*room)[maxTile+blockK*g.tile.full:], from, to, i0, pc+p0, p1-p0)
		for j := j0; j < j1; j += g.tile.full {
			cols := min(g.tile.full, j1-j)
			w := g.tile.width(cols)
			ldb := w
			var b []T
			switch {
			case !g.direct:
				b = (*g.packed[stage%2])[j*kc+p0*w:]
			case cols == w:
				b, ldb = g.b.own[(pc+p0)*g.b.ld+jc+j:], g.b.ld
			default:
				b = (*room)[maxTile:]
				g.tile.packCols(b[:(p1-p0)*w], g.b.own[(pc+p0)*g.b.ld+jc+j:], g.b.ld, cols, p1-p0, w)
			}
			beta := g.beta
			if pc+p0 > 0 {
				beta = 1
			}
			g.column(*room, from, to, i0, pc+p0, p1-p0, b, ldb, jc+j, cols, w, beta)
		}
	}
}

// packA packs rows from i0 on, k elements from pc on. Only the last panel, where rows are missing, is packed if the tile takes A where
// it lies.
func (g *gemm[T]) packA(dst []T, from, to, i0, pc, k int) {
	for q := from; q < to; q++ {
		h := g.tile.height(g.m-i0, g.panels-q)
		rows := min(h, g.m-i0)
		if rows == h && !g.tile.packed {
			i0 += rows
			continue
		}
		if g.transA {
			g.tile.packCols(dst[:h*k], g.a[pc*g.lda+i0:], g.lda, rows, k, h)
		} else {
			g.tile.packRows(dst[:h*k], g.a[i0*g.lda+pc:], g.lda, rows, k, h)
		}
		dst = dst[h*k:]
		i0 += rows
	}
}

// column multiplies rows from i0 on, k elements from pc on, with a panel of columns, from j on.
func (g *gemm[T]) column(room []T, from, to, i0, pc, k int, b []T, ldb, j, cols, w int, beta T) {
	edge, packed := room[:maxTile], room[maxTile+blockK*g.tile.full:]
	for q := from; q < to; q++ {
		h := g.tile.height(g.m-i0, g.panels-q)
		rows := min(h, g.m-i0)
		a, lda, step := packed, 1, h
		switch {
		case g.tile.packed || rows < h:
			packed = packed[h*k:]
		case g.transA:
			a, step = g.a[pc*g.lda+i0:], g.lda
		default:
			a, lda, step = g.a[i0*g.lda+pc:], g.lda, 1
		}
		c := g.c[i0*g.ldc+j:]
		d, ldd := c, g.ldc
		if pc == 0 && g.bias != nil {
			d, ldd = g.bias[j:], 0
		}
		if rows == h && cols == w {
			g.tile.run(h, w, k, a, lda, step, b, ldb, c, g.ldc, d, ldd, g.alpha, beta)
		} else {
			// What is past the edge of C is computed, and lost.
			for r := 0; r < rows && beta != 0; r++ {
				copy(edge[r*w:], d[r*ldd:r*ldd+cols])
			}
			g.tile.run(h, w, k, a, lda, step, b, ldb, edge, w, edge, w, g.alpha, beta)
			for r := range rows {
				copy(c[r*g.ldc:r*g.ldc+cols], edge[r*w:])
			}
		}
		i0 += rows
	}
}
