package train

import (
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"

	"github.com/ligoonnx/ligoonnx/graph/engine"
)

// initStd is the standard deviation of random weights: that of BERT's and GPT-2's published initialisation.
const initStd = 0.02

// Random gives every parameter new numbers: matrices and tables normal ones of mean 0 and deviation 0.02, gains 1, biases 0. They depend
// on the seed and the parameter's name alone. values has an entry for each of t.Params.
func (t *Task) Random(values []engine.Floats, seed uint64) {
	for i, p := range t.Params {
		p.random(values[i], seed, initStd)
	}
}

// Glorot is Random with other deviations: of a matrix that of variance 2/(inputs + outputs) (Glorot & Bengio 2010), of a table that of
// variance 1/width. 0.02 is for widths of about 768: narrow models learn much more slowly from it.
func (t *Task) Glorot(values []engine.Floats, seed uint64) {
	for i, p := range t.Params {
		p.random(values[i], seed, p.glorot())
	}
}

// glorot is the deviation by which the numbers of a matrix [in, out] or [out, in], a convolution [out, in, …] or a table [rows, …, width]
// are spread.
func (p *Param) glorot() float64 {
	if len(p.Shape) == 0 {
		return initStd
	}
	if p.Role == RoleTable || len(p.Shape) == 1 {
		return math.Sqrt(1 / float64(p.Shape[len(p.Shape)-1]))
	}
	window := 1
	for _, n := range p.Shape[2:] {
		window *= n
	}
	return math.Sqrt(2 / float64((p.Shape[0]+p.Shape[1])*window))
}

func (p *Param) random(f engine.Floats, seed uint64, std float64) {
	draw := func() float64 { return 0 }
	switch p.Role {
	case RoleGain:
		draw = func() float64 { return 1 }
	case RoleMatrix, RoleTable:
		h := fnv.New64a()
		// A hash never returns an error.
		_, _ = io.WriteString(h, p.Name)
		r := rand.New(rand.NewPCG(seed, h.Sum64()))
		draw = func() float64 { return std * r.NormFloat64() }
	}
	for i := range f.F32 {
		f.F32[i] = float32(draw())
	}
	for i := range f.F64 {
		f.F64[i] = draw()
	}
}
