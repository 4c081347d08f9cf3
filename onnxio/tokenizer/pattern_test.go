package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// The patterns of GPT-2, GPT-4 and GPT-4o (openai/tiktoken) and of Qwen2.
var published = map[string]string{
	"gpt-2":  gpt2,
	"gpt-4":  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	"qwen2":  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	"gpt-4o": `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
}

// Matches found in a window are those of the whole text, in long runs of one kind too.
func TestTheWindowChangesNothing(t *testing.T) {
	kinds := []string{"a", "B", "é", "日", " ", "\n", "\r\n", "\t", "1", "!", "'s", "/", "🙂", "\u00a0", "\u0301"}
	r := rand.New(rand.NewPCG(1, 2))
	texts := 300
	if testing.Short() {
		texts = 20
	}
	for name, text := range published {
		p, err := compile(text)
		if err != nil {
			t.Fatal(err)
		}
		if p.group == 0 {
			t.Errorf("%s: the lookahead is not recognised", name)
		}
		for range texts {
			var b strings.Builder
			for b.Len() < 3*window {
				n := 1
				if r.IntN(4) == 0 {
					n = r.IntN(2 * window)
				}
				b.WriteString(strings.Repeat(kinds[r.IntN(len(kinds))], n))
			}
			text := b.String()
			for at := 0; at < len(text); {
				got, want := p.next(text[at:]), p.re.FindStringSubmatchIndex(text[at:])
				if got[0] != want[0] || got[1] != want[1] || got[2*p.group] != want[2*p.group] {
					t.Fatalf("%s at %d of %q: %v, want %v", name, at, text, got, want)
				}
				_, n := utf8.DecodeRuneInString(text[at:])
				at += n
			}
		}
	}
}
