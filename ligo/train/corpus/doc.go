// Package corpus turns files into batches that a model is trained and evaluated on.
//
// Sources are given by name (Open lists the forms) and matched with the model's signature before the first batch: a missing input, a
// wrong shape or type is one error that names file and array. Nothing but line offsets and texts that a tokenizer has made ids of is
// kept in memory; all else is read when a batch needs it.
//
// A batch is a function of the seed and its number alone, so that training goes on after an interruption with the batches it would have
// had. Sources of examples are gone through in epochs, each in an order of its own (permute.go); a token stream is cut at random
// places. What a model takes beside its tokens (masks, positions, kinds of tokens, empty caches) is filled in by what its graph does
// with it.
package corpus
