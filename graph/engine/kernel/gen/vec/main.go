// Command vec writes the assembly of the elementwise and row kernels: each function has an AVX-512 and an AVX2 form, which the
// variable vecLevel of the kernel package chooses between. Run `go generate` in the kernel package.
package main

import . "github.com/mmcloughlin/avo/build"

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, list := range [][]*kernel{arithmetic(), sums(), functions(), slopes(), optimizers()} {
		for _, k := range list {
			k.emit()
		}
	}
	Generate()
}
