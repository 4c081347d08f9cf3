// Package linmap holds linear maps along tensor axes, stored by structure, and applies them to tensors that stream from their file
// to another one.
//
// A growth of a weight W is R·W·L plus a free term, blended over layers: R acts on the axis that the weight writes, L (transposed) on
// the axis that it reads. Kronecker products and direct sums of such maps act on axes that are products and concatenations of others.
// None of that is ever multiplied out: copies are copied, means are computed once, factors are applied one after the other.
//
// Results do not depend on the number of processors, nor on the processor: sums are made in float64, in a fixed order, without fused
// multiply-adds.
package linmap
