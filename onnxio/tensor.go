package onnxio

import (
	"io"

	"github.com/ligoonnx/ligoonnx/onnxio/onnxpb"
)

// Tensor is a named constant. Its bytes stay in the mapped model file (or external data file) until they are asked for.
// A tensor is immutable: growing makes new tensors.
type Tensor struct {
	Name  string
	DType DType
	Dims  []int64
	Doc   string

	data Data
	src  *onnxpb.TensorProto
}

// Data gives a tensor's elements: little-endian, row-major, in ONNX's raw_data form (4-bit and 2-bit elements packed, bool one
// byte). Implementations may compute them on demand; both calls must give the same bytes every time.
type Data interface {
	// Len is the number of bytes.
	Len() int64
	// WriteTo writes all bytes; a writer's error is returned unwrapped.
	io.WriterTo
}
