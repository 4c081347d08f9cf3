package kernel

import "math"

// SoftmaxGrad writes the gradient by the operand of Softmax, with rows of n elements, from the result y and the gradient by it. dx may be dy, but
// not y.
func SoftmaxGrad[T Float](threads int, dx, y, dy []T, n int, log bool) {
	rows := 0
	if n > 0 {
		rows = len(y) / n
	}
	parallelRows(threads, rows, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			d, p, g := dx[r*n:r*n+n], y[r*n:r*n+n], dy[r*n:r*n+n]
			if log {
				logSoftmaxGradRow(d, p, g)
				continue
			}
			vecMulDiff(d, p, g, T(vecDot(p, g)))
		}
	})
}

func logSoftmaxGradRow[T Float](dx, y, dy []T) {
	s := T(vecSum(dy))
	room := borrow[T](len(y))
	defer giveBack(room)
	vecExpSum(*room, y, 0)
	vecScale(*room, *room, -s)
	vecAdd(dx, dy, *room)
}

// NormGrads are the operands of a layer norm's gradient and its results. X, Gain, Mean and InvStd are as LayerNorm has them; without Mean
// it was RMSNorm. DY is the gradient by the output; DMean and DInvStd are those by the statistics, nil where there are none. DGain
// and DBias are nil where nobody wants them.
type NormGrads[T Float] struct {
	X, Gain, Mean, InvStd []T
	DY, DMean, DInvStd    []T
	DX, DGain, DBias      []T
}

// sumBlocks is in how many blocks of rows gradients by gains and biases are summed.
const sumBlocks = 64

// LayerNormGrad computes the gradients of LayerNorm and RMSNorm with rows of n elements, in one pass over the rows:
//
//	dx = invStd * (g - mean(g) - x' * mean(g * x'))  with g = gain * dy and x' = (x - mean) * invStd
//
// where RMSNorm has no mean(g). DX may be X or DY. Gradients by gain and bias are summed over blocks of rows, and over the blocks in float64.
func LayerNormGrad[T Float](threads int, g *NormGrads[T], n int) {
	rows := len(g.X) / n
	grain := max((rows+sumBlocks-1)/sumBlocks, min(8, rowGrain(n)))
	blocks := (rows + grain - 1) / grain
	gain, bias := newColumnSums(g.DGain, blocks, n), newColumnSums(g.DBias, blocks, n)
	Parallel(threads, rows, grain, func(lo, hi int) {
		dgain, dbias := gain.block(lo/grain), bias.block(lo/grain)
		room := borrow[T](2 * n)
		defer giveBack(room)
		norm, scaled := (*room)[:n], (*room)[n:]
		for r := lo; r < hi; r++ {
			g.row(r, n, norm, scaled, dgain, dbias)
		}
	})
	gain.finish(threads)
	bias.finish(threads)
}

// row is the gradient by one row. It adds to those by gain and bias where they are not nil. norm and scaled are room for a row.
func (g *NormGrads[T]) row(r, n int, norm, scaled, dgain, dbias []T) {
	x, dy, dx := g.X[r*n:r*n+n], g.DY[r*n:r*n+n], g.DX[r*n:r*n+n]
	inv := g.InvStd[r]
	if g.Mean != nil {
		// g.Mean was rounded, which matters where it is large beside the deviation.
		vecNormalize(norm, x, vecSum(x)/float64(n), float64(inv))
	} else {
		vecScale(norm, x, inv)
	}
	if dgain != nil {
		vecMulAdd(dgain, dy, norm, dgain)
	}
	if dbias != nil {
		vecAdd(dbias, dbias, dy)
	}
	if g.Gain == nil {
		copy(scaled, dy)
	} else {
		vecMul(scaled, dy, g.Gain)
	}
	var a float64
	b := vecDot(scaled, norm)
	if g.Mean != nil {
		a = vecSum(scaled)
	}
	if g.DMean != nil {
		a -= float64(g.DMean[r]) / float64(inv)
	}
	if g.DInvStd != nil {
		b += float64(g.DInvStd[r]) * float64(inv)
	}
	vecNormGrad(dx, scaled, norm, inv, T(a/float64(n)), T(b/float64(n)))
}

// columnSums are sums over rows for each of n columns, in blocks of rows whose sums are added up in order.
type columnSums[T Float] struct {
	dst  []T
	part *[]T
	n    int
}

// newColumnSums prepares to sum into dst; nil: nobody wants it.
func newColumnSums[T Float](dst []T, blocks, n int) columnSums[T] {
	if dst == nil {
		return columnSums[T]{}
	}
	return columnSums[T]{dst, borrow[T](blocks * n), n}
}

// block is the cleared sum of one block.
func (c columnSums[T]) block(i int) []T {
	if c.dst == nil {
		return nil
	}
	s := (*c.part)[i*c.n : (i+1)*c.n]
	clear(s)
	return s
}

func (c columnSums[T]) finish(threads int) {
	if c.dst == nil {
		return
	}
	const strip = 256
	Parallel(threads, c.n, strip, func(lo, hi int) {
		var acc [strip]float64
		for at := 0; at < len(*c.part); at += c.n {
			for i, v := range (*c.part)[at+lo : at+hi] {
				acc[i] += float64(v)
			}
		}
		for i := range c.dst[lo:hi] {
			c.dst[lo+i] = T(acc[i])
		}
	})
	giveBack(c.part)
}

// LpNorm divides each row along an axis of [outer, n, inner] by its 1-norm or 2-norm (p); rows of zeros stay. norm, where not nil,
// receives the norms as [outer, inner].
func LpNorm[T Float](threads int, dst, src, norm []T, n, inner, p int) {
	parallelRows(threads, len(src)/n, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			at := r/inner*n*inner + r%inner
			var s float64
			for i := range n {
				v := float64(src[at+i*inner])
				if p == 1 {
					s += math.Abs(v)
				} else {
					s += v * v
				}
			}
			if p == 2 {
				s = math.Sqrt(s)
			}
			if norm != nil {
				norm[r] = T(s)
			}
			if s == 0 {
				s = 1
			}
			for i := range n {
				dst[at+i*inner] = T(float64(src[at+i*inner]) / s)
			}
		}
	})
}

// LpNormGrad is the gradient of LpNorm: dx = (dy - u * sum(y * dy)) / norm with u = y for p 2 and the sign of y for p 1. Rows of zeros have none.
func LpNormGrad[T Float](threads int, dx, y, norm, dy []T, n, inner, p int) {
	parallelRows(threads, len(y)/n, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			at := r/inner*n*inner + r%inner
			var s, inv float64
			if norm[r] != 0 {
				inv = 1 / float64(norm[r])
			}
			for i := range n {
				s += float64(y[at+i*inner]) * float64(dy[at+i*inner])
			}
			for i := range n {
				u := float64(y[at+i*inner])
				if p == 1 && u != 0 {
					u = math.Copysign(1, u)
				}
				dx[at+i*inner] = T((float64(dy[at+i*inner]) - u*s) * inv)
			}
		}
	})
}
