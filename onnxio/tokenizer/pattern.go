package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// pattern is a regular expression as these files have them. Go's have no lookahead, of which only one form is in use, at the end of
// the alternatives: \s+(?!\S)|\s+, white space but for the last character before a word. It becomes a group that gives that one back.
type pattern struct {
	re    *regexp.Regexp
	group int // the number of that group; 0: none
}

const lookahead = `\s+(?!\S)`

// gpt2 is how GPT-2 splits text (Radford et al., 2019).
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func newPattern(raw json.RawMessage) (*pattern, error) {
	var p struct{ String, Regex *string }
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	switch {
	case p.String != nil:
		return compile(regexp.QuoteMeta(*p.String))
	case p.Regex != nil:
		return compile(*p.Regex)
	}
	return nil, errors.New("a pattern is neither String nor Regex")
}

func compile(text string) (*pattern, error) {
	goText := text
	ahead := strings.Contains(text, lookahead)
	if ahead {
		goText = strings.Replace(goText, lookahead+`|\s+`, `(?P<space>\s+)`, 1)
		goText = strings.Replace(goText, lookahead, `(?P<space>\s+)`, 1)
	}
	re, err := regexp.Compile(unicodeSpace(goText))
	if err != nil {
		return nil, fmt.Errorf("pattern %.200q: %w", text, err)
	}
	p := &pattern{re: re}
	if ahead {
		p.group = re.SubexpIndex("space")
	}
	return p, nil
}

// unicodeSpace replaces \s, \S, \w, \d and \W, which are of ASCII in Go, by classes of Unicode.
func unicodeSpace(text string) string {
	var b strings.Builder
	inside := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			inside = c == '[' || inside && c != ']'
			b.WriteByte(c)
			continue
		}
		i++
		class := ""
		switch text[i] {
		case 's', 'S':
			class = `\t-\r\x{85}\p{Z}`
		case 'w', 'W':
			// UTS 18: alphabetic, marks, digits, connectors, joiners. What is alphabetic but neither letter nor mark is circled or squared.
			class = `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}`
		case 'd', 'D':
			class = `\p{Nd}`
		}
		negated := text[i] < 'a'
		switch {
		case class == "" || inside && negated:
			b.WriteString(text[i-1 : i+1])
		case inside:
			b.WriteString(class)
		case negated:
			b.WriteString("[^" + class + "]")
		default:
			b.WriteString("[" + class + "]")
		}
	}
	return b.String()
}

// find lists the matches in a text; empty ones are left out.
func (p *pattern) find(text string) [][2]int {
	if p.group == 0 {
		var out [][2]int
		for _, m := range p.re.FindAllStringIndex(text, -1) {
			if m[1] > m[0] {
				out = append(out, [2]int{m[0], m[1]})
			}
		}
		return out
	}
	var out [][2]int
	for at := 0; at < len(text); {
		m := p.next(text[at:])
		if m == nil {
			break
		}
		from, to := at+m[0], at+m[1]
		if from == to {
			_, n := utf8.DecodeRuneInString(text[to:])
			at = to + max(n, 1)
			continue
		}
		if m[2*p.group] >= 0 && to < len(text) {
			if _, n := utf8.DecodeLastRuneInString(text[from:to]); from+n < to {
				to -= n
			}
		}
		out = append(out, [2]int{from, to})
		at = to
	}
	return out
}

// window is how much of a text is searched first. A search in a long text costs several times that in a short one.
const window = 128

// next is the first match in a text. Within the window it is that of the whole text if no alternative can have come to its end: those of
// the patterns with a group are runs of one kind of characters, and what follows the match has white space as well as others.
func (p *pattern) next(text string) []int {
	if len(text) > window {
		m := p.re.FindStringSubmatchIndex(text[:window])
		if m != nil && m[0] == 0 && m[1] > 0 {
			rest := text[m[1]:window]
			space := strings.IndexFunc(rest, isSpace)
			if space >= 0 && strings.IndexFunc(rest, func(r rune) bool { return !isSpace(r) && r != utf8.RuneError }) >= 0 {
				return m
			}
		}
	}
	return p.re.FindStringSubmatchIndex(text)
}

func (p *pattern) replace(text, content string) string {
	var b strings.Builder
	done := 0
	for _, m := range p.find(text) {
		b.WriteString(text[done:m[0]])
		b.WriteString(content)
		done = m[1]
	}
	b.WriteString(text[done:])
	return b.String()
}
