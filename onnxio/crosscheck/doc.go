// Package crosscheck reads a model a second time, with a decoder that shares nothing with package onnxio but the protobuf
// runtime, and compares what both have understood.
//
// The decoder is github.com/owulveryck/onnx-go. It was written by other people from the same standard: its own message types, its
// own reading of tensor storage, its own linking of nodes by value names. A mistake that onnxio makes in both directions, so that
// its own round trip does not show it, shows here.
//
// It is a check and never a reader: it trusts what files declare (it allocates the shapes of inputs, and panics on data that is
// too short), so it only gets to see models that onnxio has validated, as a copy from which the declared shapes are gone. It knows
// less than onnxio: models with sub-graphs, strings or empty tensors cannot be checked, and domains, types of values, functions
// and metadata are not part of what it reads. Bool, half and narrow integer tensors are widened before it sees them.
package crosscheck
