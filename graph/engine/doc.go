// Package engine runs an ONNX graph as a gorgonia program.
//
// For every set of input shapes the graph is compiled once: shapes and everything computed from them are evaluated at compile
// time, every other node becomes one operator of this package in a gorgonia expression graph, and the tape machine runs it. If a
// shape depends on the content of an input (NonZero of a mask, Range up to an input's value), that input is bound as a constant of
// the program. No stock gorgonia operator is used: several are silently wrong (see docs/architecture.md).
//
// Importing the package makes its matrix products gorgonia's (gorgonia.Use), in whatever graphs a program has.
//
// Invariants: tensors are contiguous and row-major; an operator never writes its operands (weights may be a read-only mapped
// file), except where the last reader may; where every value lives is planned when a program is linked; results do not depend on the number of threads.
//
// Weights stay where they are, in the form they are in: matrix products and lookups widen a float16 weight, or any weight of a run
// in float64, as they read it; another operator gets a widened copy for as long as it runs. No run holds a widened model.
//
// Element types: float16 and bfloat16 are computed in float32 and rounded where a Cast, a graph input or a graph output declares
// the type, not after every operator. With Options.Float64 all floating types are computed in float64 and nothing is rounded.
// Sub-graphs are supported in If (whose condition must not depend on more than shapes and bound inputs); strings, sequences,
// sparse and quantised tensors are not.
package engine
