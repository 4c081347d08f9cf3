package kernel

import "math"

// AdamWParams are the settings of one AdamW step.
type AdamWParams struct {
	LR, Beta1, Beta2, Eps, WeightDecay float64
	Step                               int64 // from 1 on, for the bias corrections
	// GradScale multiplies the gradients first: clipping, loss scaling, the mean over accumulated ones. 1 for none.
	GradScale float64
}

// adamW is the numbers of a step as they meet the elements: factors of the gradient and of the weight, 1 - beta1, beta2, 1 - beta2,
// 1 / sqrt(1 - beta2^step), eps and minus the length of the step. The assembly reads them in this order.
type adamW[T Float] [8]T

// AdamW updates weights w and both moments m and v by the gradients g, in place and in one pass: Adam with decoupled weight decay
// (Loshchilov & Hutter 2019), with the operations and their order of PyTorch's torch.optim.AdamW:
//
//	w *= 1 - lr * decay
//	m += (1 - beta1) * (g - m)
//	v  = beta2 * v + (1 - beta2) * g * g
//	w -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
//
// The slices have one length. m and v are zero before the first step.
func AdamW[T Float](threads int, p AdamWParams, w, g, m, v []T) {
	k := adamW[T]{
		T(p.GradScale), T(1 - p.LR*p.WeightDecay), T(1 - p.Beta1), T(p.Beta2), T(1 - p.Beta2),
		T(1 / math.Sqrt(1-math.Pow(p.Beta2, float64(p.Step)))), T(p.Eps), T(-p.LR / (1 - math.Pow(p.Beta1, float64(p.Step)))),
	}
	Parallel(threads, len(w), walkGrain, func(lo, hi int) { k.run(w[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi]) })
}

func (k *adamW[T]) run(w, g, m, v []T) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	if f, ok := fast(simd.adamW != nil, w); ok {
		p := any((*[8]T)(k)).(*[8]float32)
		simd.adamW(&f[0], first(g), first(m), first(v), len(f), p)
		return
	}
	scale, decay, rate1, beta2, rate2, correction, eps, step := k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7]
	for i := range w {
		d := g[i] * scale
		a := m[i] + T(rate1*(d-m[i]))
		b := T(v[i]*beta2) + T(T(d*d)*rate2)
		m[i], v[i] = a, b
		denominator := T(T(math.Sqrt(float64(b)))*correction) + eps
		w[i] = T(w[i]*decay) + T(step*a)/denominator
	}
}

// SGDParams are the settings of one SGD step.
type SGDParams struct {
	LR, Momentum, WeightDecay float64
	Nesterov                  bool
	First                     bool // the momentum buffer is set to the gradient, whatever it holds
	GradScale                 float64
}

// sgd is the numbers of a step as they meet the elements: the factor of the gradient, decay, momentum and minus the length of the
// step. The assembly reads them in this order.
type sgd[T Float] [4]T

// SGD updates weights w by the gradients g, in place and in one pass, as PyTorch's torch.optim.SGD does without dampening:
//
//	g += decay * w
//	m  = momentum * m + g              (g in the first step)
//	w -= lr * m, with Nesterov lr * (g + momentum * m)
//
// m is the momentum buffer; it is not looked at where Momentum is 0. GradScale is that of AdamWParams.
func SGD[T Float](threads int, p SGDParams, w, g, m []T) {
	k := sgd[T]{T(p.GradScale), T(p.WeightDecay), T(p.Momentum), T(-p.LR)}
	Parallel(threads, len(w), walkGrain, func(lo, hi int) {
		if p.Momentum == 0 {
			k.plain(w[lo:hi], g[lo:hi])
		} else {
			k.run(w[lo:hi], g[lo:hi], m[lo:hi], p.Nesterov, p.First)
		}
	})
}

func (k *sgd[T]) plain(w, g []T) {
	g = g[:len(w)]
	if f, ok := fast(simd.sgd != nil, w); ok {
		simd.sgd(&f[0], first(g), len(f), any((*[4]T)(k)).(*[4]float32))
		return
	}
	scale, decay, step := k[0], k[1], k[3]
	for i := range w {
		w[i] += T(step * (T(g[i]*scale) + T(decay*w[i])))
	}
}

func (k *sgd[T]) run(w, g, m []T, nesterov, start bool) {
	g, m = g[:len(w)], m[:len(w)]
	if f, ok := fast(simd.sgdMomentum != nil && !start, w); ok {
		step := simd.sgdMomentum
		if nesterov {
			step = simd.sgdNesterov
		}
		step(&f[0], first(g), first(m), len(f), any((*[4]T)(k)).(*[4]float32))
		return
	}
	scale, decay, momentum, step := k[0], k[1], k[2], k[3]
	for i := range w {
		d := T(g[i]*scale) + T(decay*w[i])
		a := d
		if !start {
			a = T(m[i]*momentum) + d
		}
		m[i] = a
		if nesterov {
			a = d + T(momentum*a)
		}
		w[i] += T(step * a)
	}
}

// SumSquares is the sum of the squares of x in float64, in an order that depends on the length alone: the square of the norm of a
// gradient.
func SumSquares[T Float](threads int, x []T) float64 {
	parts := make([]float64, (len(x)+walkGrain-1)/walkGrain)
	Parallel(threads, len(x), walkGrain, func(lo, hi int) { parts[lo/walkGrain] = vecSumSq(x[lo:hi]) })
	var s float64
	for _, v := range parts {
		s += v
	}
	return s
}
