package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAddRows compares with the plain loop, bit by bit: rows are added in order, whatever the cut.
func TestAddRows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {2, 900, 300}, {5000, 900, 260}, {70000, 40000, 1}, {4, 3, 0}, {4, 0, 3}} {
		n, count, width := s[0], s[1], s[2]
		rows := make([]int, count)
		for i := range rows {
			rows[i] = r.IntN(n)
			if i%3 == 0 {
				rows[i] = n / 2 // one row much more often than the others
			}
		}
		start, src := randoms[float32](r, n*width), randoms[float32](r, count*width)
		want := slices.Clone(start)
		for k, row := range rows {
			for j := range width {
				want[row*width+j] += src[k*width+j]
			}
		}
		for _, threads := range []int{1, 3} {
			got := slices.Clone(start)
			AddRows(threads, got, src, rows, n, width)
			if !slices.Equal(got, want) {
				t.Errorf("%d rows of %d added to %d with %d threads differ from the plain loop", count, width, n, threads)
			}
		}
	}
}

func BenchmarkAddRows(b *testing.B) {
	for _, n := range []int{2, 50257} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			const count, width = 4096, 768
			r := rand.New(rand.NewPCG(1, 2))
			rows := make([]int, count)
			for i := range rows {
				rows[i] = r.IntN(n)
			}
			dst, src := make([]float32, n*width), make([]float32, count*width)
			b.SetBytes(4 * count * width)
			for b.Loop() {
				AddRows(1, dst, src, rows, n, width)
			}
		})
	}
}
