package corpus

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// heldIDs are the ids of all evaluation batches, in one.
func heldIDs(t *testing.T, c *Corpus) []int64 {
	t.Helper()
	var out []int64
	for i := range c.EvalBatches(0) {
		b, err := c.EvalBatch(context.Background(), i, 0)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, values(t, b.Inputs["input_ids"])...)
	}
	return out
}

func holdOut(t *testing.T, c *Corpus, share float64, tokens, examples int64) *Corpus {
	t.Helper()
	held, err := c.HoldOut(share, tokens, examples)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := held.Close(); err != nil {
			t.Error(err)
		}
	})
	return held
}

// The end of a stream is never trained on, whatever the seed, and everything else may be.
func TestHoldOutOfAStream(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{Vocab: 2000}))
	path := counting(t, 1000, 2000)
	for _, share := range []struct {
		share  float64
		tokens int64
		first  int64 // token that is held out: rows of 8, and one more token for the last label
	}{{0.1, 8192, 1000 - 13*8 - 1}, {0.5, 40, 1000 - 5*8 - 1}, {0.0001, 1, 1000 - 8 - 1}} {
		for seed := range uint64(2) {
			c := open(t, g, Options{Objective: NextToken, Batch: 4, SeqLen: 8, Seed: seed}, path)
			whole := c.ID()
			held := holdOut(t, c, share.share, share.tokens, 0)
			got := heldIDs(t, held)
			if got[0] != share.first || got[len(got)-1] != 998 || int64(len(got)) != 999-share.first {
				t.Errorf("%v: held out are %d tokens from %d to %d", share, len(got), got[0], got[len(got)-1])
			}
			most := int64(0)
			for n := range int64(400) {
				b := batch(t, c, n)
				most = max(most, slices.Max(values(t, b.Inputs["input_ids"])), slices.Max(values(t, b.Labels)))
			}
			if most != share.first-1 {
				t.Errorf("%v: the last token that is trained on is %d, the first that is held out %d", share, most, share.first)
			}
			if c.ID() == whole || c.Examples()+held.Examples() < 1000/8-1 {
				t.Errorf("%v: ID %q, %d and %d examples", share, c.ID(), c.Examples(), held.Examples())
			}
		}
	}
}

// Each of several streams gives its end, in proportion.
func TestHoldOutOfSeveralStreams(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{Vocab: 2000}))
	c := open(t, g, Options{Objective: NextToken, Batch: 2, SeqLen: 8}, counting(t, 801, 2000), counting(t, 401, 2000), counting(t, 9, 2000))
	held := holdOut(t, c, 0.1, 8192, 0)
	if c.Examples() < 133 || c.Examples() > 135 || held.Examples() != 16 {
		t.Errorf("%d examples left, %d held out", c.Examples(), held.Examples())
	}
	got := heldIDs(t, held)
	if !slices.Contains(got, 799) || !slices.Contains(got, 399) || slices.Min(got) < 330 {
		t.Errorf("held out are tokens %v", got)
	}
}

// Streams of a row each are held out whole.
func TestHoldOutOfShortStreams(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{}))
	var specs []string
	for range 20 {
		specs = append(specs, counting(t, 9, 60))
	}
	c := open(t, g, Options{Objective: NextToken, SeqLen: 8}, specs...)
	if held := holdOut(t, c, 0.1, 8192, 0); held.Examples() != 2 || c.Examples() != 18 {
		t.Errorf("%d held out, %d left", held.Examples(), c.Examples())
	}
}

// Examples are trained on or held out, one of both, and what is held out does not depend on the seed.
func TestHoldOutOfExamples(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{Vocab: 2000}))
	rows := make([]int64, 50*4)
	for i := range rows {
		rows[i] = int64(i / 4)
	}
	path := archive(t, map[string]*onnxio.Tensor{"input_ids": onnxio.FromInt64s("", []int64{50, 4}, rows)})
	lines := write(t, "a.jsonl", []byte(strings.Repeat("{\"input_ids\": [60, 60, 60, 60]}\n", 10)))
	var first []int64
	for seed := range uint64(2) {
		c := open(t, g, Options{Objective: NextToken, Batch: 5, SeqLen: 4, Seed: seed}, path, lines)
		held := holdOut(t, c, 0.2, 40, 0) // a fifth would be 12 examples, 40 tokens are 10
		got := heldIDs(t, held)
		seen := map[int64]bool{}
		for n := range int64(10) { // one epoch
			for _, v := range values(t, batch(t, c, n).Inputs["input_ids"]) {
				seen[v] = true
			}
		}
		if held.Examples() != 10 || c.Examples() != 50 {
			t.Fatalf("%d held out, %d left", held.Examples(), c.Examples())
		}
		for v := range int64(50) {
			if seen[v] == slices.Contains(got, v) {
				t.Errorf("example %d: trained on %t, held out %t", v, seen[v], slices.Contains(got, v))
			}
		}
		if slices.IsSorted(got) {
			t.Error("the examples are not drawn")
		}
		if first == nil {
			first = got
		}
		if !slices.Equal(first, got) {
			t.Error("what is held out depends on the seed")
		}
	}
}

func TestHoldOutOfSets(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{}))
	c := open(t, g, Options{Objective: NextToken}, fixtures.Dir(t, "gpt2_s_op17"))
	n := c.Examples()
	if n < 2 {
		if _, err := c.HoldOut(0.1, 8192, 0); err == nil || !strings.Contains(err.Error(), "of 1 it would take 1") {
			t.Errorf("got %v", err)
		}
		return
	}
	held := holdOut(t, c, 0.1, 8192, 0)
	if held.Examples() != 1 || c.Examples() != n-1 || len(heldIDs(t, held)) == 0 {
		t.Errorf("of %d sets %d are held out, %d left", n, held.Examples(), c.Examples())
	}
}

// Nothing is held out of too little, and of a model that fixes its batch whole batches are.
func TestHoldOutNeedsEnough(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{}))
	c := open(t, g, Options{Objective: NextToken, SeqLen: 8}, counting(t, 16, 60))
	if _, err := c.HoldOut(0.1, 8192, 0); err == nil || !strings.Contains(err.Error(), "nothing can be held out") {
		t.Errorf("got %v", err)
	}
	if b := batch(t, c, 0); b.Tokens == 0 {
		t.Error("the corpus cannot be used after the error")
	}
	m := fixtures.GPT2(fixtures.Config{})
	for _, v := range m.Graph.Inputs {
		v.Type.Dims[0] = onnxio.Dim{Value: 6}
	}
	c = open(t, graphOf(t, m), Options{Objective: NextToken, SeqLen: 8}, counting(t, 500, 60))
	if held := holdOut(t, c, 0.01, 8192, 0); held.Examples() != 6 || held.EvalBatches(0) != 1 {
		t.Errorf("%d examples in %d batches", held.Examples(), held.EvalBatches(0))
	}
}
