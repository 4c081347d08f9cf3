package tokenizer

import (
	"sort"
	"unicode"
	"unicode/utf8"
)

// matcher finds added tokens in a text; by first byte, longest first.
type matcher map[byte][]*added

// segment is a token, or the text between two.
type segment struct {
	token *added
	text  string
}

func newMatcher(list []*added) matcher {
	m := matcher{}
	for _, a := range list {
		if a.Content != "" {
			m[a.Content[0]] = append(m[a.Content[0]], a)
		}
	}
	for _, same := range m {
		sort.SliceStable(same, func(i, j int) bool { return len(same[i].Content) > len(same[j].Content) })
	}
	return m
}

// cut takes a text apart at the added tokens in it.
func (m matcher) cut(text string) []segment {
	var out []segment
	done := 0
	plain := func(to int) {
		if to > done {
			out = append(out, segment{text: text[done:to]})
		}
	}
	for at := 0; at < len(text); {
		a := m.at(text, at)
		if a == nil {
			at++
			continue
		}
		from, to := at, at+len(a.Content)
		for a.LStrip && from > done {
			r, n := utf8.DecodeLastRuneInString(text[:from])
			if !isSpace(r) || from-n < done {
				break
			}
			from -= n
		}
		for a.RStrip && to < len(text) {
			r, n := utf8.DecodeRuneInString(text[to:])
			if !isSpace(r) {
				break
			}
			to += n
		}
		plain(from)
		out = append(out, segment{token: a})
		at, done = to, to
	}
	plain(len(text))
	return out
}

func (m matcher) at(text string, at int) *added {
	for _, a := range m[text[at]] {
		end := at + len(a.Content)
		if end > len(text) || text[at:end] != a.Content {
			continue
		}
		if a.SingleWord {
			before, _ := utf8.DecodeLastRuneInString(text[:at])
			after, _ := utf8.DecodeRuneInString(text[end:])
			if at > 0 && isWord(before) || end < len(text) && isWord(after) {
				continue
			}
		}
		return a
	}
	return nil
}

// isWord is \w of Unicode (UTS 18).
func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.Is(unicode.Nd, r) || unicode.Is(unicode.Nl, r) || unicode.Is(unicode.Pc, r) ||
		unicode.Is(unicode.Other_Alphabetic, r) || r == 0x200C || r == 0x200D
}

func isSpace(r rune) bool { return unicode.Is(unicode.White_Space, r) }

func isPunctuation(r rune) bool {
	return r < 0x80 && (r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~') || unicode.Is(unicode.P, r)
}
