package engine

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
	"gorgonia.org/gorgonia"
	dense "gorgonia.org/tensor"
)

// counting is the engine's BLAS with a count of products.
type counting struct {
	kernelBLAS
	single, double *int
}

func (c counting) Sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, d []float32, ldc int) {
	*c.single++
	c.kernelBLAS.Sgemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, d, ldc)
}

func (c counting) Dgemm(tA, tB blas.Transpose, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, d []float64, ldc int) {
	*c.double++
	c.kernelBLAS.Dgemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, d, ldc)
}

// TestGorgoniaUsesTheEnginesProducts: gorgonia's own Mul, and its gradient, go through the BLAS that this package installs.
func TestGorgoniaUsesTheEnginesProducts(t *testing.T) {
	installed, ok := gorgonia.WhichBLAS().(kernelBLAS)
	if _, too := dense.WhichBLAS().(kernelBLAS); !ok || !too {
		t.Fatalf("gorgonia multiplies with %T, tensor with %T", gorgonia.WhichBLAS(), dense.WhichBLAS())
	}
	defer gorgonia.Use(installed)
	for _, dt := range []dense.Dtype{dense.Float32, dense.Float64} {
		var single, double int
		gorgonia.Use(counting{installed, &single, &double})
		const m, n, k = 37, 70, 45
		g := gorgonia.NewGraph()
		a := gorgonia.NewMatrix(g, dt, gorgonia.WithShape(m, k), gorgonia.WithName("a"), gorgonia.WithInit(gorgonia.GlorotN(1)))
		b := gorgonia.NewMatrix(g, dt, gorgonia.WithShape(k, n), gorgonia.WithName("b"), gorgonia.WithInit(gorgonia.GlorotN(1)))
		y := gorgonia.Must(gorgonia.Mul(a, b))
		if _, err := gorgonia.Grad(gorgonia.Must(gorgonia.Sum(y)), a, b); err != nil {
			t.Fatal(err)
		}
		vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(a, b))
		defer vm.Close()
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		if calls := map[dense.Dtype]int{dense.Float32: single, dense.Float64: double}; calls[dt] != 3 || single+double != 3 {
			t.Errorf("%v: %d calls of Sgemm, %d of Dgemm, want 3 for a product and its two gradients", dt, single, double)
		}
		da, err := a.Grad()
		if err != nil {
			t.Fatal(err)
		}
		av, bv, yv, dv := numbers(t, a.Value()), numbers(t, b.Value()), numbers(t, y.Value()), numbers(t, da)
		tol := map[dense.Dtype]float64{dense.Float32: 1e-5, dense.Float64: 1e-13}[dt]
		for i := range m {
			for j := range n {
				var s float64
				for p := range k {
					s += av[i*k+p] * bv[p*n+j]
				}
				if !(math.Abs(yv[i*n+j]-s) <= tol) {
					t.Fatalf("%v: [%d,%d] = %g, want %g", dt, i, j, yv[i*n+j], s)
				}
			}
			for p := range k {
				var s float64
				for j := range n {
					s += bv[p*n+j]
				}
				if !(math.Abs(dv[i*k+p]-s) <= tol) {
					t.Fatalf("%v: gradient [%d,%d] = %g, want %g", dt, i, p, dv[i*k+p], s)
				}
			}
		}
	}
}

func numbers(t *testing.T, v gorgonia.Value) []float64 {
	t.Helper()
	switch d := v.Data().(type) {
	case []float64:
		return d
	case []float32:
		w := make([]float64, len(d))
		for i, x := range d {
			w[i] = float64(x)
		}
		return w
	default:
		t.Fatalf("data of type %T", d)
		return nil
	}
}

// TestBLASRefuses: what gonum panics for, and with what.
func TestBLASRefuses(t *testing.T) {
	message := func(f func()) (m any) {
		defer func() { m = recover() }()
		f()
		return nil
	}
	s := make([]float32, 6)
	for name, call := range map[string]func(blas.Float32Level3){
		"transpose": func(b blas.Float32Level3) { b.Sgemm('x', blas.NoTrans, 2, 2, 3, 1, s, 3, s, 2, 0, s, 2) },
		"lda":       func(b blas.Float32Level3) { b.Sgemm(blas.NoTrans, blas.NoTrans, 2, 2, 3, 1, s, 2, s, 2, 0, s, 2) },
		"short b":   func(b blas.Float32Level3) { b.Sgemm(blas.NoTrans, blas.Trans, 2, 3, 3, 1, s, 3, s, 3, 0, s, 3) },
		"short c":   func(b blas.Float32Level3) { b.Sgemm(blas.NoTrans, blas.NoTrans, 2, 2, 3, 1, s, 3, s, 2, 0, s[:3], 2) },
		"no sum":    func(b blas.Float32Level3) { b.Sgemm(blas.NoTrans, blas.NoTrans, 2, 2, 0, 1, nil, 1, nil, 2, 0, s, 2) },
		"negative":  func(b blas.Float32Level3) { b.Sgemm(blas.NoTrans, blas.NoTrans, -1, 2, 3, 1, s, 3, s, 2, 0, s, 2) },
	} {
		want := message(func() { call(gonum.Implementation{}) })
		if got := message(func() { call(kernelBLAS{}) }); got != want || want == nil {
			t.Errorf("%s: panic %v, gonum's is %v", name, got, want)
		}
	}
}
