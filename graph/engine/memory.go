package engine

import (
	"math"
	"slices"
	"unsafe"

	dense "gorgonia.org/tensor"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// Where every value of a program lives is decided when the program is linked: the machine runs the calls in the order in which they
// were emitted (gop.Do holds it to that), so the calls between which a value is alive are known. All values share one block of
// memory, which the engine's programs share in turn; a run allocates nothing for them.

// region is a stretch of that block for as long as a value is in use.
type region struct {
	bytes       int64
	first, last int // the calls, by number, that write it and that read it last
	offset      int64
	// into is the region that this one was merged with: its call may write over that operand.
	into *region
}

// forever is the last use of what a program returns.
const forever = math.MaxInt

func (r *region) root() *region {
	for r.into != nil {
		r = r.into
	}
	return r
}

// slot is where one output of a call lives while the program runs.
type slot struct {
	spec   spec
	region *region // nil: a view
	of     *slot   // what it is a view of, where that is computed
	src    buffer  // what it is a view of, where that is an input or a weight
	own    bool    // lives in a buffer of its own, which may be handed out
	t      *tensor
	dense  *dense.Dense
}

// base is the region that s lies in; nil where that is an input or a weight.
func (s *slot) base() *slot {
	for s.of != nil {
		s = s.of
	}
	return s
}

// use notes that call number at reads the slot.
func (s *slot) use(at int) {
	if b := s.base(); b.region != nil {
		b.region.last = max(b.region.last, at)
	}
}

// inPlacer is an operator that can write its first output over an operand of the same size: it reads no element of it after having
// written the element at the same place.
type inPlacer interface{ inPlace(operand int) bool }

// regionAlign is that of a cache line, and of the widest vector.
const regionAlign = 64

// layout decides the offsets and returns the size of the block: regions are placed in the order of the calls, each in the smallest
// hole that holds it.
func layout(ops []*gop) int64 {
	mergeInPlace(ops)
	var all []*region
	for _, o := range ops {
		all = append(all, o.regions()...)
	}
	slices.SortStableFunc(all, func(a, b *region) int { return a.first - b.first })
	byLast := slices.Clone(all)
	slices.SortStableFunc(byLast, func(a, b *region) int {
		if a.last < b.last {
			return -1
		}
		return min(1, a.last-b.last)
	})
	var h holes
	for _, r := range all {
		for len(byLast) > 0 && byLast[0].last < r.first {
			h.free(byLast[0].offset, byLast[0].bytes)
			byLast = byLast[1:]
		}
		r.offset = h.take(r.bytes)
	}
	return h.end
}

// regions lists those that begin with the call.
func (o *gop) regions() []*region {
	list := slices.Clone(o.scratch)
	for _, s := range o.out {
		if s.region != nil && s.region.into == nil && !s.own {
			list = append(list, s.region)
		}
	}
	return slices.DeleteFunc(list, func(r *region) bool { return r == nil })
}

// mergeInPlace lets calls write over operands that nobody reads after them.
func mergeInPlace(ops []*gop) {
	for _, o := range ops {
		p, ok := o.call.op.(inPlacer)
		if !ok || o.out[0].region == nil || o.out[0].own {
			continue
		}
		out := o.out[0].region
		for i, a := range o.args {
			if a.slot == nil || !p.inPlace(i) || a.spec.size() != o.out[0].spec.size() {
				continue
			}
			b := a.slot.base()
			if b.region == nil || b.own {
				continue
			}
			if r := b.region.root(); r.last == o.seq && r.bytes == out.bytes {
				r.last, out.into = out.last, r
				break
			}
		}
	}
}

// holes is the free part of a block below end, in order, without neighbours.
type holes struct {
	list []hole
	end  int64
}

type hole struct{ at, size int64 }

func (h *holes) take(size int64) int64 {
	best := -1
	for i, k := range h.list {
		if k.size >= size && (best < 0 || k.size < h.list[best].size) {
			best = i
		}
	}
	if best >= 0 {
		k := &h.list[best]
		at := k.at
		k.at += size
		k.size -= size
		if k.size == 0 {
			h.list = slices.Delete(h.list, best, best+1)
		}
		return at
	}
	at := h.end
	if n := len(h.list); n > 0 && h.list[n-1].at+h.list[n-1].size == h.end {
		at = h.list[n-1].at
		h.list = h.list[:n-1]
	}
	h.end = at + size
	return at
}

func (h *holes) free(at, size int64) {
	if size == 0 {
		return
	}
	i, _ := slices.BinarySearchFunc(h.list, at, func(k hole, at int64) int {
		if k.at < at {
			return -1
		}
		return 1
	})
	h.list = slices.Insert(h.list, i, hole{at, size})
	if i+1 < len(h.list) && at+size == h.list[i+1].at {
		h.list[i].size += h.list[i+1].size
		h.list = slices.Delete(h.list, i+1, i+2)
	}
	if i > 0 && h.list[i-1].at+h.list[i-1].size == at {
		h.list[i-1].size += h.list[i].size
		h.list = slices.Delete(h.list, i, i+1)
	}
}

// newRegion is memory for a value that call number at writes.
func (c *compiler) newRegion(s spec, at int) *region {
	n := int64(s.size()) * elemBytes(s.dt, c.x.shadow)
	return &region{bytes: (n + regionAlign - 1) / regionAlign * regionAlign, first: at, last: at}
}

// block is aligned memory that the runs of an engine's programs share.
type block struct {
	mem []byte
	// generation counts how often mem was replaced.
	generation int
}

// reserve makes the block at least n bytes large.
func (b *block) reserve(n int64) {
	if int64(len(b.mem)) >= n {
		return
	}
	b.mem = nil
	raw := make([]byte, n+regionAlign)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(raw))) % regionAlign
	b.mem = raw[skip : skip+uintptr(n)]
	b.generation++
}

// drop gives the memory back.
func (b *block) drop() {
	if b.mem != nil {
		b.mem = nil
		b.generation++
	}
}

// within is the buffer of a value in a region.
func (b *block) within(r *region, s spec, shadow bool) (buffer, error) {
	kind, err := newBuffer(s.dt, shadow, 0)
	if err != nil {
		return nil, err
	}
	n := s.size()
	mem := b.mem[r.offset : r.offset+r.bytes]
	switch kind.(type) {
	case buf[float32]:
		return over[float32](mem, n), nil
	case buf[float64]:
		return over[float64](mem, n), nil
	case buf[int64]:
		return over[int64](mem, n), nil
	case buf[int32]:
		return over[int32](mem, n), nil
	case buf[int16]:
		return over[int16](mem, n), nil
	case buf[int8]:
		return over[int8](mem, n), nil
	case buf[uint64]:
		return over[uint64](mem, n), nil
	case buf[uint32]:
		return over[uint32](mem, n), nil
	case buf[uint16]:
		return over[uint16](mem, n), nil
	case buf[uint8]:
		return over[uint8](mem, n), nil
	}
	return over[bool](mem, n), nil
}

// over reads bytes as n elements. Elements are written before they are read, so it does not matter what the bytes are.
func over[T kernel.Elem](mem []byte, n int) buf[T] {
	if n == 0 {
		return buf[T]{}
	}
	var z T
	_ = mem[n*int(unsafe.Sizeof(z))-1]
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), n)
}

// ledger counts the memory that an engine holds outside its block.
type ledger struct {
	limit int64 // 0: none
	held  int64
}

// hold counts n more bytes.
func (l *ledger) hold(n int64) error {
	if err := l.room(n); err != nil {
		return err
	}
	l.held += n
	return nil
}

// room says whether n more bytes are within the limit.
func (l *ledger) room(n int64) error {
	if l.limit > 0 && l.held+n > l.limit {
		return &MemoryError{l.held + n, l.limit}
	}
	return nil
}
