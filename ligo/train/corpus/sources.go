package corpus

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

const labelsName = "labels"

// arrays are examples along the first axis of arrays.
type arrays struct {
	where string
	n     int64
	named map[string]*dataset.Array
	files io.Closer
}

// examplesOf takes arrays named like inputs, and labels, for examples. Arrays named like outputs of the model are left alone.
func (c *Corpus) examplesOf(where string, list []*dataset.Array, files io.Closer) (source, error) {
	s := &arrays{where: where, named: map[string]*dataset.Array{}, files: files}
	var first *dataset.Array
	for _, a := range list {
		if c.isOutput(a.Name) {
			continue
		}
		err := c.checkArray(a)
		switch {
		case err != nil:
		case s.named[a.Name] != nil:
			err = fmt.Errorf("%s: %q is given twice", where, a.Name)
		case first != nil && a.Len() != first.Len():
			err = fmt.Errorf("%s: has %d examples, %s has %d", a.Where, a.Len(), first.Where, first.Len())
		}
		if err != nil {
			return nil, errors.Join(err, files.Close())
		}
		if first == nil {
			first = a
		}
		s.named[a.Name] = a
	}
	if first == nil {
		return nil, errors.Join(fmt.Errorf("%s: holds no array named like an input of the model (%s)", where, c.l.names()), files.Close())
	}
	s.n = first.Len()
	return s, nil
}

func (c *Corpus) checkArray(a *dataset.Array) error {
	if a.Name == labelsName && c.l.find(labelsName) == nil {
		return nil
	}
	if c.l.find(a.Name) == nil {
		return fmt.Errorf("%s: the model has no input %q (inputs: %s; and labels)", a.Where, a.Name, c.l.names())
	}
	return nil
}

func (c *Corpus) isOutput(name string) bool {
	for _, o := range c.outputs {
		if o == name {
			return true
		}
	}
	return false
}

func (s *arrays) examples() int64              { return s.n }
func (s *arrays) crops() int64                 { return 0 }
func (s *arrays) crop(int64) (*example, error) { return nil, errors.New("examples are not cut") }
func (s *arrays) scan(int64) error             { return nil }
func (s *arrays) close() error                 { return s.files.Close() }
func (s *arrays) example(i int64) (*example, error) {
	e := &example{where: fmt.Sprintf("%s: example %d", s.where, i), inputs: map[string]*onnxio.Tensor{}}
	for name, a := range s.named {
		t, err := a.Row(i)
		if err != nil {
			return nil, err
		}
		e.put(name, t)
	}
	return e, nil
}

func (e *example) put(name string, t *onnxio.Tensor) {
	if name == labelsName {
		e.labels = t.Renamed(name)
		return
	}
	e.inputs[name] = t.Renamed(name)
}

// objects are examples as lines of JSON.
type objects struct {
	c     *Corpus
	lines *dataset.Lines
}

func (s *objects) examples() int64              { return s.lines.Len() }
func (s *objects) crops() int64                 { return 0 }
func (s *objects) crop(int64) (*example, error) { return nil, errors.New("examples are not cut") }
func (s *objects) scan(int64) error             { return nil }
func (s *objects) close() error                 { return s.lines.Close() }

func (s *objects) example(i int64) (*example, error) {
	fields, err := s.lines.Object(i)
	if err != nil {
		return nil, err
	}
	e := &example{where: s.lines.Where(i), inputs: map[string]*onnxio.Tensor{}}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := s.field(e, name, fields[name]); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", e.where, name, err)
		}
	}
	return e, nil
}

func (s *objects) field(e *example, name string, field dataset.JSON) error {
	in := s.c.l.find(name)
	dt := onnxio.Int64
	switch {
	case in != nil:
		dt = in.v.Type.Elem
	case name == labelsName || name == "label":
		name = labelsName
		if t := s.c.o.Labels.Type; t != nil {
			dt = t.Elem
		}
	case name == "text":
		return s.text(e, field)
	default:
		return fmt.Errorf("the model has no such input (inputs: %s; and labels, or text)", s.c.l.names())
	}
	t, err := dataset.FromJSON(name, field, dt)
	if err == nil {
		e.put(name, t)
	}
	return err
}

func (s *objects) text(e *example, field dataset.JSON) error {
	c := s.c
	text, ok := dataset.Text(field)
	switch {
	case !ok:
		return errors.New("expected a string")
	case c.l.ids == nil:
		return fmt.Errorf("the model has no input of token ids [batch, sequence] (inputs: %s)", c.l.names())
	case c.o.Tokenizer == nil:
		return errors.New("text needs a tokenizer to make token ids of it")
	}
	ids, err := c.o.Tokenizer.EncodeExample(text)
	if err != nil {
		return err
	}
	v := make([]int64, len(ids))
	for i, id := range ids {
		v[i] = int64(id)
	}
	name := c.l.ids.v.Name
	e.put(name, onnxio.FromInt64s(name, []int64{int64(len(v))}, v))
	return nil
}

// tokenStream is one long sequence, cut into rows.
type tokenStream struct {
	c     *Corpus
	t     *dataset.Tokens
	file  io.Closer
	row   int64 // tokens of a row
	extra int64 // tokens behind a row that its labels need
	from  int64 // its first token in t
	n     int64 // how many it has
}

func (c *Corpus) streamOf(t *dataset.Tokens, file io.Closer) (source, error) {
	s := &tokenStream{c: c, t: t, file: file, row: c.o.SeqLen, n: t.Len()}
	if s.row == 0 {
		s.row = usualLength
	}
	if c.o.Objective == NextToken {
		s.extra = 1
	}
	if t.Len() < s.row+s.extra {
		return nil, errors.Join(fmt.Errorf("%s: has %d tokens; a sequence of %d needs %d", t.Where, t.Len(), s.row, s.row+s.extra), file.Close())
	}
	return s, nil
}

// examples counts the rows that follow each other; a rest that fills no row is one more, unless rows must be full.
func (s *tokenStream) examples() int64 {
	n := s.n - s.extra
	if s.c.l.sequence > 0 || !s.c.masked() && s.extra == 0 {
		return n / s.row
	}
	return (n + s.row - 1) / s.row
}

func (s *tokenStream) example(i int64) (*example, error) {
	at := i * s.row
	return s.read(at, min(s.row+s.extra, s.n-at))
}

func (s *tokenStream) crops() int64                    { return s.n - s.row - s.extra + 1 }
func (s *tokenStream) crop(at int64) (*example, error) { return s.read(at, s.row+s.extra) }
func (s *tokenStream) close() error                    { return s.file.Close() }

func (s *tokenStream) scan(n int64) error {
	ids := make([]int64, 1<<16)
	for at := int64(0); at < min(n, s.n); at += int64(len(ids)) {
		part := ids[:min(int64(len(ids)), s.n-at)]
		if err := s.t.Read(part, s.from+at, s.c.l.ids.rows); err != nil {
			return err
		}
	}
	return nil
}

func (s *tokenStream) read(at, n int64) (*example, error) {
	ids := make([]int64, n)
	at += s.from
	if err := s.t.Read(ids, at, s.c.l.ids.rows); err != nil {
		return nil, err
	}
	name := s.c.l.ids.v.Name
	e := &example{where: fmt.Sprintf("%s: tokens from %d on", s.t.Where, at), inputs: map[string]*onnxio.Tensor{}}
	e.inputs[name] = onnxio.FromInt64s(name, []int64{n}, ids)
	return e, nil
}

// several sources of one kind, one after the other.
type several []source

func join(sources []source) (source, error) {
	for _, s := range sources {
		if _, sets := s.(*ready); sets || (s.crops() > 0) != (sources[0].crops() > 0) {
			return nil, errors.New("the data is of different kinds: give examples (.npz, .npy, .jsonl), streams of tokens (.bin, .npy, .txt) or test_data_set folders")
		}
	}
	return several(sources), nil
}

func (s several) examples() int64 { return s.sum(source.examples) }
func (s several) crops() int64    { return s.sum(source.crops) }
func (s several) close() error    { return closeAll(s) }

func (s several) scan(n int64) error {
	for _, one := range s {
		if err := one.scan(n); err != nil {
			return err
		}
	}
	return nil
}

func (s several) sum(f func(source) int64) int64 {
	n := int64(0)
	for _, one := range s {
		n += f(one)
	}
	return n
}

func (s several) example(i int64) (*example, error) {
	one, i := s.locate(i, source.examples)
	return one.example(i)
}

func (s several) crop(i int64) (*example, error) {
	one, i := s.locate(i, source.crops)
	return one.crop(i)
}

func (s several) locate(i int64, f func(source) int64) (source, int64) {
	at := 0
	for ; at < len(s)-1 && i >= f(s[at]); at++ {
		i -= f(s[at])
	}
	return s[at], i
}
