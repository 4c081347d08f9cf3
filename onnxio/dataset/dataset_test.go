package dataset

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func signature(t *testing.T, model string) Signature {
	t.Helper()
	m, err := onnxio.Read(model, onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return Signature{m.Graph.Inputs, m.Graph.Outputs}
}

func TestLoadTestDataSets(t *testing.T) {
	dir := fixtures.Dir(t, "bert_s_op17")
	sig := signature(t, filepath.Join(dir, "model.onnx"))
	for _, spec := range []string{dir, filepath.Join(dir, "test_data_set_0")} {
		sets, err := Load(context.Background(), []string{spec}, sig)
		if err != nil {
			t.Fatal(err)
		}
		if len(sets) != 1 {
			t.Fatalf("%s: %d sets, want 1", spec, len(sets))
		}
		s := sets[0]
		for _, name := range []string{"input_ids", "attention_mask", "token_type_ids"} {
			if x := s.Inputs[name]; x == nil || x.Name != name || x.DType != onnxio.Int64 || len(x.Dims) != 2 {
				t.Errorf("%s: input %s is %+v", spec, name, x)
			}
		}
		if y := s.Outputs["logits"]; y == nil || y.DType != onnxio.Float || len(y.Dims) != 3 {
			t.Errorf("%s: output logits is %+v", spec, y)
		}
	}
}

func TestSetsAreReadInNumericOrder(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(fixtures.Dir(t, "gpt2_s_op17"), "test_data_set_0", "input_0.pb")
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"0", "2", "10"} {
		set := filepath.Join(dir, "test_data_set_"+n)
		if err := os.Mkdir(set, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(set, "input_0.pb"), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	sets, err := Load(context.Background(), []string{dir}, signature(t, fixtures.Path(t, "gpt2_s_op17")))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, s := range sets {
		order = append(order, strings.TrimPrefix(filepath.Base(s.Name), "test_data_set_"))
	}
	if got := strings.Join(order, " "); got != "0 2 10" {
		t.Errorf("order is %s", got)
	}
}

func tokens(name string, dt onnxio.DType) *onnxio.ValueInfo {
	return &onnxio.ValueInfo{Name: name, Type: onnxio.TensorType(dt, onnxio.Dim{Param: "batch"}, onnxio.Dim{Value: 2})}
}

func TestLoadNamedFilesAndArchives(t *testing.T) {
	dir := t.TempDir()
	ids, err := onnxio.FromBytes("", onnxio.Int32, []int64{1, 2}, []byte{1, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF})
	if err != nil {
		t.Fatal(err)
	}
	npz := filepath.Join(dir, "a.npz")
	err = WriteNPZ(npz, map[string]*onnxio.Tensor{"ids": ids, "labels": ids, "y": onnxio.FromFloat64s("y", []int64{1, 2}, []float64{0.5, 2})})
	if err != nil {
		t.Fatal(err)
	}
	array := filepath.Join(dir, "a.npy")
	data := append(npy("{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2), }\n", 0), 1, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF)
	if err := os.WriteFile(array, data, 0o666); err != nil {
		t.Fatal(err)
	}
	sig := Signature{
		Inputs:  []*onnxio.ValueInfo{tokens("ids", onnxio.Int64)},
		Outputs: []*onnxio.ValueInfo{tokens("y", onnxio.Float)},
	}
	sets, err := Load(context.Background(), []string{npz, "ids=" + array}, sig)
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) != 2 {
		t.Fatalf("%d sets, want 2", len(sets))
	}
	for _, s := range sets {
		got, err := s.Inputs["ids"].Int64s()
		if err != nil || s.Inputs["ids"].DType != onnxio.Int64 || got[0] != 1 || got[1] != -2 {
			t.Errorf("%s: ids are %v (%v)", s.Name, got, err)
		}
	}
	if y := sets[0].Outputs["y"]; y == nil || y.DType != onnxio.Float {
		t.Errorf("y is %v, want float32: 0.5 and 2 are exact in it", y)
	}
	if sets[0].Extra["labels"] == nil {
		t.Error("labels are lost")
	}
}

func TestLoadErrorsAreOneLineNamingFileAndArray(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.npz")
	write := func(name string, x *onnxio.Tensor) {
		t.Helper()
		if err := WriteNPZ(file, map[string]*onnxio.Tensor{name: x}); err != nil {
			t.Fatal(err)
		}
	}
	two := []int64{1, 2}
	for _, test := range []struct {
		name  string
		array string
		x     *onnxio.Tensor
		want  string
	}{
		{"missing", "id", onnxio.FromInt64s("", two, []int64{1, 2}), `nothing for input "ids" (found: id)`},
		{"kind", "ids", onnxio.FromFloat32s("", two, []float32{1, 2}), "elements are float32, the model declares int32"},
		{"range", "ids", onnxio.FromInt64s("", two, []int64{1, math.MaxInt32 + 1}), "element 1 of int64 does not fit in the int32"},
		{"size", "ids", onnxio.FromInt64s("", []int64{2, 1}, []int64{1, 2}), "shape is [2 1], the model declares [batch 2]"},
		{"rank", "ids", onnxio.FromInt64s("", []int64{2}, []int64{1, 2}), "shape is [2], the model declares [batch 2]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			write(test.array, test.x)
			_, err := Load(context.Background(), []string{file}, Signature{Inputs: []*onnxio.ValueInfo{tokens("ids", onnxio.Int32)}})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %s and %q", err, file, test.want)
			}
		})
	}
	t.Run("rounding", func(t *testing.T) {
		write("x", onnxio.FromFloat64s("", two, []float64{0.5, 0.1}))
		_, err := Load(context.Background(), []string{file}, Signature{Inputs: []*onnxio.ValueInfo{tokens("x", onnxio.Float)}})
		if err == nil || !strings.Contains(err.Error(), "element 1: 0.1") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not a data set", func(t *testing.T) {
		for _, spec := range []string{filepath.Join(dir, "nothing"), dir, os.DevNull, "ids=" + filepath.Join(dir, "no.npy"), "nobody=x.npy"} {
			if _, err := Load(context.Background(), []string{spec}, Signature{}); err == nil {
				t.Errorf("%s is accepted", spec)
			}
		}
	})
}

func TestConvertKeepsEveryValueOrRefuses(t *testing.T) {
	u64, err := onnxio.FromBytes("", onnxio.Uint64, []int64{1}, binary.LittleEndian.AppendUint64(nil, math.MaxUint64))
	if err != nil {
		t.Fatal(err)
	}
	i64 := func(v int64) *onnxio.Tensor { return onnxio.FromInt64s("", []int64{1}, []int64{v}) }
	f64 := func(v float64) *onnxio.Tensor { return onnxio.FromFloat64s("", []int64{1}, []float64{v}) }
	for _, test := range []struct {
		x    *onnxio.Tensor
		to   onnxio.DType
		fits bool
	}{
		{i64(-128), onnxio.Int8, true},
		{i64(-129), onnxio.Int8, false},
		{i64(127), onnxio.Int8, true},
		{i64(128), onnxio.Int8, false},
		{i64(255), onnxio.Uint8, true},
		{i64(256), onnxio.Uint8, false},
		{i64(-1), onnxio.Uint64, false},
		{i64(math.MaxInt64), onnxio.Uint64, true},
		{u64, onnxio.Int64, false},
		{u64, onnxio.Uint32, false},
		{f64(math.NaN()), onnxio.Float16, true},
		{f64(math.Inf(1)), onnxio.BFloat16, true},
		{f64(65504), onnxio.Float16, true},
		{f64(65536), onnxio.Float16, false},
		{f64(1e-50), onnxio.Float, false},
		{i64(1), onnxio.Float, false},
		{onnxio.FromBools("", []int64{1}, []bool{true}), onnxio.Int64, false},
	} {
		if _, err := Convert(test.x, test.to); (err == nil) != test.fits {
			t.Errorf("%v to %v: %v", test.x.DType, test.to, err)
		}
	}
}
