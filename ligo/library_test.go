package ligo_test

import (
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo"
)

// TestLibraryExports grows models of the transformers library as its users export them. Each is here for what no other model in the
// tests has.
func TestLibraryExports(t *testing.T) {
	both := []ligo.Target{{}, {HeadDim: 6, Layers: 3}}
	for _, c := range []struct {
		name, what string
		targets    []ligo.Target
	}{
		{"hf_gpt2_ts17", "a score scale that is added to a constant zero", both},
		{"hf_gptneox_ts17", "two norms of one sum; rotary tables behind GatherElements; scores of batch x heads in one axis", both},
		{"hf_opt_ts17", "scores of batch x heads in one axis", both},
		{"hf_llama_past_ts17", "a cache with one head", both},
		{"hf_gpt2_dyn18", "layers of which only the later ones slice the mask", both},
		{"hf_gptj_dyn18", "heads that turn by interleaved pairs, in part", []ligo.Target{{}, {Heads: 4}, {Hidden: 32, Layers: 3}}},
		{"hf_gemma2_dyn18", "layers that take turns in the mask they read; norms at the ends of branches; one key/value head", both},
		{"hf_phi_dyn18", "heads that turn in part, with queries and keys of their own", both},
		{"hf_llama_past_dyn23", "one key/value head before a fused attention; past lengths with a name each", both},
		{"hf_clip_text_dyn18", "the last position looked up by GatherND", both},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := analyse(t, read(t, fixtures.Path(t, c.name)))
			in := stored(t, a.Graph, filepath.Join(fixtures.Dir(t, c.name), "model.onnx"))
			for _, target := range c.targets {
				p, g := grow(t, a, target, ligo.Options{})
				if p.To.Layers <= p.From.Layers && target.Heads == 0 {
					t.Errorf("%s: %d layers became %d", c.what, p.From.Layers, p.To.Layers)
				}
				if d := difference(t, a.Graph, g, in); p.Promise != ligo.Exact || d > single {
					t.Errorf("%s: %s, off %.2g", c.what, p.Promise, d)
				}
			}
		})
	}
}
