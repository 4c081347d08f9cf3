// Package onnxpb holds the messages of the ONNX file format, generated from onnx.proto.
//
// The generator is gogofast and not one of its faster relatives because gogofast keeps unknown fields, so that what a later
// version of ONNX adds survives being read and written. Its version is the one go.mod pins. Only onnxio imports this package.
package onnxpb

//go:generate go build -o protoc-gen-gogofast.tmp github.com/gogo/protobuf/protoc-gen-gogofast
//go:generate protoc --plugin=protoc-gen-gogofast=protoc-gen-gogofast.tmp --gogofast_out=. onnx.proto
//go:generate rm protoc-gen-gogofast.tmp
