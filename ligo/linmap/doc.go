// Package linmap holds linear maps along tensor axes, stored by structure, and applies them to tensors that stream from their file
// to another one.
//
// A growth of a weight W is R·W·L plus a free term, blended over layers: R acts on the axis that the weight writes, L (transposed) on
// the axis that it reads. Kronecker products and direct sums of such maps act on axes that are products and concatenations of others.
// None of that is ever multiplied out: copies are copied, means are computed once, factors are applied one after the other.
//
// Mul, MaxDiff and IsIdentity check what operators promise: L·R = I. Where no map is exact, GrowPostNorm and GrowActivatedNorm give the closest
// growth known, from the weights alone; their comments derive it and say how close it is. That the other growth rules are
// exact is shown by this package's tests, one for each, in float64 on small networks.
//
// Results do not depend on the number of processors, nor on the processor: sums are made in float64, in a fixed order, without fused
// multiply-adds.
package linmap
