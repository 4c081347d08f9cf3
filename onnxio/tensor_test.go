package onnxio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

func TestHalfFloats(t *testing.T) {
	for _, c := range []struct {
		in       float64
		f16, b16 uint16
	}{
		{0, 0, 0}, {math.Copysign(0, -1), 0x8000, 0x8000}, {1, 0x3c00, 0x3f80}, {-2, 0xc000, 0xc000},
		{65504, 0x7bff, 0x4780}, {65519.99, 0x7bff, 0x4780}, {65520, 0x7c00, 0x4780}, {1e6, 0x7c00, 0x4974},
		{math.Inf(1), 0x7c00, 0x7f80}, {math.Inf(-1), 0xfc00, 0xff80},
		{6.103515625e-05, 0x0400, 0x3880},        // smallest normal float16
		{6.097555160522461e-05, 0x03ff, 0x3880},  // largest subnormal
		{5.960464477539063e-08, 0x0001, 0x3380},  // smallest subnormal
		{2.9802322387695312e-08, 0x0000, 0x3300}, // half of it: a tie, to even
		{2.980232238769532e-08, 0x0001, 0x3300},  // just more than half
		{8.940696716308594e-08, 0x0002, 0x33c0},  // 1.5 units: a tie, to even
		{1 + 1.0/2048, 0x3c00, 0x3f80},           // tie, to even
		{1 + 3.0/2048, 0x3c02, 0x3f80},           // tie, to even
		{1 + 1.0/2048 + 1e-12, 0x3c01, 0x3f80},   // float32 would round this to the tie first
		{1 + 1.0/256, 0x3c04, 0x3f80},            // bfloat16 tie, to even
		{1 + 1.0/256 + 1e-12, 0x3c04, 0x3f81},    // just above it
		{1 + 3.0/256, 0x3c0c, 0x3f82},            // tie, to even
		{math.MaxFloat64, 0x7c00, 0x7f80},        //
		{3.3895313892515355e38, 0x7c00, 0x7f7f},  // largest bfloat16
		{3.4e38, 0x7c00, 0x7f80},                 // rounds up to infinity
		{9.183549615799121e-41, 0, 0x0001},       // smallest subnormal bfloat16
		{4.591774807899561e-41, 0, 0x0000},       // tie, to even
		{4.6e-41, 0, 0x0001}, {5e-324, 0, 0}, {-5e-324, 0x8000, 0x8000},
	} {
		if got := toFloat16(c.in); got != c.f16 {
			t.Errorf("float16 of %v is %#04x, want %#04x", c.in, got, c.f16)
		}
		if got := toBFloat16(c.in); got != c.b16 {
			t.Errorf("bfloat16 of %v is %#04x, want %#04x", c.in, got, c.b16)
		}
	}
	// Every half float is a float32 and comes back; between two neighbours the midpoint decides.
	for _, h := range []struct {
		name string
		to   func(float64) uint16
		from func(uint16) float32
		inf  uint16
	}{{"float16", toFloat16, fromFloat16, 0x7c00}, {"bfloat16", toBFloat16, fromBFloat16, 0x7f80}} {
		for i := range 1 << 16 {
			v := uint16(i)
			f := float64(h.from(v))
			if math.IsNaN(f) {
				if got := h.to(f); got&h.inf != h.inf || got&^(h.inf|0x8000) == 0 {
					t.Errorf("%s NaN %#04x became %#04x", h.name, v, got)
				}
				continue
			}
			if got := h.to(f); got != v {
				t.Fatalf("%s %#04x = %v came back as %#04x", h.name, v, f, got)
			}
			if next := v + 1; v&0x7fff < h.inf-1 {
				mid := (f + float64(h.from(next))) / 2
				if got := h.to(mid); got != v+v&1 {
					t.Fatalf("%s: the midpoint %v after %#04x became %#04x", h.name, mid, v, got)
				}
				if got := h.to(math.Nextafter(mid, f)); got != v {
					t.Fatalf("%s: just before the midpoint after %#04x became %#04x", h.name, v, got)
				}
			}
		}
	}
}

// typed makes a tensor from a file that has its elements in a typed field.
func typed(t *testing.T, dt DType, n int64, set func(*onnxpb.TensorProto)) (*Tensor, error) {
	t.Helper()
	name, kind := "w", int32(dt)
	pb := &onnxpb.TensorProto{Name: &name, DataType: &kind, Dims: []int64{n}}
	set(pb)
	m, err := Decode(modelWith(t, "initializer", pb), ReadOptions{})
	if err != nil {
		return nil, err
	}
	return m.Graph.Initializers[0], nil
}

func TestTypedStorage(t *testing.T) {
	ints := func(v ...int32) func(*onnxpb.TensorProto) { return func(p *onnxpb.TensorProto) { p.Int32Data = v } }
	for _, c := range []struct {
		dt   DType
		n    int64
		set  func(*onnxpb.TensorProto)
		want string
	}{
		{Float, 2, func(p *onnxpb.TensorProto) { p.FloatData = []float32{1, -2} }, "\x00\x00\x80\x3f\x00\x00\x00\xc0"},
		{Complex64, 1, func(p *onnxpb.TensorProto) { p.FloatData = []float32{1, -2} }, "\x00\x00\x80\x3f\x00\x00\x00\xc0"},
		{Double, 1, func(p *onnxpb.TensorProto) { p.DoubleData = []float64{1} }, "\x00\x00\x00\x00\x00\x00\xf0\x3f"},
		{Complex128, 1, func(p *onnxpb.TensorProto) { p.DoubleData = []float64{0, 1} }, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0\x3f"},
		{Int64, 1, func(p *onnxpb.TensorProto) { p.Int64Data = []int64{-2} }, "\xfe\xff\xff\xff\xff\xff\xff\xff"},
		{Uint64, 1, func(p *onnxpb.TensorProto) { p.Uint64Data = []uint64{1 << 63} }, "\x00\x00\x00\x00\x00\x00\x00\x80"},
		{Uint32, 1, func(p *onnxpb.TensorProto) { p.Uint64Data = []uint64{0xdeadbeef} }, "\xef\xbe\xad\xde"},
		{Int32, 1, ints(-2), "\xfe\xff\xff\xff"},
		{Int16, 2, ints(-2, 3), "\xfe\xff\x03\x00"},
		{Uint16, 1, ints(0xffff), "\xff\xff"},
		{Float16, 1, ints(0x3c00), "\x00\x3c"},
		{BFloat16, 1, ints(0x3f80), "\x80\x3f"},
		{Int8, 2, ints(-1, 127), "\xff\x7f"},
		{Uint8, 1, ints(200), "\xc8"},
		{Bool, 3, ints(1, 0, 256), "\x01\x00\x01"},
		{Float8E4M3FN, 1, ints(0x38), "\x38"},
		{Float8E8M0, 1, ints(0x7f), "\x7f"},
		{Int4, 3, ints(0x21, 0x03), "\x21\x03"},
		{Uint4, 2, ints(0xf1), "\xf1"},
		{Float4E2M1, 1, ints(0x07), "\x07"},
		{Uint2, 5, ints(0xe4, 0x01), "\xe4\x01"},
		{Int2, 4, ints(0xe4), "\xe4"},
	} {
		x, err := typed(t, c.dt, c.n, c.set)
		if err != nil {
			t.Errorf("%v: %v", c.dt, err)
			continue
		}
		raw, err := x.Bytes()
		if err != nil || string(raw) != c.want {
			t.Errorf("%v: %x (%v), want %x", c.dt, raw, err, c.want)
		}
		var w bytes.Buffer
		if n, err := x.Data().WriteTo(&w); err != nil || w.String() != c.want || n != x.ByteLen() {
			t.Errorf("%v: WriteTo gives %x (%v), ByteLen %d", c.dt, w.Bytes(), err, x.ByteLen())
		}
		fresh, err := FromBytes("other", c.dt, []int64{c.n}, []byte(c.want))
		if err != nil {
			t.Errorf("%v: %v", c.dt, err)
			continue
		}
		if same, err := x.Equal(fresh); err != nil || !same {
			t.Errorf("%v: typed and raw storage differ: %v, %v", c.dt, same, err)
		}
	}
}

func TestTensorsThatDoNotAddUp(t *testing.T) {
	for name, c := range map[string]struct {
		dt   DType
		set  func(*onnxpb.TensorProto)
		want string
	}{
		"short raw":        {Float, func(p *onnxpb.TensorProto) { p.RawData = make([]byte, 15) }, "15 bytes"},
		"long raw":         {Float, func(p *onnxpb.TensorProto) { p.RawData = make([]byte, 17) }, "17 bytes"},
		"long raw, cut":    {Float, func(p *onnxpb.TensorProto) { p.RawData = make([]byte, 1000) }, "1000 bytes"},
		"no data":          {Float, func(*onnxpb.TensorProto) {}, "has 0 bytes"},
		"two storages":     {Float, func(p *onnxpb.TensorProto) { p.RawData, p.FloatData = make([]byte, 16), make([]float32, 4) }, "several places"},
		"cut and typed":    {Float, func(p *onnxpb.TensorProto) { p.RawData, p.FloatData = make([]byte, 300), make([]float32, 4) }, "several places"},
		"wrong storage":    {Float, func(p *onnxpb.TensorProto) { p.Int64Data = make([]int64, 4) }, "float_data"},
		"short typed":      {Float, func(p *onnxpb.TensorProto) { p.FloatData = make([]float32, 3) }, "3 numbers"},
		"half typed":       {Complex64, func(p *onnxpb.TensorProto) { p.FloatData = make([]float32, 4) }, "needs 8"},
		"raw strings":      {String, func(p *onnxpb.TensorProto) { p.RawData = make([]byte, 16) }, "string_data"},
		"few strings":      {String, func(p *onnxpb.TensorProto) { p.StringData = make([][]byte, 3) }, "3 strings"},
		"undefined type":   {Undefined, func(p *onnxpb.TensorProto) { p.RawData = make([]byte, 16) }, "element type 0"},
		"type 99":          {DType(99), func(p *onnxpb.TensorProto) { p.RawData = make([]byte, 16) }, "element type 99"},
		"negative type":    {DType(-1), func(p *onnxpb.TensorProto) { p.RawData = make([]byte, 16) }, "element type -1"},
		"negative size":    {Float, func(p *onnxpb.TensorProto) { p.Dims = []int64{-1} }, "negative"},
		"negative of zero": {Float, func(p *onnxpb.TensorProto) { p.Dims = []int64{0, -1} }, "negative"},
		"overflow":         {Float, func(p *onnxpb.TensorProto) { p.Dims = []int64{1 << 32, 1 << 32} }, "more than an int64"},
		"overflow to 4":    {Float, func(p *onnxpb.TensorProto) { p.Dims = []int64{1 << 62, 4, 4} }, "more than an int64"},
		"bytes overflow":   {Float, func(p *onnxpb.TensorProto) { p.Dims = []int64{1 << 61} }, "more bytes than"},
		"largest size":     {Uint8, func(p *onnxpb.TensorProto) { p.Dims = []int64{math.MaxInt64} }, "more bytes than"},
		"huge":             {Uint8, func(p *onnxpb.TensorProto) { p.Dims = []int64{1 << 50} }, "needs 1125899906842624"},
		"many sizes":       {Float, func(p *onnxpb.TensorProto) { p.Dims = make([]int64, 1000); p.Dims[999] = -1 }, "dimension 999"},
		"segment":          {Float, func(p *onnxpb.TensorProto) { p.Segment = &onnxpb.TensorProto_Segment{} }, "segment"},
		"zero in a name":   {Float, func(p *onnxpb.TensorProto) { s := "a\x00b"; p.Name = &s }, "zero byte"},
		"name not UTF-8":   {Float, func(p *onnxpb.TensorProto) { s := "\xff"; p.Name = &s }, "UTF-8"},
	} {
		_, err := typed(t, c.dt, 4, c.set)
		var inv *InvalidError
		if !errors.As(err, &inv) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "tensor") {
			t.Errorf("%s: %v, want an InvalidError with %q", name, err, c.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: the message has %d bytes", name, len(err.Error()))
		}
	}
}

func TestConversions(t *testing.T) {
	f64 := []float64{0, 1, -2.5, 65504, 0.1}
	for dt, want := range map[DType][]float64{
		Float: {0, 1, -2.5, 65504, float64(float32(0.1))}, Double: f64,
		Float16: {0, 1, -2.5, 65504, 0.0999755859375}, BFloat16: {0, 1, -2.5, 65536, 0.10009765625},
	} {
		x, err := FromFloats("x", dt, []int64{5}, f64)
		if err != nil {
			t.Fatal(err)
		}
		got, err := x.Float64s()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: %v (%v), want %v", dt, got, err, want)
		}
		if _, err := x.Int64s(); err == nil {
			t.Errorf("%v was read as integers", dt)
		}
	}
	for _, c := range []struct {
		dt   DType
		raw  []byte
		want int64
	}{
		{Int8, []byte{0xff}, -1}, {Uint8, []byte{0xff}, 255}, {Int16, []byte{0xfe, 0xff}, -2}, {Uint16, []byte{0xfe, 0xff}, 65534},
		{Int32, []byte{0xfe, 0xff, 0xff, 0xff}, -2}, {Uint32, []byte{0xfe, 0xff, 0xff, 0xff}, 1<<32 - 2}, {Bool, []byte{7}, 1},
		{Int64, []byte{0, 0, 0, 0, 0, 0, 0, 0x80}, math.MinInt64}, {Uint64, []byte{5, 0, 0, 0, 0, 0, 0, 0}, 5},
	} {
		x, err := FromBytes("x", c.dt, nil, c.raw)
		if err != nil {
			t.Fatal(err)
		}
		i, err := x.Int64s()
		f, ferr := x.Float32s()
		if err != nil || ferr != nil || i[0] != c.want || f[0] != float32(c.want) {
			t.Errorf("%v: %v, %v (%v, %v), want %d", c.dt, i, f, err, ferr, c.want)
		}
	}
	huge, _ := FromBytes("x", Uint64, nil, bytes.Repeat([]byte{0xff}, 8))
	if _, err := huge.Int64s(); err == nil {
		t.Error("2^64-1 was read as an int64")
	}
	if _, err := FromFloats("x", Int8, []int64{1}, []float64{1}); err == nil {
		t.Error("floats were made into int8")
	}
	if _, err := FromBytes("x", Float, []int64{2}, make([]byte, 4)); err == nil {
		t.Error("4 bytes were taken for two floats")
	}
	if _, err := FromFloat32s("x", []int64{3}, []float32{1}).Bytes(); err == nil {
		t.Error("one number was taken for three")
	}
}

// computed is data that exists only while it is written; it may lie about its length.
type computed struct {
	announced int64
	given     int64
	fail      error
}

func (c computed) Len() int64 { return c.announced }

func (c computed) WriteTo(w io.Writer) (int64, error) {
	n := int64(0)
	buf := make([]byte, 4096)
	for n < c.given {
		for i := range buf {
			buf[i] = byte((n + int64(i)) * 7)
		}
		k, err := w.Write(buf[:min(int64(len(buf)), c.given-n)])
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, c.fail
}

func TestComputedData(t *testing.T) {
	x := NewTensor("x", Uint8, []int64{100, 100}, computed{announced: 10_000, given: 10_000})
	raw, err := x.Bytes()
	if err != nil || len(raw) != 10_000 || raw[9_999] != byte(9_999*7%256) {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	part := make([]byte, 10)
	if n, err := x.ReadAt(part, 9_995); n != 5 || err != io.EOF || part[0] != raw[9_995] {
		t.Errorf("ReadAt at the end: %d, %v", n, err)
	}
	if _, err := x.ReadAt(part, -1); err == nil {
		t.Error("a negative offset was read")
	}
	other := x.Renamed("y")
	if same, err := x.Equal(other); err != nil || !same || other.Name != "y" || x.Name != "x" {
		t.Errorf("renamed: same %v, %v", same, err)
	}
	flat, _ := FromBytes("z", Uint8, []int64{100, 100}, raw)
	changed := bytes.Clone(raw)
	changed[9_999]++
	differs, _ := FromBytes("z", Uint8, []int64{100, 100}, changed)
	for _, c := range []struct {
		a, b *Tensor
		want bool
	}{{x, flat, true}, {flat, x, true}, {x, differs, false}, {differs, x, false}, {x, NewTensor("x", Int8, x.Dims, x.Data()), false},
		{x, NewTensor("x", Uint8, []int64{10_000}, x.Data()), false}} {
		if same, err := c.a.Equal(c.b); err != nil || same != c.want {
			t.Errorf("Equal is %v (%v), want %v", same, err, c.want)
		}
	}
	boom := errors.New("boom")
	for name, d := range map[string]computed{
		"short": {10_000, 9_999, nil}, "long": {10_000, 10_001, nil}, "failing": {10_000, 10_000, boom}, "wrong size": {9_999, 9_999, nil},
	} {
		x := NewTensor("x", Uint8, []int64{100, 100}, d)
		if _, err := x.Bytes(); err == nil {
			t.Errorf("Bytes of %s data succeeded", name)
		}
		m := &Model{IRVersion: 8, Opsets: []Opset{{"", 17}}, Graph: &Graph{Initializers: []*Tensor{x}}}
		if _, err := Encode(m); err == nil {
			t.Errorf("encoding %s data succeeded", name)
		}
	}
}

func TestFloatSpans(t *testing.T) {
	out := make([]byte, 8)
	if err := EncodeFloats(out, Float, []float32{1, 2}); err != nil || math.Float32frombits(binary.LittleEndian.Uint32(out[4:])) != 2 {
		t.Errorf("%x, %v", out, err)
	}
	if err := EncodeFloats(out, Float, []float32{1}); err == nil {
		t.Error("8 bytes were taken for one float")
	}
	if err := DecodeFloats(make([]float32, 3), Int8, out[:3]); err == nil {
		t.Error("int8 was taken for a float type")
	}
}
