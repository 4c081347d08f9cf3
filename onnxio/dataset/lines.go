package dataset

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Lines is a file of JSON objects, one a line. Where each begins is all that is kept in memory.
type Lines struct {
	path  string
	f     *os.File
	lines []line
}

type line struct {
	at     int64
	number int // from 1, blank ones counted
}

// maxLine bounds the bytes of one object.
const maxLine = 64 << 20

// OpenLines finds the lines of a file; blank ones are skipped. Close it when no line is needed any more.
func OpenLines(ctx context.Context, path string) (*Lines, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	l := &Lines{path: path, f: f}
	if err := l.index(ctx, io.NewSectionReader(f, 0, size)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return l, nil
}

func (l *Lines) index(ctx context.Context, r io.Reader) error {
	in := bufio.NewReaderSize(r, 1<<20)
	at, begin, blank := int64(0), int64(0), true
	for number := 1; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		part, err := in.ReadSlice('\n')
		at += int64(len(part))
		blank = blank && len(bytes.TrimSpace(part)) == 0
		if errors.Is(err, bufio.ErrBufferFull) && at-begin <= maxLine {
			continue
		}
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if at-begin > maxLine {
			return fmt.Errorf("line %d: longer than %d bytes", number, maxLine)
		}
		if !blank {
			l.lines = append(l.lines, line{begin, number})
		}
		if err == io.EOF {
			return nil
		}
		begin, blank = at, true
		number++
	}
}

// Len is the number of objects.
func (l *Lines) Len() int64 { return int64(len(l.lines)) }

// Close closes the file.
func (l *Lines) Close() error { return l.f.Close() }

// Where names object i for messages.
func (l *Lines) Where(i int64) string { return fmt.Sprintf("%s: line %d", l.path, l.lines[i].number) }

// Object reads object i.
func (l *Lines) Object(i int64) (map[string]JSON, error) {
	end := l.lines[i].at + maxLine
	if i+1 < l.Len() {
		end = l.lines[i+1].at
	}
	d := json.NewDecoder(bufio.NewReader(io.NewSectionReader(l.f, l.lines[i].at, end-l.lines[i].at)))
	d.UseNumber()
	var object map[string]JSON
	if err := d.Decode(&object); err != nil {
		return nil, fmt.Errorf("%s: expected a JSON object: %w", l.Where(i), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%s: something follows the JSON object", l.Where(i))
	}
	if object == nil {
		return nil, fmt.Errorf("%s: expected a JSON object, found null", l.Where(i))
	}
	return object, nil
}

// JSON is one field of an object, as it was written.
type JSON = json.RawMessage

// Text reads a field as a string; false when it is none.
func Text(field JSON) (string, bool) {
	var s string
	err := json.Unmarshal(field, &s)
	return s, err == nil
}

// FromJSON makes a tensor of a number, a boolean or an array of them, nested as deep as the tensor has axes.
func FromJSON(name string, field JSON, dt onnxio.DType) (*onnxio.Tensor, error) {
	d := json.NewDecoder(bytes.NewReader(field))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	a := flat{}
	if err := a.add(v, 0); err != nil {
		return nil, err
	}
	return a.tensor(name, dt)
}

// flat is a nested array of numbers laid out in a row.
type flat struct {
	dims   []int64
	leaf   bool // dims are complete
	values []string
}

func (a *flat) add(v any, depth int) error {
	if list, ok := v.([]any); ok {
		switch {
		case depth > maxRank:
			return fmt.Errorf("is nested deeper than %d arrays", maxRank)
		case a.leaf && depth >= len(a.dims), a.leaf && a.dims[depth] != int64(len(list)):
			return errors.New("is ragged: arrays inside it differ in length or depth")
		case depth == len(a.dims):
			a.dims = append(a.dims, int64(len(list)))
		case a.dims[depth] != int64(len(list)):
			return errors.New("is ragged: arrays inside it differ in length or depth")
		}
		for _, e := range list {
			if err := a.add(e, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if depth != len(a.dims) {
		return errors.New("is ragged: arrays inside it differ in length or depth")
	}
	a.leaf = true
	switch v := v.(type) {
	case json.Number:
		a.values = append(a.values, v.String())
	case bool:
		text := "0"
		if v {
			text = "1"
		}
		a.values = append(a.values, text)
	default:
		return fmt.Errorf("holds %s; expected numbers", described(v))
	}
	return nil
}

func described(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	}
	return "an object"
}

func (a *flat) tensor(name string, dt onnxio.DType) (*onnxio.Tensor, error) {
	if dt.Growable() {
		floats := make([]float64, len(a.values))
		for i, s := range a.values {
			f, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return nil, fmt.Errorf("element %d: %s is beyond float64", i, s)
			}
			floats[i] = f
		}
		return onnxio.FromFloats(name, dt, a.dims, floats)
	}
	ints := make([]int64, len(a.values))
	for i, s := range a.values {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("element %d is %s; expected a whole number", i, s)
		}
		ints[i] = n
	}
	if dt == onnxio.Bool {
		truths := make([]bool, len(ints))
		for i, n := range ints {
			truths[i] = n != 0
		}
		return onnxio.FromBools(name, a.dims, truths), nil
	}
	return Convert(onnxio.FromInt64s(name, a.dims, ints), dt)
}
