package corpus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Objective says where labels come from.
type Objective uint8

const (
	// Given labels are an array "labels" beside the inputs. With the other objectives such an array, if there is one, is taken too.
	Given Objective = iota
	// NextToken labels every token with the one that follows it.
	NextToken
	// MaskedToken hides some tokens and labels those with what they were (Devlin et al., BERT, 2019): of the chosen ones 80 % become
	// the mask token, 10 % a random one, 10 % stay.
	MaskedToken
	// Unlabelled batches have inputs only.
	Unlabelled
)

// Labels says what a loss takes.
type Labels struct {
	Type    *onnxio.Type // with the batch axis; nil: anything
	Classes int64        // integer labels are below that, or IgnoreIndex; 0: not known
}

// Tokenizer makes token ids of text; *tokenizer.Tokenizer is one.
type Tokenizer interface {
	// Encode is for a stream of tokens.
	Encode(text string) ([]uint32, error)
	// EncodeExample is for a text that is an example of its own: with the tokens that mark its ends.
	EncodeExample(text string) ([]uint32, error)
}

// Options choose batches.
type Options struct {
	Objective Objective
	Labels    Labels
	Batch     int64 // rows; 0: what the model fixes, or 8
	SeqLen    int64 // tokens of a row that is cut from a stream, and the most of any other; 0: what the model fixes, or 128 and no limit
	Seed      uint64
	TokenType onnxio.DType // of .bin files: Uint16 or Uint32; Undefined: uint16 unless the vocabulary is larger
	Tokenizer Tokenizer    // for .txt and "text" in .jsonl
	MaskToken int64        // MaskedToken; negative: none is known
	MaskProb  float64      // MaskedToken: share of the tokens that are chosen
	PadToken  int64        // what fills up shorter sequences
	Keep      []int64      // MaskedToken: ids that are never chosen, such as those of separators
}

const (
	usualBatch  = 8
	usualLength = 128
)

// Corpus gives batches.
type Corpus struct {
	o       Options
	l       *layout
	outputs []string // of the model
	specs   []string // for ID
	src     source
	ragged  bool   // the sequences are lines, of any length
	held    string // for ID: what HoldOut took away
	whole   closer // the data before that; nil: src
}

// closer has files.
type closer interface{ close() error }

// source gives examples.
type source interface {
	// examples is how many there are for going through them once.
	examples() int64
	example(i int64) (*example, error)
	// crops is how many examples can be cut anywhere from a stream; 0 where examples are what they are.
	crops() int64
	crop(i int64) (*example, error)
	// scan reads so many tokens of a stream, to see whether the model has them.
	scan(n int64) error
	closer
	// split takes k examples away: front is what is left, back what was taken. Neither is closed.
	split(k int64) (front, back source, err error)
}

// Open matches sources with the model whose graph is g. Each spec is one of
//
//	FILE.npz        arrays by the names of inputs, and labels; examples along the first axis
//	NAME=FILE.npy   one such array; all specs of this form together are one source
//	FILE.jsonl      an object a line: numbers and arrays by the names of inputs, and labels; or {"text": …}
//	FILE.bin        a stream of token ids, uint16 or uint32 (Options.TokenType)
//	FILE.npy        a stream of token ids, or with two axes sequences of them
//	FILE.txt        a text, which a tokenizer makes a stream of
//	FOLDER          a test_data_set folder, or one with several: each set is a batch as it is
//
// Sequences of one batch that differ in length are filled up with Options.PadToken to the longest, which no mask attends to and no label
// counts; lines, where Options.SeqLen is given, to the next eighth of it, so that a model is compiled for a few lengths only. Labels that
// the data has are taken as they are: one label a token is that of the output at this place.
//
// Several specs are one source if they are of one kind: examples, streams, or sets.
func Open(ctx context.Context, g *graph.Graph, specs []string, o Options) (_ *Corpus, err error) {
	l, err := layoutOf(g)
	if err != nil {
		return nil, err
	}
	c := &Corpus{o: o, l: l}
	for _, v := range g.Outputs {
		c.outputs = append(c.outputs, v.Name)
	}
	for _, spec := range specs {
		c.specs = append(c.specs, sized(spec))
	}
	if err := c.sizes(); err != nil {
		return nil, err
	}
	if c.src, err = c.open(ctx, specs); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.src.close())
		}
	}()
	return c, c.check()
}

// sizes settles batch and length, which the model may fix.
func (c *Corpus) sizes() error {
	o, l := &c.o, c.l
	switch {
	case l.batch > 0 && o.Batch > 0 && o.Batch != l.batch:
		return fmt.Errorf("the model takes batches of %d, not of %d", l.batch, o.Batch)
	case l.batch > 0:
		o.Batch = l.batch
	case o.Batch <= 0:
		o.Batch = usualBatch
	}
	switch {
	case l.sequence > 0 && o.SeqLen > 0 && o.SeqLen != l.sequence:
		return fmt.Errorf("the model takes sequences of %d tokens, not of %d", l.sequence, o.SeqLen)
	case l.sequence > 0:
		o.SeqLen = l.sequence
	}
	if l.ids == nil && (o.Objective == NextToken || o.Objective == MaskedToken) {
		return fmt.Errorf("the model has no input of token ids [batch, sequence] to make labels of (inputs: %s)", l.names())
	}
	if o.Objective == MaskedToken {
		if o.MaskToken < 0 || o.MaskToken >= l.ids.rows {
			return fmt.Errorf("the mask token %d is not one of the %d that the model has", o.MaskToken, l.ids.rows)
		}
		if !(o.MaskProb > 0 && o.MaskProb <= 1) {
			return fmt.Errorf("the share of masked tokens, %g, is not between 0 and 1", o.MaskProb)
		}
	}
	return nil
}

// What is read before the first step: enough to find a mistake that a file makes all along, and all tokens of a stream of usual size.
const (
	checkedExamples = 64
	checkedTokens   = 16 << 20
)

// check reads the first examples, so that what does not fit the model is known before the first step.
func (c *Corpus) check() error {
	if s, ok := c.src.(*ready); ok {
		for i := range s.sets {
			if _, err := s.batch(int64(i)); err != nil {
				return err
			}
		}
		return nil
	}
	if c.src.examples() == 0 {
		return errors.New("the data has no examples")
	}
	if err := c.src.scan(checkedTokens); err != nil {
		return err
	}
	for i := range min(checkedExamples, c.src.examples()) {
		e, err := c.pick(c.src.example, i, i)
		if err != nil {
			return err
		}
		if _, err := c.join([]*example{e}); err != nil {
			return err
		}
	}
	return nil
}

// Examples is the number of examples of one epoch: rows, sets, or the sequences of a stream cut one after the other.
func (c *Corpus) Examples() int64 { return c.src.examples() }

// ID says in one line what the training batches depend on, apart from the contents of files.
func (c *Corpus) ID() string {
	o := c.o
	return fmt.Sprintf("%s objective %d batch %d length %d seed %d mask %d %g pad %d keep %v type %v", strings.Join(c.specs, " "), o.Objective, o.Batch, o.SeqLen,
		o.Seed, o.MaskToken, o.MaskProb, o.PadToken, o.Keep, o.TokenType) + c.held
}

// sized is a spec with the size of its file, by which one that has changed since is usually told.
func sized(spec string) string {
	path := spec
	if _, file, ok := strings.Cut(spec, "="); ok && !exists(spec) {
		path = file
	}
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return filepath.Base(spec)
	}
	return fmt.Sprintf("%s (%d bytes)", filepath.Base(spec), info.Size())
}

// BatchSize is the number of rows of a training batch; 0 where batches are as they are.
func (c *Corpus) BatchSize() int64 {
	if _, ok := c.src.(*ready); ok {
		return 0
	}
	return c.o.Batch
}

// Close closes the files.
func (c *Corpus) Close() error {
	if c.whole != nil {
		return c.whole.close()
	}
	return c.src.close()
}

// Batch makes training batch n, from 0 on.
func (c *Corpus) Batch(ctx context.Context, n int64) (*Batch, error) {
	if s, ok := c.src.(*ready); ok {
		return s.batch(c.shuffled(n, s.examples()))
	}
	examples := make([]*example, 0, c.o.Batch)
	for i := n * c.o.Batch; i < (n+1)*c.o.Batch; i++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var e *example
		var err error
		if crops := c.src.crops(); crops > 0 {
			e, err = c.pick(c.src.crop, stream(c.o.Seed, uint64(i), cropping).Int64N(crops), i)
		} else {
			e, err = c.pick(c.src.example, c.shuffled(i, c.src.examples()), i)
		}
		if err != nil {
			return nil, err
		}
		examples = append(examples, e)
	}
	return c.join(examples)
}

// shuffled is the example drawn as number i, each once an epoch.
func (c *Corpus) shuffled(i, of int64) int64 {
	return int64(permute(c.o.Seed, uint64(i/of), uint64(of)).at(uint64(i % of)))
}

// EvalBatches is the number of batches that hold the first limit examples (0: all), each once. The last may be smaller; where the
// model fixes the size of batches, the examples that do not fill one are left out.
func (c *Corpus) EvalBatches(limit int64) int64 {
	n := c.src.examples()
	if limit > 0 {
		n = min(n, limit)
	}
	switch {
	case c.BatchSize() == 0:
		return n
	case c.l.batch > 0:
		return n / c.o.Batch
	}
	return (n + c.o.Batch - 1) / c.o.Batch
}

// EvalBatch makes batch i of those, in the order of the data. limit is that of EvalBatches.
func (c *Corpus) EvalBatch(ctx context.Context, i, limit int64) (*Batch, error) {
	if s, ok := c.src.(*ready); ok {
		return s.batch(i)
	}
	n := c.src.examples()
	if limit > 0 {
		n = min(n, limit)
	}
	var examples []*example
	for k := i * c.o.Batch; k < min((i+1)*c.o.Batch, n); k++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, err := c.pick(c.src.example, k, k)
		if err != nil {
			return nil, err
		}
		examples = append(examples, e)
	}
	return c.join(examples)
}
