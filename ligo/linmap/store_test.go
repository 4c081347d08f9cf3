package linmap

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// forms are matrices of every structure.
func forms() map[string]Matrix {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(to, from int) Matrix {
		x := make([]float64, to*from)
		for i := range x {
			x[i] = rng.NormFloat64()
		}
		return Dense(to, from, x)
	}
	copies := Copy([]int{0, 1, 2, -1, 0}, []float64{1, 0.1, 1, 1, -2}, 3)
	return map[string]Matrix{
		"identity": Identity(7), "none": Identity(0), "copies": copies, "split": Split([]int{0, 1, 0}, []float64{0.3, 1, 0.7}, 2), "mean": Average(11, 4),
		"zero": Copy([]int{-1, -1}, nil, 3), "dense": random(5, 3), "kron": Kron(random(2, 3), copies), "sum": DirectSum(copies, random(2, 2), Identity(3)),
		"chain": Chain(random(4, 3), Average(3, 2)), "nested": DirectSum(Kron(Identity(2), random(3, 2)), Scaled(Kron(random(2, 2), random(1, 3)), 0.1)),
	}
}

// again is a matrix through Store and Load, down to the parts.
func again(t *testing.T, m Matrix) Matrix {
	t.Helper()
	s := Store(m)
	for i, p := range s.Parts {
		s.Parts[i] = again(t, p)
	}
	out, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStore(t *testing.T) {
	for name, m := range forms() {
		n := again(t, m)
		if fmt.Sprintf("%T", n) != fmt.Sprintf("%T", m) || MaxDiff(m, n) != 0 {
			t.Errorf("%s: %T becomes %T", name, m, n)
		}
		// The structure decides the order of sums, and so the last bits.
		_, from := m.Dims()
		x := make([]float64, 3*from)
		for i := range x {
			x[i] = math.Sin(float64(i))
		}
		src := onnxio.FromFloat64s("x", []int64{int64(from), 3}, x)
		a, err := Grow(src, []Matrix{m})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Grow(src, []Matrix{n})
		if err != nil {
			t.Fatal(err)
		}
		if same, err := a.Equal(b); err != nil || !same {
			t.Errorf("%s: applied, the bits differ (%v)", name, err)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	rows := func(f func(*Stored)) Stored {
		s := Stored{Form: FormRows, To: 2, From: 3, Row: []int32{0, 1}, Start: []int32{0, 1, 3}, Col: []int32{2, 0, 1}, Val: []float64{1, 2, 3}}
		f(&s)
		return s
	}
	if _, err := Load(rows(func(*Stored) {})); err != nil {
		t.Fatal(err)
	}
	two := []Matrix{Identity(2), Average(5, 3)}
	for want, s := range map[string]Stored{
		"-1 x 2":                    {Form: FormDense, To: -1, From: 2},
		"number 1 is NaN":           {Form: FormDense, To: 1, From: 2, Val: []float64{0, math.NaN()}},
		"number 0 is -Inf":          rows(func(s *Stored) { s.Val[0] = math.Inf(-1) }),
		"identity of 2 x 3":         {Form: FormIdentity, To: 2, From: 3},
		"3 numbers for":             {Form: FormDense, To: 2, From: 2, Val: make([]float64, 3)},
		`no form "x"`:               {Form: "x"},
		"2 rows of a matrix of 3":   rows(func(s *Stored) { s.To = 3 }),
		"0 stored rows":             rows(func(s *Stored) { s.Start = nil }),
		"2 stored rows with 3":      rows(func(s *Stored) { s.Start = []int32{1, 1, 3} }),
		"3 columns and 2 numbers":   rows(func(s *Stored) { s.Val = s.Val[:2] }),
		"the entries 0 to 5":        rows(func(s *Stored) { s.Start = []int32{0, 5, 3} }),
		"the entries 1 to 0":        rows(func(s *Stored) { s.Start = []int32{0, 1, 0, 3} }),
		"in column 3":               rows(func(s *Stored) { s.Col = []int32{3, 0, 1} }),
		"in column -1":              rows(func(s *Stored) { s.Col = []int32{-1, 0, 1} }),
		"row 1 has an entry in":     rows(func(s *Stored) { s.Col = []int32{2, 1, 1} }),
		"row 1 is stored row 2":     rows(func(s *Stored) { s.Row = []int32{0, 2} }),
		"row 0 is stored row -1":    rows(func(s *Stored) { s.Row = []int32{-1, 1} }),
		"1 parts":                   {Form: FormKron, To: 2, From: 2, Parts: two[:1]},
		"10 x 6, not 7 x 5":         {Form: FormKron, To: 7, From: 5, Parts: two},
		"7 x 5, not 10 x 6":         {Form: FormSum, To: 10, From: 6, Parts: two},
		"the one before it takes 2": {Form: FormChain, To: 2, From: 3, Parts: two},
		"and more":                  {Form: FormKron, To: 1, From: 1, Parts: []Matrix{Identity(1 << 20), Identity(1 << 20), Identity(1 << 30), Identity(1 << 30)}},
	} {
		if _, err := Load(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", s, err, want)
		}
	}
}

// What was not rounded yet is not rounded on its way through float64.
func TestExact(t *testing.T) {
	src := onnxio.FromFloat32s("x", []int64{2, 3}, []float32{1, 2, 3, 0.1, -5, 6})
	third, err := Grow(src, []Matrix{Scaled(Identity(2), 1.0/3)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		t    *onnxio.Tensor
		want Survey
	}{
		"heap":    {src, Survey{Exact: true, Value: 1, Finite: true}},
		"thirds":  {third, Survey{Value: 1.0 / 3, Finite: true}},
		"filled":  {Fill(onnxio.Float, []int64{3}, 0.1), Survey{Constant: true, Value: 0.1, Finite: true}},
		"nothing": {Fill(onnxio.Float, []int64{0}, 0.1), Survey{Exact: true, Finite: true}},
		"NaN":     {onnxio.FromFloat64s("", []int64{1}, []float64{math.Inf(1)}), Survey{Exact: true, Constant: true, Value: math.Inf(1)}},
	} {
		got, err := SurveyOf(c.t)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	e, err := Exact(third)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	held, err := onnxio.FromBytes("x", onnxio.Double, e.Dims, bytes.Clone(raw))
	if err != nil {
		t.Fatal(err)
	}
	back, err := As(onnxio.Float, held)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := back.Equal(third); err != nil || !same {
		t.Error("not the same numbers", err)
	}
	x, err := Add(src, third)
	if err != nil {
		t.Fatal(err)
	}
	y, err := Add(src, back)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := x.Equal(y); err != nil || !same {
		t.Error("not the same sums", err)
	}
	ints := onnxio.FromInt64s("i", []int64{1}, []int64{1})
	if _, err := Exact(ints); err == nil {
		t.Error("integers are exact")
	}
	if _, err := As(onnxio.Int64, held); err == nil {
		t.Error("numbers become integers")
	}
}

// What follows from structure is what the elements give.
func TestSpectrum(t *testing.T) {
	all := forms()
	all["deficient"] = Kron(Dense(2, 3, []float64{1, 2, 3, 4, 5, 7}), Dense(3, 2, []float64{1, 2, 3, 4, 5, 7}))
	all["mixed sum"] = DirectSum(Dense(1, 3, []float64{1, 2, 3}), Dense(3, 1, []float64{1, 2, 3}))
	for name, m := range all {
		to, from := m.Dims()
		n, ok := NonZeros(m)
		_, chain := m.(*inSequence)
		if want := nonZeros(DenseOf(m)); ok == chain || ok && n != want {
			t.Errorf("%s: %d elements that are not zero, %t, want %d", name, n, ok, want)
		}
		large, small, ok := Singular(m)
		if to*from == 0 {
			if ok {
				t.Errorf("%s: a matrix of nothing has singular values", name)
			}
			continue
		}
		wantLarge, wantSmall, _ := Singular(Dense(to, from, DenseOf(m)))
		if !ok || math.Abs(large-wantLarge) > 1e-12*wantLarge || math.Abs(small-wantSmall) > 1e-12*wantLarge {
			t.Errorf("%s: %g to %g, want %g to %g", name, large, small, wantLarge, wantSmall)
		}
		if SingularCost(m) > SingularCost(Dense(to, from, DenseOf(m))) {
			t.Errorf("%s: structure costs %g", name, SingularCost(m))
		}
	}
	// diag(3, 4) stretched: known values.
	if l, s, ok := Singular(Dense(3, 2, []float64{3, 0, 0, 4, 0, 0})); !ok || math.Abs(l-4) > 1e-14 || math.Abs(s-3) > 1e-14 {
		t.Error(l, s, ok)
	}
}

func TestOffIdentity(t *testing.T) {
	up, split := Copy([]int{0, 1, 0}, nil, 2), Split([]int{0, 1, 0}, []float64{0.25, 1, 0.75}, 2)
	for name, c := range map[string]struct {
		l, r Matrix
		want float64
	}{
		"exact":      {split, up, 0},
		"identities": {Identity(3), Identity(3), 0},
		"uneven":     {Transpose(up), up, 1},
		"missing":    {Copy([]int{0, -1}, nil, 3), up, 1},
		"dense":      {Dense(2, 3, []float64{1, 0, 0, 0.5, 1, 0}), up, 0.5},
		"kron":       {Kron(split, Dense(1, 1, []float64{0.5})), Kron(up, Dense(1, 1, []float64{2})), 0},
	} {
		if got := OffIdentity(c.l, c.r); got != c.want {
			t.Errorf("%s: %g, want %g", name, got, c.want)
		}
		_, n := c.r.Dims()
		if got := MaxDiff(Mul(c.l, c.r), Identity(n)); got != c.want {
			t.Errorf("%s: the elements are %g off", name, got)
		}
	}
}
