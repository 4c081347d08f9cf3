package kernel

import (
	"fmt"
	"slices"
	"testing"
)

// TestSumsAreExactWhereTheyCanBe: sums of small integers have one right answer, whatever the order, which shows every element that is
// missed or counted twice.
func TestSumsAreExactWhereTheyCanBe(t *testing.T) {
	for _, s := range [][3]int{{1, 1, 1}, {1, 5, 1}, {3, 301, 7}, {1, 1000, 1}, {2, 40000, 1}, {1, 4097, 3}, {1, 1030, 513}, {2, 257, 1025},
		{5, 1, 9}, {300, 2, 3}, {7, 256, 512}, {1, 3, 2000}, {2, 0, 3}, {2, 3, 0}, {0, 3, 3}} {
		outer, n, inner := s[0], s[1], s[2]
		in := make([]float32, outer*n*inner)
		for i := range in {
			in[i] = float32(i*7%23 - 11)
		}
		want := make([]float32, outer*inner)
		for i, v := range in {
			want[i/(n*inner)*inner+i%inner] += v
		}
		for _, threads := range []int{1, 3} {
			got := slices.Repeat([]float32{99}, outer*inner)
			Reduce(threads, ReduceSum, got, in, outer, n, inner)
			if !slices.Equal(got, want) {
				t.Errorf("sum of %v with %d threads: %v, want %v", s, threads, got[:min(9, len(got))], want[:min(9, len(want))])
			}
		}
	}
}

func BenchmarkReduceSum(b *testing.B) {
	for _, s := range [][3]int{{1, 4096, 768}, {4096, 768, 1}, {8, 512, 768}} {
		b.Run(fmt.Sprint(s), func(b *testing.B) {
			in, out := make([]float32, s[0]*s[1]*s[2]), make([]float32, s[0]*s[2])
			b.SetBytes(int64(4 * len(in)))
			for b.Loop() {
				Reduce(1, ReduceSum, out, in, s[0], s[1], s[2])
			}
		})
	}
}
