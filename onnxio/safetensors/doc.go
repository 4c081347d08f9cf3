// Package safetensors reads and writes safetensors files (https://huggingface.co/docs/safetensors): 8 bytes with the length of a JSON
// header, the header (type, shape and place of every tensor, and a map of strings), and the elements of all tensors, little-endian,
// row-major, one after the other without gaps.
//
// Nothing that a file says of itself is believed: a header is at most MaxHeader bytes and no longer than the file, names and keys are
// there once, and the tensors must fill the file exactly, each with as many bytes as its type and shape take. What passes Open can be
// read with allocations no larger than the file. Errors are *onnxio.InvalidError values without a file name.
package safetensors
