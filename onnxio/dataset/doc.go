// Package dataset reads and writes the named tensors that a model is run on: NumPy files and the test_data_set folders of ONNX.
//
// What is read is matched with the model's signature at once, so that a missing input, a wrong shape or an element type that
// cannot be converted without loss is one error that names the file and the array, before any work begins.
package dataset
