package corpus

import (
	"fmt"
	"sort"
	"strings"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// join makes a batch of examples.
func (c *Corpus) join(examples []*example) (*Batch, error) {
	b := &Batch{Inputs: map[string]*onnxio.Tensor{}, Examples: int64(len(examples))}
	lengths, longest, err := c.lengths(examples)
	if err != nil {
		return nil, err
	}
	for _, n := range lengths {
		b.Tokens += n
	}
	for _, s := range c.l.slots {
		name := s.v.Name
		if examples[0].inputs[name] == nil {
			if b.Inputs[name], err = c.l.fill(s, lengths, longest); err != nil {
				return nil, err
			}
			continue
		}
		parts := make([]*onnxio.Tensor, len(examples))
		for i, e := range examples {
			if parts[i] = e.inputs[name]; parts[i] == nil {
				return nil, fmt.Errorf("%s: nothing for input %q, which %s has", e.where, name, examples[0].where)
			}
		}
		least, pad := int64(0), int64(0)
		if s.perToken(parts[0], lengths) {
			least = longest
		}
		if s.role == tokens {
			pad = c.o.PadToken
		}
		if b.Inputs[name], err = stack(name, parts, least, pad); err != nil {
			return nil, err
		}
	}
	if err := c.joinLabels(b, examples, longest); err != nil {
		return nil, err
	}
	return b, nil
}

// lengthsOfRows is how many lengths the rows of a source of sequences of all lengths can have: the model is compiled for each, and an
// engine keeps as many programs.
const lengthsOfRows = 8

// perToken reports whether an input has a number for each token of its sequence.
func (s *slot) perToken(t *onnxio.Tensor, lengths []int64) bool {
	return (s.role == tokens || s.role == attended || s.role == kinds || s.role == places) && len(lengths) > 0 && len(t.Dims) == 1 && t.Dims[0] == lengths[0]
}

// lengths are the numbers of tokens of the sequences, and the length of the rows they are put in; both are nothing for a model that
// takes no tokens.
func (c *Corpus) lengths(examples []*example) (lengths []int64, longest int64, err error) {
	if c.l.ids == nil || examples[0].inputs[c.l.ids.v.Name] == nil {
		return nil, 0, nil
	}
	longest = c.l.sequence
	ragged := false
	for _, e := range examples {
		t := e.inputs[c.l.ids.v.Name]
		if t == nil {
			return nil, 0, fmt.Errorf("%s: nothing for input %q, which %s has", e.where, c.l.ids.v.Name, examples[0].where)
		}
		n := t.Dims[0]
		ragged = ragged || longest > 0 && n != longest
		longest = max(longest, n)
		lengths = append(lengths, n)
	}
	if c.ragged && c.o.SeqLen > 0 && (c.masked() || c.perToken(examples[0])) {
		step := (c.o.SeqLen + lengthsOfRows - 1) / lengthsOfRows
		longest = max(longest, min((longest+step-1)/step*step, c.o.SeqLen))
	}
	if ragged && !c.masked() && !c.perToken(examples[0]) {
		return nil, 0, fmt.Errorf("%s: sequences of one batch differ in length (%d and %d tokens), and the model has no mask to hide the padding: "+
			"use batches of 1, or sequences of one length", examples[0].where, lengths[0], longest)
	}
	return lengths, longest, nil
}

func (c *Corpus) masked() bool {
	for _, s := range c.l.slots {
		if s.role == attended || s.role == last || s.role == total {
			return true
		}
	}
	return false
}

// perToken reports whether padding behind a sequence changes no loss: what comes later is not seen, and has no label.
func (c *Corpus) perToken(e *example) bool {
	return c.o.Objective == NextToken && e.labels != nil
}

func (c *Corpus) joinLabels(b *Batch, examples []*example, longest int64) error {
	b.Targets = b.Tokens
	if b.Tokens == 0 {
		b.Targets = b.Examples
	}
	if examples[0].labels == nil {
		return nil
	}
	parts := make([]*onnxio.Tensor, len(examples))
	tokenwise := true
	for i, e := range examples {
		if parts[i] = e.labels; parts[i] == nil {
			return fmt.Errorf("%s: has no labels", e.where)
		}
		t := e.inputs[nameOf(c.l.ids)]
		tokenwise = tokenwise && t != nil && len(parts[i].Dims) == 1 && parts[i].Dims[0] == t.Dims[0]
	}
	pad := int64(0)
	if parts[0].DType.Integer() {
		pad = IgnoreIndex
	}
	if !tokenwise {
		longest = 0
	}
	labels, err := stack("labels", parts, longest, pad)
	if err != nil {
		return err
	}
	b.Labels = labels
	return b.count()
}

// count counts the integer labels that are to be predicted; labels that are numbers to be met all count.
func (b *Batch) count() error {
	b.Targets = b.Labels.NumElements()
	if !b.Labels.DType.Integer() {
		return nil
	}
	values, err := b.Labels.Int64s()
	if err != nil {
		return err
	}
	for _, v := range values {
		if v == IgnoreIndex {
			b.Targets--
		}
	}
	return nil
}

func nameOf(s *slot) string {
	if s == nil {
		return ""
	}
	return s.v.Name
}

// found lists what an example has, for messages.
func found(e *example) string {
	var names []string
	for name := range e.inputs {
		names = append(names, name)
	}
	if e.labels != nil {
		names = append(names, "labels")
	}
	if len(names) == 0 {
		return "found: nothing"
	}
	sort.Strings(names)
	return "found: " + strings.Join(names, ", ")
}
