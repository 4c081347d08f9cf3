package kernel

import (
	"math/bits"
	"sync"
)

// pools hold scratch slices whose capacities are powers of two, each its own: in one pool, small ones would push large ones out.
var pools32, pools64 [bits.UintSize]sync.Pool

func poolOf[T Float](class int) *sync.Pool {
	var z T
	if _, ok := any(z).(float64); ok {
		return &pools64[class]
	}
	return &pools32[class]
}

// borrow returns a scratch slice of n elements with arbitrary contents.
func borrow[T Float](n int) *[]T {
	class := bits.Len(uint(max(n, 1) - 1))
	if s, ok := poolOf[T](class).Get().(*[]T); ok {
		*s = (*s)[:n]
		return s
	}
	s := make([]T, n, 1<<class)
	return &s
}

func giveBack[T Float](s *[]T) { poolOf[T](bits.Len(uint(max(cap(*s), 1) - 1))).Put(s) }
