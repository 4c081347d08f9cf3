package corpus

import (
	"fmt"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/inputs"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// role is what an input of the model gets where the data does not give it.
type role uint8

const (
	given    role = iota // by the data, or not at all
	tokens               // the token ids
	attended             // 1 for a token, 0 for padding
	kinds                // of tokens: all 0
	places               // 0, 1, 2 … along the sequence
	cache                // no past
	total                // number of tokens
	last                 // number of tokens, less one
)

// slot is one input of the model.
type slot struct {
	v    *graph.Value
	role role
	rows int64 // of the table that it indexes; 0: none
}

func (s *slot) dims() []onnxio.Dim { return s.v.Type.Dims }

// layout is the signature of a model, understood.
type layout struct {
	slots    []*slot
	ids      *slot // nil: the model takes no tokens
	batch    int64 // fixed by the signature; 0: any
	sequence int64 // fixed by the signature; 0: any
}

// fewKinds is where a table stops being one of kinds of tokens (BERT's segments: 2) and is one of positions.
const fewKinds = 8

// layoutOf reads roles from the graph. The token ids are the input that is looked up in a table with as many rows as an output has
// values along its last axis (the vocabulary of a language model), or else in the largest table.
func layoutOf(g *graph.Graph) (*layout, error) {
	l := &layout{}
	for _, v := range g.Inputs {
		if v.Type == nil || v.Type.Kind != "tensor" || !v.Type.HasShape {
			return nil, fmt.Errorf("input %q: its type is not that of a tensor with a known number of axes", v.Name)
		}
		m := inputs.Of(v)
		if m.Kind == inputs.Unsupported {
			return nil, fmt.Errorf("input %q: no data is read of type %v", v.Name, v.Type.Elem)
		}
		s := &slot{v: v, rows: m.Rows, role: roleOf(v, m)}
		l.slots = append(l.slots, s)
		if m.Kind == inputs.Index && len(s.dims()) == 2 && (l.ids == nil || better(s, l.ids, g)) {
			l.ids = s
		}
	}
	if l.ids == nil {
		return l, l.fixBatch()
	}
	l.ids.role = tokens
	if d := l.ids.dims()[1]; d.Param == "" && d.Value > 0 {
		l.sequence = d.Value
	}
	return l, l.fixBatch()
}

// TokenInput is the input that takes token ids, and how many there are; nothing where the model takes none.
func TokenInput(g *graph.Graph) (name string, vocabulary int64) {
	l, err := layoutOf(g)
	if err != nil || l.ids == nil {
		return "", 0
	}
	return l.ids.v.Name, l.ids.rows
}

func better(a, b *slot, g *graph.Graph) bool {
	va, vb := isVocabulary(a.rows, g), isVocabulary(b.rows, g)
	if va != vb {
		return va
	}
	return a.rows > b.rows
}

func isVocabulary(rows int64, g *graph.Graph) bool {
	for _, o := range g.Outputs {
		if o.Type == nil || len(o.Type.Dims) < 3 {
			continue
		}
		if d := o.Type.Dims[len(o.Type.Dims)-1]; d.Param == "" && d.Value == rows {
			return true
		}
	}
	return false
}

func roleOf(v *graph.Value, m inputs.Meaning) role {
	dims := v.Type.Dims
	switch m.Kind {
	case inputs.Index:
		if m.Rows < fewKinds {
			return kinds
		}
		return places
	case inputs.Mask:
		if inputs.Positions(v) {
			return places
		}
		if v.Type.Elem != onnxio.Bool && len(dims) <= 1 {
			switch inputs.LengthOf(v) {
			case inputs.TotalLength:
				return total
			case inputs.LastPosition:
				return last
			}
			return given
		}
		return attended
	}
	if len(dims) >= 3 {
		return cache
	}
	return given
}

// fixBatch finds the batch size where the signature fixes it: the first axis of the tokens, or of the only input.
func (l *layout) fixBatch() error {
	s := l.ids
	if s == nil && len(l.slots) > 0 {
		s = l.slots[0]
	}
	if s == nil || len(s.dims()) == 0 {
		return nil
	}
	if d := s.dims()[0]; d.Param == "" && d.Value > 0 {
		l.batch = d.Value
	}
	return nil
}

// fillable reports whether an input that the data lacks can be made from the tokens. A cache can be empty only if it has an axis that
// neither the batch nor the sequence decides.
func (l *layout) fillable(s *slot) bool {
	switch {
	case l.ids == nil || s.role == given || s.role == tokens:
		return false
	case s.role == cache:
		past := false
		for axis, d := range s.dims() {
			past = past || axis > 0 && l.open(d) && !l.same(d, 1)
		}
		return past
	}
	return true
}

func (l *layout) open(d onnxio.Dim) bool { return d.Param != "" || d.Value < 0 }

// same reports whether a dimension has the name of an axis of the token ids.
func (l *layout) same(d onnxio.Dim, axis int) bool {
	return d.Param != "" && d.Param == l.ids.dims()[axis].Param
}

// sizes is the shape of a filled input for a batch of rows sequences of length tokens. Lengths of a cache and the tokens together are
// the tokens', as the cache is empty.
func (l *layout) sizes(s *slot, rows, length int64) []int64 {
	out := make([]int64, len(s.dims()))
	for axis, d := range s.dims() {
		switch {
		case !l.open(d):
			out[axis] = d.Value
		case l.same(d, 0):
			out[axis] = rows
		case l.same(d, 1):
			out[axis] = length
		case s.role == cache && axis > 0:
			out[axis] = 0
		case axis == 0 && (len(s.dims()) > 1 || s.role == last || s.role == total):
			out[axis] = rows
		default:
			out[axis] = length
		}
	}
	return out
}

// find looks an input up by name; nil when there is none.
func (l *layout) find(name string) *slot {
	for _, s := range l.slots {
		if s.v.Name == name {
			return s
		}
	}
	return nil
}

// names lists the inputs, for messages.
func (l *layout) names() string {
	var out []string
	for _, s := range l.slots {
		out = append(out, s.v.Name)
	}
	return strings.Join(out, ", ")
}

// fill makes an input of the sequences in a batch, of which sequence i has lengths[i] tokens and padding up to length.
func (l *layout) fill(s *slot, lengths []int64, length int64) (*onnxio.Tensor, error) {
	dims := l.sizes(s, int64(len(lengths)), length)
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	dt := s.v.Type.Elem
	if s.role == cache {
		return onnxio.FromFloats(s.v.Name, dt, dims, make([]float64, n))
	}
	if s.role == places && s.rows > 0 && length > s.rows {
		return nil, fmt.Errorf("input %q: sequences have %d tokens, the table of positions has %d rows", s.v.Name, length, s.rows)
	}
	v := make([]int64, n)
	width, perRow := int64(1), n
	if len(dims) > 0 && n > 0 {
		width = dims[len(dims)-1]
		if dims[0] == int64(len(lengths)) {
			perRow = n / dims[0]
		}
	}
	for i := range v {
		at, row := int64(i)%width, int64(i)/perRow
		switch {
		case s.role == places:
			v[i] = at
		case s.role == attended && at < lengths[row]:
			v[i] = 1
		case s.role == total || s.role == last:
			v[i] = length // of the longest, where there is one number for all
			if perRow < n || len(lengths) == 1 {
				v[i] = lengths[row]
			}
			if s.role == last {
				v[i]--
			}
		}
	}
	return onnxio.FromInts(s.v.Name, dt, dims, v)
}
