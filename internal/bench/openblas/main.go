// Command openblas measures the engine's float32 matrix products against OpenBLAS, in one process and in turns, at square shapes
// and at those of training steps of transformers. Machines that others use change their speed by the second, so that the column to
// read is the ratio: the median over pairs of adjacent runs. One thread is timed by the processor time that it gets. Several are
// timed by the clock, and because others' work makes them wait for each other, each side's fastest run counts. The last column is the share of what multiply-adds alone reach.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"time"

	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
)

func main() {
	pairs := flag.Int("pairs", 15, "measurements of each shape, by each side")
	slice := flag.Duration("slice", 8*time.Millisecond, "time of one measurement")
	only := flag.String("run", "", "regular expression of shapes")
	threads := flag.Int("threads", 2, "measure 1 to this number of threads")
	flag.Parse()
	want, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	name, err := openBLAS()
	if err != nil {
		fmt.Println("SKIPPED: comparison with OpenBLAS:", err)
		return
	}
	fmt.Println(name)
	fmt.Printf("%-34s %7s %9s %9s %6s %6s\n", "float32 product", "threads", "GFLOP/s", "OpenBLAS", "ratio", "peak")
	for _, p := range shapes() {
		for t := 1; t <= *threads && want.MatchString(p.String()); t++ {
			p.measure(t, *pairs, *slice)
		}
	}
}

var begin = time.Now()

// product is count products of op(A) [m,k] and op(B) [k,n].
type product struct {
	what           string
	count          int
	transA, transB bool
	m, n, k        int
}

func (p product) String() string {
	form := map[bool]string{false: "N", true: "T"}
	s := fmt.Sprintf("%s%s %dx%dx%d", form[p.transA], form[p.transB], p.m, p.n, p.k)
	if p.count > 1 {
		s = fmt.Sprintf("%s x%d", s, p.count)
	}
	return s + " " + p.what
}

func (p product) leading() (lda, ldb int) {
	lda, ldb = p.k, p.n
	if p.transA {
		lda = p.m
	}
	if p.transB {
		ldb = p.k
	}
	return lda, ldb
}

func (p product) flops() float64 {
	return 2 * float64(p.count) * float64(p.m) * float64(p.n) * float64(p.k)
}

// shapes are square ones, and the products of a training step on 8 sequences of 128 tokens at two widths.
func shapes() []product {
	list := []product{
		{"", 1, false, false, 512, 512, 512},
		{"", 1, false, false, 1024, 1024, 1024},
		{"", 1, false, false, 512, 3072, 768},
		{"one row", 1, false, false, 1, 768, 768},
		{"one row", 1, false, true, 1, 768, 768},
		{"few rows", 1, false, false, 8, 768, 768},
	}
	const tokens = 1024
	linear := func(what string, in, out int) {
		list = append(list,
			product{what, 1, false, false, tokens, out, in},
			product{what + " dX", 1, false, true, tokens, in, out},
			product{what + " dW", 1, true, false, in, out, tokens})
	}
	head := func(vocabulary, width int) {
		list = append(list,
			product{"head", 1, false, true, tokens, vocabulary, width},
			product{"head dX", 1, false, false, tokens, width, vocabulary},
			product{"head dW", 1, true, false, vocabulary, width, tokens})
	}
	for _, d := range []int{256, 512} {
		linear("qkv", d, 3*d)
		linear("out", d, d)
		linear("up", d, 4*d)
		linear("down", 4*d, d)
		head(65, d)
	}
	head(8192, 256)
	return append(list,
		product{"scores", 32, false, true, 128, 128, 64},
		product{"attended", 32, false, false, 128, 64, 128},
		product{"attention dK", 32, true, false, 128, 64, 128})
}

// measure runs both sides in turns and prints the medians, and the median of the ratios.
func (p product) measure(threads, pairs int, slice time.Duration) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []float32 {
		s := make([]float32, n)
		for i := range s {
			s[i] = float32(r.NormFloat64())
		}
		return s
	}
	a, b := random(p.count*p.m*p.k), random(p.count*p.k*p.n)
	c, ref := make([]float32, p.count*p.m*p.n), make([]float32, p.count*p.m*p.n)
	openBLASThreads(threads)
	clock := func() float64 { return time.Since(begin).Seconds() }
	if threads == 1 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		clock = cpuSeconds
	}
	ours, theirs := func() { p.gemm(threads, a, b, c) }, func() { p.sgemm(a, b, ref) }
	ours()
	theirs()
	for i, v := range c {
		if d := v - ref[i]; !(d < 1e-2 && d > -1e-2) {
			fmt.Fprintf(os.Stderr, "%v: element %d is %g, %g by OpenBLAS\n", p, i, v, ref[i])
			os.Exit(1)
		}
	}
	var mine, other, ratio, tops []float64
	if threads > 1 {
		pairs *= 3
		slice /= 4
	}
	for range pairs {
		top := peak()
		x, y := p.rate(clock, slice, ours), p.rate(clock, slice, theirs)
		mine, other, ratio = append(mine, x), append(other, y), append(ratio, x/y)
		if top > 0 {
			tops = append(tops, top)
		}
	}
	x, y, quotient := median(mine), median(other), median(ratio)
	if threads > 1 {
		x, y = slices.Max(mine), slices.Max(other)
		quotient = x / y
	}
	part := "-"
	if len(tops) > 0 {
		part = fmt.Sprintf("%.0f%%", 100*x/median(tops)/float64(threads))
	}
	fmt.Printf("%-34s %7d %9.1f %9.1f %6.2f %6s\n", p, threads, x/1e9, y/1e9, quotient, part)
}

// rate runs f for about the time of a slice and returns operations per second.
func (p product) rate(clock func() float64, slice time.Duration, f func()) float64 {
	start, n := clock(), 0
	for {
		f()
		n++
		if d := clock() - start; d >= slice.Seconds() {
			return float64(n) * p.flops() / d
		}
	}
}

func (p product) gemm(threads int, a, b, c []float32) {
	lda, ldb := p.leading()
	stack := kernel.NewBatch([]int{p.count}, []int{1}, p.m*p.k, []int{1}, p.k*p.n, p.m*p.n)
	kernel.GemmBatch(threads, stack, p.transA, p.transB, p.m, p.n, p.k, 1, a, lda, b, ldb, 0, c, p.n)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
