package engine

import (
	"slices"

	dense "gorgonia.org/tensor"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// arena owns the buffers of intermediate values. A buffer goes back when the last consumer of every value in it has run, so the
// memory of a run is the largest set of values alive at once, and a second run of the same program allocates nothing. It follows
// the machine's own order of execution, whatever that is.
type arena struct {
	shadow bool
	limit  int64 // 0: none
	total  int64 // in buffers
	held   int64 // in weights
	all    []*storage
}

// storage is one buffer of the arena.
type storage struct {
	buf  buffer
	refs int // consumers still to run; 0: free
}

// begin takes every buffer back, also those that a failed run left in use.
func (a *arena) begin() {
	for _, s := range a.all {
		s.refs = 0
	}
}

// get returns a buffer for n elements of dt: the smallest free one that is large enough but not wastefully so, or a new one.
func (a *arena) get(dt onnxio.DType, n, refs int) (*storage, error) {
	probe, err := newBuffer(dt, a.shadow, 0)
	if err != nil {
		return nil, err
	}
	kind := denseType(probe)
	var best *storage
	for _, s := range a.all {
		if s.refs == 0 && s.buf.size() >= n && s.buf.size() <= 2*n+1024 && denseType(s.buf) == kind && (best == nil || s.buf.size() < best.buf.size()) {
			best = s
		}
	}
	if best == nil {
		need := int64(n) * elemBytes(dt, a.shadow)
		if err := a.room(need); err != nil {
			return nil, err
		}
		best = &storage{buf: probe.fresh(n)}
		a.total += need
		a.all = append(a.all, best)
	}
	best.refs = refs
	return best, nil
}

// room makes sure that need more bytes are within the limit.
func (a *arena) room(need int64) error {
	if a.limit > 0 && a.held+a.total+need > a.limit {
		a.trim()
		if all := a.held + a.total + need; all > a.limit {
			return &MemoryError{all, a.limit}
		}
	}
	return nil
}

// hold counts memory of weights.
func (a *arena) hold(n int64) error {
	if n == 0 {
		return nil
	}
	err := a.room(n)
	if err == nil {
		a.held += n
	}
	return err
}

// owns reports whether b begins where a buffer of the arena does.
func (a *arena) owns(b buffer) bool {
	return slices.ContainsFunc(a.all, func(s *storage) bool { return s.buf.size() >= b.size() && s.buf.slice(0, b.size()).same(b) })
}

// trim forgets the free buffers.
func (a *arena) trim() {
	kept := a.all[:0]
	a.total = 0
	for _, s := range a.all {
		if s.refs > 0 {
			kept = append(kept, s)
			a.total += s.buf.bytes()
		}
	}
	clear(a.all[len(kept):])
	a.all = kept
}

// slot is where one output of a call lives while the program runs.
type slot struct {
	t         *tensor
	consumers int // operands that read it, plus one if the program returns it
	st        *storage
	dense     *dense.Dense
	last      buffer // what dense wraps
}
