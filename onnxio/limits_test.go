package onnxio

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

func TestDepthLimit(t *testing.T) {
	var limit *LimitError
	for name, deep := range map[string]func(int) []byte{
		// node → attribute → graph → node …
		"subgraphs": func(n int) []byte { return nested(n, 1, 5, 6) },
		// value_info → type → sequence → type …
		"types": func(n int) []byte {
			b := nested(n-2, 4, 1)
			return field(nil, 13, field(nil, 2, b))
		},
		"groups": func(n int) []byte {
			return append(bytes.Repeat([]byte{100<<3&0x7f | 0x80 | 3, 100 >> 4}, n), bytes.Repeat([]byte{100<<3&0x7f | 0x80 | 4, 100 >> 4}, n)...)
		},
	} {
		// The model and its graph are the first two of the hundred.
		if _, err := Decode(modelOf(deep(maxDepth-2)), ReadOptions{}); errors.As(err, &limit) {
			t.Errorf("%s: depth %d is refused: %v", name, maxDepth, err)
		}
		for _, n := range []int{maxDepth - 1, 5000, 200_000} {
			data := modelOf(deep(n))
			start := time.Now()
			_, err := Decode(data, ReadOptions{})
			if !errors.As(err, &limit) {
				t.Errorf("%s: depth %d: %v, want a LimitError", name, n+2, err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("%s: depth %d took %v", name, n+2, d)
			}
		}
	}
}

// Ten megabytes of empty messages would be gigabytes of objects.
func TestAmplification(t *testing.T) {
	for name, graph := range map[string][]byte{
		"nodes":        bytes.Repeat([]byte{1<<3 | 2, 0}, 5<<20),
		"initializers": bytes.Repeat([]byte{5<<3 | 2, 0}, 5<<20),
		"value infos":  bytes.Repeat([]byte{13<<3 | 2, 0}, 5<<20),
		"attributes":   field(nil, 1, bytes.Repeat([]byte{5<<3 | 2, 0}, 5<<20)),
		"inputs":       field(nil, 1, bytes.Repeat([]byte{1<<3 | 2, 0}, 10<<20)),
		"groups":       bytes.Repeat([]byte{6<<3 | 3, 6<<3 | 4}, 5<<20),
		"packed":       field(nil, 5, field(nil, 7, make([]byte, maxNumbers+1))),
	} {
		data := modelOf(graph)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(data, ReadOptions{})
		runtime.ReadMemStats(&after)
		var limit *LimitError
		if !errors.As(err, &limit) {
			t.Errorf("%s: %v, want a LimitError", name, err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%s: refusing it took %d bytes", name, grown)
		}
	}
}

func TestMalformed(t *testing.T) {
	long := bytes.Repeat([]byte{0xff}, 10)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":             {nil, "empty"},
		"lfs":               {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"), "git lfs pull"},
		"zip":               {[]byte("PK\x03\x04 and more"), "zip"},
		"text":              {[]byte("hello, world\n"), "not an ONNX model"},
		"varint of 10 ff":   {append([]byte{8}, long...), "cut off or longer"},
		"varint of 11":      {append(append([]byte{8}, bytes.Repeat([]byte{0x80}, 10)...), 1), "longer than 10"},
		"tag too large":     {append(bytes.Repeat([]byte{0xff}, 5), 0x0f), "not possible"},
		"field zero":        {[]byte{0x02, 0}, "field number 0"},
		"wire type 6":       {[]byte{0x0e}, "wire type 6"},
		"length beyond end": {[]byte{7<<3 | 2, 50}, "50 bytes"},
		"huge length":       {append([]byte{7<<3 | 2}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "bytes"},
		"end without group": {[]byte{6<<3 | 4}, "not begun"},
		"group not closed":  {[]byte{6<<3 | 3}, "does not end"},
		"wrong group end":   {[]byte{6<<3 | 3, 9<<3 | 4}, "ends as group 9"},
		"graph as number":   {varint(varint(nil, 1, 8), 7, 1), "not an ONNX model"},
		"no graph":          {varint(nil, 1, 8), "no graph"},
		"no version":        {field(nil, 7, nil), "ir_version is 0"},
		"no operator set":   {field(varint(nil, 1, 8), 7, nil), "operator set"},
		"ir 999":            {field(varint(nil, 1, 999), 7, nil), "ir_version is 999"},
		"opset 999":         {field(field(varint(nil, 1, 8), 8, varint(nil, 2, 999)), 7, nil), "version 999"},
		"opset 0":           {field(field(varint(nil, 1, 8), 8, nil), 7, nil), "version 0"},
	} {
		_, err := Decode(c.data, ReadOptions{})
		var inv *InvalidError
		if !errors.As(err, &inv) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an InvalidError with %q", name, err, c.want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", name, err)
		}
	}
	ir14 := field(field(varint(nil, 1, 14), 8, varint(nil, 2, 17)), 7, nil)
	if _, err := Decode(ir14, ReadOptions{ForceIR: true}); err != nil {
		t.Errorf("ForceIR: %v", err)
	}
}

func TestEveryPrefixIsRefusedOrRead(t *testing.T) {
	for name, data := range fixtures(t) {
		stride := max(1, len(data)/2000)
		for n := 0; n < len(data); n += stride {
			m, err := Decode(data[:n], ReadOptions{})
			mustBeTyped(t, name, err)
			if err == nil {
				touch(t, m)
			}
		}
	}
}

func TestMutations(t *testing.T) {
	const seed1, seed2 = 20230501, 7
	rng := rand.New(rand.NewPCG(seed1, seed2))
	end := time.Now().Add(3 * time.Second)
	all := fixtures(t)
	names := slices.Sorted(maps.Keys(all))
	tried, read := 0, 0
	for ; tried < 20_000*len(names) && time.Now().Before(end); tried++ {
		name := names[tried%len(names)]
		data := bytes.Clone(all[name])
		at, b := rng.IntN(len(data)), byte(rng.Uint32())
		data[at] = b
		m, err := Decode(data, ReadOptions{})
		mustBeTyped(t, name, err)
		if err == nil {
			touch(t, m)
			read++
		}
	}
	t.Logf("%d mutations (seed %d, %d), %d still read", tried, seed1, seed2, read)
}

// Placeholders of the reader's own making, forged in a file, must stay the bytes that they are.
func TestForgedPlaceholder(t *testing.T) {
	forged := make([]byte, placeholderLen)
	tensor := varint(varint(nil, 1, placeholderLen), 2, uint64(Uint8))
	graph := field(nil, 5, field(field(tensor, 8, []byte("t")), rawDataField, forged))
	m, err := Decode(modelOf(graph), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := m.Graph.Initializers[0].Bytes(); err != nil || !bytes.Equal(raw, forged) {
		t.Errorf("%v (%v)", raw, err)
	}
}

// What the library does not know must survive reading and writing, also in messages that were changed.
func TestUnknownFieldsSurvive(t *testing.T) {
	data := sample(t)
	m, err := Decode(data, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Producer = "changed"
	out, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	var pb onnxpb.ModelProto
	if err := pb.Unmarshal(out); err != nil || !bytes.Contains(pb.XXX_unrecognized, []byte("later version")) {
		t.Errorf("the unknown field is lost (%v)", err)
	}
}
