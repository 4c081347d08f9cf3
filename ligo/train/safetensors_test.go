package train

import (
	"bytes"
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
}

// A file of another model is refused; what files cannot say at all is package safetensors'.
func TestForeignSafetensors(t *testing.T) {
	change := func(f func([]namedFloats) []namedFloats) []byte {
		var b bytes.Buffer
		if err := writeSafetensors(&b, f(sampleTensors())); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, k := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":      {nil, "no header"},
		"none":         {change(func([]namedFloats) []namedFloats { return nil }), `no tensor "a"`},
		"other shape":  {change(func(s []namedFloats) []namedFloats { s[0].shape = []int{3, 2}; return s }), "of shape [3 2], not F32"},
		"other type":   {change(func(s []namedFloats) []namedFloats { s[1].values = engine.Floats{F32: []float32{1}}; return s }), "is F32 of shape [], not F64"},
		"one too many": {change(func(s []namedFloats) []namedFloats { z := s[0]; z.name = "z"; return append(s, z) }), `"z"`},
	} {
		if err := readSafetensors(bytes.NewReader(k.file), int64(len(k.file)), emptyLike(sampleTensors())); err == nil || !strings.Contains(err.Error(), k.want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
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
