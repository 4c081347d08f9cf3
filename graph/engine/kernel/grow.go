package kernel

// Growth is a map from a matrix to a larger one whose every element is a multiple of one small element: y[i, j] = r[i] * x[Rows[i],
// Cols[j]] * c[j]. It is what copying and splitting units does to a weight, on both sides at once.
type Growth struct {
	From, To [2]int // shapes of x and y
	Rows     []int
	runs     []growRun
	targets  [][]int // by row of x, the rows of y that are made of it
}

// growRun is a stretch of columns of y that are consecutive in x.
type growRun struct{ at, from, n int }

// NewGrowth prepares a map to a matrix with the given rows and columns of one of shape from.
func NewGrowth(from [2]int, rows, cols []int) *Growth {
	g := &Growth{From: from, To: [2]int{len(rows), len(cols)}, Rows: rows, targets: make([][]int, from[0])}
	for i, s := range rows {
		g.targets[s] = append(g.targets[s], i)
	}
	for j, s := range cols {
		if n := len(g.runs); n > 0 && g.runs[n-1].from+g.runs[n-1].n == s {
			g.runs[n-1].n++
			continue
		}
		g.runs = append(g.runs, growRun{j, s, 1})
	}
	return g
}

// growGrain is how many elements of y a unit of work has, about.
const growGrain = 1 << 15

// Grow computes y; r and c may be nil, which is all ones.
func Grow[T Float](threads int, g *Growth, y, x, r, c []T) {
	n, m := g.To[1], g.From[1]
	Parallel(threads, g.To[0], max(1, growGrain/max(n, 1)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			src, dst := x[g.Rows[i]*m:][:m], y[i*n:][:n]
			for _, k := range g.runs {
				d, s := dst[k.at:k.at+k.n], src[k.from:k.from+k.n]
				switch {
				case c != nil:
					vecMul(d, s, c[k.at:k.at+k.n])
				default:
					copy(d, s)
				}
			}
			if r != nil {
				vecScale(dst, dst, r[i])
			}
		}
	})
}

// growParts is in how many parts the rows of x are cut at most for the sums over rows, which are added in the order of the parts.
const growParts = 64

// GrowGrad computes the gradients by x, r and c from dy, that by y; those that are nil are not computed. It is one pass over dy.
func GrowGrad[T Float](threads int, g *Growth, dx, dr, dc, dy, x, r, c []T) {
	n, m := g.To[1], g.From[1]
	grain := (g.From[0] + growParts - 1) / growParts
	parts := (g.From[0] + grain - 1) / max(grain, 1)
	var sums []T
	if dc != nil {
		room := borrow[T](parts * n)
		defer giveBack(room)
		sums = *room
		clear(sums)
	}
	Parallel(threads, g.From[0], grain, func(lo, hi int) {
		room := borrow[T](2 * n)
		defer giveBack(room)
		weighted, product := (*room)[:n], (*room)[n:2*n]
		for s := lo; s < hi; s++ {
			src := x[s*m:][:m]
			if dx != nil {
				clear(dx[s*m:][:m])
			}
			for _, i := range g.targets[s] {
				scale := T(1)
				if r != nil {
					scale = r[i]
				}
				d := dy[i*n:][:n]
				if c != nil {
					vecMul(weighted, d, c)
					d = weighted
				}
				var sum float64
				for _, k := range g.runs {
					if dx != nil {
						vecAxpy(scale, d[k.at:k.at+k.n], dx[s*m+k.from:][:k.n])
					}
					if dr != nil {
						sum += float64(vecDot(d[k.at:k.at+k.n], src[k.from:k.from+k.n]))
					}
					if dc != nil {
						vecMul(product[k.at:k.at+k.n], dy[i*n+k.at:][:k.n], src[k.from:k.from+k.n])
					}
				}
				if dr != nil {
					dr[i] = T(sum)
				}
				if dc != nil {
					vecAxpy(scale, product, sums[lo/grain*n:][:n])
				}
			}
		}
	})
	if dc == nil {
		return
	}
	clear(dc)
	for p := range parts {
		vecAdd(dc, dc, sums[p*n:][:n])
	}
}
