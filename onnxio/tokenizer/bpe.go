package tokenizer

import (
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe merges the pair of neighbours that was learned first until none is left (Sennrich et al., 2016).
type bpe struct {
	vocab    map[string]uint32
	merges   map[[2]uint32]merge
	unk      int64 // -1: what is not in the vocabulary is left out
	fuse     bool  // neighbouring unknowns are one
	fallback bool  // unknowns become bytes <0x00> … <0xFF>
	whole    bool  // a word that is in the vocabulary is not taken apart
	prefix   string
	suffix   string
	cache    map[string][]uint32
}

type merge struct {
	rank int
	id   uint32
}

// cached bounds the words that are remembered.
const cached = 1 << 16

type modelSection struct {
	Type                    string            `json:"type"`
	Vocab                   map[string]uint32 `json:"vocab"`
	Merges                  []json.RawMessage `json:"merges"`
	UnkToken                *string           `json:"unk_token"`
	FuseUnk                 bool              `json:"fuse_unk"`
	ByteFallback            bool              `json:"byte_fallback"`
	IgnoreMerges            bool              `json:"ignore_merges"`
	Dropout                 *float64          `json:"dropout"`
	ContinuingSubwordPrefix *string           `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string           `json:"end_of_word_suffix"`
	MaxInputChars           int               `json:"max_input_chars_per_word"`
}

func (m modelSection) unknown() (int64, error) {
	if m.UnkToken == nil {
		return -1, nil
	}
	id, ok := m.Vocab[*m.UnkToken]
	if !ok {
		return 0, fmt.Errorf("unk_token %q is not in the vocabulary", *m.UnkToken)
	}
	return int64(id), nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func newBPE(m modelSection) (*bpe, error) {
	if m.Dropout != nil && *m.Dropout > 0 {
		return nil, errors.New("a BPE with dropout gives other tokens each time; set dropout to null")
	}
	b := &bpe{vocab: m.Vocab, merges: make(map[[2]uint32]merge, len(m.Merges)), fuse: m.FuseUnk, fallback: m.ByteFallback, whole: m.IgnoreMerges,
		prefix: text(m.ContinuingSubwordPrefix), suffix: text(m.EndOfWordSuffix), cache: map[string][]uint32{}}
	var err error
	if b.unk, err = m.unknown(); err != nil {
		return nil, err
	}
	for rank, raw := range m.Merges {
		left, right, err := pairOf(raw)
		if err != nil {
			return nil, fmt.Errorf("merge %d: %w", rank, err)
		}
		l, okL := b.vocab[left]
		r, okR := b.vocab[right]
		id, ok := b.vocab[left+strings.TrimPrefix(right, b.prefix)]
		if !okL || !okR || !ok {
			return nil, fmt.Errorf("merge %d: %q, %q or both together are not in the vocabulary", rank, left, right)
		}
		b.merges[[2]uint32{l, r}] = merge{rank, id}
	}
	return b, nil
}

// pairOf reads a merge in either form: "a b" or ["a", "b"].
func pairOf(raw json.RawMessage) (left, right string, err error) {
	var pair [2]string
	if err := json.Unmarshal(raw, &pair); err == nil {
		return pair[0], pair[1], nil
	}
	var line string
	if err := json.Unmarshal(raw, &line); err != nil {
		return "", "", err
	}
	left, right, ok := strings.Cut(line, " ")
	if !ok {
		return "", "", fmt.Errorf("%q is no pair", line)
	}
	return left, right, nil
}

func (b *bpe) word(ids []uint32, word string) ([]uint32, error) {
	if known, ok := b.cache[word]; ok {
		return append(ids, known...), nil
	}
	if id, ok := b.vocab[word]; ok && b.whole {
		return append(ids, id), nil
	}
	out := b.merge(b.symbols(word))
	if len(b.cache) < cached && len(word) < 256 {
		b.cache[word] = out
	}
	return append(ids, out...), nil
}

// symbols are the ids of the characters.
func (b *bpe) symbols(word string) []uint32 {
	var out []uint32
	unknown := false // the last symbol is one
	for at, r := range word {
		end := at + utf8.RuneLen(r)
		s := word[at:end]
		if at > 0 {
			s = b.prefix + s
		}
		if end == len(word) {
			s += b.suffix
		}
		if id, ok := b.vocab[s]; ok {
			out, unknown = append(out, id), false
			continue
		}
		if bytes, ok := b.bytes(s); ok {
			out, unknown = append(out, bytes...), false
			continue
		}
		if b.unk >= 0 && !(unknown && b.fuse) {
			out = append(out, uint32(b.unk))
		}
		unknown = true
	}
	return out
}

func (b *bpe) bytes(s string) ([]uint32, bool) {
	if !b.fallback {
		return nil, false
	}
	var out []uint32
	for _, c := range []byte(s) {
		id, ok := b.vocab[fmt.Sprintf("<0x%02X>", c)]
		if !ok {
			return nil, false
		}
		out = append(out, id)
	}
	return out, true
}

// candidate is a pair that can be merged, at the place of its left half.
type candidate struct {
	rank, at    int
	left, right uint32 // as they were: a pair one of whose halves has changed is gone
}

type candidates []candidate

func (c candidates) Len() int      { return len(c) }
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].at < c[j].at
}
func (c *candidates) Push(x any) { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// merge works on a linked list with a heap of pairs: a text without spaces is one word, however long.
func (b *bpe) merge(ids []uint32) []uint32 {
	n := len(ids)
	next, last := make([]int, n), make([]int, n)
	alive := make([]bool, n)
	var queue candidates
	add := func(at int) {
		if at < 0 || next[at] >= n {
			return
		}
		if m, ok := b.merges[[2]uint32{ids[at], ids[next[at]]}]; ok {
			heap.Push(&queue, candidate{m.rank, at, ids[at], ids[next[at]]})
		}
	}
	for i := range ids {
		next[i], last[i], alive[i] = i+1, i-1, true
	}
	for i := range ids {
		add(i)
	}
	for len(queue) > 0 {
		c := heap.Pop(&queue).(candidate)
		if !alive[c.at] || ids[c.at] != c.left || next[c.at] >= n || ids[next[c.at]] != c.right {
			continue
		}
		gone := next[c.at]
		ids[c.at] = b.merges[[2]uint32{c.left, c.right}].id
		alive[gone] = false
		next[c.at] = next[gone]
		if next[gone] < n {
			last[next[gone]] = c.at
		}
		add(last[c.at])
		add(c.at)
	}
	out := ids[:0]
	for i, id := range ids {
		if alive[i] {
			out = append(out, id)
		}
	}
	return out
}
