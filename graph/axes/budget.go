package axes

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ligoonnx/ligoonnx/graph"
)

// Limits that no transformer comes near; they keep a file made for the purpose from costing hours or all the memory.
const (
	// maxParts bounds the atoms that one axis is made of, counted with repeats: Concat(x, x) forty times over would make 2^40.
	maxParts = 4096
	// maxTerms bounds the operations of one scalar expression, counted with repeats.
	maxTerms = 1024
	// maxOrigins bounds the constants behind one axis of a computed weight; beyond it, the weight counts as computed.
	maxOrigins = 256
	// maxWork bounds the steps of all walks over axes in one inference; 20,000 nodes take a few million.
	maxWork = 1 << 28
)

// budget is what the sweeps of one inference share: the node that is being handled, for error messages, and the work left.
type budget struct {
	ctx  context.Context
	at   *graph.Node
	left int
	mark int // stamp of the last walk over a structure: nodes that carry it were visited
}

// stopped is what spend panics with when an inference ends early. Infer turns it into its error: the walks are too many and too
// deep to hand an error up through each of them.
type stopped struct{ err error }

// spend pays for n steps of work.
func (b *budget) spend(n int) {
	const poll = 1 << 16
	before := b.left
	if b.left -= n; b.left < 0 {
		panic(stopped{errors.New("the axes of this graph are too intricate to follow")})
	}
	if before/poll != b.left/poll && b.ctx.Err() != nil {
		panic(stopped{b.ctx.Err()})
	}
}

// rescue turns a panic of the analysis into an error that names the node being handled.
func (b *budget) rescue(err *error) {
	p := recover()
	if p == nil {
		return
	}
	where := "the graph"
	if b.at != nil {
		where = b.at.String()
	}
	if s, ok := p.(stopped); ok {
		if *err = s.err; b.ctx.Err() == nil {
			*err = &graph.InvalidError{Where: where, Problem: s.err.Error()}
		}
		return
	}
	*err = fmt.Errorf("internal error while analysing %s: %v", where, p)
}

// times multiplies two sizes; what no int64 holds becomes the largest one, which divides and equals nothing that is real.
func times(a, b int64) int64 {
	if a <= 0 || b <= 0 {
		return 0
	}
	if a > math.MaxInt64/b {
		return math.MaxInt64
	}
	return a * b
}

// plus adds two sizes in the same way.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// volume is the number of elements of a shape.
func volume(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n = times(n, d)
	}
	return n
}

func volumeOf(axes []*node) int64 { return volume(shapeOfAxes(axes)) }
