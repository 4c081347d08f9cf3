package kernel

import "testing"

// Transposes are copied in blocks, and walks of several rows at a time are cut between threads in the middle of rows.
func TestCopyOfTransposes(t *testing.T) {
	for _, c := range []struct {
		shape, perm []int
	}{
		{[]int{300, 217}, []int{1, 0}},
		{[]int{3, 50, 7, 61}, []int{0, 2, 1, 3}},
		{[]int{3, 50, 7, 61}, []int{3, 1, 0, 2}},
		{[]int{3, 50, 7, 61}, []int{0, 2, 3, 1}},
		{[]int{2, 31, 1, 1100}, []int{3, 0, 2, 1}},
	} {
		src := make([]int64, product(c.shape))
		for i := range src {
			src[i] = int64(i)
		}
		own := Strides(c.shape)
		var shape, strides []int
		for _, axis := range c.perm {
			shape, strides = append(shape, c.shape[axis]), append(strides, own[axis])
		}
		for threads := 1; threads <= 3; threads += 2 {
			dst := make([]int64, len(src)+1)
			dst[len(src)] = -1
			Copy(threads, NewWalk(shape, Strides(shape), strides), dst, 0, src, 0)
			for i, got := range dst[:len(src)] {
				want, rest := 0, i
				for d := len(shape) - 1; d >= 0; d-- {
					want += rest % shape[d] * strides[d]
					rest /= shape[d]
				}
				if got != int64(want) {
					t.Fatalf("%v by %v: element %d is %d, want %d", c.shape, c.perm, i, got, want)
				}
			}
			if dst[len(src)] != -1 {
				t.Fatalf("%v by %v: written beyond the end", c.shape, c.perm)
			}
		}
	}
}

func BenchmarkVecWalk(b *testing.B) {
	const rows, n = 512, 256
	x, y, z := make([]float32, rows*n), make([]float32, rows*n), make([]float32, rows*n)
	shape := []int{rows, n}
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows/n, "ns/elem")
		})
	}
	same, row, one := Strides(shape), []int{0, 1}, []int{0, 0}
	run("add", func() { Binary(1, Add, NewWalk(shape, same, same, same), z, x, y) })
	run("add row", func() { Binary(1, Add, NewWalk(shape, same, same, row), z, x, y) })
	run("add column", func() { Binary(1, Add, NewWalk(shape, same, same, []int{1, 0}), z, x, y) })
	run("mul scalar", func() { Binary(1, Mul, NewWalk(shape, same, same, one), z, x, y) })
	run("div scalar", func() { Binary(1, Div, NewWalk(shape, same, same, one), z, x, y) })
	run("square", func() { y[0] = 2; Binary(1, Pow, NewWalk(shape, same, same, one), z, x, y) })
	run("copy", func() { copy(z, x) })
	// [2, 64, 8, 128 -> 64 wide heads] to heads first and back.
	split := []int{2, 8, 128, 64}
	run("split heads", func() { Copy(1, NewWalk(split, Strides(split), []int{128 * 512, 64, 512, 1}), z, 0, x, 0) })
	run("transpose", func() { Copy(1, NewWalk([]int{n, rows}, []int{rows, 1}, []int{1, n}), z, 0, x, 0) })
	run("bias gradient", func() { Reduce(1, ReduceSum, y[:n], x, 1, rows, n) })
	run("row sums", func() { Reduce(1, ReduceMean, y[:rows], x, rows, n, 1) })
	run("layer norm", func() { LayerNorm(1, z, x, y[:n], y[:n], nil, nil, n, 1e-5) })
}
