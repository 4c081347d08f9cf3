package kernel

// walkGrain is how many elements one unit of parallel work has in elementwise kernels.
const walkGrain = 1 << 15

// Walk visits the elements of a row-major index space together with their offsets in several strided operands. Dimensions that
// are contiguous in every operand are merged, so the innermost run is as long as it can be.
type Walk struct {
	total   int
	shape   []int
	strides [][]int // per operand
	// Inner holds each operand's stride along the innermost run.
	Inner []int
}

// NewWalk plans a walk over shape; strides gives, per operand, one stride per dimension (0 repeats, negative goes backwards).
func NewWalk(shape []int, strides ...[]int) *Walk {
	w := &Walk{total: 1, strides: make([][]int, len(strides)), Inner: make([]int, len(strides))}
	for _, d := range shape {
		w.total *= d
	}
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] == 1 {
			continue
		}
		if n := len(w.shape); n > 0 {
			merge := true
			for o, s := range strides {
				merge = merge && s[i] == w.strides[o][n-1]*w.shape[n-1]
			}
			if merge {
				w.shape[n-1] *= shape[i]
				continue
			}
		}
		w.shape = append(w.shape, shape[i])
		for o, s := range strides {
			w.strides[o] = append(w.strides[o], s[i])
		}
	}
	if len(w.shape) == 0 {
		w.shape = []int{1}
		for o := range strides {
			w.strides[o] = []int{1}
		}
	}
	for o := range strides {
		w.Inner[o] = w.strides[o][0]
	}
	return w
}

// Total is the number of elements visited.
func (w *Walk) Total() int { return w.total }

// Range calls f on runs of n elements along the innermost dimension; off holds each operand's offset of the first one and is
// only valid during the call. Runs are visited by several goroutines when there is enough work.
func (w *Walk) Range(threads int, f func(n int, off []int)) {
	w.Rows(threads, func(rows, n int, off, step []int) {
		for range rows {
			f(n, off)
			for o := range off {
				off[o] += step[o]
			}
		}
		for o := range off {
			off[o] -= rows * step[o]
		}
	})
}

// Rows is Range for several runs at a time: f gets a number of runs whose beginnings are step apart in each operand. What it does to off
// it undoes.
func (w *Walk) Rows(threads int, f func(rows, n int, off, step []int)) {
	if w.total < 2*walkGrain {
		threads = 1
	}
	step := make([]int, len(w.Inner))
	if len(w.shape) > 1 {
		for o := range step {
			step[o] = w.strides[o][1]
		}
	}
	Parallel(threads, w.total, walkGrain, func(lo, hi int) { w.rows(lo, hi, step, f) })
}

// rows is Rows for the elements from lo to hi.
func (w *Walk) rows(lo, hi int, step []int, f func(rows, n int, off, step []int)) {
	inner := w.shape[0]
	idx := make([]int, len(w.shape))
	off := make([]int, len(w.Inner))
	rest := lo
	for d, n := range w.shape {
		idx[d] = rest % n
		rest /= n
		for o := range off {
			off[o] += idx[d] * w.strides[o][d]
		}
	}
	for lo < hi {
		rows, n := 1, min(inner-idx[0], hi-lo)
		if n == inner && len(idx) > 1 {
			rows = min(w.shape[1]-idx[1], (hi-lo)/inner)
		}
		f(rows, n, off, step)
		lo += rows * n
		if lo >= hi {
			return
		}
		for o := range off {
			off[o] -= idx[0] * w.Inner[o]
		}
		idx[0] = 0
		for d, by := 1, rows; d < len(idx); d, by = d+1, 1 {
			idx[d] += by
			for o := range off {
				off[o] += by * w.strides[o][d]
			}
			if idx[d] < w.shape[d] {
				break
			}
			for o := range off {
				off[o] -= idx[d] * w.strides[o][d]
			}
			idx[d] = 0
		}
	}
}

// Copy copies elements along a walk with operands dst, src; the offsets are added to every element's position.
func Copy[T Elem](threads int, w *Walk, dst []T, dstOff int, src []T, srcOff int) {
	sd, ss := w.Inner[0], w.Inner[1]
	w.Rows(threads, func(rows, n int, off, step []int) {
		d, s := dstOff+off[0], srcOff+off[1]
		if sd == 1 && ss > 1 && step[1] == 1 && rows > 1 {
			transpose(dst[d:], src[s:], rows, n, step[0], ss)
			return
		}
		for range rows {
			copyRun(dst, src, d, s, sd, ss, n)
			d += step[0]
			s += step[1]
		}
	})
}

func copyRun[T Elem](dst, src []T, d, s, sd, ss, n int) {
	switch {
	case sd == 1 && ss == 1:
		copy(dst[d:d+n], src[s:s+n])
	case sd == 1 && ss == 0:
		v, out := src[s], dst[d:d+n]
		for i := range out {
			out[i] = v
		}
	case sd == 1:
		out := dst[d : d+n]
		for i := range out {
			out[i] = src[s]
			s += ss
		}
	default:
		for range n {
			dst[d] = src[s]
			d += sd
			s += ss
		}
	}
}

// transpose sets dst[r*ldd+i] to src[i*lds+r] for rows of n, in blocks whose lines of cache are used up before they are gone.
func transpose[T Elem](dst, src []T, rows, n, ldd, lds int) {
	const block = 16
	for i0 := 0; i0 < n; i0 += block {
		i1 := min(i0+block, n)
		for r0 := 0; r0 < rows; r0 += block {
			width := min(block, rows-r0)
			for i := i0; i < i1; i++ {
				d := r0*ldd + i
				for _, v := range src[i*lds+r0:][:width] {
					dst[d] = v
					d += ldd
				}
			}
		}
	}
}

// Select writes a where cond holds and b elsewhere; the walk's operands are out, cond, a and b.
func Select[T Elem](threads int, w *Walk, out []T, cond []bool, a, b []T) {
	sc, sa, sb := w.Inner[1], w.Inner[2], w.Inner[3]
	w.Range(threads, func(n int, off []int) {
		o := out[off[0] : off[0]+n]
		c, x, y := off[1], off[2], off[3]
		for i := range o {
			if cond[c] {
				o[i] = a[x]
			} else {
				o[i] = b[y]
			}
			c += sc
			x += sa
			y += sb
		}
	})
}

// Strides returns the row-major strides of a shape.
func Strides(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// BroadcastStrides returns the strides with which a tensor of shape from is read as one of shape to: missing leading
// dimensions and dimensions of size 1 repeat. That the shapes are compatible is the caller's contract.
func BroadcastStrides(from, to []int) []int {
	s := make([]int, len(to))
	own := Strides(from)
	lead := len(to) - len(from)
	for i := range from {
		if from[i] != 1 {
			s[lead+i] = own[i]
		}
	}
	return s
}
