package verify

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/graph/inputs"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

func synthesizerOf(t *testing.T, m *onnxio.Model) *synthesizer {
	t.Helper()
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(g, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSynthesizer(g, e, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ints(t *testing.T, s dataset.Set, name string) ([]int64, []int64) {
	t.Helper()
	v, err := s.Inputs[name].Int64s()
	if err != nil {
		t.Fatal(err)
	}
	return v, s.Inputs[name].Dims
}

func TestMeaningOfInputs(t *testing.T) {
	s := synthesizerOf(t, fixtures.BERT(fixtures.Config{Vocab: 51}))
	want := map[string]inputs.Meaning{"input_ids": {Kind: inputs.Index, Rows: 51}, "attention_mask": {Kind: inputs.Mask}, "token_type_ids": {Kind: inputs.Index, Rows: 2}}
	for _, in := range s.inputs {
		if in.Meaning != want[in.v.Name] {
			t.Errorf("%s is %+v, want %+v", in.v.Name, in.Meaning, want[in.v.Name])
		}
	}
}

func TestSetsCoverTheEdges(t *testing.T) {
	sets, notes, err := synthesizerOf(t, fixtures.BERT(fixtures.Config{Vocab: 51})).sets(context.Background(), synthesis{})
	if err != nil || len(notes) > 0 {
		t.Fatal(err, notes)
	}
	var names []string
	for _, s := range sets {
		names = append(names, s.Name)
		ids, dims := ints(t, s, "input_ids")
		for _, id := range ids {
			if id < 0 || id >= 51 {
				t.Errorf("%s: token %d of 51", s.Name, id)
			}
		}
		mask, _ := ints(t, s, "attention_mask")
		zeros := 0
		for i, m := range mask {
			if m == 0 {
				zeros++
				first := int64(i)%dims[1] == 0
				if left := strings.Contains(s.Name, "left"); !left && first {
					t.Errorf("%s: a row begins with padding", s.Name)
				}
			}
		}
		if padded := strings.Contains(s.Name, "padded"); padded != (zeros > 0) {
			t.Errorf("%s: %d zeros in the mask", s.Name, zeros)
		}
	}
	all := strings.Join(names, "\n")
	for _, want := range []string{"batch 2, length 5", "batch 1, length 1", "padded right", "padded left", "one token repeated", "length 64, the longest that the model takes"} {
		if !strings.Contains(all, want) {
			t.Errorf("no set %q among\n%s", want, all)
		}
	}
}

// How a mask's length follows from past and sequence is found by trying: these fixtures give no other hint than that it runs.
func TestSizesThatDependOnEachOther(t *testing.T) {
	s := synthesizerOf(t, fixtures.Llama(fixtures.Config{Cache: true}))
	sets, _, err := s.sets(context.Background(), synthesis{short: true})
	if err != nil {
		t.Fatal(err)
	}
	cache := sets[0].Inputs["past_key_values.0.key"]
	if cache == nil || cache.Dims[2] != probe.past || sets[0].Inputs["input_ids"].Dims[1] != probe.sequence {
		t.Errorf("cache %v, tokens %v", cache.Dims, sets[0].Inputs["input_ids"].Dims)
	}
}

// The caches of all layers are as long, even where every length has a name of its own.
func TestSizesWithManyNames(t *testing.T) {
	m := fixtures.Llama(fixtures.Config{Cache: true, Layers: 6})
	for i, in := range m.Graph.Inputs {
		if strings.HasPrefix(in.Name, "past_key_values.") {
			in.Type.Dims[2].Param = fmt.Sprintf("s%d", i)
		}
	}
	s := synthesizerOf(t, m)
	if len(s.unknowns) != 3 {
		t.Errorf("%d sizes to find, want those of batch, sequence and past", len(s.unknowns))
	}
	sets, _, err := s.sets(context.Background(), synthesis{short: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range sets[0].Inputs {
		if strings.HasPrefix(name, "past_key_values.") && x.Dims[2] != probe.past {
			t.Errorf("%s: %v", name, x.Dims)
		}
	}
}

func TestTooExpensiveSetsAreLeftOut(t *testing.T) {
	sets, notes, err := synthesizerOf(t, fixtures.GPT2(fixtures.Config{})).sets(context.Background(), synthesis{maxTokens: 12})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sets {
		if d := s.Inputs["input_ids"].Dims; d[0]*d[1] > 12 {
			t.Errorf("%s has shape %v", s.Name, d)
		}
	}
	if len(notes) == 0 {
		t.Error("nothing says that sets were left out")
	}
}

func TestSameSeedSameInputs(t *testing.T) {
	make := func() dataset.Set {
		s := synthesizerOf(t, fixtures.ViT(fixtures.Config{}))
		sets, _, err := s.sets(context.Background(), synthesis{short: true})
		if err != nil {
			t.Fatal(err)
		}
		return sets[0]
	}
	a, b := make(), make()
	for name, x := range a.Inputs {
		if same, err := x.Equal(b.Inputs[name]); !same || err != nil {
			t.Errorf("%s differs, %v", name, err)
		}
	}
}

func TestDepthAndWidth(t *testing.T) {
	for _, c := range []struct {
		name         string
		folded, raw  *onnxio.Model
		layers, wide int
	}{
		{"gpt2", fixtures.GPT2(fixtures.Config{Layers: 3}), fixtures.GPT2(fixtures.Config{Layers: 3, Unfolded: true}), 3, 128},
		{"bert", fixtures.BERT(fixtures.Config{}), fixtures.BERT(fixtures.Config{Unfolded: true}), 2, 128},
	} {
		for _, m := range []*onnxio.Model{c.folded, c.raw} {
			g, err := graph.FromModel(m)
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Normalize(); err != nil {
				t.Fatal(err)
			}
			if w := width(g); w != int64(c.wide) {
				t.Errorf("%s: width is %d, want %d", c.name, w, c.wide)
			}
			// A layer has eight sums in a row (norm, projection, scores, softmax, values, projection, and so on), its ends some more.
			if d := depth(g); d < 8*c.layers || d > 11*c.layers+8 {
				t.Errorf("%s: depth is %d", c.name, d)
			}
		}
	}
}
