package tokenizer

import (
	"errors"
	"unicode/utf8"
)

// wordPiece takes the longest piece in the vocabulary from the left (Wu et al., 2016).
type wordPiece struct {
	vocab  map[string]uint32
	unk    uint32
	prefix string
	most   int // characters of a word
}

func newWordPiece(m modelSection) (*wordPiece, error) {
	unk, err := m.unknown()
	switch {
	case err != nil:
		return nil, err
	case unk < 0:
		return nil, errors.New("a WordPiece needs an unk_token")
	}
	w := &wordPiece{vocab: m.Vocab, unk: uint32(unk), prefix: "##", most: m.MaxInputChars}
	if m.ContinuingSubwordPrefix != nil {
		w.prefix = *m.ContinuingSubwordPrefix
	}
	if w.most == 0 {
		w.most = 100
	}
	return w, nil
}

func (w *wordPiece) word(ids []uint32, word string) ([]uint32, error) {
	if utf8.RuneCountInString(word) > w.most {
		return append(ids, w.unk), nil
	}
	begin := len(ids)
	for at := 0; at < len(word); {
		end := len(word)
		for ; end > at; end-- {
			if end < len(word) && !utf8.RuneStart(word[end]) {
				continue
			}
			s := word[at:end]
			if at > 0 {
				s = w.prefix + s
			}
			if id, ok := w.vocab[s]; ok {
				ids = append(ids, id)
				break
			}
		}
		if end == at {
			return append(ids[:begin], w.unk), nil
		}
		at = end
	}
	return ids, nil
}

// wordLevel looks words up.
type wordLevel struct {
	vocab map[string]uint32
	unk   int64
}

func (w wordLevel) word(ids []uint32, word string) ([]uint32, error) {
	id, ok := w.vocab[word]
	if !ok {
		if w.unk < 0 {
			return ids, nil
		}
		id = uint32(w.unk)
	}
	return append(ids, id), nil
}
