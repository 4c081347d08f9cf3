package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// maxFile bounds a tokenizer.json; the largest published ones have some 30 MB.
const maxFile = 512 << 20

// Load reads a tokenizer.json. Its truncation and padding are left alone: batches are cut and filled up elsewhere.
func Load(path string) (*Tokenizer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes, this is no tokenizer.json", path, maxFile)
	}
	t, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

type file struct {
	Padding *struct {
		PadID int64 `json:"pad_id"`
	} `json:"padding"`
	AddedTokens   []added         `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Model         json.RawMessage `json:"model"`
}

// Parse reads the text of a tokenizer.json.
func Parse(raw []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("not a tokenizer.json: %w", err)
	}
	t := &Tokenizer{added: f.AddedTokens, pad: -1}
	if f.Padding != nil {
		t.pad = f.Padding.PadID
	}
	if err := t.loadModel(f.Model); err != nil {
		return nil, err
	}
	var err error
	if t.normalize, err = newNormalizer(f.Normalizer); err != nil {
		return nil, err
	}
	if t.split, err = newSplitter(f.PreTokenizer); err != nil {
		return nil, err
	}
	if t.template, err = t.newTemplate(f.PostProcessor); err != nil {
		return nil, err
	}
	var before, after []*added
	for i := range t.added {
		a := &t.added[i]
		t.vocab[a.Content] = a.ID
		if !a.Normalized {
			before = append(before, a)
			continue
		}
		found := *a
		found.Content = t.normalize.apply(a.Content)
		after = append(after, &found)
	}
	t.raw, t.clean = newMatcher(before), newMatcher(after)
	return t, nil
}

func (t *Tokenizer) loadModel(raw json.RawMessage) error {
	if len(raw) == 0 {
		return errors.New("not a tokenizer.json: it has no model")
	}
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if kind.Type != "" && !slices.Contains([]string{"BPE", "WordPiece", "WordLevel"}, kind.Type) {
		return unknown("model", kind.Type)
	}
	var m modelSection
	err := json.Unmarshal(raw, &m)
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	switch {
	case m.Type == "BPE" || m.Type == "" && m.Merges != nil: // old files do not say which it is
		t.words, err = newBPE(m)
	case m.Type == "WordPiece" || m.Type == "" && m.MaxInputChars > 0:
		t.words, err = newWordPiece(m)
	case m.Type == "WordLevel":
		w := wordLevel{vocab: m.Vocab}
		w.unk, err = m.unknown()
		t.words = w
	default:
		return unknown("model", m.Type)
	}
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	t.vocab = make(map[string]uint32, len(m.Vocab))
	for token, id := range m.Vocab {
		t.vocab[token] = id
	}
	return nil
}

// newTemplate reads what is put around a text.
func (t *Tokenizer) newTemplate(raw json.RawMessage) ([]piece, error) {
	s, ok, err := parse(raw)
	if !ok || err != nil {
		return nil, err
	}
	switch s.Type {
	case "ByteLevel":
		return nil, nil // of offsets
	case "Sequence":
		var all []piece
		for _, part := range s.Processors {
			p, err := t.newTemplate(part)
			switch {
			case err != nil:
				return nil, err
			case len(p) > 0 && len(all) > 0:
				return nil, errors.New("post_processor: two templates, one around the other, are not supported")
			case len(p) > 0:
				all = p
			}
		}
		return all, nil
	case "BertProcessing", "RobertaProcessing":
		var b struct {
			Sep, Cls []json.RawMessage
		}
		if err := json.Unmarshal(raw, &b); err != nil {
			return nil, err
		}
		cls, err := second(b.Cls)
		if err != nil {
			return nil, err
		}
		sep, err := second(b.Sep)
		if err != nil {
			return nil, err
		}
		return []piece{{ids: []uint32{cls}}, {text: true}, {ids: []uint32{sep}}}, nil
	case "TemplateProcessing":
		return template(raw)
	}
	return nil, unknown("post_processor", s.Type)
}

// second is the id of ["[CLS]", 101].
func second(pair []json.RawMessage) (uint32, error) {
	if len(pair) != 2 {
		return 0, errors.New("post_processor: expected a token and its id")
	}
	var id uint32
	err := json.Unmarshal(pair[1], &id)
	return id, err
}

func template(raw json.RawMessage) ([]piece, error) {
	var t struct {
		Single []struct {
			SpecialToken, Sequence *struct {
				ID string `json:"id"`
			}
		} `json:"single"`
		Special map[string]struct {
			IDs []uint32 `json:"ids"`
		} `json:"special_tokens"`
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	var out []piece
	for _, p := range t.Single {
		switch {
		case p.Sequence != nil:
			out = append(out, piece{text: true})
		case p.SpecialToken != nil:
			special, ok := t.Special[p.SpecialToken.ID]
			if !ok {
				return nil, fmt.Errorf("post_processor: %q is not one of its special_tokens", p.SpecialToken.ID)
			}
			out = append(out, piece{ids: special.IDs})
		}
	}
	return out, nil
}
