package linmap

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// random is a random matrix with a source axis of size from.
func random(r *rand.Rand, from, depth int) Matrix {
	split := func() int { // a proper divisor, or 0
		for _, d := range r.Perm(from) {
			if d > 1 && d < from && from%d == 0 {
				return d
			}
		}
		return 0
	}
	switch k := r.IntN(10); {
	case k == 0:
		return Identity(from)
	case k == 1:
		return Pad(from+r.IntN(4), from)
	case k == 2:
		return Average(from+r.IntN(2*from+2), from)
	case k == 3 || k == 4:
		index, weight := make([]int, 1+r.IntN(2*from)), []float64(nil)
		for i := range index {
			index[i] = r.IntN(from+1) - 1
		}
		if r.IntN(2) == 0 {
			weight = make([]float64, len(index))
			for i := range weight {
				weight[i] = float64(r.IntN(5)-1) / 3
			}
		}
		return Copy(index, weight, from)
	case k == 5:
		to := 1 + r.IntN(from+3)
		data := make([]float64, to*from)
		for i := range data {
			data[i] = r.NormFloat64()
		}
		return Dense(to, from, data)
	case k == 6 && depth > 0 && split() > 0:
		d := split()
		return Kron(random(r, d, depth-1), random(r, from/d, depth-1))
	case k == 7 && depth > 0 && from > 1:
		d := 1 + r.IntN(from-1)
		return DirectSum(random(r, d, depth-1), random(r, from-d, depth-1))
	case k == 9 && depth > 0:
		b := random(r, from, depth-1)
		if mid, _ := b.Dims(); mid > 0 {
			return Chain(random(r, mid, depth-1), b)
		}
	case k == 8:
		return Transpose(Average(from, 1+r.IntN(from)))
	}
	return Scaled(Identity(from), 0.5)
}

// reference applies dense matrices axis by axis, the slow way.
func reference(x []float64, dims []int64, maps []Matrix) ([]float64, []int64) {
	dims = slices.Clone(dims)
	for axis, m := range maps {
		if m == nil {
			continue
		}
		to, from := m.Dims()
		a := DenseOf(m)
		outer, inner := 1, 1
		for _, d := range dims[:axis] {
			outer *= int(d)
		}
		for _, d := range dims[axis+1:] {
			inner *= int(d)
		}
		y := make([]float64, outer*to*inner)
		for o := range outer {
			for i := range to {
				for k := range inner {
					for c := range from {
						if w := a[i*from+c]; w != 0 {
							y[(o*to+i)*inner+k] += w * x[(o*from+c)*inner+k]
						}
					}
				}
			}
		}
		x, dims[axis] = y, int64(to)
	}
	return x, dims
}

func gaussian(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

func floatTensor(t testing.TB, name string, dt onnxio.DType, dims []int64, x []float64) *onnxio.Tensor {
	t.Helper()
	v, err := onnxio.FromFloats(name, dt, dims, x)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func values(t testing.TB, v *onnxio.Tensor) []float64 {
	t.Helper()
	x, err := v.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// relative is max|a-b| / max|b|.
func relative(a, b []float64) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	diff, size := 0.0, 0.0
	for i := range a {
		d := math.Abs(a[i] - b[i])
		if math.IsNaN(d) {
			return math.NaN()
		}
		diff, size = max(diff, d), max(size, math.Abs(b[i]))
	}
	if diff == 0 {
		return 0
	}
	return diff / size
}

var epsilonOf = map[onnxio.DType]float64{onnxio.Double: 1e-13, onnxio.Float: 1e-7, onnxio.Float16: 1e-3, onnxio.BFloat16: 8e-3}

// withBounds runs f with blocks as they are and with blocks so small that everything is computed in pieces.
func withBounds(t *testing.T, f func(t *testing.T)) {
	t.Run("usual", f)
	for _, b := range [][4]int{{8, 16, 4, 64}, {8, 0, 1000, 1}, {1, 0, 0, 1}, {40, 0, 0, 300}} {
		old, most := [4]int{blockSize, residentSize, cachedSize, writeSize}, parallelFrom
		parallelFrom = 0
		blockSize, residentSize, cachedSize, writeSize = b[0], b[1], b[2], b[3]
		t.Run(fmt.Sprint(b), f)
		blockSize, residentSize, cachedSize, writeSize = old[0], old[1], old[2], old[3]
		parallelFrom = most
	}
}

func TestGrowEqualsDenseReference(t *testing.T) { withBounds(t, testGrowEqualsDenseReference) }

func testGrowEqualsDenseReference(t *testing.T) {
	types := []onnxio.DType{onnxio.Float, onnxio.Double, onnxio.Float16, onnxio.BFloat16}
	seeds := uint64(400)
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		dt := types[r.IntN(len(types))]
		var dims []int64
		var maps []Matrix
		n := 1
		for range r.IntN(5) {
			d := 1 + r.IntN(7)
			if r.IntN(4) == 0 {
				d = 12
			}
			dims, n = append(dims, int64(d)), n*d
			if r.IntN(4) > 0 {
				maps = append(maps, random(r, d, 2))
			} else {
				maps = append(maps, nil)
			}
		}
		src := floatTensor(t, "w", dt, dims, gaussian(r, n))
		want, wantDims := reference(values(t, src), dims, maps)
		got, err := Grow(src, maps)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !slices.Equal(got.Dims, wantDims) || got.Name != "w" || got.DType != dt {
			t.Fatalf("seed %d: %q of %v %v, want %v %v", seed, got.Name, got.DType, got.Dims, dt, wantDims)
		}
		if e := relative(values(t, got), want); !(e <= epsilonOf[dt]) {
			t.Errorf("seed %d: %v %v -> %v: off by %g", seed, dt, dims, wantDims, e)
		}
		checkReads(t, r, got)
	}
}

// checkReads compares all ways of reading a tensor.
func checkReads(t *testing.T, r *rand.Rand, v *onnxio.Tensor) {
	t.Helper()
	want, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if n, err := v.Data().WriteTo(&buf); err != nil || n != v.ByteLen() || !bytes.Equal(buf.Bytes(), want) {
		t.Errorf("WriteTo gave %d bytes (%v), equal %v, want %d", n, err, bytes.Equal(buf.Bytes(), want), v.ByteLen())
	}
	if len(want) == 0 {
		return
	}
	for range 4 {
		off := r.IntN(len(want))
		p := make([]byte, 1+r.IntN(len(want)-off))
		if n, err := v.ReadAt(p, int64(off)); err != nil || n != len(p) || !bytes.Equal(p, want[off:off+n]) {
			t.Errorf("ReadAt(%d bytes, %d) gave %d, %v, equal %v", len(p), off, n, err, bytes.Equal(p[:n], want[off:off+n]))
		}
	}
}

func TestAlgebra(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		n := 1 + r.IntN(12)
		b := random(r, n, 2)
		mid, _ := b.Dims()
		if mid == 0 {
			continue
		}
		a := random(r, mid, 2)
		to, _ := a.Dims()
		want, _ := reference(DenseOf(b), []int64{int64(mid), int64(n)}, []Matrix{a})
		if e := MaxDiff(Mul(a, b), Dense(to, n, want)); !(e < 1e-12) {
			t.Errorf("seed %d: product off by %g", seed, e)
		}
		if e := MaxDiff(Transpose(Mul(a, b)), Mul(Transpose(b), Transpose(a))); !(e < 1e-12) {
			t.Errorf("seed %d: (ab)ᵀ != bᵀaᵀ, off by %g", seed, e)
		}
		if e := MaxDiff(Transpose(Transpose(a)), a); e != 0 {
			t.Errorf("seed %d: aᵀᵀ != a", seed)
		}
		scaled := DenseOf(a)
		for i := range scaled {
			scaled[i] *= -1.5
		}
		if e := MaxDiff(Scaled(a, -1.5), Dense(to, mid, scaled)); !(e < 1e-14) {
			t.Errorf("seed %d: scaled off by %g", seed, e)
		}
		if e := MaxDiff(Scaled(a, 0), Dense(to, mid, make([]float64, to*mid))); e != 0 {
			t.Errorf("seed %d: 0·a != 0", seed)
		}
		if IsIdentity(a) != (to == mid && MaxDiff(a, Identity(to)) == 0) {
			t.Errorf("seed %d: IsIdentity is %v", seed, IsIdentity(a))
		}
	}
}

func TestStructure(t *testing.T) {
	heads := Copy([]int{0, 1, 0}, nil, 2)
	for _, c := range []struct {
		name string
		m    Matrix
		want string
	}{
		{"identities", Kron(Identity(3), Identity(4)), "linmap.identity"},
		{"concatenated identities", DirectSum(Identity(3), Identity(4)), "linmap.identity"},
		{"copy of all in order", Copy([]int{0, 1, 2}, nil, 3), "linmap.identity"},
		{"whole heads", Kron(heads, Identity(64)), "*linmap.sparse"},
		{"averaged heads", Kron(Average(12, 8), Identity(64)), "*linmap.sparse"},
		{"fused", DirectSum(heads, Identity(5), heads), "*linmap.sparse"},
		{"dense heads", Kron(Dense(3, 2, make([]float64, 6)), Identity(64)), "*linmap.kron"},
		{"dense part", DirectSum(heads, Dense(3, 2, make([]float64, 6))), "*linmap.sum"},
		{"transposed copy", Transpose(Transpose(heads)), "*linmap.sparse"},
	} {
		if got := fmt.Sprintf("%T", c.m); got != c.want {
			t.Errorf("%s: stored as %s, want %s", c.name, got, c.want)
		}
	}
	if m := Average(768, 512).(*sparse); m.nnz() != 1024 || len(m.compiled.runs) != 2 {
		t.Errorf("average: %d entries in %d runs, want 1024 in 2", m.nnz(), len(m.compiled.runs))
	}
	if m := Kron(heads, Identity(64)).(*sparse); len(m.compiled.runs) != 2 {
		t.Errorf("whole heads: %d runs, want 2", len(m.compiled.runs))
	}
	index, weight := []int{0, 1, 1, -1, 0}, []float64{0.7, 0.4, 0.6, 0, 0.3}
	if e := MaxDiff(Mul(Split(index, weight, 2), Copy(index, nil, 2)), Identity(2)); e > 1e-15 {
		t.Errorf("split and copy: off by %g", e)
	}
}

func TestMulKeepsStructure(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	full := func(to, from int) Matrix { return Dense(to, from, gaussian(r, to*from)) }
	for _, c := range []struct {
		name, want string
		a, b       Matrix
	}{
		{"products", "*linmap.kron", Kron(full(2, 3), full(4, 2)), Kron(full(3, 2), full(2, 3))},
		{"products of other factors", "*linmap.dense", Kron(full(2, 3), full(4, 2)), Kron(full(2, 2), full(3, 3))},
		{"sums", "*linmap.sum", DirectSum(full(2, 3), Identity(4)), DirectSum(full(3, 2), Identity(4))},
		{"copies", "linmap.identity", Split([]int{0, 1, 1}, []float64{1, 0.5, 0.5}, 2), Copy([]int{0, 1, 1}, nil, 2)},
	} {
		got := Mul(c.a, c.b)
		if s := fmt.Sprintf("%T", got); s != c.want {
			t.Errorf("%s: stored as %s, want %s", c.name, s, c.want)
		}
		to, mid := c.a.Dims()
		_, from := c.b.Dims()
		want, _ := reference(DenseOf(c.b), []int64{int64(mid), int64(from)}, []Matrix{c.a})
		if e := MaxDiff(got, Dense(to, from, want)); !(e < 1e-14) {
			t.Errorf("%s: off by %g", c.name, e)
		}
	}
	if d := MaxDiff(Identity(2), Identity(3)); !math.IsInf(d, 1) {
		t.Errorf("matrices of other sizes differ by %g", d)
	}
	if !IsIdentity(Dense(2, 2, []float64{1, 0, 0, 1})) || IsIdentity(Dense(2, 2, []float64{1, 0, 1, 1})) {
		t.Error("a dense identity is not told from another matrix")
	}
}
