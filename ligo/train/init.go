package train

import (
	"hash/fnv"
	"io"
	"math/rand/v2"

	"github.com/ligoonnx/ligoonnx/graph/engine"
)

// initStd is the standard deviation of random weights: that of BERT's and GPT-2's published initialisation.
const initStd = 0.02

// Random gives every parameter new numbers: matrices and tables normal ones of mean 0 and deviation 0.02, gains 1, biases 0. They depend
// on the seed and the parameter's name alone. values has an entry for each of t.Params.
func (t *Task) Random(values []engine.Floats, seed uint64) {
	for i, p := range t.Params {
		p.random(values[i], seed)
	}
}

func (p *Param) random(f engine.Floats, seed uint64) {
	draw := func() float64 { return 0 }
	switch p.Role {
	case RoleGain:
		draw = func() float64 { return 1 }
	case RoleMatrix, RoleTable:
		h := fnv.New64a()
		// A hash never returns an error.
		_, _ = io.WriteString(h, p.Name)
		r := rand.New(rand.NewPCG(seed, h.Sum64()))
		draw = func() float64 { return initStd * r.NormFloat64() }
	}
	for i := range f.F32 {
		f.F32[i] = float32(draw())
	}
	for i := range f.F64 {
		f.F64[i] = draw()
	}
}
