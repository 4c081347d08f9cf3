// Package train trains an ONNX model further: losses, parameters, optimizers, schedules, checkpoints.
//
//	t, err := train.NewTask(ctx, g, train.Spec{Loss: train.CausalLM}) // the model with its loss, and what is trained
//	r, err := train.Run(ctx, t, batches, train.Options{Steps: 1000, LR: 3e-4, Schedule: train.Cosine, Warmup: 100})
//	m, err := t.Export(r.Values)                                      // the model of the file with new numbers in it
//
// The loss is part of the graph: standard ONNX nodes behind the model's output. They give the sum of the losses of all counted
// elements and how many there are, never a mean, and the gradient is divided by the number when a step is applied. So micro-batches
// with different numbers of counted tokens accumulate to exactly what one large batch gives.
//
// A parameter is a constant that acts as a weight: it is contracted with activations, looked up by data, added to or multiplied with
// activations along one axis, or put between them. That is read from the data flow, not from names. Masks, rotary tables, frequencies,
// running statistics and scalars are no parameters (see flow.go for the rules). Constants of one initializer, and a table that is
// the matrix of the output as well (perhaps stored a second time, transposed), are one parameter.
//
// Batches are a pure function of their number, so a checkpoint needs only the step to go on to the bit. Parameters are held in
// float32 (float64 with Options.Float64) and rounded once, to the type that the file declares, by Export.
package train
