package tokenizer

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

type golden struct {
	Name      string
	Tokenizer json.RawMessage
	Texts     []struct {
		Text       string
		Plain, IDs []uint32
	}
}

func goldens(t testing.TB) []golden {
	t.Helper()
	f, err := os.Open("testdata/cases.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// Every id is the one that Hugging Face's tokenizers gives (testdata/make.py).
func TestSameIDsAsHuggingFace(t *testing.T) {
	compared := 0
	for _, g := range goldens(t) {
		t.Run(g.Name, func(t *testing.T) {
			tok, err := Parse(g.Tokenizer)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time from what was remembered
				for _, c := range g.Texts {
					plain, err := tok.Encode(c.Text)
					if err != nil || !slices.Equal(plain, c.Plain) {
						t.Errorf("%q: %v, want %v (%v)", c.Text, plain, c.Plain, err)
					}
					ids, err := tok.EncodeExample(c.Text)
					if err != nil || !slices.Equal(ids, c.IDs) {
						t.Errorf("%q with its template: %v, want %v (%v)", c.Text, ids, c.IDs, err)
					}
					compared++
				}
			}
		})
	}
	if compared < 6000 {
		t.Errorf("only %d comparisons", compared)
	}
}

func TestSpecialIDs(t *testing.T) {
	for _, g := range goldens(t) {
		if g.Name != "bert uncased" {
			continue
		}
		tok, err := Parse(g.Tokenizer)
		if err != nil {
			t.Fatal(err)
		}
		mask, ok := tok.Mask()
		if !ok || mask != 4 || tok.Pad() != 0 || tok.Size() != 420 || !slices.Equal(tok.Special(), []int64{0, 1, 2, 3, 4}) {
			t.Errorf("mask %d (%v), pad %d, size %d, special %v", mask, ok, tok.Pad(), tok.Size(), tok.Special())
		}
	}
}

func TestBytesAndChars(t *testing.T) {
	ids, err := Bytes().Encode("aé\x00")
	if err != nil || !slices.Equal(ids, []uint32{97, 0xC3, 0xA9, 0}) || Bytes().Size() != 256 {
		t.Errorf("bytes: %v, %v", ids, err)
	}
	chars := Chars("cab", "é")
	if ids, err = chars.Encode("abcé"); err != nil || !slices.Equal(ids, []uint32{0, 1, 2, 3}) || chars.Size() != 4 {
		t.Errorf("chars: %v, %v", ids, err)
	}
	if _, err = chars.Encode("d"); err == nil || !strings.Contains(err.Error(), `'d'`) {
		t.Errorf("an unknown character: %v", err)
	}
}

func TestWhatIsNotKnownIsNamed(t *testing.T) {
	const model = `"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}`
	for _, test := range []struct{ text, want string }{
		{`{`, "not a tokenizer.json"},
		{`{}`, "no model"},
		{`{"model": {"type": "Unigram", "vocab": [["a", 0.5]]}}`, `model "Unigram"`},
		{`{"model": {"type": "WordPiece", "vocab": {"a": 0}}}`, "unk_token"},
		{`{"model": {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "b"}}`, `"b" is not in the vocabulary`},
		{`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}`, "merge 0"},
		{`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["ab"]}}`, "no pair"},
		{`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1}}`, "dropout"},
		{`{"normalizer": {"type": "Precompiled"}, ` + model + `}`, `normalizer "Precompiled"`},
		{`{"pre_tokenizer": {"type": "UnicodeScripts"}, ` + model + `}`, `pre_tokenizer "UnicodeScripts"`},
		{`{"pre_tokenizer": {"type": "Split", "behavior": "Isolated", "pattern": {"Regex": "a(?=b)"}}, ` + model + `}`, "a(?=b)"},
		{`{"pre_tokenizer": {"type": "Split", "behavior": "Glued", "pattern": {"String": "a"}}, ` + model + `}`, `behavior "Glued"`},
		{`{"post_processor": {"type": "Poetry"}, ` + model + `}`, `post_processor "Poetry"`},
		{`{"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}]}, ` + model + `}`, `"x" is not one`},
	} {
		_, err := Parse([]byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", test.text, err, test.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "tokenizer.json")); err == nil {
		t.Error("a missing file is read")
	}
}

// Whatever the text: ids of the vocabulary, the same each time, and never a panic.
func FuzzEncode(f *testing.F) {
	var toks []*Tokenizer
	for _, g := range goldens(f) {
		tok, err := Parse(g.Tokenizer)
		if err != nil {
			f.Fatal(err)
		}
		toks = append(toks, tok)
	}
	f.Add("It's  two\n\n<|endoftext|> [MASK] é 日本")
	f.Add("\xff\x00\xc3")
	f.Fuzz(func(t *testing.T, text string) {
		for i, tok := range toks {
			ids, err := tok.Encode(text)
			if valid := utf8.ValidString(text); valid != (err == nil) {
				t.Fatalf("UTF-8: %v, %v", valid, err)
			}
			again, _ := tok.Encode(text)
			if !slices.Equal(ids, again) {
				t.Fatalf("tokenizer %d: %v, then %v", i, ids, again)
			}
			for _, id := range ids {
				if int64(id) >= tok.Size() {
					t.Fatalf("tokenizer %d: id %d of %d", i, id, tok.Size())
				}
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	text := strings.Repeat("The Work, and such Derivative Works in Source or Object form, as submitted to Licensor.\n", 1000)
	for _, g := range goldens(b) {
		if g.Name != "gpt2" && g.Name != "llama2" && g.Name != "bert uncased" {
			continue
		}
		tok, err := Parse(g.Tokenizer)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(g.Name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := tok.Encode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
