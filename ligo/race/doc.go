// Package race trains several models on the same batches and says what each needs to come to a loss: steps, tokens, multiplications and
// additions, seconds. It is how growing is measured: the same large model from scratch and grown in several ways, each charged with what
// learning its operator has cost. Everything is data; Chart draws it.
package race
