package kernel

// ConvDataGrad is the gradient dx of a convolution by its input, from dy and the weights: one matrix product per image and group, whose
// rows are added back to where the unfolded input took them from. Shapes are Conv's.
func ConvDataGrad[T Float](threads int, win *Window, dx, dy, w []T, batch, groups, cin, cout int) {
	in, out, ker, step := product(win.In), product(win.Out), product(win.Kernel), win.Strides[len(win.In)-1]
	unfolded := borrow[T](cin * ker * out)
	defer giveBack(unfolded)
	for n := range batch {
		for g := range groups {
			dst := dx[(n*groups+g)*cin*in:][:cin*in]
			src := dy[(n*groups+g)*cout*out:][:cout*out]
			Gemm(threads, true, false, cin*ker, out, cout, 1, w[g*cout*cin*ker:], cin*ker, src, out, 0, *unfolded, out)
			clear(dst)
			win.unfold(threads, cin, func(c, row int, k []int) {
				src := (*unfolded)[row*out : row*out+out]
				win.runs(k, func(from, n, at int) {
					to := dst[c*in+at:]
					for i, v := range src[from : from+n] {
						to[i*step] += v
					}
				})
			})
		}
	}
}

// ConvWeightGrad is the gradient dw of a convolution by its weights, from dy and the input x: the products of all images, added in order.
func ConvWeightGrad[T Float](threads int, win *Window, dw, dy, x []T, batch, groups, cin, cout int) {
	in, out, ker := product(win.In), product(win.Out), product(win.Kernel)
	unfolded := borrow[T](cin * ker * out)
	defer giveBack(unfolded)
	for n := range batch {
		for g := range groups {
			gather(threads, win, cin, *unfolded, x[(n*groups+g)*cin*in:][:cin*in])
			Gemm(threads, false, true, cout, cin*ker, out, 1, dy[(n*groups+g)*cout*out:], out, *unfolded, out, T(min(n, 1)), dw[g*cout*cin*ker:], cin*ker)
		}
	}
}

// MaxPoolGrad is the gradient dx of a maximum pooling of x: every window's goes to the element that MaxPool takes.
func MaxPoolGrad[T Float](threads int, w *Window, dx, dy, x []T, planes int) {
	in, out := product(w.In), product(w.Out)
	Parallel(threads, planes, max(1, walkGrain/max(1, out)), func(lo, hi int) {
		for p := lo; p < hi; p++ {
			d, o := dx[p*in:(p+1)*in], make([]int, len(w.Out))
			clear(d)
			for _, g := range dy[p*out : (p+1)*out] {
				if best := largest(w, x[p*in:(p+1)*in], o); best >= 0 {
					d[best] += g
				}
				next(o, w.Out)
			}
		}
	})
}

// AveragePoolGrad is the gradient dx of an average pooling: every window's is shared by its elements.
func AveragePoolGrad[T Float](threads int, w *Window, dx, dy []T, planes int, countPad bool) {
	in, out := product(w.In), product(w.Out)
	Parallel(threads, planes, max(1, walkGrain/max(1, out)), func(lo, hi int) {
		for p := lo; p < hi; p++ {
			d, o := dx[p*in:(p+1)*in], make([]int, len(w.Out))
			clear(d)
			for _, g := range dy[p*out : (p+1)*out] {
				n := 0
				w.each(o, func(k []int, at int) {
					if at >= 0 || countPad && w.padded(o, k) {
						n++
					}
				})
				w.each(o, func(_ []int, at int) {
					if at >= 0 {
						d[at] += g / T(n)
					}
				})
				next(o, w.Out)
			}
		}
	})
}

// each calls f with every kernel position of the window at o and the offset in the plane that it reads, -1 in the padding.
func (w *Window) each(o []int, f func(k []int, at int)) {
	k := make([]int, len(w.Kernel))
	for {
		at, ok := w.source(o, k)
		if !ok {
			at = -1
		}
		f(k, at)
		if !next(k, w.Kernel) {
			return
		}
	}
}

// largest is the offset in a plane of the first of the largest elements of the window at o; -1 if it lies in the padding.
func largest[T Number](w *Window, plane []T, o []int) int {
	best := -1
	w.each(o, func(_ []int, at int) {
		if at >= 0 && (best < 0 || plane[at] > plane[best]) {
			best = at
		}
	})
	return best
}
