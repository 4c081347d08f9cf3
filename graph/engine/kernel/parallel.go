package kernel

import (
	"sync"
	"sync/atomic"
)

// Parallel calls f on consecutive ranges that cover [0, n), on up to threads goroutines (the caller's is one of them), and
// returns when all are done. Ranges have grain elements (the last may be shorter), whatever the number of threads, so that a
// kernel whose ranges are independent gives the same result on any machine. A panic in a range is raised again in the caller's
// goroutine, where it can be recovered.
func Parallel(threads, n, grain int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	grain = max(grain, 1)
	chunks := (n + grain - 1) / grain
	workers := min(threads, chunks)
	if workers <= 1 {
		for lo := 0; lo < n; lo += grain {
			f(lo, min(lo+grain, n))
		}
		return
	}
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		once  sync.Once
		cause any
	)
	work := func() {
		defer func() {
			if r := recover(); r != nil {
				once.Do(func() { cause = r })
			}
		}()
		for {
			c := int(next.Add(1)) - 1
			if c >= chunks {
				return
			}
			f(c*grain, min((c+1)*grain, n))
		}
	}
	wg.Add(workers - 1)
	for range workers - 1 {
		go func() {
			defer wg.Done()
			work()
		}()
	}
	work()
	wg.Wait()
	if cause != nil {
		panic(cause)
	}
}
