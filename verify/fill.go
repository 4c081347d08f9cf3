package verify

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/ligoonnx/ligoonnx/graph/inputs"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// make fills a scenario's tensors.
func (s *synthesizer) make(sc scenario) (dataset.Set, error) {
	set := dataset.Set{Name: sc.name, Inputs: map[string]*onnxio.Tensor{}}
	for _, in := range s.inputs {
		t, err := in.fill(sc, source(s.seed, sc.name, in.v.Name))
		if err != nil {
			return set, fmt.Errorf("input %q: %w", in.v.Name, err)
		}
		set.Inputs[in.v.Name] = t
	}
	return set, nil
}

// source gives every tensor random numbers of its own, so that one input more does not change the others.
func source(seed uint64, parts ...string) *rand.Rand {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p)) // never fails
		h.Write([]byte{0})
	}
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

func (in *input) dims(sc scenario) []int64 {
	dims := make([]int64, len(in.sizes))
	for axis, u := range in.sizes {
		if u == nil {
			dims[axis] = in.v.Type.Dims[axis].Value
		} else {
			dims[axis] = u.role().size(sc)
		}
	}
	return dims
}

// maxMade bounds the elements of one made-up input: a signature may declare anything.
const maxMade = 1 << 26

func (in *input) fill(sc scenario, r *rand.Rand) (*onnxio.Tensor, error) {
	dims := in.dims(sc)
	n := int64(1)
	for _, d := range dims {
		if d < 0 || d > maxMade || n*d > maxMade {
			return nil, fmt.Errorf("the shape %s is more than %d elements", shapeText(dims), maxMade)
		}
		n *= d
	}
	name, dt := in.v.Name, in.v.Type.Elem
	switch in.Kind {
	case inputs.Floats:
		return normal(name, dt, dims, n, r)
	case inputs.Index:
		v := make([]int64, n)
		token := r.Int64N(in.Rows)
		for i := range v {
			v[i] = token
			if !sc.repeat {
				v[i] = r.Int64N(in.Rows)
			}
		}
		return onnxio.FromInts(name, dt, dims, v)
	}
	v := make([]int64, n)
	for i := range v {
		v[i] = 1
	}
	switch {
	case in.scalar != nil:
		for i := range v {
			v[i] = in.scalar.role().size(sc)
		}
	case sc.pad != noPadding:
		pad(v, dims, sc.pad == padLeft)
	}
	return onnxio.FromInts(name, dt, dims, v)
}

func normal(name string, dt onnxio.DType, dims []int64, n int64, r *rand.Rand) (*onnxio.Tensor, error) {
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return onnxio.FromFloats(name, dt, dims, v)
}

// pad zeroes part of every row but those of the first batch element, a different part in each.
func pad(v, dims []int64, left bool) {
	length := dims[len(dims)-1]
	if length < 2 {
		return
	}
	perElement := int64(len(v)) / max(dims[0], 1)
	for i := range v {
		row, at := int64(i)/max(perElement, 1), int64(i)%length
		zeros := row % length // never the whole row
		if left && at < zeros || !left && at >= length-zeros {
			v[i] = 0
		}
	}
}
