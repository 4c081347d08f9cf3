package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestBinaryLayouts compares every operation, with every way the operands can lie, with Go's arithmetic, bit by bit.
func TestBinaryLayouts(t *testing.T) {
	want := map[BinaryOp]func(a, b float32) float32{
		Add: func(a, b float32) float32 { return a + b }, Sub: func(a, b float32) float32 { return a - b },
		Mul: func(a, b float32) float32 { return a * b }, Div: func(a, b float32) float32 { return a / b },
		Min: func(a, b float32) float32 { return min(a, b) }, Max: func(a, b float32) float32 { return max(a, b) },
		Pow: func(a, b float32) float32 {
			switch b {
			case 2:
				return a * a
			case 3:
				return a * a * a
			}
			return float32(math.Pow(float64(a), float64(b)))
		},
	}
	shape := []int{5, 3, 67}
	r := rand.New(rand.NewPCG(5, 6))
	layouts := [][]int{{5, 3, 67}, {67}, {3, 1}, {5, 1, 67}, {1}}
	for op, f := range want {
		for _, la := range layouts {
			for _, lb := range layouts {
				for _, exponent := range []float32{0, 2, 3} {
					if exponent != 0 && op != Pow {
						continue
					}
					a, b := randoms[float32](r, product(la)), randoms[float32](r, product(lb))
					for i := range a {
						a[i] = max(a[i], -a[i])
					}
					if exponent != 0 {
						for i := range b {
							b[i] = exponent
						}
					}
					sa, sb := BroadcastStrides(la, shape), BroadcastStrides(lb, shape)
					out := make([]float32, product(shape))
					Binary(2, op, NewWalk(shape, Strides(shape), sa, sb), out, a, b)
					idx := make([]int, len(shape))
					for _, v := range out {
						x := a[idx[0]*sa[0]+idx[1]*sa[1]+idx[2]*sa[2]]
						y := b[idx[0]*sb[0]+idx[1]*sb[1]+idx[2]*sb[2]]
						if w := f(x, y); v != w {
							t.Fatalf("op %d of %v and %v: %g and %g give %g, want %g", op, la, lb, x, y, v, w)
						}
						next(idx, shape)
					}
				}
			}
		}
	}
}
