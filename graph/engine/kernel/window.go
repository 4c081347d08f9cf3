package kernel

import "math"

// Window is the geometry of a convolution or pooling over d spatial dimensions; every slice has d elements, Pads has the leading
// pads, then the trailing ones.
type Window struct {
	In, Out, Kernel, Strides, Dilations []int
	Pads                                []int
}

func product(s []int) int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// next advances a row-major index and reports false after the last.
func next(idx, shape []int) bool {
	for d := len(idx) - 1; d >= 0; d-- {
		idx[d]++
		if idx[d] < shape[d] {
			return true
		}
		idx[d] = 0
	}
	return false
}

// source returns the offset in the input that kernel position k of output position o reads; ok is false in the padding.
func (w *Window) source(o, k []int) (at int, ok bool) {
	for d := range w.In {
		p := o[d]*w.Strides[d] + k[d]*w.Dilations[d] - w.Pads[d]
		if p < 0 || p >= w.In[d] {
			return 0, false
		}
		at = at*w.In[d] + p
	}
	return at, true
}

// Conv is the cross-correlation of x [batch, groups*cin, in...] with weights w [groups*cout, cin, kernel...] plus bias (nil: none)
// into y [batch, groups*cout, out...], as one matrix product per image and group on the unfolded input.
func Conv[T Float](threads int, win *Window, y, x, w, bias []T, batch, groups, cin, cout int) {
	in, out, ker := product(win.In), product(win.Out), product(win.Kernel)
	unfolded := borrow[T](cin * ker * out)
	defer giveBack(unfolded)
	for n := range batch {
		for g := range groups {
			src := x[(n*groups+g)*cin*in:][:cin*in]
			dst := y[(n*groups+g)*cout*out:][:cout*out]
			gather(threads, win, cin, *unfolded, src)
			if bias != nil {
				for c := range cout {
					row := dst[c*out : c*out+out]
					for i := range row {
						row[i] = bias[g*cout+c]
					}
				}
			}
			var beta T
			if bias != nil {
				beta = 1
			}
			Gemm(threads, false, false, cout, out, cin*ker, 1, w[g*cout*cin*ker:], cin*ker, *unfolded, out, beta, dst, out)
		}
	}
}

// gather unfolds cin planes of an input: a row per channel and kernel position, with what each output position reads there.
func gather[T Float](threads int, w *Window, cin int, unfolded, src []T) {
	in, out, step := product(w.In), product(w.Out), w.Strides[len(w.In)-1]
	w.unfold(threads, cin, func(c, row int, k []int) {
		o := unfolded[row*out : row*out+out]
		clear(o)
		w.runs(k, func(to, n, at int) {
			from := src[c*in+at:]
			if step == 1 {
				copy(o[to:to+n], from)
				return
			}
			for i := range n {
				o[to+i] = from[i*step]
			}
		})
	})
}

// unfold calls f for each row (channel and kernel position) of the unfolded input.
func (w *Window) unfold(threads, cin int, f func(c, row int, k []int)) {
	ker := product(w.Kernel)
	Parallel(threads, cin, max(1, walkGrain/max(1, ker*product(w.Out))), func(lo, hi int) {
		for c := lo; c < hi; c++ {
			k := make([]int, len(w.Kernel))
			for row := c * ker; row < (c+1)*ker; row++ {
				f(c, row, k)
				next(k, w.Kernel)
			}
		}
	})
}

// runs calls f with the runs of neighbouring output positions whose kernel position k lies in the input: n positions from offset o on,
// the first of which reads the input's offset at. Along a run the input's offset grows by the last stride.
func (w *Window) runs(k []int, f func(o, n, at int)) {
	last := len(w.In) - 1
	step, shift := w.Strides[last], k[last]*w.Dilations[last]-w.Pads[last]
	lo := max(0, (step-1-shift)/step)
	hi := min(w.Out[last], (w.In[last]-1-shift+step)/step)
	if w.In[last] <= shift || lo >= hi {
		return
	}
	idx := make([]int, last)
	for row := 0; ; row++ {
		at, inside := 0, true
		for d, o := range idx {
			p := o*w.Strides[d] + k[d]*w.Dilations[d] - w.Pads[d]
			inside = inside && p >= 0 && p < w.In[d]
			at = at*w.In[d] + p
		}
		if inside {
			f(row*w.Out[last]+lo, hi-lo, at*w.In[last]+lo*step+shift)
		}
		if !next(idx, w.Out[:last]) {
			return
		}
	}
}

// MaxPool takes the largest element of each window of x [planes, in...] into y [planes, out...]. index, where not nil, receives
// its position in x; with columnMajor the position counts each plane's elements in column-major order.
func MaxPool[T Number](threads int, w *Window, y, x []T, index []int64, planes int, columnMajor bool) {
	in, out := product(w.In), product(w.Out)
	Parallel(threads, planes, max(1, walkGrain/max(1, out)), func(lo, hi int) {
		for p := lo; p < hi; p++ {
			o := make([]int, len(w.Out))
			for i := range out {
				best := largest(w, x[p*in:(p+1)*in], o)
				if best >= 0 {
					y[p*out+i] = x[p*in+best]
				} else {
					y[p*out+i] = emptyExtreme[T](true)
				}
				if index != nil {
					if columnMajor {
						best = w.columnMajor(best)
					}
					index[p*out+i] = int64(p*in + best)
				}
				next(o, w.Out)
			}
		}
	})
}

func (w *Window) columnMajor(at int) int {
	idx := make([]int, len(w.In))
	for d := len(w.In) - 1; d >= 0; d-- {
		idx[d] = at % w.In[d]
		at /= w.In[d]
	}
	at = 0
	for d := len(w.In) - 1; d >= 0; d-- {
		at = at*w.In[d] + idx[d]
	}
	return at
}

// AveragePool takes the mean of each window of x [planes, in...] into y [planes, out...]. The padding counts as zeros with
// countPad, and not at all without.
func AveragePool[T Float](threads int, w *Window, y, x []T, planes int, countPad bool) {
	in, out := product(w.In), product(w.Out)
	Parallel(threads, planes, max(1, walkGrain/max(1, out)), func(lo, hi int) {
		for p := lo; p < hi; p++ {
			o := make([]int, len(w.Out))
			for i := range out {
				k := make([]int, len(w.Kernel))
				var s float64
				n := 0
				for {
					at, ok := w.source(o, k)
					if ok {
						s += float64(x[p*in+at])
					}
					if ok || countPad && w.padded(o, k) {
						n++
					}
					if !next(k, w.Kernel) {
						break
					}
				}
				if n == 0 {
					y[p*out+i] = T(math.NaN())
				} else {
					y[p*out+i] = T(s / float64(n))
				}
				next(o, w.Out)
			}
		}
	})
}

// padded reports whether a window position lies in the declared padding, not beyond it (where ceil_mode can reach).
func (w *Window) padded(o, k []int) bool {
	for d := range w.In {
		p := o[d]*w.Strides[d] + k[d]*w.Dilations[d] - w.Pads[d]
		if p >= w.In[d]+w.Pads[len(w.In)+d] {
			return false
		}
	}
	return true
}
