package engine

import (
	"math/rand/v2"
	"testing"
)

// Regions that are alive at the same time never overlap, and the block is not much larger than what is alive at once.
func TestLayoutKeepsLiveRegionsApart(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var ops []*gop
		var all []*region
		calls := 1 + r.IntN(60)
		for seq := 1; seq <= calls; seq++ {
			o := &gop{seq: seq, call: &call{op: viewOp{}}, out: []*slot{{region: &region{bytes: regionAlign * int64(1+r.IntN(20)), first: seq, last: seq + r.IntN(12)}}}}
			if r.IntN(5) == 0 {
				o.out[0].region.last = forever
			}
			if r.IntN(4) == 0 {
				o.scratch = []*region{nil, {bytes: regionAlign * int64(1+r.IntN(9)), first: seq, last: seq}}
			}
			ops = append(ops, o)
			all = append(all, o.regions()...)
		}
		size := layout(ops)
		peak := int64(0)
		for seq := 1; seq <= calls; seq++ {
			alive := int64(0)
			for _, a := range all {
				if a.first <= seq && seq <= a.last {
					alive += a.bytes
				}
			}
			peak = max(peak, alive)
		}
		for i, a := range all {
			if a.offset < 0 || a.offset+a.bytes > size {
				t.Fatalf("region %d at %d+%d is outside the block of %d bytes", i, a.offset, a.bytes, size)
			}
			for _, b := range all[:i] {
				if a.first <= b.last && b.first <= a.last && a.offset < b.offset+b.bytes && b.offset < a.offset+a.bytes {
					t.Fatalf("regions of calls %d-%d and %d-%d overlap", a.first, a.last, b.first, b.last)
				}
			}
		}
		if size > 2*peak {
			t.Errorf("%d bytes for %d alive at once", size, peak)
		}
	}
}

func TestHolesAreMerged(t *testing.T) {
	var h holes
	a, b, c := h.take(64), h.take(128), h.take(64)
	h.free(a, 64)
	h.free(c, 64)
	h.free(b, 128)
	if len(h.list) != 1 || h.list[0] != (hole{0, 256}) || h.take(256) != 0 || h.end != 256 || len(h.list) != 0 {
		t.Errorf("holes %v, end %d", h.list, h.end)
	}
}
