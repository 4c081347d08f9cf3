package linmap

// The two dense products below add in the order of the summation index, one product at a time, so an element does not depend on
// how rows and columns are blocked. Conversions forbid fused multiply-adds, which some machines would use and others not.

// addProduct is c += a·b for a of m x k with rows lda apart, b of k x n and c of m x n.
func addProduct(c, a, b []float64, m, k, n, lda int) {
	const block = 128 // columns of b that stay in the cache while every row of a passes
	for j := 0; j < n; j += block {
		w := min(block, n-j)
		i := 0
		for ; i+1 < m; i += 2 {
			c0, c1 := c[i*n+j:][:w], c[(i+1)*n+j:][:w]
			a0, a1 := a[i*lda:][:k], a[(i+1)*lda:][:k]
			p := 0
			for ; p+3 < k; p += 4 {
				b0, b1, b2, b3 := b[p*n+j:][:w], b[(p+1)*n+j:][:w], b[(p+2)*n+j:][:w], b[(p+3)*n+j:][:w]
				u0, u1, u2, u3 := a0[p], a0[p+1], a0[p+2], a0[p+3]
				v0, v1, v2, v3 := a1[p], a1[p+1], a1[p+2], a1[p+3]
				for x := range c0 {
					y0, y1, y2, y3 := b0[x], b1[x], b2[x], b3[x]
					c0[x] = c0[x] + float64(u0*y0) + float64(u1*y1) + float64(u2*y2) + float64(u3*y3)
					c1[x] = c1[x] + float64(v0*y0) + float64(v1*y1) + float64(v2*y2) + float64(v3*y3)
				}
			}
			for ; p < k; p++ {
				axpy(c0, b[p*n+j:], a0[p])
				axpy(c1, b[p*n+j:], a1[p])
			}
		}
		for ; i < m; i++ {
			for p := range k {
				axpy(c[i*n+j:][:w], b[p*n+j:], a[i*lda+p])
			}
		}
	}
}

// productTransposed is c = a·bᵀ for a of m x k, b of n x k and c of m x n.
func productTransposed(c, a, b []float64, m, n, k int) {
	i := 0
	for ; i+1 < m; i += 2 {
		a0, a1 := a[i*k:][:k], a[(i+1)*k:][:k]
		j := 0
		for ; j+3 < n; j += 4 {
			b0, b1, b2, b3 := b[j*k:][:k], b[(j+1)*k:][:k], b[(j+2)*k:][:k], b[(j+3)*k:][:k]
			var u0, u1, u2, u3, v0, v1, v2, v3 float64
			for p, x := range a0 {
				y, z0, z1, z2, z3 := a1[p], b0[p], b1[p], b2[p], b3[p]
				u0 += float64(x * z0)
				u1 += float64(x * z1)
				u2 += float64(x * z2)
				u3 += float64(x * z3)
				v0 += float64(y * z0)
				v1 += float64(y * z1)
				v2 += float64(y * z2)
				v3 += float64(y * z3)
			}
			c0, c1 := c[i*n+j:][:4], c[(i+1)*n+j:][:4]
			c0[0], c0[1], c0[2], c0[3] = u0, u1, u2, u3
			c1[0], c1[1], c1[2], c1[3] = v0, v1, v2, v3
		}
		for ; j < n; j++ {
			c[i*n+j], c[(i+1)*n+j] = dot(a0, b[j*k:]), dot(a1, b[j*k:])
		}
	}
	for ; i < m; i++ {
		for j := range n {
			c[i*n+j] = dot(a[i*k:][:k], b[j*k:])
		}
	}
}

func dot(a, b []float64) float64 {
	b = b[:len(a)]
	s := 0.0
	for i, x := range a {
		s += float64(x * b[i])
	}
	return s
}
