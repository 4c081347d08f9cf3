package corpus

import (
	"context"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// array is an .npy file of int64.
func array(t *testing.T, shape string, v ...int64) string {
	t.Helper()
	head := fmt.Sprintf("{'descr': '<i8', 'fortran_order': False, 'shape': (%s), }\n", shape)
	raw := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(head)))
	raw = append(raw, head...)
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return write(t, "a.npy", raw)
}

// evaluated lists the ids of all evaluation batches.
func evaluated(t *testing.T, c *Corpus) []int64 {
	t.Helper()
	var all []int64
	for i := range c.EvalBatches(0) {
		b, err := c.EvalBatch(context.Background(), i, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, values(t, b.Inputs["input_ids"])...)
	}
	return all
}

func TestArraysOfTokens(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{}))
	o := Options{Objective: NextToken, Batch: 1, SeqLen: 2}
	want := []int64{1, 2, 3, 4}
	for name, specs := range map[string][]string{
		"stream":       {array(t, "5,", 1, 2, 3, 4, 5)},
		"rows":         {array(t, "2, 3", 1, 2, 9, 3, 4, 9)},
		"named":        {"input_ids=" + array(t, "2, 3", 1, 2, 9, 3, 4, 9)},
		"with labels":  {"input_ids=" + array(t, "2, 2", 1, 2, 3, 4), "labels=" + array(t, "2, 2", 7, 8, 9, 10)},
		"two streams":  {array(t, "3,", 1, 2, 9), array(t, "3,", 3, 4, 9)},
		"two of rows":  {array(t, "1, 3", 1, 2, 9), array(t, "1, 3", 3, 4, 9)},
		"rows, lines":  {array(t, "1, 3", 1, 2, 9), write(t, "a.jsonl", []byte(`{"input_ids": [3, 4, 9]}`))},
		"lines, an id": {write(t, "a.jsonl", []byte("{\"input_ids\": [1, 2, 9]}\n{\"input_ids\": [3, 4, 9, 5]}"))},
	} {
		c := open(t, g, o, specs...)
		if got := evaluated(t, c); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if c.Examples() != 2 {
			t.Errorf("%s: %d examples", name, c.Examples())
		}
		if name != "with labels" {
			continue
		}
		b, err := c.EvalBatch(context.Background(), 1, 0)
		if err != nil || !reflect.DeepEqual(values(t, b.Labels), []int64{9, 10}) {
			t.Errorf("%s: labels are not taken as they are (%v)", name, err)
		}
	}
}

// Training goes through all of several files, and cuts from all of several streams but never across two.
func TestSeveralFiles(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{}))
	rows := open(t, g, Options{Objective: NextToken, Batch: 1, SeqLen: 1}, array(t, "2, 2", 1, 0, 2, 0), array(t, "1, 2", 3, 0), array(t, "3, 2", 4, 0, 5, 0, 6, 0))
	var drawn []int64
	for i := range int64(6) {
		drawn = append(drawn, values(t, batch(t, rows, i).Inputs["input_ids"])...)
	}
	slices.Sort(drawn)
	if !reflect.DeepEqual(drawn, []int64{1, 2, 3, 4, 5, 6}) {
		t.Errorf("an epoch is %v", drawn)
	}
	streams := open(t, g, Options{Objective: NextToken, Batch: 1, SeqLen: 1}, array(t, "3,", 1, 2, 3), array(t, "4,", 11, 12, 13, 14))
	pairs := map[[2]int64]int{}
	for i := range int64(500) {
		b := batch(t, streams, i)
		pairs[[2]int64{values(t, b.Inputs["input_ids"])[0], values(t, b.Labels)[0]}]++
	}
	for _, p := range [][2]int64{{1, 2}, {2, 3}, {11, 12}, {12, 13}, {13, 14}} {
		if n := pairs[p]; n < 60 || n > 140 {
			t.Errorf("%v was drawn %d of 500 times, want about 100", p, n)
		}
		delete(pairs, p)
	}
	if len(pairs) > 0 {
		t.Errorf("drawn across files: %v", pairs)
	}
}

func TestTokensOf32Bits(t *testing.T) {
	g := graphOf(t, fixtures.GPT2(fixtures.Config{Vocab: 70000}))
	var raw []byte
	for i := range 40 {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(69950+i))
	}
	path := write(t, "a.bin", raw)
	// The vocabulary decides, and the option decides against it.
	if got := evaluated(t, open(t, g, Options{Objective: NextToken, Batch: 1, SeqLen: 39}, path)); got[0] != 69950 || got[38] != 69988 {
		t.Errorf("%v", got)
	}
	if got := evaluated(t, open(t, g, Options{Objective: NextToken, Batch: 1, SeqLen: 79, TokenType: onnxio.Uint16}, path)); got[0] != 69950-65536 || got[1] != 1 {
		t.Errorf("%v", got)
	}
}
