package engine

import (
	"math"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

// fuseActivation finds x times a gate of x, with the factors in any order: GELU with erf or tanh, and SiLU with any slope. The gate's
// argument is read as a polynomial of x, so it does not matter how it is written.
func fuseActivation(f *fuser, k *call) (*value, error) {
	root := k.out[0]
	if op, _, _ := arithmetic(root); op == nil || op.op != kernel.Mul && op.op != kernel.Div {
		return nil, nil
	}
	p := &factors{root: root}
	p.collect(root, 4)
	for _, gate := range p.values {
		name, u, weight, ok := f.gate(gate)
		if !ok {
			continue
		}
		for _, x := range p.values {
			if x == gate || x == root {
				continue
			}
			scale, ok := f.timesGate(root, x, gate, 4)
			if !ok {
				continue
			}
			if fn, ok := activation(name, polynomialOf(u, x, 6), scale*weight); ok {
				return f.one(k.label, fn, x)
			}
		}
	}
	return nil, nil
}

// factors are the values that a product is made of, at every level.
type factors struct {
	root   *value
	values []*value
}

func (p *factors) collect(v *value, depth int) {
	if _, ok := floatScalar(v); ok {
		return
	}
	p.values = append(p.values, v)
	op, a, b := arithmetic(v)
	if op == nil || depth == 0 {
		return
	}
	switch op.op {
	case kernel.Mul:
		p.collect(a, depth-1)
		p.collect(b, depth-1)
	case kernel.Div:
		p.collect(a, depth-1)
	}
}

// gate reads sigmoid(u), or weight * (1 + erf(u)) or that with tanh, whose values nothing else reads.
func (f *fuser) gate(v *value) (name string, u *value, weight float64, ok bool) {
	if !f.sole(v) {
		return "", nil, 0, false
	}
	if fn, ok := produced[unaryOp](v); ok && fn.name == "Sigmoid" {
		return fn.name, v.from.in[0], 1, true
	}
	op, a, b := arithmetic(v)
	if op == nil || op.op != kernel.Add {
		return "", nil, 0, false
	}
	one, known := floatScalar(a)
	if !known {
		if one, known = floatScalar(b); !known {
			return "", nil, 0, false
		}
		b = a
	}
	weight = 1
	if mul, x, y := arithmetic(b); mul != nil && mul.op == kernel.Mul && f.sole(b) {
		if n, ok := floatScalar(x); ok {
			weight, b = n, y
		} else if n, ok := floatScalar(y); ok {
			weight, b = n, x
		}
	}
	fn, found := produced[unaryOp](b)
	if !found || fn.name != "Erf" && fn.name != "Tanh" || !f.sole(b) || weight != one {
		return "", nil, 0, false
	}
	return fn.name, b.from.in[0], weight, true
}

// timesGate reads root as scale * x * gate.
func (f *fuser) timesGate(root, x, gate *value, depth int) (scale float64, ok bool) {
	scale = 1
	xs, gates := 0, 0
	var visit func(v *value, depth int) bool
	visit = func(v *value, depth int) bool {
		switch v {
		case x:
			xs++
			return true
		case gate:
			gates++
			return true
		}
		if n, ok := floatScalar(v); ok {
			scale *= n
			return true
		}
		op, a, b := arithmetic(v)
		if op == nil || depth == 0 || v != root && !f.sole(v) {
			return false
		}
		switch op.op {
		case kernel.Mul:
			return visit(a, depth-1) && visit(b, depth-1)
		case kernel.Div:
			n, ok := floatScalar(b)
			scale /= n
			return ok && visit(a, depth-1)
		}
		return false
	}
	ok = visit(root, depth) && xs == 1 && gates == 1 && root.dt == x.dt
	return scale, ok
}

// activation is scale * x * gate(u), with the gate 1 + erf or 1 + tanh or the logistic function, if there is such an operator.
func activation(name string, u polynomial, scale float64) (unaryOp, bool) {
	near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-4*math.Abs(b) }
	switch {
	case !u.ok || u.c[0] != 0 || u.c[2] != 0:
	case name == "Sigmoid" && scale == 1 && u.c[1] != 0 && u.c[3] == 0:
		return unaryOp{f: kernel.SiLU(u.c[1]), name: "Swish"}, true
	case name == "Erf" && scale == 0.5 && u.c[3] == 0 && near(u.c[1], math.Sqrt2/2):
		return unaryOp{f: kernel.GeluOf(u.c[1]), name: "Gelu"}, true
	case name == "Tanh" && scale == 0.5 && near(u.c[1], math.Sqrt2/math.SqrtPi) && near(u.c[3], 0.044715*u.c[1]):
		return unaryOp{f: kernel.GeluTanhOf(u.c[1], u.c[3]), name: "Gelu"}, true
	}
	return unaryOp{}, false
}

// polynomial is c[0] + c[1] x + c[2] x^2 + c[3] x^3.
type polynomial struct {
	c  [4]float64
	ok bool
}

// polynomialOf reads v as a polynomial of x that is made of sums and products with known numbers.
func polynomialOf(v, x *value, depth int) (p polynomial) {
	if v == x {
		return polynomial{[4]float64{0, 1}, true}
	}
	if n, ok := floatScalar(v); ok {
		return polynomial{[4]float64{n}, true}
	}
	if w := behind(v); w != v {
		return polynomialOf(w, x, depth)
	}
	op, l, r := arithmetic(v)
	if op == nil || depth == 0 {
		return p
	}
	a := polynomialOf(l, x, depth-1)
	if op.op == kernel.Pow {
		n, ok := knownScalar(r)
		if !ok || n != 2 && n != 3 {
			return p
		}
		q := a.times(a)
		if n == 3 {
			q = q.times(a)
		}
		return q
	}
	b := polynomialOf(r, x, depth-1)
	switch op.op {
	case kernel.Add:
		return a.plus(b, 1)
	case kernel.Sub:
		return a.plus(b, -1)
	case kernel.Mul:
		return a.times(b)
	case kernel.Div:
		if n, ok := floatScalar(r); ok && n != 0 && a.ok {
			for i := range a.c {
				a.c[i] /= n
			}
			return a
		}
	}
	return p
}

func (a polynomial) plus(b polynomial, sign float64) (p polynomial) {
	for i := range p.c {
		p.c[i] = a.c[i] + sign*b.c[i]
	}
	p.ok = a.ok && b.ok
	return p
}

// times is not ok if the product has a higher degree.
func (a polynomial) times(b polynomial) (p polynomial) {
	p.ok = a.ok && b.ok
	for i, x := range a.c {
		for j, y := range b.c {
			if x*y == 0 {
				continue
			}
			if i+j >= len(p.c) {
				return polynomial{}
			}
			p.c[i+j] += x * y
		}
	}
	return p
}
