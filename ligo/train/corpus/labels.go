package corpus

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// What random numbers are for: each use has a stream of its own.
const (
	cropping uint64 = iota + 1
	masking
)

// stream gives random numbers that depend on the seed, on which example it is, and on what they are for.
func stream(seed, i, use uint64) *rand.Rand {
	return rand.New(rand.NewPCG(mix(seed^mix(use)), mix(i)))
}

// pick reads an example and makes its labels; key is what its random numbers depend on.
func (c *Corpus) pick(read func(int64) (*example, error), i, key int64) (*example, error) {
	e, err := read(i)
	if err != nil {
		return nil, err
	}
	if c.l.ids == nil || e.inputs[c.l.ids.v.Name] == nil {
		return e, c.checkExample(e)
	}
	if err := c.cut(e); err != nil {
		return nil, fmt.Errorf("%s: %w", e.where, err)
	}
	if c.o.Objective == MaskedToken && e.labels == nil {
		if err := c.hide(e, key); err != nil {
			return nil, fmt.Errorf("%s: %w", e.where, err)
		}
	}
	return e, c.checkExample(e)
}

// cut shortens the sequence of an example to what a row holds, and moves the next tokens into the labels.
func (c *Corpus) cut(e *example) error {
	name := c.l.ids.v.Name
	ids, err := ints(e.inputs[name])
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for at, id := range ids {
		if id < 0 || id >= c.l.ids.rows {
			return fmt.Errorf("%s: element %d is %d; the model's embedding has ids from 0 to %d", name, at, id, c.l.ids.rows-1)
		}
	}
	n := int64(len(ids))
	shift := c.o.Objective == NextToken && e.labels == nil
	keep := n
	if shift {
		keep--
	}
	if c.o.SeqLen > 0 {
		keep = min(keep, c.o.SeqLen)
	}
	if keep < 1 {
		return fmt.Errorf("%s: %d tokens are too few", name, n)
	}
	if shift {
		labels := slices.Clone(ids[1 : keep+1])
		if mask := c.mask(e, n); mask != nil {
			for t := range labels {
				if mask[t+1] == 0 {
					labels[t] = IgnoreIndex
				}
			}
		}
		e.labels = onnxio.FromInt64s("labels", []int64{keep}, labels)
	} else if e.labels != nil && len(e.labels.Dims) > 0 && e.labels.Dims[0] == n {
		if e.labels, err = head(e.labels, keep); err != nil {
			return err
		}
	}
	for _, s := range c.l.slots {
		t := e.inputs[s.v.Name]
		if t == nil || len(t.Dims) == 0 || t.Dims[0] != n || s.role != tokens && s.role != attended && s.role != kinds && s.role != places {
			continue
		}
		if e.inputs[s.v.Name], err = head(t, keep); err != nil {
			return err
		}
	}
	return nil
}

// mask is the attention mask that an example comes with, if it is one number a token.
func (c *Corpus) mask(e *example, n int64) []int64 {
	for _, s := range c.l.slots {
		t := e.inputs[s.v.Name]
		if t == nil || s.role != attended || len(t.Dims) != 1 || t.Dims[0] != n {
			continue
		}
		if t.DType == onnxio.Bool {
			truths, err := t.Bools()
			if err != nil {
				continue
			}
			out := make([]int64, len(truths))
			for i, v := range truths {
				if v {
					out[i] = 1
				}
			}
			return out
		}
		if v, err := t.Int64s(); err == nil {
			return v
		}
	}
	return nil
}

// head is the first n rows of a tensor.
func head(t *onnxio.Tensor, n int64) (*onnxio.Tensor, error) {
	if t.Dims[0] == n {
		return t, nil
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	dims := append([]int64{n}, t.Dims[1:]...)
	return onnxio.FromBytes(t.Name, t.DType, dims, raw[:int64(len(raw))/t.Dims[0]*n])
}

// hide corrupts the tokens of an example and labels those.
func (c *Corpus) hide(e *example, key int64) error {
	t := e.inputs[c.l.ids.v.Name]
	ids, err := ints(t)
	if err != nil {
		return err
	}
	ids = slices.Clone(ids)
	labels := c.corrupt(ids, c.mask(e, int64(len(ids))), stream(c.o.Seed, uint64(key), masking))
	e.labels = onnxio.FromInt64s("labels", []int64{int64(len(ids))}, labels)
	e.inputs[t.Name], err = onnxio.FromInts(t.Name, t.DType, t.Dims, ids)
	return err
}

// corrupt hides tokens in place and returns the labels. At least one token is chosen: a batch without a label has no loss.
func (c *Corpus) corrupt(ids, mask []int64, r *rand.Rand) []int64 {
	labels := make([]int64, len(ids))
	var free []int
	chosen := false
	choose := func(i int) {
		labels[i] = ids[i]
		chosen = true
		switch x := r.Float64(); {
		case x < 0.8:
			ids[i] = c.o.MaskToken
		case x < 0.9:
			ids[i] = r.Int64N(c.l.ids.rows)
		}
	}
	for i := range ids {
		labels[i] = IgnoreIndex
		if mask != nil && mask[i] == 0 || slices.Contains(c.o.Keep, ids[i]) {
			continue
		}
		free = append(free, i)
		if r.Float64() < c.o.MaskProb {
			choose(i)
		}
	}
	if !chosen && len(free) > 0 {
		choose(free[r.IntN(len(free))])
	}
	return labels
}

// checkExample compares an example with the signature and converts it to the declared types.
func (c *Corpus) checkExample(e *example) error {
	for _, s := range c.l.slots {
		t := e.inputs[s.v.Name]
		if t == nil {
			if c.l.fillable(s) {
				continue
			}
			return fmt.Errorf("%s: nothing for input %q (%s)", e.where, s.v.Name, found(e))
		}
		if err := rowFits(t, s.v.Type, s.role == tokens || s.role == attended); err != nil {
			return fmt.Errorf("%s: %s: %w", e.where, s.v.Name, err)
		}
		t, err := dataset.Convert(t, s.v.Type.Elem)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", e.where, s.v.Name, err)
		}
		e.inputs[s.v.Name] = t
	}
	if c.o.Objective == Unlabelled {
		e.labels = nil
		return nil
	}
	if e.labels == nil {
		return fmt.Errorf("%s: has no labels (%s)", e.where, found(e))
	}
	if err := c.fitLabels(e); err != nil {
		return fmt.Errorf("%s: labels: %w", e.where, err)
	}
	return nil
}

func (c *Corpus) fitLabels(e *example) error {
	want := c.o.Labels
	if want.Type != nil {
		if err := rowFits(e.labels, want.Type, true); err != nil {
			return err
		}
		t, err := dataset.Convert(e.labels, want.Type.Elem)
		if err != nil {
			return err
		}
		e.labels = t
	}
	if !e.labels.DType.Integer() || want.Classes == 0 {
		return nil
	}
	values, err := e.labels.Int64s()
	if err != nil {
		return err
	}
	for i, v := range values {
		if v != IgnoreIndex && (v < 0 || v >= want.Classes) {
			return fmt.Errorf("element %d is %d; expected 0 to %d, or %d for what is not to be predicted", i, v, want.Classes-1, IgnoreIndex)
		}
	}
	return nil
}

// rowFits compares a row with a declared shape without its first axis. Where rows may be filled up, the first axis of the row may be
// shorter than declared.
func rowFits(t *onnxio.Tensor, want *onnxio.Type, pads bool) error {
	if !want.HasShape || len(want.Dims) == 0 {
		return nil
	}
	dims := want.Dims[1:]
	fits := len(dims) == len(t.Dims)
	for i := 0; fits && i < len(dims); i++ {
		d := dims[i]
		if d.Param != "" || d.Value < 0 || d.Value == t.Dims[i] || i == 0 && pads && t.Dims[i] < d.Value {
			continue
		}
		fits = false
	}
	if !fits {
		return fmt.Errorf("an example has shape %v, the model declares [%s]", t.Dims, onnxio.DimsText(want.Dims))
	}
	return nil
}
