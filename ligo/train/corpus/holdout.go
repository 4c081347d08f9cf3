package corpus

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// HoldOut takes a part of the data away from training, to measure the loss on: of examples and sets some that a fixed permutation draws,
// of every stream of tokens its end. It is a share of the examples (Examples), but at most so many tokens, or so many examples of a model
// that takes no tokens; at least one, and at least one is left. The seed has no part in it. The result is a corpus for evaluation on
// the same files: it is to be used no longer than this one is open.
func (c *Corpus) HoldOut(share float64, tokens, examples int64) (*Corpus, error) {
	_, sets := c.src.(*ready)
	most, least := examples, int64(1)
	if c.l.ids != nil {
		row := c.o.SeqLen
		if row == 0 {
			row = usualLength
		}
		if sets {
			row *= usualBatch
		}
		most = tokens / row
	}
	if c.l.batch > 0 && !sets {
		least = c.o.Batch // only whole batches are evaluated
	}
	n := c.src.examples()
	k := max(least, min(int64(math.Ceil(share*float64(n))), most))
	front, back, err := c.src.split(k)
	if err != nil {
		return nil, fmt.Errorf("nothing can be held out of the data, to measure the loss on: %w", err)
	}
	held := *c
	held.src, held.whole = back, closed{}
	if c.whole == nil {
		c.whole = c.src
	}
	c.src, c.held = front, fmt.Sprintf(" less %d of %d", k, n)
	return &held, nil
}

// closed is for a corpus whose files another one closes.
type closed struct{}

func (closed) close() error { return nil }

// heldOut seeds the permutation that draws what is held out.
const heldOut = 1

// part is some examples of a source: those at places from, from+1 … of a permutation.
type part struct {
	source
	p       permutation
	from, n int64
}

func (s *part) examples() int64 { return s.n }

func (s *part) example(i int64) (*example, error) {
	return s.source.example(int64(s.p.at(uint64(s.from + i))))
}

func (s *part) split(int64) (front, back source, err error) {
	return nil, nil, fmt.Errorf("it is a part of the data already")
}

// draw splits a source of examples.
func draw(s source, k int64) (front, back source, err error) {
	n := s.examples()
	if k >= n {
		return nil, nil, fewError(n, k)
	}
	p := permute(heldOut, 0, uint64(n))
	return &part{s, p, k, n - k}, &part{s, p, 0, k}, nil
}

func fewError(n, k int64) error {
	return fmt.Errorf("of %d it would take %d", n, k)
}

func (s *arrays) split(k int64) (front, back source, err error) { return draw(s, k) }

func (s *objects) split(k int64) (front, back source, err error) { return draw(s, k) }

func (r *ready) split(k int64) (front, back source, err error) {
	n := r.examples()
	if k >= n {
		return nil, nil, fewError(n, k)
	}
	parts := [2]*ready{{c: r.c}, {c: r.c}}
	p := permute(heldOut, 0, uint64(n))
	for i := range n {
		to := parts[0]
		if i < k {
			to = parts[1]
		}
		to.sets = append(to.sets, r.sets[p.at(uint64(i))])
	}
	return parts[0], parts[1], nil
}

// split cuts the last rows off.
func (s *tokenStream) split(k int64) (front, back source, err error) {
	a, b := *s, *s
	b.n = k*s.row + s.extra
	a.n -= b.n
	b.from += a.n
	if a.n < s.row+s.extra {
		return nil, nil, fewError(s.examples(), k)
	}
	return &a, &b, nil
}

// split takes the end of every stream, in proportion, and draws from examples.
func (s several) split(k int64) (front, back source, err error) {
	if s.crops() == 0 {
		return draw(s, k)
	}
	if n := s.examples(); k >= n {
		return nil, nil, fewError(n, k)
	}
	var fronts, backs several
	for i, take := range s.shares(k) {
		one := s[i]
		f, b, err := one.split(take)
		switch {
		case take == 0:
			fronts = append(fronts, one)
		case take == one.examples():
			backs = append(backs, one)
		case err != nil:
			return nil, nil, err
		default:
			fronts, backs = append(fronts, f), append(backs, b)
		}
	}
	return fronts, backs, nil
}

// shares divides k examples among the sources in proportion to what they have; what is left over is of the largest.
func (s several) shares(k int64) []int64 {
	n := s.examples()
	out, order, left := make([]int64, len(s)), make([]int, len(s)), k
	for i, one := range s {
		out[i], order[i] = k*one.examples()/n, i
		left -= out[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(s[b].examples(), s[a].examples()) })
	for _, i := range order[:left] {
		out[i]++
	}
	return out
}
