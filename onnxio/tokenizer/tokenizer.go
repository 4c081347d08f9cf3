package tokenizer

import (
	"errors"
	"fmt"
	"sort"
	"unicode/utf8"
)

// Tokenizer makes token ids of text. It may be used by one goroutine at a time.
type Tokenizer struct {
	added     []added // longest first
	vocab     map[string]uint32
	raw       matcher // added tokens that are found before text is normalised
	clean     matcher // and those that are found after
	normalize normalizer
	split     splitter
	words     model
	template  []piece
	pad       int64
}

// model makes ids of one word.
type model interface {
	word(ids []uint32, word string) ([]uint32, error)
}

// added is a token that is found in the text as it is, whatever the model would make of it.
type added struct {
	ID         uint32 `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// Encode makes ids of a text, without the tokens that a template puts around one.
func (t *Tokenizer) Encode(text string) ([]uint32, error) {
	var ids []uint32
	if _, any := t.words.(byteModel); !any && !utf8.ValidString(text) {
		return nil, errors.New("the text is not UTF-8")
	}
	first := true
	for _, part := range t.raw.cut(text) {
		if part.token != nil {
			ids, first = append(ids, part.token.ID), false
			continue
		}
		for _, part := range t.clean.cut(t.normalize.apply(part.text)) {
			if part.token != nil {
				ids, first = append(ids, part.token.ID), false
				continue
			}
			for _, word := range t.split.apply([]string{part.text}, first) {
				var err error
				if ids, err = t.words.word(ids, word); err != nil {
					return nil, err
				}
			}
			first = false
		}
	}
	return ids, nil
}

// EncodeExample is Encode with the template around it: [CLS] … [SEP], for instance.
func (t *Tokenizer) EncodeExample(text string) ([]uint32, error) {
	ids, err := t.Encode(text)
	if err != nil || len(t.template) == 0 {
		return ids, err
	}
	var out []uint32
	for _, p := range t.template {
		if p.text {
			out = append(out, ids...)
		} else {
			out = append(out, p.ids...)
		}
	}
	return out, nil
}

// piece is a part of a template: the text, or fixed tokens.
type piece struct {
	text bool
	ids  []uint32
}

// Size is one more than the largest id.
func (t *Tokenizer) Size() int64 {
	size := int64(0)
	for _, id := range t.vocab {
		size = max(size, int64(id)+1)
	}
	return size
}

// ID looks a token up.
func (t *Tokenizer) ID(token string) (int64, bool) {
	id, ok := t.vocab[token]
	return int64(id), ok
}

// Pad is the id that fills up shorter sequences: what the file says, or that of the usual names, or 0.
func (t *Tokenizer) Pad() int64 {
	if t.pad >= 0 {
		return t.pad
	}
	for _, name := range []string{"[PAD]", "<pad>"} {
		if id, ok := t.ID(name); ok {
			return id
		}
	}
	return 0
}

// Mask is the id of the token that hides others; false where there is none.
func (t *Tokenizer) Mask() (int64, bool) {
	for _, name := range []string{"[MASK]", "<mask>"} {
		if id, ok := t.ID(name); ok {
			return id, true
		}
	}
	return 0, false
}

// Special lists the ids of the tokens that stand for no text, in order.
func (t *Tokenizer) Special() []int64 {
	var out []int64
	for _, a := range t.added {
		if a.Special {
			out = append(out, int64(a.ID))
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

// Bytes is the tokenizer of 256 ids whose tokens are the bytes of the text.
func Bytes() *Tokenizer {
	vocab := make(map[string]uint32, 256)
	for b := range 256 {
		vocab[string([]byte{byte(b)})] = uint32(b)
	}
	return &Tokenizer{vocab: vocab, words: byteModel{}, pad: -1}
}

type byteModel struct{}

func (byteModel) word(ids []uint32, word string) ([]uint32, error) {
	for _, b := range []byte(word) {
		ids = append(ids, uint32(b))
	}
	return ids, nil
}

// Chars is the tokenizer whose ids are the ranks of characters in the sorted set of those that the texts have.
func Chars(texts ...string) *Tokenizer {
	seen := map[rune]bool{}
	for _, text := range texts {
		for _, r := range text {
			seen[r] = true
		}
	}
	sorted := make([]rune, 0, len(seen))
	for r := range seen {
		sorted = append(sorted, r)
	}
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	m := charModel{}
	vocab := make(map[string]uint32, len(sorted))
	for i, r := range sorted {
		m[r] = uint32(i)
		vocab[string(r)] = uint32(i)
	}
	return &Tokenizer{vocab: vocab, words: m, pad: -1}
}

type charModel map[rune]uint32

func (m charModel) word(ids []uint32, word string) ([]uint32, error) {
	for _, r := range word {
		id, ok := m[r]
		if !ok {
			return nil, fmt.Errorf("character %q is not one of the %d that the tokenizer knows", r, len(m))
		}
		ids = append(ids, id)
	}
	return ids, nil
}
