package tokenizer

import (
	"encoding/json"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// normalizer is a chain of changes to a text.
type normalizer []func(string) string

func (n normalizer) apply(text string) string {
	for _, f := range n {
		text = f(text)
	}
	return text
}

// section is any part of the file that has a type.
type section struct {
	Type string `json:"type"`

	Normalizers   []json.RawMessage `json:"normalizers"`
	Pretokenizers []json.RawMessage `json:"pretokenizers"`
	Processors    []json.RawMessage `json:"processors"`

	CleanText          bool  `json:"clean_text"`
	HandleChineseChars bool  `json:"handle_chinese_chars"`
	StripAccents       *bool `json:"strip_accents"`
	Lowercase          bool  `json:"lowercase"`
	StripLeft          bool  `json:"strip_left"`
	StripRight         bool  `json:"strip_right"`

	Pattern  json.RawMessage `json:"pattern"`
	Content  string          `json:"content"`
	Prepend  string          `json:"prepend"`
	Behavior string          `json:"behavior"`
	Invert   bool            `json:"invert"`

	AddPrefixSpace   *bool  `json:"add_prefix_space"`
	UseRegex         *bool  `json:"use_regex"`
	Replacement      string `json:"replacement"`
	PrependScheme    string `json:"prepend_scheme"`
	Split            *bool  `json:"split"`
	IndividualDigits bool   `json:"individual_digits"`
	Delimiter        string `json:"delimiter"`
}

func parse(raw json.RawMessage) (section, bool, error) {
	var s section
	if len(raw) == 0 || string(raw) == "null" {
		return s, false, nil
	}
	err := json.Unmarshal(raw, &s)
	return s, true, err
}

func newNormalizer(raw json.RawMessage) (normalizer, error) {
	s, ok, err := parse(raw)
	if !ok || err != nil {
		return nil, err
	}
	one := func(f func(string) string) (normalizer, error) { return normalizer{f}, nil }
	switch s.Type {
	case "Sequence":
		var all normalizer
		for _, part := range s.Normalizers {
			n, err := newNormalizer(part)
			if err != nil {
				return nil, err
			}
			all = append(all, n...)
		}
		return all, nil
	case "BertNormalizer":
		return s.bert(), nil
	case "Lowercase":
		return one(lower)
	case "StripAccents":
		return one(func(text string) string { return drop(text, unicode.IsMark) })
	case "Strip":
		return one(s.strip)
	case "NFC":
		return one(norm.NFC.String)
	case "NFD":
		return one(norm.NFD.String)
	case "NFKC":
		return one(norm.NFKC.String)
	case "NFKD":
		return one(norm.NFKD.String)
	case "Prepend":
		return one(func(text string) string {
			if text == "" {
				return ""
			}
			return s.Prepend + text
		})
	case "Replace":
		p, err := newPattern(s.Pattern)
		if err != nil {
			return nil, err
		}
		return one(func(text string) string { return p.replace(text, s.Content) })
	case "ByteLevel":
		return one(byteChars)
	}
	return nil, unknown("normalizer", s.Type)
}

func (s section) strip(text string) string {
	if s.StripLeft {
		text = strings.TrimLeftFunc(text, isSpace)
	}
	if s.StripRight {
		text = strings.TrimRightFunc(text, isSpace)
	}
	return text
}

// bert is the normaliser of BERT (Devlin et al.): accents go with lower case unless the file says otherwise.
func (s section) bert() normalizer {
	var n normalizer
	if s.CleanText {
		n = append(n, clean)
	}
	if s.HandleChineseChars {
		n = append(n, spaceIdeographs)
	}
	if s.StripAccents == nil && s.Lowercase || s.StripAccents != nil && *s.StripAccents {
		n = append(n, norm.NFD.String, func(text string) string {
			return drop(text, func(r rune) bool { return unicode.Is(unicode.Mn, r) })
		})
	}
	if s.Lowercase {
		n = append(n, lower)
	}
	return n
}

// clean drops what is neither text nor space. Form feed and its like are controls first; characters that are not assigned stay.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\r':
			return ' '
		case r == 0xFFFD, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co):
			return -1
		case isSpace(r):
			return ' '
		}
		return r
	}, text)
}

func spaceIdeographs(text string) string {
	var b strings.Builder
	for _, r := range text {
		if isIdeograph(r) {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isIdeograph is BERT's own list of blocks.
func isIdeograph(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF || r >= 0x20000 && r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B920 && r <= 0x2CEAF || r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F
}

func drop(text string, bad func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if bad(r) {
			return -1
		}
		return r
	}, text)
}

// lower maps every character by itself; the one that becomes two is spelt out, as Go's mapping is to one.
func lower(text string) string {
	return strings.ToLower(strings.ReplaceAll(text, "İ", "i̇"))
}
