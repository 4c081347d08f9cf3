package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitter is a chain of steps that take pieces of text apart into words.
type splitter []func(pieces []string, first bool) []string

// apply splits; first says that the text begins with the first piece.
func (s splitter) apply(pieces []string, first bool) []string {
	for _, f := range s {
		pieces = f(pieces, first)
	}
	return pieces
}

func newSplitter(raw json.RawMessage) (splitter, error) {
	s, ok, err := parse(raw)
	if !ok || err != nil {
		return nil, err
	}
	each := func(f func(string) []string) (splitter, error) {
		return splitter{func(pieces []string, _ bool) []string {
			var out []string
			for _, p := range pieces {
				out = append(out, f(p)...)
			}
			return out
		}}, nil
	}
	by := func(match func(string) [][2]int, invert bool, behavior string) (splitter, error) {
		if !known(behavior) {
			return nil, unknown("behavior", behavior)
		}
		return each(func(p string) []string { return cut(p, match(p), invert, behavior) })
	}
	switch s.Type {
	case "Sequence":
		var all splitter
		for _, part := range s.Pretokenizers {
			one, err := newSplitter(part)
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	case "ByteLevel":
		return s.byteLevel()
	case "BertPreTokenizer":
		spaces, _ := by(runs(isSpace), false, "Removed")
		marks, _ := by(runes(isPunctuation), false, "Isolated")
		return append(spaces, marks...), nil
	case "Whitespace":
		p, err := compile(`\w+|[^\w\s]+`)
		if err != nil {
			return nil, err
		}
		return by(p.find, true, "Removed")
	case "WhitespaceSplit":
		return by(runs(isSpace), false, "Removed")
	case "Punctuation":
		if s.Behavior == "" {
			s.Behavior = "Isolated"
		}
		return by(runes(isPunctuation), false, s.Behavior)
	case "Digits":
		if s.IndividualDigits {
			return by(runes(unicode.IsNumber), false, "Isolated")
		}
		return by(runes(unicode.IsNumber), false, "Contiguous")
	case "CharDelimiterSplit":
		return by(runes(func(r rune) bool { return string(r) == s.Delimiter }), false, "Removed")
	case "Split":
		p, err := newPattern(s.Pattern)
		if err != nil {
			return nil, err
		}
		return by(p.find, s.Invert, s.Behavior)
	case "Metaspace":
		return s.metaspace()
	}
	return nil, unknown("pre_tokenizer", s.Type)
}

func (s section) byteLevel() (splitter, error) {
	p, err := compile(gpt2)
	if err != nil {
		return nil, err
	}
	prefix := s.AddPrefixSpace == nil || *s.AddPrefixSpace
	split := s.UseRegex == nil || *s.UseRegex
	return splitter{func(pieces []string, _ bool) []string {
		var out []string
		for _, text := range pieces {
			if prefix && !strings.HasPrefix(text, " ") {
				text = " " + text
			}
			words := []string{text}
			if split {
				words = cut(text, p.find(text), false, "Isolated")
			}
			for _, w := range words {
				out = append(out, byteChars(w))
			}
		}
		return out
	}}, nil
}

// byteChar is the printable character that stands for a byte in byte-level vocabularies (Radford et al., 2019).
var byteChar = func() (table [256]string) {
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if !(r >= '!' && r <= '~' || r >= 0xA1 && r <= 0xAC || r >= 0xAE) {
			r = next
			next++
		}
		table[b] = string(r)
	}
	return table
}()

func byteChars(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteString(byteChar[c])
	}
	return b.String()
}

// metaspace is how SentencePiece marks spaces (Kudo and Richardson, 2018).
func (s section) metaspace() (splitter, error) {
	if utf8.RuneCountInString(s.Replacement) != 1 {
		return nil, fmt.Errorf("pre_tokenizer Metaspace: replacement %q is not one character", s.Replacement)
	}
	scheme := s.PrependScheme
	if scheme == "" {
		scheme = "always"
		if s.AddPrefixSpace != nil && !*s.AddPrefixSpace {
			scheme = "never"
		}
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return nil, unknown("prepend_scheme", scheme)
	}
	mark, _ := utf8.DecodeRuneInString(s.Replacement)
	split := s.Split == nil || *s.Split
	return splitter{func(pieces []string, first bool) []string {
		var out []string
		for i, text := range pieces {
			text = strings.ReplaceAll(text, " ", s.Replacement)
			if (scheme == "always" || scheme == "first" && first && i == 0) && !strings.HasPrefix(text, s.Replacement) {
				text = s.Replacement + text
			}
			if !split {
				out = append(out, text)
				continue
			}
			out = append(out, cut(text, runes(func(r rune) bool { return r == mark })(text), false, "MergedWithNext")...)
		}
		return out
	}}, nil
}

// runes matches every character of a kind by itself.
func runes(is func(rune) bool) func(string) [][2]int {
	return func(text string) [][2]int {
		var out [][2]int
		for at, r := range text {
			if is(r) {
				out = append(out, [2]int{at, at + utf8.RuneLen(r)})
			}
		}
		return out
	}
}

// runs matches neighbours of a kind together.
func runs(is func(rune) bool) func(string) [][2]int {
	one := runes(is)
	return func(text string) [][2]int {
		var out [][2]int
		for _, m := range one(text) {
			if n := len(out); n > 0 && out[n-1][1] == m[0] {
				out[n-1][1] = m[1]
			} else {
				out = append(out, m)
			}
		}
		return out
	}
}

func known(behavior string) bool {
	switch behavior {
	case "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous":
		return true
	}
	return false
}

// cut takes a text apart at matches, which stay as the behaviour says. Inverted, what is between the matches counts as matched; two
// matches that follow each other are two parts either way.
func cut(text string, matches [][2]int, invert bool, behavior string) []string {
	type part struct {
		text  string
		match bool
	}
	var parts []part
	done := 0
	for _, m := range append(matches, [2]int{len(text), len(text)}) {
		if m[0] > done {
			parts = append(parts, part{text[done:m[0]], invert})
		}
		if m[1] > m[0] {
			parts = append(parts, part{text[m[0]:m[1]], !invert})
		}
		done = m[1]
	}
	var out []string
	for i, p := range parts {
		after := i > 0 && parts[i-1].match // what is before p is a match
		switch {
		case behavior == "Removed" && p.match:
		case behavior == "MergedWithPrevious" && p.match && i > 0 && !after,
			behavior == "MergedWithNext" && !p.match && after,
			behavior == "Contiguous" && i > 0 && p.match == after:
			out[len(out)-1] += p.text
		default:
			out = append(out, p.text)
		}
	}
	return out
}

func unknown(what, name string) error {
	if name == "" {
		return errors.New(what + " has no type")
	}
	return fmt.Errorf("%s %q is not supported", what, name)
}
