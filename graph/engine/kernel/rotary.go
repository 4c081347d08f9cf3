package kernel

// RotaryParams describes a rotation of pairs of elements of each head by angles that depend on the position (Su et al. 2021).
type RotaryParams struct {
	Batch, Heads, Length, HeadSize int
	// Still is how many heads follow those that are rotated and stay as they are.
	Still int
	// Dim is how many elements of a head are rotated; the others stay.
	Dim int
	// Interleaved pairs are neighbours; otherwise element i goes with i + Dim/2.
	Interleaved bool
	// Strides of the operand: batch, head, position. Strides of the tables of cosines and sines: batch, position, pair.
	Strides, Table [3]int
}

// pairs is the distance between the elements of a pair, and between pairs.
func (p *RotaryParams) pairs() (first, step int) {
	if p.Interleaved {
		return 1, 2
	}
	return p.Dim / 2, 1
}

// Rotate rotates all pairs (u, v) to (cos*u - sin*v, sin*u + cos*v); with back set, by the opposite angles, which is the gradient. y
// may be x.
func Rotate[T Float](threads int, p *RotaryParams, y, x, cos, sin []T, back bool) {
	half := p.Dim / 2
	first, step := p.pairs()
	parallelRows(threads, p.Batch*p.Length, p.Heads*p.HeadSize, func(lo, hi int) {
		room := borrow[T](2 * half)
		defer giveBack(room)
		c, s := (*room)[:half], (*room)[half:]
		for r := lo; r < hi; r++ {
			b, t := r/p.Length, r%p.Length
			angle := b*p.Table[0] + t*p.Table[1]
			for i := range c {
				c[i], s[i] = cos[angle+i*p.Table[2]], sin[angle+i*p.Table[2]]
				if back {
					s[i] = -s[i]
				}
			}
			for h := range p.Heads + p.Still {
				at := b*p.Strides[0] + h*p.Strides[1] + t*p.Strides[2]
				in, out := x[at:at+p.HeadSize], y[at:at+p.HeadSize]
				if h >= p.Heads {
					copy(out, in)
					continue
				}
				copy(out[p.Dim:], in[p.Dim:])
				if step == 1 {
					rotateHalves(out[:half], out[half:2*half], in[:half], in[half:2*half], c, s)
					continue
				}
				for i := range c {
					u, v := in[i*step], in[i*step+first]
					out[i*step] = c[i]*u - s[i]*v
					out[i*step+first] = s[i]*u + c[i]*v
				}
			}
		}
	})
}

func rotateHalves[T Float](y0, y1, x0, x1, c, s []T) {
	n := len(c)
	y0, y1, x0, x1, s = y0[:n], y1[:n], x0[:n], x1[:n], s[:n]
	if d, ok := fast(simd.rotate != nil, y0); ok {
		simd.rotate(&d[0], first(y1), first(x0), first(x1), first(c), first(s), n)
		return
	}
	for i, k := range c {
		u, v := x0[i], x1[i]
		y0[i] = k*u - s[i]*v
		y1[i] = s[i]*u + k*v
	}
}

// RotaryTableGrad writes the gradients by the cosines and sines, [batch, length, Dim/2] each, from the operand and the gradient by the
// result.
func RotaryTableGrad[T Float](threads int, p *RotaryParams, dcos, dsin, x, dy []T) {
	half := p.Dim / 2
	first, step := p.pairs()
	parallelRows(threads, p.Batch*p.Length, p.Heads*p.HeadSize, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			b, t := r/p.Length, r%p.Length
			for i := range half {
				var c, s float64
				for h := range p.Heads {
					at := b*p.Strides[0] + h*p.Strides[1] + t*p.Strides[2] + i*step
					u, v := float64(x[at]), float64(x[at+first])
					du, dv := float64(dy[at]), float64(dy[at+first])
					c += du*u + dv*v
					s += dv*u - du*v
				}
				dcos[r*half+i], dsin[r*half+i] = T(c), T(s)
			}
		}
	})
}
