package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
)

// operatorOf is the part of inspect's JSON that tests look at.
type operatorOf struct {
	Schema, SHA256, Method, Promise, Source_sha256 string
	Learned                                        *struct{ Steps int }
	Matrices                                       []struct {
		Name          string
		Rows, Columns int
		Learned       bool
		Density       float64
		Condition     *float64
	}
	Inverses []struct {
		Axis string
		Off  *float64 `json:"max_abs_l_r_minus_i"`
	}
	Blends     []struct{ Row_sum_min, Row_sum_max float64 }
	Free_terms []struct{ Tensor string }
	Skipped    int
}

func inspected(t *testing.T, path string) operatorOf {
	t.Helper()
	var got operatorOf
	if err := json.Unmarshal([]byte(ok(t, "inspect", path, "--json").out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != "ligoonnx/operator@1" || got.SHA256 == "" || got.Skipped != 0 {
		t.Errorf("%+v", got)
	}
	return got
}

// sums are checksums of files, whose last bits are those of the machine's arithmetic.
var sums = regexp.MustCompile(`SHA-256 [0-9a-f]+`)

func withoutSums(text string) string { return sums.ReplaceAllString(text, "SHA-256 …") }

// An operator that was saved makes the same model again, to the bit, and a sibling's.
func TestOperatorSavedAndApplied(t *testing.T) {
	in := gpt2(t)
	op, first, second := beside(in, "op.safetensors"), beside(in, "first.onnx"), beside(in, "second.onnx")
	golden(t, "save-operator", ok(t, "expand", in, first, "--layers", "3", "--heads", "3", "--seed", "7", "--save-operator", op).out, filepath.Dir(in))
	golden(t, "operator", withoutSums(ok(t, "expand", in, second, "--operator", op).out), filepath.Dir(in))
	same(t, first, second)
	golden(t, "inspect-operator", withoutSums(ok(t, "inspect", op).out), filepath.Dir(in))
	if names := files(t, filepath.Dir(in)); names != "first.onnx op.safetensors second.onnx small.onnx" {
		t.Errorf("the folder holds %s", names)
	}
	got := inspected(t, op)
	if got.Promise != "exact" || got.Learned != nil || got.Method != "ligo" || len(got.Matrices) == 0 {
		t.Errorf("%+v", got)
	}
	for _, v := range got.Inverses {
		if v.Off == nil || *v.Off > 1e-14 {
			t.Errorf("axis %s: an exact start is off by %v", v.Axis, v.Off)
		}
	}
	if r := ok(t, "verify", in, second); !strings.Contains(r.out, "promised=exact") {
		t.Errorf("verify prints\n%s", r.out)
	}

	// Other weights, same graph.
	sibling := save(t, fixtures.GPT2(fixtures.Config{Seed: 9}))
	r := ok(t, "expand", sibling, beside(sibling, "large.onnx"), "--operator", op)
	if !strings.Contains(r.out, "note sibling-model: the operator was made for another file") || !strings.Contains(r.out, "promised=exact") {
		t.Errorf("a sibling's growth prints\n%s", r.out)
	}
	var grown struct {
		Operator *struct {
			Path, SHA256 string
			Saved        bool
			Bytes        int64
		}
	}
	r = ok(t, "expand", sibling, beside(sibling, "large.onnx"), "--operator", op, "--force", "--json")
	if err := json.Unmarshal([]byte(r.out), &grown); err != nil || grown.Operator == nil || grown.Operator.Saved || grown.Operator.SHA256 != got.SHA256 || grown.Operator.Path != op {
		t.Errorf("%v: %+v", err, grown.Operator)
	}
}

// An operator with weights of its model in it makes another function of a sibling, and does not say otherwise.
func TestOperatorOfOtherWeights(t *testing.T) {
	bert := save(t, fixtures.BERT(fixtures.Config{}))
	op := beside(bert, "op.safetensors")
	ok(t, "expand", bert, beside(bert, "large.onnx"), "--width", "1.5", "--save-operator", op)
	sibling := save(t, fixtures.BERT(fixtures.Config{Seed: 9}))
	r := ok(t, "expand", sibling, beside(sibling, "large.onnx"), "--operator", op)
	if !strings.Contains(r.out, "reason foreign-operator: ") || !strings.Contains(r.out, "promised=none") {
		t.Errorf("expand prints\n%s", r.out)
	}
}

func TestLearnedOperator(t *testing.T) {
	in := gpt2(t)
	tokens := stream(t, filepath.Dir(in), 2000)
	op, first, second := beside(in, "op.safetensors"), beside(in, "first.onnx"), beside(in, "second.onnx")
	learn := []string{"--data", tokens, "--steps", "10", "--batch", "4", "--seq-len", "12", "--init", "paper", "--width", "1.5", "--free-term"}
	ok(t, append([]string{"expand", in, first, "--save-operator", op}, learn...)...)
	r := ok(t, "expand", in, second, "--operator", op)
	if !strings.Contains(r.out, "method paper, learned, promise: none") {
		t.Errorf("expand prints\n%s", r.out)
	}
	same(t, first, second)
	got := inspected(t, op)
	learned, ordered := 0, true
	for _, m := range got.Matrices {
		if m.Learned {
			learned++
		}
		if m.Condition == nil {
			t.Errorf("%s has no condition number", m.Name)
		}
	}
	for _, b := range got.Blends {
		ordered = ordered && b.Row_sum_min <= b.Row_sum_max
	}
	if got.Learned == nil || got.Learned.Steps != 10 || learned == 0 || len(got.Blends) != 0 && !ordered || len(got.Free_terms) == 0 {
		t.Errorf("%d learned matrices: %+v", learned, got)
	}
}

func TestOperatorRefused(t *testing.T) {
	in := gpt2(t)
	op, out := beside(in, "op.safetensors"), beside(in, "large.onnx")
	ok(t, "expand", in, out, "--no-verify", "--save-operator", op)
	raw, err := os.ReadFile(op)
	if err != nil {
		t.Fatal(err)
	}
	damage := func(name string, f func([]byte) []byte) string {
		path := beside(in, name)
		if err := os.WriteFile(path, f(bytes.Clone(raw)), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cut := damage("cut.safetensors", func(b []byte) []byte { return b[:len(b)-8] })
	text := damage("text.safetensors", func([]byte) []byte { return []byte("this is no operator at all") })
	version := damage("version.safetensors", func(b []byte) []byte { return bytes.Replace(b, []byte("operator@1"), []byte("operator@2"), 1) })
	nan := damage("nan.safetensors", func(b []byte) []byte { copy(b[len(b)-8:], []byte{0, 0, 0xc0, 0x7f, 0, 0, 0xf8, 0x7f}); return b })
	other, taller := save(t, fixtures.BERT(fixtures.Config{})), save(t, fixtures.GPT2(fixtures.Config{Layers: 3}))
	x := beside(in, "x.onnx")
	for _, c := range []struct {
		code  int
		parts string
		args  []string
	}{
		{2, "op.safetensors;exists already;--force", []string{"expand", in, x, "--save-operator", op}},
		{2, "ends in .safetensors", []string{"expand", in, x, "--save-operator", x + ".bin"}},
		{2, "is OUT", []string{"expand", in, x + ".safetensors", "--save-operator", x + ".safetensors"}},
		{2, "--hidden cannot be given with --operator", []string{"expand", in, x, "--operator", op, "--hidden", "64"}},
		{2, "--method cannot be given", []string{"expand", in, x, "--operator", op, "--method", "lemon"}},
		{2, "--data cannot be given", []string{"expand", in, x, "--operator", op, "--data", "x.npz"}},
		{2, "--save-operator cannot be given", []string{"expand", in, x, "--operator", op, "--save-operator", x + ".safetensors"}},
		{2, "op.safetensors;it grows models of 2 layers, hidden 32;this one has 3 layers", []string{"expand", taller, x, "--operator", op}},
		{2, "op.safetensors: ", []string{"expand", other, x, "--operator", op}},
		{1, "none.safetensors;no such file", []string{"expand", in, x, "--operator", beside(in, "none.safetensors")}},
		{4, "cut.safetensors;tensor ;lies at", []string{"expand", in, x, "--operator", cut}},
		{4, "text.safetensors;header", []string{"inspect", text}},
		{4, "version.safetensors;operator@2;operator@1", []string{"inspect", version}},
		{4, "nan.safetensors;tensor ;NaN", []string{"inspect", nan}},
		{4, "small.onnx", []string{"expand", in, x, "--operator", in}},
		{4, "is a directory", []string{"inspect", t.TempDir() + "/"}},
	} {
		refused(t, c.code, strings.Split(c.parts, ";"), c.args...)
	}
	if _, err := os.Stat(x); !os.IsNotExist(err) {
		t.Errorf("a refused growth left a model: %v", err)
	}
}
