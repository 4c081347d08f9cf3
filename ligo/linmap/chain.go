package linmap

import "fmt"

// inSequence is a matrix product that is applied factor by factor.
type inSequence struct{ factors []Matrix }

// Chain is the matrix product ms[0]·ms[1]·…, kept as it is and applied from the last to the first: a map of low rank beside copies stays
// as cheap as its factors. It panics if the sizes do not match. Identities vanish.
func Chain(ms ...Matrix) Matrix {
	if len(ms) == 0 {
		panic("linmap: Chain: no factors")
	}
	var fs []Matrix
	for i, m := range ms {
		if i > 0 {
			_, mid := ms[i-1].Dims()
			if to, _ := m.Dims(); to != mid {
				panic(fmt.Sprintf("linmap: Chain: a result of size %d for a source of size %d", to, mid))
			}
		}
		if c, ok := m.(*inSequence); ok {
			fs = append(fs, c.factors...)
		} else if _, one := m.(identity); !one {
			fs = append(fs, m)
		}
	}
	switch len(fs) {
	case 0:
		return ms[0]
	case 1:
		return fs[0]
	}
	return &inSequence{fs}
}

func (c *inSequence) Dims() (to, from int) {
	to, _ = c.factors[0].Dims()
	_, from = c.factors[len(c.factors)-1].Dims()
	return to, from
}

func (c *inSequence) ops() []op {
	o := op{kind: byFactors}
	o.to, o.from = c.Dims()
	for i := len(c.factors) - 1; i >= 0; i-- {
		o.sums = append(o.sums, c.factors[i].ops())
	}
	return []op{o}
}

func (c *inSequence) transposed() Matrix {
	var fs []Matrix
	for i := len(c.factors) - 1; i >= 0; i-- {
		fs = append(fs, c.factors[i].transposed())
	}
	return &inSequence{fs}
}

func (c *inSequence) scaled(x float64) Matrix {
	fs := append([]Matrix(nil), c.factors...)
	fs[0] = fs[0].scaled(x)
	return Chain(fs...)
}

func (c *inSequence) dense(dst []float64, stride int) {
	m := c.factors[0]
	for _, f := range c.factors[1:] {
		m = Mul(m, f)
	}
	m.dense(dst, stride)
}
