package kernel

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// Every range is visited once, whatever the number of goroutines, also by calls inside of calls and from several callers at once.
func TestParallelVisitsEveryRangeOnce(t *testing.T) {
	const n, inner = 301, 97
	visit := func(threads int) []int32 {
		seen := make([]atomic.Int32, n*inner)
		Parallel(threads, n, 7, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				Parallel(threads, inner, 10, func(a, b int) {
					for k := a; k < b; k++ {
						seen[i*inner+k].Add(1)
					}
				})
			}
		})
		out := make([]int32, len(seen))
		for i := range seen {
			out[i] = seen[i].Load()
		}
		return out
	}
	var callers sync.WaitGroup
	for _, threads := range []int{1, 2, 3, 8, 300} {
		for range 3 {
			callers.Go(func() {
				if i := slices.IndexFunc(visit(threads), func(v int32) bool { return v != 1 }); i >= 0 {
					t.Errorf("%d threads: element %d is not visited once", threads, i)
				}
			})
		}
	}
	callers.Wait()
}

// A panic reaches the caller after all other ranges are done, and the goroutines go on working.
func TestParallelHandsOnPanics(t *testing.T) {
	for range 50 {
		var done atomic.Int32
		func() {
			defer func() {
				if r := recover(); fmt.Sprint(r) != "range 40" {
					t.Errorf("recovered %v", r)
				}
			}()
			Parallel(4, 100, 10, func(lo, _ int) {
				if lo == 40 {
					panic("range 40")
				}
				done.Add(1)
			})
		}()
		if done.Load() != 9 {
			t.Fatalf("%d of 9 ranges were done when the panic came", done.Load())
		}
	}
	total := 0
	Parallel(1, 10, 3, func(lo, hi int) { total += hi - lo })
	if total != 10 {
		t.Errorf("%d of 10", total)
	}
}

func BenchmarkParallel(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprint(threads), func(b *testing.B) {
			x, y := make([]float32, 1<<16), make([]float32, 1<<16)
			for b.Loop() {
				Parallel(threads, len(x), 1<<14, func(lo, hi int) { vecAdd(y[lo:hi], x[lo:hi], y[lo:hi]) })
			}
		})
	}
}
