package kernel

// Stored is numbers in the form a file has them in, each of which is a float32: what a kernel reads is widened on the way, so
// that a large weight is never in memory in another form than the file's.
type Stored struct {
	// F32 is the elements, if they are float32 and the machine can read them where they are.
	F32 []float32
	// Decode, where F32 is nil, gives the elements from off on.
	Decode func(dst []float32, off int)
}

// read gives the elements from off on.
func (s Stored) read(dst []float32, off int) {
	if s.F32 != nil {
		copy(dst, s.F32[off:off+len(dst)])
		return
	}
	s.Decode(dst, off)
}

// Widen writes the elements from off on to dst.
func Widen[T Float](threads int, dst []T, s Stored, off int) {
	if len(dst) < walkGrain {
		threads = 1
	}
	Parallel(threads, len(dst), walkGrain, func(lo, hi int) {
		switch d := any(dst[lo:hi]).(type) {
		case []float32:
			s.read(d, off+lo)
			return
		}
		if s.F32 != nil {
			widenRun(dst[lo:hi], s.F32[off+lo:off+hi])
			return
		}
		room := borrow[float32](hi - lo)
		defer giveBack(room)
		s.Decode(*room, off+lo)
		widenRun(dst[lo:hi], *room)
	})
}

// widenRun is copy for two types.
func widenRun[T, S Float](dst []T, src []S) {
	if d, ok := any(dst).([]S); ok {
		copy(d, src)
		return
	}
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] = T(v)
	}
}

// matrix is an operand of a product: elements as they are computed with, or stored ones from number off on.
type matrix[T Float] struct {
	own    []T
	stored Stored
	off    int
	ld     int
}

// narrow is n stored elements from at on, in room if they have to be decoded.
func (m matrix[T]) narrow(room []float32, at, n int) []float32 {
	at += m.off
	if m.stored.F32 != nil {
		return m.stored.F32[at : at+n]
	}
	m.stored.Decode(room[:n], at)
	return room[:n]
}
