package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/verify"
)

func TestCorrectGrowthsPass(t *testing.T) {
	for _, c := range []struct {
		name   string
		model  *onnxio.Model
		target ligo.Target
	}{
		{"gpt2 x2", fixtures.GPT2(fixtures.Config{}), ligo.Target{}},
		{"gpt2 odd", fixtures.GPT2(fixtures.Config{Seed: 3}), ligo.Target{Hidden: 43, Heads: 3, Layers: 5}},
		{"gpt2 heads", fixtures.GPT2(fixtures.Config{Seed: 4}), ligo.Target{Heads: 5}},
		{"gpt2 float16", fixtures.GPT2(fixtures.Config{DType: onnxio.Float16}), ligo.Target{Width: 1.5}},
		{"gpt2 bfloat16", fixtures.GPT2(fixtures.Config{DType: onnxio.BFloat16}), ligo.Target{Width: 1.5}},
		{"gpt2 float64", fixtures.GPT2(fixtures.Config{DType: onnxio.Double}), ligo.Target{}},
		{"gpt2 caches", fixtures.GPT2(fixtures.Config{Cache: true}), ligo.Target{Heads: 3, HeadDim: 24, Layers: 3}},
		{"bert x2", fixtures.BERT(fixtures.Config{}), ligo.Target{}},
		{"bert ffn", fixtures.BERT(fixtures.Config{}), ligo.Target{FFN: 200}},
		{"vit", fixtures.ViT(fixtures.Config{}), ligo.Target{Width: 1.5, Depth: 2}},
		{"llama", fixtures.Llama(fixtures.Config{}), ligo.Target{Hidden: 48, Layers: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			small := reread(t, c.model)
			large := grow(t, small, c.target, ligo.Options{Seed: 7})
			r := certify(t, small, large, verify.Options{Seed: 1, SecondReader: true})
			if !r.Passed() || r.Promised != verify.Exact {
				t.Fatalf("%s, promised %s: %v", r.Verdict, r.Promised, r.Failures)
			}
			for _, o := range r.Outputs {
				if math.IsNaN(float64(o.MaxAbsDiff)) || o.MaxAbsDiff > o.Tolerance || o.Tolerance <= 0 {
					t.Errorf("%s: %g with tolerance %g", o.Name, o.MaxAbsDiff, o.Tolerance)
				}
			}
			if len(r.Sets) < 3 {
				t.Errorf("compared on %v only", r.Sets)
			}
		})
	}
}

// A cache that grew is mapped on its way in and out, and the caches of new layers are made up.
func TestCachesAreMapped(t *testing.T) {
	small := reread(t, fixtures.GPT2(fixtures.Config{Cache: true}))
	large := grow(t, small, ligo.Target{Heads: 3, HeadDim: 24, Layers: 3}, ligo.Options{})
	r := certify(t, small, large, verify.Options{})
	mapped := 0
	for _, o := range r.Outputs {
		if o.Mapped {
			mapped++
		}
	}
	if mapped != 4 || !r.Passed() {
		t.Errorf("%d outputs mapped, want the 4 caches; %s %v", mapped, r.Verdict, r.Failures)
	}
	text := strings.Join(r.Notes, "\n")
	for _, want := range []string{"new inputs", "new outputs"} {
		if !strings.Contains(text, want) {
			t.Errorf("the notes do not mention %s: %v", want, r.Notes)
		}
	}
	past := false
	for _, s := range r.Sets {
		past = past || strings.Contains(s.Name, "past 0")
	}
	if !past {
		t.Errorf("an empty cache was not tried: %v", r.Sets)
	}
}

func TestApproximateGrowth(t *testing.T) {
	small := reread(t, fixtures.BERT(fixtures.Config{}))
	large := grow(t, small, ligo.Target{Width: 1.5}, ligo.Options{})
	r := certify(t, small, large, verify.Options{})
	if !r.Passed() || r.Promised != verify.Approximate || len(r.Reasons) == 0 || r.Deviation <= 0 {
		t.Fatalf("%s, promised %s, deviation %g, reasons %v, failures %v", r.Verdict, r.Promised, r.Deviation, r.Reasons, r.Failures)
	}
	found := false
	for _, x := range r.Reasons {
		found = found || x.Code == ligo.CodePostNormWidth && x.Node != ""
	}
	if !found {
		t.Errorf("no reason %s with its node: %v", ligo.CodePostNormWidth, r.Reasons)
	}
	if r = certify(t, small, large, verify.Options{MaxDeviation: float64(r.Deviation) / 2}); r.Passed() {
		t.Error("passed with twice the allowed deviation")
	}
	if r = certify(t, small, large, verify.Options{Atol: 1e-6}); r.Passed() {
		t.Error("passed beyond a tolerance that was given")
	}
}

func TestWithoutRecord(t *testing.T) {
	small := reread(t, fixtures.GPT2(fixtures.Config{}))
	large := grow(t, small, ligo.Target{Layers: 4}, ligo.Options{})
	large.Model.Metadata = nil
	r := certify(t, small, large, verify.Options{})
	if !r.Passed() || r.Promised != verify.Exact {
		t.Errorf("%s, promised %s: %v", r.Verdict, r.Promised, r.Failures)
	}
	other := reread(t, fixtures.GPT2(fixtures.Config{Seed: 9, Layers: 4}))
	if r = certify(t, small, other, verify.Options{}); r.Passed() {
		t.Error("an unrelated model of the same family passed")
	}
}

func TestSmallModelThatCannotRun(t *testing.T) {
	m := fixtures.GPT2(fixtures.Config{})
	m.Graph.Nodes[len(m.Graph.Nodes)-1].OpType = "Mystery"
	broken := load(t, m)
	_, err := verify.Compare(context.Background(), broken, broken, verify.Options{})
	var unsupported *engine.UnsupportedError
	if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "Mystery") || !strings.Contains(err.Error(), "model.onnx") {
		t.Errorf("error is %v", err)
	}
}

func TestCancelled(t *testing.T) {
	m := reread(t, fixtures.GPT2(fixtures.Config{}))
	ctx, cancel := context.WithCancel(context.Background())
	steps := 0
	_, err := verify.Compare(ctx, m, m, verify.Options{Shadow: true, Progress: func(int, int, string) {
		if steps++; steps == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// The form of the JSON is what others build on.
func TestReportJSON(t *testing.T) {
	small := reread(t, fixtures.GPT2(fixtures.Config{}))
	r := certify(t, small, small, verify.Options{})
	r.MaxAbsDiff = verify.Number(math.Inf(1))
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"schema", "verdict", "promised", "max_abs_diff", "tolerance", "outputs", "reasons", "training", "small", "large"} {
		if _, ok := got[key]; !ok {
			t.Errorf("no key %q", key)
		}
	}
	if got["schema"] != "ligoonnx/verify@1" || got["max_abs_diff"] != nil {
		t.Errorf("schema %v, infinite difference %v", got["schema"], got["max_abs_diff"])
	}
	out := got["outputs"].([]any)[0].(map[string]any)
	for _, key := range []string{"name", "max_abs_diff", "mean_abs_diff", "rms", "worst_index"} {
		if _, ok := out[key]; !ok {
			t.Errorf("no key %q in an output", key)
		}
	}
	for _, model := range []string{"small", "large"} {
		m := got[model].(map[string]any)
		if m["sha256"] == "" || m["path"] == "" || m["params"].(float64) < 1000 {
			t.Errorf("%s is %v", model, m)
		}
	}
	var back verify.Report
	if err := json.Unmarshal(text, &back); err != nil || !math.IsNaN(float64(back.MaxAbsDiff)) {
		t.Errorf("read again: %v, %v", back.MaxAbsDiff, err)
	}
}
