package ligo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/safetensors"
)

// opened is a file taken apart, to be changed and written again.
type opened struct {
	meta    map[string]string
	tensors map[string]safetensors.Tensor
}

func takeApart(t testing.TB, file []byte) opened {
	t.Helper()
	f, err := safetensors.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	out := opened{maps.Clone(f.Metadata), map[string]safetensors.Tensor{}}
	for _, e := range f.Tensors {
		raw, err := io.ReadAll(f.Elements(e))
		if err != nil {
			t.Fatal(err)
		}
		out.tensors[e.Name] = safetensors.Tensor{Name: e.Name, DType: e.DType, Shape: e.Shape, Values: bytes.NewBuffer(raw)}
	}
	return out
}

func (o opened) file(t testing.TB) []byte {
	t.Helper()
	var ts []safetensors.Tensor
	for _, name := range slices.Sorted(maps.Keys(o.tensors)) {
		ts = append(ts, o.tensors[name])
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, o.meta, ts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// set replaces a tensor.
func (o opened) set(name string, dt safetensors.DType, values any, shape ...int64) {
	o.tensors[name] = safetensors.Tensor{Name: name, DType: dt, Shape: shape, Values: values}
}

// edit changes an entry of the metadata as JSON.
func (o opened) edit(t testing.TB, key string, f func(map[string]any)) {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(o.meta[key]), &all); err != nil {
		t.Fatal(err)
	}
	f(all)
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	o.meta[key] = string(text)
}

// at follows keys into JSON.
func at(m map[string]any, keys ...string) map[string]any {
	for _, k := range keys {
		m = m[k].(map[string]any)
	}
	return m
}

const content = "ligoonnx.operator"

// sampleOperator is an operator with every kind of part, and the model that it is for.
func sampleOperator(t testing.TB) ([]byte, *ligo.Analysis) {
	t.Helper()
	m := fixtures.GPT2(fixtures.Config{Layers: 2, Hidden: 16, Heads: 2, DType: onnxio.Double})
	p, _, l := learnable(t, m, ligo.Target{Width: 1.5, Depth: 1.5}, ligo.LiGO, ligo.LearnOptions{Free: ligo.FreeDense, Tie: ligo.TieNone, Additive: true})
	return storedFile(t, p, noisy(t, l)), analyse(t, m)
}

func TestHostileOperators(t *testing.T) {
	file, _ := sampleOperator(t)
	if _, err := ligo.OpenOperator(bytes.NewReader(file), int64(len(file))); err != nil {
		t.Fatal(err)
	}
	huge := func(x map[string]any) { x["to"], x["from"] = 1<<30, 1<<30 }
	for name, c := range map[string]struct {
		want string
		do   func(o opened)
	}{
		"no format":     {"is no operator of ligoonnx", func(o opened) { delete(o.meta, "ligoonnx.format") }},
		"other format":  {`format is "operator@9"`, func(o opened) { o.meta["ligoonnx.format"] = "operator@9" }},
		"no record":     {"has no ligoonnx.growth", func(o opened) { delete(o.meta, "ligoonnx.growth") }},
		"broken record": {"ligoonnx.growth", func(o opened) { o.meta["ligoonnx.growth"] = "{" }},
		"method":        {`no method "magic"`, func(o opened) { o.edit(t, "ligoonnx.growth", func(m map[string]any) { m["method"] = "magic" }) }},
		"steps": {"learned in -1 steps", func(o opened) {
			o.edit(t, "ligoonnx.growth", func(m map[string]any) { at(m, "learned")["steps"] = -1 })
		}},
		"size": {"grows to 1099511627776, its matrix R to 24", func(o opened) {
			o.edit(t, "ligoonnx.growth", func(m map[string]any) { at(m, "axes")["hidden"] = int64(1) << 40 })
		}},
		"unknown axis":  {"there are no matrices for it", func(o opened) { o.edit(t, "ligoonnx.growth", func(m map[string]any) { at(m, "axes")["other"] = 7 }) }},
		"layers":        {"makes 3 layers, the model gets 1000000000", func(o opened) { o.edit(t, "ligoonnx.growth", func(m map[string]any) { m["layers"] = []int64{1e9} }) }},
		"no layers":     {"belongs to no run of layers", func(o opened) { o.edit(t, "ligoonnx.growth", func(m map[string]any) { m["layers"] = []int64{} }) }},
		"no content":    {content, func(o opened) { delete(o.meta, content) }},
		"unknown field": {"unknown field", func(o opened) { o.edit(t, content, func(m map[string]any) { m["more"] = 1 }) }},
		"no Z":          {"has not the matrices R, L, F, M and Z", func(o opened) { o.edit(t, content, func(m map[string]any) { delete(at(m, "axes", "hidden"), "Z") }) }},
		"slot name": {"is no name of a slot", func(o opened) {
			o.edit(t, content, func(m map[string]any) { at(m, "slots")["start.R/x"] = at(m, "slots", "R/hidden") })
		}},
		"form": {`no form "magic"`, func(o opened) {
			o.edit(t, content, func(m map[string]any) { at(m, "slots", "R/hidden")["form"] = "magic" })
		}},
		"huge": {"said to be 1073741824 x 1073741824", func(o opened) { o.edit(t, content, func(m map[string]any) { huge(at(m, "slots", "R/hidden")) }) }},
		"huge identity": {"said to be 1073741824", func(o opened) {
			o.edit(t, content, func(m map[string]any) { x := at(m, "slots", "R/hidden"); huge(x); x["form"] = "identity" })
		}},
		"wrong size": {"has shape [24 16], expected [24 15]", func(o opened) { o.edit(t, content, func(m map[string]any) { at(m, "slots", "R/hidden")["from"] = 15 }) }},
		"same as nothing": {`same as "R/z", which does not come before`, func(o opened) {
			o.edit(t, content, func(m map[string]any) { at(m, "slots")["R/hidden"] = map[string]any{"form": "same", "of": "R/z"} })
		}},
		"same as itself": {"does not come before it", func(o opened) {
			o.edit(t, content, func(m map[string]any) { at(m, "slots")["R/hidden"] = map[string]any{"form": "same", "of": "R/hidden"} })
		}},
		"turned copies": {"which is not dense", func(o opened) {
			o.edit(t, content, func(m map[string]any) {
				at(m, "axes", "hidden")["L"] = map[string]any{"form": "transpose", "of": "start.R/hidden"}
			})
		}},
		"deep parts":     {"parts of parts", func(o opened) { o.edit(t, content, func(m map[string]any) { at(m, "slots")["R/hidden"] = nested(20) }) }},
		"missing tensor": {`no tensor "R/hidden"`, func(o opened) { delete(o.tensors, "R/hidden") }},
		"one too many":   {`tensor "R/x": belongs to nothing`, func(o opened) { o.set("R/x", safetensors.F32, []float32{1}, 1) }},
		"integers":       {`tensor "R/hidden": is I64`, func(o opened) { o.set("R/hidden", safetensors.I64, make([]int64, 24*16), 24, 16) }},
		"not a number":   {"number 3 is NaN", func(o opened) { o.set("R/hidden", safetensors.F32, notFinite(24*16, math.NaN()), 24, 16) }},
		"infinite blend": {"number 3 is +Inf", func(o opened) {
			name := anyWith(o, "w/")
			o.set(name, safetensors.F32, notFinite(6, math.Inf(1)), 3, 2)
		}},
		"flat blend":   {"expected [layers, small layers]", func(o opened) { name := anyWith(o, "w/"); o.set(name, safetensors.F32, make([]float32, 6), 6) }},
		"other layers": {"makes 2 layers, the model gets 3", func(o opened) { name := anyWith(o, "w/"); o.set(name, safetensors.F32, make([]float32, 6), 2, 3) }},
		"rows as floats": {"expected I32 of one axis", func(o opened) {
			name := anyWith(o, "start.R.row/")
			x := o.tensors[name]
			o.set(name, safetensors.F32, x.Values, x.Shape...)
		}},
		"rows out of range": {"is stored row -7 of", func(o opened) {
			name := anyWith(o, "start.R.row/")
			n := o.tensors[name].Shape[0]
			o.set(name, safetensors.I32, filled(n, -7), n)
		}},
		"many entries of few": {"has 67108864 entries", func(o opened) {
			o.edit(t, content, func(m map[string]any) {
				at(m, "slots")["R/hidden"] = map[string]any{"form": "rows", "to": 1 << 20, "from": 64}
			})
			columns := make([]int32, 64)
			for i := range columns {
				columns[i] = int32(i)
			}
			o.set("R.row/hidden", safetensors.I32, make([]int32, 1<<20), 1<<20)
			o.set("R.start/hidden", safetensors.I32, []int32{0, 64}, 2)
			o.set("R.col/hidden", safetensors.I32, columns, 64)
			o.set("R/hidden", safetensors.F32, make([]float32, 64), 64)
		}},
		"free type": {"expected", func(o opened) {
			name := anyWith(o, "N/")
			x := o.tensors[name]
			o.set(name, safetensors.I64, x.Values, x.Shape...)
		}},
		"free infinite": {"not all its numbers are finite", func(o opened) {
			name := anyWith(o, "N/")
			x := o.tensors[name]
			n := x.Shape[0] * x.Shape[1]
			y := make([]float64, n)
			y[n-1] = math.Inf(-1)
			o.set(name, safetensors.F64, y, x.Shape...)
		}},
		"free unlike": {"of shape", func(o opened) { name := anyWith(o, "N/"); o.set(name, safetensors.F64, []float64{1}, 1) }},
		"free integers": {"to which nothing can be added", func(o opened) {
			o.edit(t, content, func(m map[string]any) {
				for _, v := range at(m, "free") {
					v.(map[string]any)["dtype"] = "int64"
				}
			})
		}},
	} {
		o := takeApart(t, file)
		c.do(o)
		bad := o.file(t)
		_, err := ligo.OpenOperator(bytes.NewReader(bad), int64(len(bad)))
		var invalid *onnxio.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
	}
}

func nested(n int) map[string]any {
	if n == 0 {
		return map[string]any{"form": "identity", "to": 1, "from": 1}
	}
	return map[string]any{"form": "sum", "to": 1, "from": 1, "parts": []any{nested(n - 1)}}
}

func notFinite(n int, v float64) []float32 {
	x := make([]float32, n)
	x[3] = float32(v)
	return x
}

func filled(n int64, v int32) []int32 {
	return slices.Repeat([]int32{v}, int(n))
}

// anyWith is the first tensor whose name begins with something.
func anyWith(o opened, prefix string) string {
	for _, name := range slices.Sorted(maps.Keys(o.tensors)) {
		if strings.HasPrefix(name, prefix) {
			return name
		}
	}
	return prefix
}

// Whole files that contradict a model, though not themselves, are refused before anything grows.
func TestOperatorOfAnotherModel(t *testing.T) {
	file, a := sampleOperator(t)
	ctx := context.Background()
	load := func(file []byte, a *ligo.Analysis) error {
		t.Helper()
		f, err := ligo.OpenOperator(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		p, err := f.Plan(ctx, a)
		if err != nil {
			return err
		}
		_, err = f.Operator(ctx, p)
		return err
	}
	if err := load(file, a); err != nil {
		t.Fatal(err)
	}
	changed := func(f func(o opened)) []byte { o := takeApart(t, file); f(o); return o.file(t) }
	small := func(c fixtures.Config) *ligo.Analysis { c.DType = onnxio.Double; return analyse(t, fixtures.GPT2(c)) }
	for name, c := range map[string]struct {
		want string
		file []byte
		a    *ligo.Analysis
	}{
		"wider":   {"it grows models of 2 layers, hidden 16", file, small(fixtures.Config{Layers: 2, Hidden: 32, Heads: 2})},
		"deeper":  {"this one has 3 layers", file, small(fixtures.Config{Layers: 3, Hidden: 16, Heads: 2})},
		"family":  {"operator: ", file, analyse(t, fixtures.BERT(fixtures.Config{Layers: 2, Hidden: 16, Heads: 2, DType: onnxio.Double}))},
		"float32": {"the grown tensor is float32", file, analyse(t, fixtures.GPT2(fixtures.Config{Layers: 2, Hidden: 16, Heads: 2}))},
		"an axis that does not grow": {"is float64 of shape [24 96], the grown tensor is float64 of [24 64]", changed(func(o opened) {
			o.edit(t, content, func(m map[string]any) { delete(at(m, "axes"), "ffn.0") })
			o.edit(t, "ligoonnx.growth", func(m map[string]any) { delete(at(m, "axes"), "ffn.0") })
			for name := range o.tensors {
				if strings.HasPrefix(name, "start.") && strings.HasSuffix(name, "/ffn.0") {
					delete(o.tensors, name)
				}
			}
		}), a},
		"a slot of nothing": {"slot R/elsewhere: is not in this model", changed(func(o opened) {
			o.edit(t, content, func(m map[string]any) {
				at(m, "slots")["R/elsewhere"] = map[string]any{"form": "identity", "to": 3, "from": 3}
			})
		}), a},
		"a slot of another size": {"slot R/hidden: has a matrix of 3 x 3, needed is 24 x 16", changed(func(o opened) {
			o.edit(t, content, func(m map[string]any) {
				at(m, "slots")["R/hidden"] = map[string]any{"form": "identity", "to": 3, "from": 3}
			})
			delete(o.tensors, "R/hidden")
		}), a},
		"a free term of nothing": {"the model has no such tensor", changed(func(o opened) {
			o.edit(t, content, func(m map[string]any) {
				at(m, "free")["x"] = map[string]any{"dtype": "float64", "shape": []int64{1 << 40}, "filled": true}
			})
			o.set("N/x", safetensors.F64, []float64{1})
		}), a},
		"a free term as large as it likes": {"the grown tensor is float64 of", changed(func(o opened) {
			o.edit(t, content, func(m map[string]any) {
				at(m, "free")["wte.weight"] = map[string]any{"dtype": "float64", "shape": []int64{1 << 40, 1 << 40}, "filled": true}
			})
			o.set("N/wte.weight", safetensors.F64, []float64{1})
		}), a},
		"a dropped tensor of nothing": {"dropped tensor", changed(func(o opened) {
			o.edit(t, content, func(m map[string]any) { m["dropped"] = []string{"x"} })
		}), a},
		"a module of nothing": {"module 0/x: is not in this model", changed(func(o opened) {
			o.edit(t, content, func(m map[string]any) { m["blends"] = append(m["blends"].([]any), "0/x") })
			o.set("w/0/x", safetensors.F64, make([]float64, 6), 3, 2)
		}), a},
		"a blend of other layers": {"blends from 5 layers, the model has 2", changed(func(o opened) {
			o.set(anyWith(o, "w/"), safetensors.F64, make([]float64, 15), 3, 5)
		}), a},
	} {
		if err := load(c.file, c.a); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
	}
	p, err := ligo.NewPlan(ctx, a, ligo.Target{Width: 1.5, Depth: 1.5}, ligo.Options{Method: ligo.LEMON})
	if err != nil {
		t.Fatal(err)
	}
	f, err := ligo.OpenOperator(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Operator(ctx, p); err == nil || !strings.Contains(err.Error(), "its method is ligo") {
		t.Errorf("a plan of another method: %v", err)
	}
}

// A sibling grows by the operator as if it had been learned on it.
func TestOperatorOfASibling(t *testing.T) {
	config := fixtures.Config{Layers: 2, Hidden: 16, Heads: 2, DType: onnxio.Double}
	file, _ := sampleOperator(t)
	config.Seed = 99
	sibling := fixtures.GPT2(config)
	p, op := loaded(t, file, analyse(t, sibling))
	q, _, l := learnable(t, sibling, ligo.Target{Width: 1.5, Depth: 1.5}, ligo.LiGO, ligo.LearnOptions{Free: ligo.FreeDense, Tie: ligo.TieNone, Additive: true})
	want := noisy(t, l) // the numbers do not depend on the model
	op.SHA256 = ""
	_, x := fileOf(t, p, op)
	_, y := fileOf(t, q, want)
	if !bytes.Equal(x, y) {
		t.Error("the sibling's growth is another")
	}
}

// The summary's figures are those of the matrices.
func TestOperatorSummary(t *testing.T) {
	file, _ := sampleOperator(t)
	f, err := ligo.OpenOperator(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Summary(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Learned == nil || s.Promise != ligo.None || s.Skipped != 0 || len(s.Free) == 0 || len(s.Blends) == 0 || s.Numbers == 0 {
		t.Errorf("%+v", s)
	}
	for _, m := range s.Matrices {
		if m.Name == "R/hidden" && (m.To != 24 || m.From != 16 || m.Form != "dense" || !m.Learned || *m.Density != 1 || *m.Condition <= 1 || *m.Condition > 10) {
			t.Errorf("%+v", m)
		}
		if strings.HasPrefix(m.Name, "start.") && m.Learned {
			t.Errorf("%s is said to be learned", m.Name)
		}
	}
	found := 0
	for _, v := range s.Inverses {
		if strings.HasPrefix(v.Reader, "L/") && v.Off != nil && *v.Off > 1e-6 && *v.Off < 1 {
			found++ // learned: near the exact start, and off it
		}
	}
	if found == 0 {
		t.Errorf("%+v", s.Inverses)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Summary(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func FuzzOpenOperator(f *testing.F) {
	m := fixtures.GPT2(fixtures.Config{Layers: 1, Hidden: 4, Heads: 1, Vocab: 5, Positions: 4})
	for _, method := range []ligo.Method{ligo.LEMON, ligo.Paper} {
		p, op, l := learnable(f, m, ligo.Target{Hidden: 6}, method, ligo.LearnOptions{Free: ligo.FreeDense})
		f.Add(storedFile(f, p, op))
		f.Add(storedFile(f, p, noisy(f, l)))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		o, err := ligo.OpenOperator(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		if _, err := o.Summary(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
	})
}
