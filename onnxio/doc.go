// Package onnxio reads and writes ONNX files.
//
// # Reading
//
// A file comes from anywhere, so nothing in it is believed before it is checked. Read goes through three gates, each of which
// only sees what the one before has let pass:
//
//  1. scan.go walks the protobuf wire format without building anything: nesting depth, number of messages, lengths, varints.
//     The generated decoder recurses without a limit and turns megabytes of empty messages into gigabytes of heap; Go cannot
//     recover from the one or be protected from the other, so both are refused here.
//  2. The generated decoder reads a copy of the file from which the scan has cut the bytes of the large tensors. Those stay in
//     the mapped file and are looked at when somebody asks, so a model costs memory for its graph and not for its weights.
//  3. Every TensorProto, wherever it is, is validated: known type, sizes that multiply without overflow, exactly one storage
//     with exactly the bytes that type and shape need, and, for external data, a plain file below the model's own folder.
//
// No size that a file declares is ever allocated; memory follows the bytes that are really there.
//
// # Keeping what is not understood
//
// Model shows the parts of ONNX that growing needs. The rest (training information, quantisation annotations, device
// configurations, fields of versions to come) is neither shown nor lost: every type remembers the message it was read from,
// and writing starts from that message and changes the fields that differ. A model that was not changed is therefore written
// back byte for byte.
//
// # Writing
//
// A model is written to a temporary file beside its target, synced and renamed: a file in its place is a complete file. Create
// and Commit are two steps so that the result can be verified (Pending.Open) before anyone sees it. Tensor bytes stream from
// wherever they are (the mapped input, a computation) to the disk; memory holds the message without them.
package onnxio
