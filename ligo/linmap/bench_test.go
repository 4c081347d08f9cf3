package linmap

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// sink takes bytes as a file does: by copying them out of the caller's buffer.
type sink struct{ buf []byte }

func (s *sink) Write(p []byte) (int, error) {
	copy(s.buf, p)
	return len(p), nil
}

// BenchmarkGrow writes the kinds of tensors that growing BERT-small to BERT-base makes; MB/s counts bytes written.
func BenchmarkGrow(b *testing.B) {
	average, copies := Average(768, 512), make([]int, 768)
	split, picks := make([]float64, 768), make([]int, 768)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range copies {
		copies[i], picks[i], split[i] = i%512, r.IntN(512), 0.3+0.4*r.Float64()
	}
	dense := Dense(768, 512, gaussian(r, 768*512))
	y := newToy(1)
	gains := make([][]float64, 25)
	for i := range gains {
		gains[i] = y.vector(512, 1, 0.2)
	}
	streams, _ := GrowPostNorm(768, gains)
	heads := Kron(Copy([]int{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3}, nil, 8), Identity(64))
	for _, c := range []struct {
		name string
		dims []int64
		maps []Matrix
	}{
		{"embedding/average", []int64{30522, 512}, []Matrix{nil, average}},
		{"embedding/copy", []int64{30522, 512}, []Matrix{nil, Copy(copies, nil, 512)}},
		{"embedding/pad", []int64{30522, 512}, []Matrix{nil, Pad(768, 512)}},
		{"embedding/postnorm", []int64{30522, 512}, []Matrix{nil, streams[0]}},
		{"linear/postnorm,split", []int64{512, 512}, []Matrix{streams[1], Copy(copies, split, 512)}},
		{"embedding/dense", []int64{2048, 512}, []Matrix{nil, dense}},
		{"linear/copy,copy", []int64{2048, 512}, []Matrix{Copy(grown3072(), nil, 2048), Copy(copies, nil, 512)}},
		{"linear/pick,pick", []int64{512, 512}, []Matrix{Copy(picks, nil, 512), Copy(picks, nil, 512)}},
		{"linear/average,split", []int64{512, 512}, []Matrix{average, Copy(copies, split, 512)}},
		{"linear/split,average", []int64{2048, 512}, []Matrix{Copy(grown3072(), split3072(), 2048), average}},
		{"linear/heads,split", []int64{512, 512}, []Matrix{heads, Copy(copies, split, 512)}},
		{"linear/dense,dense", []int64{512, 512}, []Matrix{dense, dense}},
	} {
		n := int(c.dims[0] * c.dims[1])
		for _, dt := range []onnxio.DType{onnxio.Float, onnxio.Float16} {
			b.Run(c.name+"/"+dt.String(), func(b *testing.B) {
				src := floatTensor(b, "w", dt, c.dims, gaussian(r, n))
				out, err := Grow(src, c.maps)
				if err != nil {
					b.Fatal(err)
				}
				s := &sink{make([]byte, 8<<20)}
				b.SetBytes(out.ByteLen())
				b.ReportAllocs()
				for b.Loop() {
					if _, err := out.Data().WriteTo(s); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func grown3072() []int {
	index := make([]int, 3072)
	for i := range index {
		index[i] = i % 2048
	}
	return index
}

func split3072() []float64 {
	w := make([]float64, 3072)
	for i := range w {
		switch {
		case i >= 2048:
			w[i] = 0.4
		case i < 1024:
			w[i] = 0.6
		default:
			w[i] = 1
		}
	}
	return w
}

// BenchmarkCopy is the yardstick: the same bytes as the grown embedding, written from memory.
func BenchmarkCopy(b *testing.B) {
	src := floatTensor(b, "w", onnxio.Float, []int64{30522, 768}, make([]float64, 30522*768))
	s := &sink{make([]byte, 8<<20)}
	b.SetBytes(src.ByteLen())
	for b.Loop() {
		if _, err := src.Data().(io.WriterTo).WriteTo(s); err != nil {
			b.Fatal(err)
		}
	}
}
