// Package tokenizer makes token ids of text as Hugging Face's tokenizers does, from the tokenizer.json that models are published with:
// byte-level and character BPE, WordPiece and whole words, with the normalisers, splitters and templates that go with them. What a file
// asks for and this package does not know is an error that names it, as a tokenizer that is nearly right trains a model on text that
// nobody wrote. There are two built-in ones: bytes, and the characters of a text.
package tokenizer
