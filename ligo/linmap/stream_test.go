package linmap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

func tensorOf(t *testing.T, v *onnxio.Tensor, err error) *onnxio.Tensor {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestElementwise(t *testing.T) { withBounds(t, testElementwise) }

func testElementwise(t *testing.T) {
	for _, dt := range []onnxio.DType{onnxio.Float, onnxio.Double, onnxio.Float16, onnxio.BFloat16} {
		for seed := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, 3))
			dims := make([]int64, 1+r.IntN(3))
			n := 1
			for i := range dims {
				dims[i] = int64(1 + r.IntN(9))
				n *= int(dims[i])
			}
			axis := r.IntN(len(dims))
			size, inner := int(dims[axis]), 1
			for _, d := range dims[axis+1:] {
				inner *= int(d)
			}
			a, b := floatTensor(t, "a", dt, dims, gaussian(r, n)), floatTensor(t, "b", dt, dims, gaussian(r, n))
			gain := floatTensor(t, "g", onnxio.Double, []int64{int64(size)}, gaussian(r, size))
			xa, xb, xg := values(t, a), values(t, b), values(t, gain)
			blend, sum, gained, centred := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
			for i := range n {
				blend[i] = 0.3*xa[i] - 2*xb[i]
				sum[i] = xa[i] + xb[i]
				gained[i] = xa[i] * xg[i/inner%size]
				mean := 0.0
				for k := range size {
					mean += xa[i/(size*inner)*size*inner+k*inner+i%inner] / float64(size)
				}
				centred[i] = xa[i] - mean
			}
			blended, err := Blend([]*onnxio.Tensor{a, b, a}, []float64{0.3, -2, 0})
			check(t, r, "blend", tensorOf(t, blended, err), blend)
			added, err := Add(a, b)
			check(t, r, "sum", tensorOf(t, added, err), sum)
			product, err := MulAlong(a, axis, gain)
			check(t, r, "product", tensorOf(t, product, err), gained)
			difference, err := SubMean(a, axis)
			check(t, r, "difference", tensorOf(t, difference, err), centred)

			// A chain is rounded once, at its end.
			maps := make([]Matrix, len(dims))
			maps[axis] = random(r, size, 1)
			want, _ := reference(blend, dims, maps)
			chained, err := Grow(blended, maps)
			check(t, r, "grown blend", tensorOf(t, chained, err), want)
		}
	}
}

func check(t *testing.T, r *rand.Rand, what string, got *onnxio.Tensor, want []float64) {
	t.Helper()
	if e := relative(values(t, got), want); !(e <= epsilonOf[got.DType]) {
		t.Errorf("%s of %v %v: off by %g", what, got.DType, got.Dims, e)
	}
	checkReads(t, r, got)
}

// A chain of this package's tensors is rounded once: float16 numbers halved twice and doubled twice stay, subnormals included.
func TestChainsRoundOnce(t *testing.T) {
	src, err := onnxio.FromBytes("h", onnxio.Float16, []int64{2}, []byte{1, 0, 3, 0})
	if err != nil {
		t.Fatal(err)
	}
	v := src
	for _, c := range []float64{0.25, 0.5, 8} {
		v, err = Grow(v, []Matrix{Scaled(Identity(2), c)})
		v = tensorOf(t, v, err)
	}
	if same, err := v.Equal(src); err != nil || !same {
		t.Errorf("%v became %v (%v)", values(t, src), values(t, v), err)
	}
}

func TestBlendOfOne(t *testing.T) {
	a := floatTensor(t, "a", onnxio.Float, []int64{2}, []float64{1, 2})
	b := floatTensor(t, "b", onnxio.Float, []int64{2}, []float64{math.NaN(), math.Inf(1)})
	if v, err := Blend([]*onnxio.Tensor{b, a}, []float64{0, 1}); err != nil || v != a {
		t.Errorf("one-hot blend made %v, %v", v, err)
	}
	v, err := Blend([]*onnxio.Tensor{a, b}, []float64{0, 0})
	if x := values(t, tensorOf(t, v, err)); v.Name != "a" || !slices.Equal(x, []float64{0, 0}) {
		t.Errorf("blend of none made %v %v", v.Name, x)
	}
}

func TestCopiesKeepBits(t *testing.T) { withBounds(t, testCopiesKeepBits) }

func testCopiesKeepBits(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, dt := range []onnxio.DType{onnxio.Float, onnxio.Double, onnxio.Float16, onnxio.BFloat16, onnxio.Int64, onnxio.Uint8,
		onnxio.Bool, onnxio.Int32, onnxio.Complex128, onnxio.Float8E4M3FN} {
		size := dt.Bits() / 8
		raw := make([]byte, 6*5*size)
		for i := range raw {
			raw[i] = byte(r.Uint32()) // signalling NaNs, negative zeros and all
		}
		src, err := onnxio.FromBytes("bits", dt, []int64{6, 5}, raw)
		if err != nil {
			t.Fatal(err)
		}
		rows, cols := []int{0, 1, 2, 3, 4, 5, 5, -1, 0, 3}, []int{4, 0, 2, -1, 3, 1, 0}
		got, err := Grow(src, []Matrix{Kron(Identity(1), Copy(rows, nil, 6)), Copy(cols, nil, 5)})
		got = tensorOf(t, got, err)
		var want []byte
		for _, i := range rows {
			for _, j := range cols {
				if i < 0 || j < 0 {
					want = append(want, make([]byte, size)...)
				} else {
					want = append(want, raw[(i*5+j)*size:][:size]...)
				}
			}
		}
		if b, err := got.Bytes(); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%v: bits changed (%v)", dt, err)
		}
		checkReads(t, r, got)
		again, err := Grow(got, []Matrix{Pad(12, 10)})
		if b, err := tensorOf(t, again, err).Bytes(); err != nil || !bytes.Equal(b, append(want, make([]byte, 2*7*size)...)) {
			t.Errorf("%v: bits changed when growing twice (%v)", dt, err)
		}
	}
}

func TestErrors(t *testing.T) {
	w := floatTensor(t, "w", onnxio.Float, []int64{2, 3}, make([]float64, 6))
	ints := onnxio.FromInt64s("i", []int64{2}, []int64{1, 2})
	nibbles, err := onnxio.FromBytes("n", onnxio.Int4, []int64{2}, []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	short := onnxio.NewTensor("short", onnxio.Float, []int64{4}, w.Data())
	v := floatTensor(t, "v", onnxio.Float, []int64{2}, make([]float64, 2))
	for _, c := range []struct {
		want string
		f    func() (*onnxio.Tensor, error)
	}{
		{`axis 1 of tensor "w" has size 3, its map takes 2`, func() (*onnxio.Tensor, error) { return Grow(w, []Matrix{nil, Pad(4, 2)}) }},
		{`"w" has 2 axes, cannot apply 3 maps`, func() (*onnxio.Tensor, error) { return Grow(w, make([]Matrix, 3)) }},
		{`"i" is int64, whose elements can be copied but not multiplied`, func() (*onnxio.Tensor, error) { return Grow(ints, []Matrix{Average(3, 2)}) }},
		{`"n" is int4, whose elements are not whole bytes`, func() (*onnxio.Tensor, error) { return Grow(nibbles, []Matrix{Pad(3, 2)}) }},
		{`"short": shape [4] and 24 bytes do not agree`, func() (*onnxio.Tensor, error) { return Grow(short, []Matrix{Pad(5, 4)}) }},
		{`not alike`, func() (*onnxio.Tensor, error) { return Add(w, v) }},
		{`"i" is int64, which is not a floating type`, func() (*onnxio.Tensor, error) { return Add(ints, ints) }},
		{`cannot blend 1 tensors with 2 weights`, func() (*onnxio.Tensor, error) { return Blend([]*onnxio.Tensor{w}, []float64{1, 2}) }},
		{`cannot blend 0 tensors`, func() (*onnxio.Tensor, error) { return Blend(nil, nil) }},
		{`gain "v" of type float32 and shape [2] cannot multiply axis 1`, func() (*onnxio.Tensor, error) { return MulAlong(w, 1, v) }},
		{`there is no axis 2`, func() (*onnxio.Tensor, error) { return SubMean(w, 2) }},
	} {
		if _, err := c.f(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want …%s…", err, c.want)
		}
	}
	for name, f := range map[string]func(){
		"index":  func() { Copy([]int{3}, nil, 3) },
		"weight": func() { Copy([]int{0}, []float64{1, 2}, 3) },
		"shrink": func() { Average(2, 3) },
		"data":   func() { Dense(2, 2, make([]float64, 3)) },
		"mul":    func() { Mul(Pad(4, 3), Pad(4, 3)) },
		"fill":   func() { Fill(onnxio.Int64, []int64{1}, 1) },
		"norms":  func() { GrowPostNorm(4, [][]float64{{1, 2}, {1}}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// failing is a writer that takes so many bytes.
type failing struct{ left int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return f.left, errFull
	}
	f.left -= len(p)
	return len(p), nil
}

func TestWriteErrorEndsTheStream(t *testing.T) {
	before := runtime.NumGoroutine()
	big := Fill(onnxio.Float, []int64{1 << 20}, 1)
	for _, left := range []int{0, 1000, writeSize, 3*writeSize + 5} {
		if n, err := big.Data().WriteTo(&failing{left}); err != errFull || n != int64(left) {
			t.Errorf("after %d bytes: WriteTo gave %d, %v", left, n, err)
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines left", after-before)
	}
}

// lost is tensor data whose reads fail, as those of a file that went away do.
type lost struct{ n int64 }

func (l lost) Len() int64                        { return l.n }
func (l lost) WriteTo(io.Writer) (int64, error)  { return 0, io.ErrUnexpectedEOF }
func (l lost) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestReadErrorIsReported(t *testing.T) {
	src := onnxio.NewTensor("gone", onnxio.Float, []int64{1000, 1000}, lost{4e6})
	for _, m := range []Matrix{Average(1500, 1000), Pad(2000, 1000)} {
		v, err := Grow(src, []Matrix{m, m})
		if _, err := tensorOf(t, v, err).Data().WriteTo(io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got error %v", err)
		}
	}
}

func TestConcurrentReadersAndProcessors(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	src := floatTensor(t, "w", onnxio.Float, []int64{700, 300}, gaussian(r, 700*300))
	v, err := Grow(src, []Matrix{Average(1000, 700), Dense(450, 300, gaussian(r, 450*300))})
	v = tensorOf(t, v, err)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	runtime.GOMAXPROCS(4)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if got, err := v.Bytes(); err != nil || !bytes.Equal(got, want) {
				t.Errorf("other bytes (%v)", err)
			}
		})
	}
	wg.Wait()
}

// heap is a writer that notes the largest heap.
type heap struct {
	base, most uint64
	writes     int
}

func (h *heap) Write(p []byte) (int, error) {
	if h.writes++; h.writes%8 != 0 {
		return len(p), nil
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.most = max(h.most, m.HeapAlloc)
	return len(p), nil
}

func TestStreamsWithinBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("collects garbage all the time")
	}
	const rows, cols = 9000, 1100
	src := floatTensor(t, "w", onnxio.Float, []int64{rows, cols}, make([]float64, rows*cols)) // 40 MB
	dense := Dense(1600, cols, make([]float64, 1600*cols))
	blend, err := Blend([]*onnxio.Tensor{src, src, src}, []float64{0.2, 0.3, 0.5})
	blend = tensorOf(t, blend, err)
	flat := onnxio.NewTensor("flat", onnxio.Float, []int64{2, rows * cols / 2}, src.Data())
	small := floatTensor(t, "small", onnxio.Float, []int64{40, cols}, make([]float64, 40*cols))
	for _, c := range []struct {
		name string
		src  *onnxio.Tensor
		maps []Matrix
	}{
		{"copy", src, []Matrix{Pad(12000, rows), Pad(1600, cols)}},
		{"average both ways", src, []Matrix{Average(12000, rows), Average(1600, cols)}},
		{"average of a blend", blend, []Matrix{nil, Average(1600, cols)}},
		{"average of rows of 20 MB", flat, []Matrix{Average(5, 2), nil}},
		{"dense", small, []Matrix{nil, dense}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := Grow(c.src, c.maps)
			v = tensorOf(t, v, err)
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			h := &heap{base: m.HeapAlloc}
			if _, err := v.Data().WriteTo(h); err != nil {
				t.Fatal(err)
			}
			extra := int64(h.most) - int64(h.base)
			t.Logf("%.1f MB written with %.1f MB", float64(v.ByteLen())/1e6, float64(extra)/1e6)
			if extra > 32<<20 {
				t.Errorf("took %d bytes of memory, 32 MB allowed", extra)
			}
		})
	}
	if testing.AllocsPerRun(3, func() { _, _ = Fill(onnxio.Float, []int64{1 << 22}, 1).Data().WriteTo(io.Discard) }) > 100 {
		t.Error("allocations grow with what is written")
	}
}

func ExampleGrow() {
	// A 2 x 3 weight whose result axis gets a copy of row 0 and whose source axis reads two copies of feature 2, split unevenly.
	w := onnxio.FromFloat32s("w", []int64{2, 3}, []float32{1, 2, 4, 8, 16, 32})
	out := []int{0, 1, 0}
	in, share := []int{0, 1, 2, 2}, []float64{1, 1, 0.75, 0.25}
	grown, err := Grow(w, []Matrix{Copy(out, nil, 2), Transpose(Split(in, share, 3))})
	if err != nil {
		panic(err)
	}
	x, _ := grown.Float32s()
	fmt.Println(grown.Dims, x)
	// Output: [3 4] [1 2 3 1 8 16 24 8 1 2 3 1]
}
