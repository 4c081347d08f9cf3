// Package verify decides whether a grown model is what it was promised to be, and says why.
//
// A certificate rests on four independent legs:
//
//   - Structure: names, types and symbolic sizes of inputs and outputs, operator sets and IR version are those of the small model.
//   - Measurement: both models run on the same inputs (given ones, or made from the small model's signature) and every output is
//     compared with a tolerance that is derived from rounding, not guessed (tolerance.go).
//   - Shadow: the same again with all arithmetic in float64. What is left there is not rounding of the computation: it is either
//     the rounding of the stored weights, which is far below the first tolerance, or wrong mathematics.
//   - A second reader: the file is decoded by a library written by others and compared with what we read.
//
// The package returns data and draws no conclusions about exit codes; it prints nothing.
package verify
