package train

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph/engine"
)

func sampleTensors() []namedFloats {
	return []namedFloats{{"a", []int{2, 3}, engine.Floats{F32: []float32{1, -2, 3.5, 0, 1e-40, 6}}}, {"b", nil, engine.Floats{F64: []float64{0.1}}}, {"c", []int{0, 4}, engine.Floats{F32: []float32{}}}}
}

func emptyLike(ts []namedFloats) []namedFloats {
	var out []namedFloats
	for _, t := range ts {
		out = append(out, namedFloats{t.name, t.shape, zeros(t.values)})
	}
	return out
}

func TestSafetensors(t *testing.T) {
	var b bytes.Buffer
	want := sampleTensors()
	if err := writeSafetensors(&b, want); err != nil {
		t.Fatal(err)
	}
	got := emptyLike(want)
	if err := readSafetensors(bytes.NewReader(b.Bytes()), int64(b.Len()), got); err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		for j, v := range w.values.F32 {
			if got[i].values.F32[j] != v {
				t.Errorf("%s[%d] is %v", w.name, j, got[i].values.F32[j])
			}
		}
	}
	if got[1].values.F64[0] != 0.1 {
		t.Errorf("b is %v", got[1].values.F64)
	}
	// What the format's specification says about the file.
	raw := b.Bytes()
	n := binary.LittleEndian.Uint64(raw)
	var header map[string]struct {
		DType   string
		Shape   []int
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(raw[8:8+n], &header); err != nil || n%8 != 0 {
		t.Fatal(n, err)
	}
	if a := header["a"]; a.DType != "F32" || len(a.Shape) != 2 || a.Offsets != [2]int{0, 24} || header["b"].Offsets != [2]int{24, 32} || len(raw) != 8+int(n)+32 {
		t.Errorf("header %+v of %d bytes", header, len(raw))
	}
}

func TestHostileSafetensors(t *testing.T) {
	file := func(header string, data int) []byte {
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), make([]byte, data)...)
	}
	rest := `,"b":{"dtype":"F64","shape":[],"data_offsets":[24,32]},"c":{"dtype":"F32","shape":[0,4],"data_offsets":[32,32]}}`
	for name, k := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":      {nil, "no header"},
		"huge header":  {binary.LittleEndian.AppendUint64(nil, 1<<40), "bytes, the file has"},
		"negative":     {binary.LittleEndian.AppendUint64(nil, 1<<63+5), "bytes, the file has"},
		"no json":      {file("}{", 32), "header"},
		"none":         {file("{}", 32), `no tensor "a"`},
		"other shape":  {file(`{"a":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}`+rest, 32), "of shape [3 2], not F32"},
		"other type":   {file(`{"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,24]}`+rest, 32), "is F16"},
		"behind":       {file(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[16,40]}`+rest, 32), "lies at"},
		"before":       {file(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[-24,0]}`+rest, 32), "lies at"},
		"overflow":     {file(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[9223372036854775800,9223372036854775807]}`+rest, 32), "lies at"},
		"short":        {file(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`+rest, 20), "lies at"},
		"one too many": {file(`{"z":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`+rest, 32), `"z"`},
	} {
		if err := readSafetensors(bytes.NewReader(k.file), int64(len(k.file)), emptyLike(sampleTensors())); err == nil || !strings.Contains(err.Error(), k.want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzSafetensors(f *testing.F) {
	var b bytes.Buffer
	if err := writeSafetensors(&b, sampleTensors()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		// Only panics and allocations on the word of the file are wrong.
		_ = readSafetensors(bytes.NewReader(file), int64(len(file)), emptyLike(sampleTensors()))
	})
}

// The tensors of a checkpoint have the names that other tools expect.
func TestCheckpointFilesAreNamed(t *testing.T) {
	task, g := goldenTask(t, Spec{Loss: CausalLM})
	o := adamw
	o.Steps, o.Checkpoint = 2, t.TempDir()
	r := mustRun(t, task, &goldenBatches{g: g, task: task, size: 2}, o)
	for name, want := range map[string]string{parametersFile: `"wte.weight":{"dtype":"F32","shape":[11,16]`, optimizerFile: `"wte.weight.exp_avg_sq":{"dtype":"F32","shape":[11,16]`} {
		raw, err := os.ReadFile(filepath.Join(r.Checkpoint, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("%s has no %s", name, want)
		}
	}
}
