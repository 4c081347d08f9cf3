package corpus

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

func graphOf(t *testing.T, m *onnxio.Model) *graph.Graph {
	t.Helper()
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func write(t *testing.T, name string, raw []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// counting is a .bin file of uint16 tokens 0, 1 … modulo below.
func counting(t *testing.T, n, below int) string {
	t.Helper()
	var raw []byte
	for i := range n {
		raw = binary.LittleEndian.AppendUint16(raw, uint16(i%below))
	}
	return write(t, "tokens.bin", raw)
}

func archive(t *testing.T, arrays map[string]*onnxio.Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := dataset.WriteNPZ(path, arrays); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, g *graph.Graph, o Options, specs ...string) *Corpus {
	t.Helper()
	c, err := Open(context.Background(), g, specs, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func batch(t *testing.T, c *Corpus, n int64) *Batch {
	t.Helper()
	b, err := c.Batch(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func values(t *testing.T, x *onnxio.Tensor) []int64 {
	t.Helper()
	if x.DType == onnxio.Bool {
		truths, err := x.Bools()
		if err != nil {
			t.Fatal(err)
		}
		out := make([]int64, len(truths))
		for i, v := range truths {
			if v {
				out[i] = 1
			}
		}
		return out
	}
	v, err := x.Int64s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCropsOfAStream(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{}))
	o := Options{Objective: NextToken, Batch: 4, SeqLen: 8, Seed: 3}
	path := counting(t, 1000, 61)
	c, again := open(t, g, o, path), open(t, g, o, path)
	starts := map[int64]bool{}
	for n := range int64(50) {
		b := batch(t, c, n)
		ids, labels := values(t, b.Inputs["input_ids"]), values(t, b.Labels)
		if !reflect.DeepEqual(b.Inputs["input_ids"].Dims, []int64{4, 8}) || !reflect.DeepEqual(b.Labels.Dims, []int64{4, 8}) {
			t.Fatalf("shapes %v and %v", b.Inputs["input_ids"].Dims, b.Labels.Dims)
		}
		for i := range ids {
			if labels[i] != (ids[i]+1)%61 {
				t.Fatalf("batch %d: the label of %d is %d", n, ids[i], labels[i])
			}
			if i%8 == 0 {
				starts[ids[i]] = true
			}
		}
		if b.Tokens != 32 || b.Targets != 32 || b.Examples != 4 {
			t.Fatalf("%+v", b)
		}
	}
	if len(starts) < 50 {
		t.Errorf("200 rows begin at only %d of 61 tokens", len(starts))
	}
	// Any batch, in any order, from another reader of the same file, is the same.
	if a, b := batch(t, c, 7), batch(t, again, 7); !reflect.DeepEqual(values(t, a.Inputs["input_ids"]), values(t, b.Inputs["input_ids"])) {
		t.Error("batch 7 depends on what was read before")
	}
	o.Seed = 4
	if a, b := batch(t, c, 7), batch(t, open(t, g, o, path), 7); reflect.DeepEqual(values(t, a.Inputs["input_ids"]), values(t, b.Inputs["input_ids"])) {
		t.Error("batch 7 does not depend on the seed")
	}
}

// Every token but the first is a label of exactly one evaluation batch.
func TestEvaluationSeesEveryTokenOnce(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{}))
	raw := make([]byte, 0, 200)
	for i := range 100 {
		raw = binary.LittleEndian.AppendUint16(raw, uint16(i%67))
	}
	c := open(t, g, Options{Objective: NextToken, Batch: 4, SeqLen: 8}, write(t, "a.bin", raw))
	var labels []int64
	targets := int64(0)
	for i := range c.EvalBatches(0) {
		b, err := c.EvalBatch(context.Background(), i, 0)
		if err != nil {
			t.Fatal(err)
		}
		targets += b.Targets
		for _, l := range values(t, b.Labels) {
			if l != IgnoreIndex {
				labels = append(labels, l)
			}
		}
	}
	for i, l := range labels {
		if l != int64(i+1)%67 {
			t.Fatalf("label %d is %d", i, l)
		}
	}
	if len(labels) != 99 || targets != 99 || c.Examples() != 13 {
		t.Errorf("%d labels, %d targets, %d examples", len(labels), targets, c.Examples())
	}
	if n := c.EvalBatches(5); n != 2 {
		t.Errorf("the first 5 examples make %d batches", n)
	}
}

func TestEpochsHaveEveryExampleOnce(t *testing.T) {
	g := graphOf(t, fixtures.ViT(fixtures.Config{}))
	n, pixels := int64(10), int64(3*32*32)
	x := make([]float32, n*pixels)
	labels := make([]int64, n)
	for i := range labels {
		labels[i] = int64(i)
		x[int64(i)*pixels] = float32(i)
	}
	path := archive(t, map[string]*onnxio.Tensor{
		"pixel_values": onnxio.FromFloat32s("", []int64{n, 3, 32, 32}, x), "labels": onnxio.FromInt64s("", []int64{n}, labels)})
	c := open(t, g, Options{Batch: 4, Labels: Labels{Classes: 10}}, path)
	var drawn []int64
	for i := range int64(5) { // two epochs
		b := batch(t, c, i)
		pixel, err := b.Inputs["pixel_values"].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for row, l := range values(t, b.Labels) {
			if pixel[int64(row)*pixels] != float32(l) {
				t.Fatalf("label %d comes with image %g", l, pixel[int64(row)*pixels])
			}
			drawn = append(drawn, l)
		}
	}
	first, second := slices.Clone(drawn[:10]), slices.Clone(drawn[10:])
	if reflect.DeepEqual(first, second) || slices.IsSorted(first) {
		t.Errorf("epochs are %v and %v", first, second)
	}
	slices.Sort(first)
	slices.Sort(second)
	if !reflect.DeepEqual(first, labels) || !reflect.DeepEqual(second, labels) {
		t.Errorf("an epoch is %v, another %v", first, second)
	}
}

func TestPermutationIsOne(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 5, 8, 17, 64, 100, 1023, 4097} {
		for epoch := range uint64(3) {
			p := permute(1, epoch, n)
			seen := make([]bool, n)
			for i := range n {
				at := p.at(i)
				if at >= n || seen[at] {
					t.Fatalf("n %d, epoch %d: %d comes twice or is too large", n, epoch, at)
				}
				seen[at] = true
			}
		}
	}
	// Neighbours do not stay neighbours.
	p, together := permute(1, 0, 1000), 0
	for i := range uint64(999) {
		if d := int64(p.at(i+1)) - int64(p.at(i)); d >= -2 && d <= 2 {
			together++
		}
	}
	if together > 20 {
		t.Errorf("%d of 999 neighbours stay within two places", together)
	}
}

func TestMaskedTokens(t *testing.T) {
	g := graphOf(t, fixtures.BERT(fixtures.Config{}))
	path := counting(t, 5000, 60)
	c := open(t, g, Options{Objective: MaskedToken, Batch: 16, SeqLen: 50, MaskToken: 66, MaskProb: 0.15, Keep: []int64{7}}, path)
	plain := open(t, g, Options{Objective: NextToken, Batch: 16, SeqLen: 50}, path)
	var chosen, masked, kept, total int
	for n := range int64(40) {
		b := batch(t, c, n)
		ids, labels := values(t, b.Inputs["input_ids"]), values(t, b.Labels)
		for i, l := range labels {
			total++
			if l == IgnoreIndex {
				continue
			}
			chosen++
			switch {
			case l == 7:
				t.Fatal("a token that is to be kept was chosen")
			case ids[i] == 66:
				masked++
			case ids[i] == l:
				kept++
			}
		}
		for _, v := range append(values(t, b.Inputs["attention_mask"]), 1-values(t, b.Inputs["token_type_ids"])[0]) {
			if v != 1 {
				t.Fatal("a full row is not attended to")
			}
		}
	}
	for name, share := range map[string][2]float64{
		"chosen": {float64(chosen) / float64(total), 0.15 * 59 / 60}, "masked": {float64(masked) / float64(chosen), 0.8}, "kept": {float64(kept) / float64(chosen), 0.1}} {
		if share[0] < share[1]*0.9 || share[0] > share[1]*1.1 {
			t.Errorf("%s: %.3f, want %.3f", name, share[0], share[1])
		}
	}
	if a, b := batch(t, c, 3), batch(t, c, 3); !reflect.DeepEqual(values(t, a.Labels), values(t, b.Labels)) {
		t.Error("corruption is not a function of the batch's number")
	}
	if plain.Examples() != 100 || c.Examples() != 100 {
		t.Errorf("%d and %d examples", plain.Examples(), c.Examples())
	}
}

func TestLinesArePaddedToTheLongest(t *testing.T) {
	g := graphOf(t, fixtures.BERT(fixtures.Config{}))
	path := write(t, "a.jsonl", []byte("{\"input_ids\": [1, 2, 3], \"labels\": [4, -100, 6]}\n\n{\"labels\": [9], \"input_ids\": [8]}"))
	c := open(t, g, Options{Batch: 2, PadToken: 5}, path)
	b, err := c.EvalBatch(context.Background(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]int64{"input_ids": {1, 2, 3, 8, 5, 5}, "attention_mask": {1, 1, 1, 1, 0, 0}, "token_type_ids": {0, 0, 0, 0, 0, 0}} {
		if got := values(t, b.Inputs[name]); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := values(t, b.Labels); !reflect.DeepEqual(got, []int64{4, -100, 6, 9, -100, -100}) || b.Targets != 3 || b.Tokens != 4 {
		t.Errorf("labels %v, %d targets, %d tokens", got, b.Targets, b.Tokens)
	}
}

// With a length given, rows have one of eight lengths, so that a model is not compiled for every batch anew.
func TestFewLengths(t *testing.T) {
	var text strings.Builder
	for n := 2; n <= 70; n++ {
		fmt.Fprintf(&text, "{\"input_ids\": [1%s]}\n", strings.Repeat(", 2", n-1))
	}
	path := write(t, "a.jsonl", []byte(text.String()))
	for name, m := range map[string]*onnxio.Model{"gpt2": fixtures.GPT2(fixtures.Config{}), "bert": fixtures.BERT(fixtures.Config{})} {
		c := open(t, graphOf(t, m), Options{Objective: NextToken, Batch: 1, SeqLen: 50}, path)
		seen := map[int64]bool{}
		for i := range c.EvalBatches(0) {
			b, err := c.EvalBatch(context.Background(), i, 0)
			if err != nil {
				t.Fatal(err)
			}
			n := b.Labels.Dims[1]
			seen[n] = true
			if want := min(i+1, 50); b.Targets != want || n < want || n > 50 || n >= want+7 {
				t.Errorf("%s: %d targets in a row of %d, want %d", name, b.Targets, n, want)
			}
			for _, x := range b.Inputs {
				if x.Dims[1] != n {
					t.Errorf("%s: %s has shape %v beside labels of %d", name, x.Name, x.Dims, n)
				}
			}
		}
		if len(seen) != 8 {
			t.Errorf("%s: rows have %d lengths", name, len(seen))
		}
	}
}

// letters gives every byte its own token.
type letters struct{}

func (letters) Encode(text string) ([]uint32, error) {
	var ids []uint32
	for _, b := range []byte(text) {
		ids = append(ids, uint32(b)-'a')
	}
	return ids, nil
}

func (l letters) EncodeExample(text string) ([]uint32, error) { return l.Encode(text) }

func TestText(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{}))
	o := Options{Objective: NextToken, Batch: 1, SeqLen: 3, Tokenizer: letters{}}
	for _, path := range []string{write(t, "a.jsonl", []byte(`{"text": "abcd"}`)), write(t, "a.txt", []byte("abcd"))} {
		b := batch(t, open(t, g, o, path), 0)
		if ids, labels := values(t, b.Inputs["input_ids"]), values(t, b.Labels); !reflect.DeepEqual(ids, []int64{0, 1, 2}) || !reflect.DeepEqual(labels, []int64{1, 2, 3}) {
			t.Errorf("%s: %v, %v", path, ids, labels)
		}
	}
}

// What the tokens do not say is filled in so that models run: masks, positions, kinds of tokens, empty caches.
func TestFilledInputsRun(t *testing.T) {
	models := map[string]*onnxio.Model{
		"gpt2": fixtures.GPT2(fixtures.Config{}), "gpt2 with a cache": fixtures.GPT2(fixtures.Config{Cache: true}),
		"bert": fixtures.BERT(fixtures.Config{}), "llama": fixtures.Llama(fixtures.Config{}),
		"llama with a cache": fixtures.Llama(fixtures.Config{Cache: true}), "llama computing angles": fixtures.Llama(fixtures.Config{RotaryComputed: true}),
	}
	for name, m := range models {
		t.Run(name, func(t *testing.T) {
			g := graphOf(t, m)
			c := open(t, g, Options{Objective: NextToken, Batch: 2, SeqLen: 5}, counting(t, 100, 50))
			e, err := engine.New(g, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			out, err := e.Run(context.Background(), batch(t, c, 0).Inputs)
			if err != nil {
				t.Fatal(err)
			}
			if got := out["logits"].Dims; !reflect.DeepEqual(got, []int64{2, 5, 67}) {
				t.Errorf("logits have shape %v", got)
			}
		})
	}
}

func TestSetsAreBatches(t *testing.T) {
	m, err := onnxio.Read(fixtures.Path(t, "bert_s_op17"), onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := open(t, graphOf(t, m), Options{Objective: NextToken, Batch: 7}, fixtures.Dir(t, "bert_s_op17"))
	b := batch(t, c, 0)
	ids, mask, labels := values(t, b.Inputs["input_ids"]), values(t, b.Inputs["attention_mask"]), values(t, b.Labels)
	width := int(b.Labels.Dims[1])
	for i, l := range labels {
		want := int64(IgnoreIndex)
		if i%width < width-1 && mask[i+1] != 0 {
			want = ids[i+1]
		}
		if l != want {
			t.Fatalf("label %d is %d, want %d", i, l, want)
		}
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	gpt2, bert, vit := fixtures.GPT2(fixtures.Config{}), fixtures.BERT(fixtures.Config{}), fixtures.ViT(fixtures.Config{})
	next, cls := Options{Objective: NextToken, Batch: 2, SeqLen: 4}, Options{Batch: 2, Labels: Labels{Classes: 10, Type: onnxio.TensorType(onnxio.Int64, onnxio.Dim{Param: "batch"})}}
	image := func(n int64) *onnxio.Tensor {
		return onnxio.FromFloat32s("", []int64{n, 3, 32, 32}, make([]float32, n*3*32*32))
	}
	row := func(v ...int64) *onnxio.Tensor { return onnxio.FromInt64s("", []int64{int64(len(v))}, v) }
	lines := func(text string) string { return write(t, "a.jsonl", []byte(text)) }
	for _, test := range []struct {
		name  string
		model *onnxio.Model
		o     Options
		specs []string
		want  []string
	}{
		{"no data", gpt2, next, nil, []string{"no data is given"}},
		{"missing file", gpt2, next, []string{"/nothing/a.bin"}, []string{"/nothing/a.bin"}},
		{"unknown kind", gpt2, next, []string{write(t, "a.csv", nil)}, []string{"a.csv", ".npz", "test_data_set"}},
		{"odd bytes", gpt2, next, []string{write(t, "a.bin", make([]byte, 33))}, []string{"a.bin", "33 bytes", "uint16"}},
		{"too short", gpt2, next, []string{counting(t, 4, 9)}, []string{"tokens.bin", "has 4 tokens", "needs 5"}},
		{"id too large", gpt2, next, []string{counting(t, 3000, 68)}, []string{"tokens.bin", "token 67 is 67", "0 to 66"}},
		{"tokens for images", vit, cls, []string{counting(t, 30, 9)}, []string{"tokens.bin", "pixel_values"}},
		{"tokens without labels", gpt2, cls, []string{counting(t, 30, 9)}, []string{"tokens.bin", "without labels"}},
		{"objective without tokens", vit, next, []string{"a.npz"}, []string{"no input of token ids", "pixel_values"}},
		{"no tokenizer", gpt2, next, []string{write(t, "a.txt", []byte("text"))}, []string{"a.txt", "tokenizer"}},
		{"no labels", vit, cls, []string{archive(t, map[string]*onnxio.Tensor{"pixel_values": image(2)})}, []string{"a.npz", "no labels", "found: pixel_values"}},
		{"unknown array", vit, cls, []string{archive(t, map[string]*onnxio.Tensor{"pixels": image(2)})}, []string{"a.npz", `no input "pixels"`, "pixel_values"}},
		{"lengths", vit, cls, []string{archive(t, map[string]*onnxio.Tensor{"pixel_values": image(2), "labels": row(1, 2, 3)})}, []string{"2 examples", "3"}},
		{"shape", vit, cls, []string{archive(t, map[string]*onnxio.Tensor{"pixel_values": onnxio.FromFloat32s("", []int64{1, 3, 2, 2}, make([]float32, 12)), "labels": row(1)})},
			[]string{"a.npz", "pixel_values", "[3 2 2]", "[batch 3 32 32]"}},
		{"dtype", vit, cls, []string{archive(t, map[string]*onnxio.Tensor{"pixel_values": image(1), "labels": onnxio.FromFloat32s("", []int64{1}, []float32{1})})},
			[]string{"labels", "float32", "int64"}},
		{"class", vit, cls, []string{archive(t, map[string]*onnxio.Tensor{"pixel_values": image(2), "labels": row(9, 10)})}, []string{"example 1", "labels", "is 10", "0 to 9"}},
		{"label shape", vit, cls, []string{archive(t, map[string]*onnxio.Tensor{"pixel_values": image(2), "labels": onnxio.FromInt64s("", []int64{2, 1}, []int64{1, 2})})},
			[]string{"labels", "[1]", "[batch]"}},
		{"line", gpt2, next, []string{lines("{\"input_ids\": [1, 2]}\n\n{\"input_ids\": [1,]}")}, []string{"a.jsonl: line 3", "JSON"}},
		{"line null", gpt2, next, []string{lines("null")}, []string{"line 1", "null"}},
		{"line key", gpt2, next, []string{lines(`{"ids": [1, 2]}`)}, []string{"line 1", "ids", "input_ids"}},
		{"line string", gpt2, next, []string{lines(`{"input_ids": "abc"}`)}, []string{"line 1", "input_ids", "a string", "numbers"}},
		{"line fraction", gpt2, next, []string{lines(`{"input_ids": [1, 2.5]}`)}, []string{"line 1", "element 1 is 2.5", "whole number"}},
		{"line ragged", gpt2, next, []string{lines(`{"input_ids": [[1], [2, 3]]}`)}, []string{"line 1", "ragged"}},
		{"line id", gpt2, next, []string{lines(`{"input_ids": [1, 67]}`)}, []string{"line 1", "element 1 is 67", "0 to 66"}},
		{"line text", gpt2, next, []string{lines(`{"text": "abc"}`)}, []string{"line 1", "tokenizer"}},
		{"one token", gpt2, next, []string{lines(`{"input_ids": [1]}`)}, []string{"line 1", "1 tokens are too few"}},
		{"mixed kinds", gpt2, next, []string{lines(`{"input_ids": [1, 2]}`), counting(t, 30, 9)}, []string{"different kinds"}},
		{"mask token", bert, Options{Objective: MaskedToken, Batch: 1, MaskToken: 67, MaskProb: 0.1}, []string{"x"}, []string{"mask token 67", "67"}},
		{"folder", vit, cls, []string{t.TempDir()}, []string{"input_0.pb"}},
		{"empty", vit, cls, []string{archive(t, map[string]*onnxio.Tensor{"pixel_values": image(0), "labels": row()})}, []string{"no examples"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Open(context.Background(), graphOf(t, test.model), test.specs, test.o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want one line with %q", err, part)
				}
			}
		})
	}
}

// Without a mask padding would be seen, so sequences of different lengths are refused where that changes the result.
func TestPaddingNeedsAMask(t *testing.T) {
	path := write(t, "a.jsonl", []byte("{\"input_ids\": [1, 2], \"labels\": 0}\n{\"input_ids\": [1], \"labels\": 1}"))
	c := open(t, graphOf(t, fixtures.GPT2(fixtures.Config{})), Options{Batch: 2}, path)
	if _, err := c.Batch(context.Background(), 0); err == nil || !strings.Contains(err.Error(), "no mask") {
		t.Errorf("got %v", err)
	}
}

func ExampleOpen() {
	g, err := graph.FromModel(fixtures.GPT2(fixtures.Config{}))
	if err != nil {
		panic(err)
	}
	_, err = Open(context.Background(), g, []string{"tokens.csv"}, Options{Objective: NextToken, Batch: 8, SeqLen: 64})
	fmt.Println(err)
	// Output: stat tokens.csv: no such file or directory
}
