package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Parallel cuts [0, n) into ranges of grain elements, calls f once for each on at most threads goroutines, the caller's among them, and
// returns when all are done. Ranges have grain elements (the last may be shorter), whatever the number of threads, so that a
// kernel whose ranges are independent gives the same result on any machine. A panic in a range is raised again in the caller's
// goroutine, where it can be recovered.
//
// The other goroutines stay for the next call. Starting one costs as long as a short kernel takes, mostly the time until a sleeping
// thread runs; so after its work a goroutine looks out for more for some time before it sleeps. A call never waits for a goroutine
// that has not begun, so calls inside of f are allowed.
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
	j := &job{f: f, n: n, grain: grain, chunks: chunks}
	j.left.Add(chunks)
	theCrew.call(workers-1, j)
	j.work()
	j.wait()
	if j.cause != nil {
		panic(j.cause)
	}
}

// job is one call of Parallel with several goroutines.
type job struct {
	f                func(lo, hi int)
	n, grain, chunks int
	next, done       atomic.Int64
	left             sync.WaitGroup // ranges that are not done
	once             sync.Once
	cause            any
}

// work takes ranges until there are none.
func (j *job) work() {
	for {
		c := int(j.next.Add(1)) - 1
		if c >= j.chunks {
			return
		}
		j.chunk(c)
	}
}

func (j *job) chunk(c int) {
	defer func() {
		if r := recover(); r != nil {
			j.once.Do(func() { j.cause = r })
		}
		j.done.Add(1)
		j.left.Done()
	}()
	j.f(c*j.grain, min((c+1)*j.grain, j.n))
}

// wait returns when all ranges are done. The others take about as long as the caller's own, so it looks for a while before it sleeps.
func (j *job) wait() {
	for range 100 {
		if int(j.done.Load()) == j.chunks {
			break
		}
		runtime.Gosched()
	}
	j.left.Wait()
}

// crew is the goroutines that help.
type crew struct {
	jobs chan *job
	mu   sync.Mutex
	size int
}

var theCrew = crew{jobs: make(chan *job, mostHelpers)}

const (
	mostHelpers = 256
	// lookout is how long a goroutine without work stays awake.
	lookout = 100 * time.Microsecond
)

// call offers a job to n goroutines. Offers that nobody takes in time are taken later, when nothing of the job is left.
func (c *crew) call(n int, j *job) {
	n = min(n, mostHelpers)
	c.mu.Lock()
	for ; c.size < n; c.size++ {
		go c.help()
	}
	c.mu.Unlock()
	for range n {
		select {
		case c.jobs <- j:
		default:
			return // everybody has more than enough to do
		}
	}
}

func (c *crew) help() {
	for {
		c.take().work()
	}
}

// take waits for an offer.
func (c *crew) take() *job {
	for begin := time.Now(); time.Since(begin) < lookout; {
		select {
		case j := <-c.jobs:
			return j
		default:
			runtime.Gosched()
		}
	}
	return <-c.jobs
}
