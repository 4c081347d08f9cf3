package ligo

import (
	"hash/fnv"
	"io"
	"math/rand/v2"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// newRand is a generator of its own for every purpose and name, so that what is drawn for one tensor does not depend on which others
// there are, or in which order they are computed.
func newRand(seed uint64, purpose, name string) *rand.Rand {
	h := fnv.New64a()
	io.WriteString(h, purpose)
	h.Write([]byte{0})
	io.WriteString(h, name)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// normal is a tensor of normally distributed numbers, drawn when it is written.
func normal(name string, dt onnxio.DType, dims []int64, std float64, seed uint64) *onnxio.Tensor {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return onnxio.NewTensor(name, dt, dims, &gaussian{name, dt, n, std, seed})
}

type gaussian struct {
	name string
	dt   onnxio.DType
	n    int64
	std  float64
	seed uint64
}

func (g *gaussian) size() int64 { return int64(g.dt.Bits() / 8) }

func (g *gaussian) Len() int64 { return g.n * g.size() }

func (g *gaussian) WriteTo(w io.Writer) (int64, error) {
	const block = 1 << 14
	rng := newRand(g.seed, "normal", g.name)
	v, raw := make([]float64, block), make([]byte, block*g.size())
	written := int64(0)
	for left := g.n; left > 0; left -= block {
		k := min(left, block)
		for i := range v[:k] {
			v[i] = g.std * rng.NormFloat64()
		}
		if err := onnxio.EncodeFloats(raw[:k*g.size()], g.dt, v[:k]); err != nil {
			return written, err
		}
		m, err := w.Write(raw[:k*g.size()])
		written += int64(m)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
