package corpus

import (
	"context"
	"errors"
	"fmt"

	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// ready are sets of tensors that are batches as they are.
type ready struct {
	c    *Corpus
	sets []dataset.Set
}

// openSets reads test_data_set folders. They hold inputs and outputs, no labels: those are made of the tokens, or are the first output
// where a loss wants numbers.
func (c *Corpus) openSets(ctx context.Context, folders []string) (source, error) {
	sig := dataset.Signature{}
	for _, s := range c.l.slots {
		sig.Inputs = append(sig.Inputs, &onnxio.ValueInfo{Name: s.v.Name, Type: s.v.Type})
	}
	for _, name := range c.outputs {
		sig.Outputs = append(sig.Outputs, &onnxio.ValueInfo{Name: name})
	}
	sets, err := dataset.Load(ctx, folders, sig)
	if err != nil {
		return nil, err
	}
	return &ready{c, sets}, nil
}

func (r *ready) examples() int64  { return int64(len(r.sets)) }
func (r *ready) crops() int64     { return 0 }
func (r *ready) scan(int64) error { return nil }
func (r *ready) close() error     { return nil }
func (r *ready) example(int64) (*example, error) {
	return nil, errors.New("a set is a batch, not an example")
}
func (r *ready) crop(int64) (*example, error) { return nil, errors.New("sets are not cut") }

func (r *ready) batch(i int64) (*Batch, error) {
	set := r.sets[i]
	b := &Batch{Inputs: map[string]*onnxio.Tensor{}, Examples: 1}
	for name, t := range set.Inputs {
		b.Inputs[name] = t
	}
	err := r.label(b, set, uint64(i))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", set.Name, err)
	}
	return b, nil
}

func (r *ready) label(b *Batch, set dataset.Set, key uint64) error {
	c := r.c
	if c.l.ids == nil {
		for _, t := range b.Inputs {
			if len(t.Dims) > 0 {
				b.Examples = t.Dims[0]
			}
		}
	} else {
		t := b.Inputs[c.l.ids.v.Name]
		b.Examples, b.Tokens = t.Dims[0], t.NumElements()
	}
	b.Targets = max(b.Tokens, b.Examples)
	switch c.o.Objective {
	case Unlabelled:
		return nil
	case Given:
		return r.output(b, set)
	}
	t := b.Inputs[c.l.ids.v.Name]
	ids, err := t.Int64s()
	if err != nil {
		return err
	}
	ids = append([]int64{}, ids...)
	width := t.Dims[1]
	labels := make([]int64, 0, len(ids))
	for row := int64(0); row < t.Dims[0]; row++ {
		part := ids[row*width : (row+1)*width]
		for at, id := range part {
			if id < 0 || id >= c.l.ids.rows {
				return fmt.Errorf("%s: row %d, element %d is %d; the model's embedding has ids from 0 to %d", t.Name, row, at, id, c.l.ids.rows-1)
			}
		}
		mask, err := r.maskRow(b, row, width)
		if err != nil {
			return err
		}
		if c.o.Objective == MaskedToken {
			labels = append(labels, c.corrupt(part, mask, stream(c.o.Seed, key<<32|uint64(row), masking))...)
			continue
		}
		for at := range part {
			next := int64(IgnoreIndex)
			if at+1 < len(part) && (mask == nil || mask[at+1] != 0) {
				next = part[at+1]
			}
			labels = append(labels, next)
		}
	}
	if b.Inputs[t.Name], err = onnxio.FromInts(t.Name, t.DType, t.Dims, ids); err != nil {
		return err
	}
	b.Labels = onnxio.FromInt64s(labelsName, t.Dims, labels)
	return b.count()
}

// maskRow is the part of a mask [batch, sequence] that belongs to a row.
func (r *ready) maskRow(b *Batch, row, width int64) ([]int64, error) {
	for _, s := range r.c.l.slots {
		t := b.Inputs[s.v.Name]
		if s.role != attended || len(t.Dims) != 2 || t.Dims[1] != width || t.Dims[0] <= row || !t.DType.Integer() {
			continue
		}
		v, err := t.Int64s()
		if err != nil {
			return nil, err
		}
		return v[row*width : (row+1)*width], nil
	}
	return nil, nil
}

// output takes the first output that the set comes with for labels, if the loss wants numbers.
func (r *ready) output(b *Batch, set dataset.Set) error {
	want := r.c.o.Labels.Type
	for _, name := range r.c.outputs {
		t := set.Outputs[name]
		if t == nil {
			continue
		}
		if want != nil && !want.Elem.Growable() || !t.DType.Growable() {
			break
		}
		b.Labels = t.Renamed(labelsName)
		if want != nil {
			converted, err := dataset.Convert(b.Labels, want.Elem)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			b.Labels = converted
		}
		return b.count()
	}
	return errors.New("test_data_set folders hold no labels; give them as an array of an .npz or .jsonl")
}
