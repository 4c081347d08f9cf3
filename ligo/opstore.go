package ligo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/safetensors"
)

// An operator in a file (docs/formats.md): safetensors, one tensor for the numbers of every matrix, and in the metadata the record of
// the growth and how each matrix is stored. Matrices are stored as they are held, by structure, so that copies of a thousand units are a
// thousand indices and applying a loaded operator gives the same bits.

// operatorFormat is the version of the form.
const operatorFormat = "operator@1"

// Entries of the metadata beside those of a grown model.
const (
	formatKey   = metadataPrefix + "format"
	operatorKey = metadataPrefix + "operator"
)

// startPrefix goes before the matrices of axes in a file that has matrices of slots: an axis and a slot may have one name.
const startPrefix = "start."

// maxStored bounds the axes of matrices in a file. Axes that grow are widths; the largest known are some hundred thousand.
const maxStored = 1 << 20

// maxEntries bounds the entries of matrices of rows, counting those of equal rows that are stored once.
const maxEntries = 1 << 25

// entries counts them.
func entries(s linmap.Stored) int64 {
	n := int64(0)
	for _, r := range s.Row {
		n += int64(s.Start[r+1]) - int64(s.Start[r])
	}
	return n
}

// storedOperator is the content of a file but for the numbers.
type storedOperator struct {
	// Axes has the matrices R, L, F, M, Z of every axis, Slots those of slots by key.
	Axes  map[string]map[string]storedMatrix `json:"axes"`
	Slots map[string]storedMatrix            `json:"slots,omitempty"`
	// Blends lists the modules that have a tensor w/MODULE: [layers, small layers].
	Blends []string `json:"blends,omitempty"`
	// Free has the free terms by tensor.
	Free    map[string]storedFree `json:"free,omitempty"`
	Dropped []string              `json:"dropped,omitempty"`
}

// storedMatrix says how a matrix is stored; Form is one of linmap's, or one of the two below.
type storedMatrix struct {
	Form  string         `json:"form"`
	To    int            `json:"to,omitempty"`
	From  int            `json:"from,omitempty"`
	Parts []storedMatrix `json:"parts,omitempty"`
	Of    string         `json:"of,omitempty"` // the other matrix, by the name of its tensor
}

const (
	formSame      = "same"      // another matrix
	formTranspose = "transpose" // another matrix, transposed
)

// storedFree is a free term. It is added before rounding: N/TENSOR has the type of the tensor where that holds it, and F64 otherwise.
type storedFree struct {
	DType string  `json:"dtype"`
	Shape []int64 `json:"shape"`
	// Filled: N/TENSOR is one number, which all elements are.
	Filled bool `json:"filled,omitempty"`
}

// WriteOperator writes the operator of a plan and gives the SHA-256 of what was written, which is the operator's SHA256 from then on. Reading
// it back is OpenOperator's.
func WriteOperator(ctx context.Context, w io.Writer, p *Plan, op *Operator) (digest string, err error) {
	if err := p.fits(op); err != nil {
		return "", err
	}
	s := &operatorWriter{ctx: ctx, names: map[linmap.Matrix]string{}}
	stored, err := s.operator(op)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return "", err
	}
	record := p.recordOf(op)
	record.Operator = "" // of another file
	meta := map[string]string{formatKey: operatorFormat, operatorKey: string(text)}
	entries, err := record.ToMetadata()
	if err != nil {
		return "", err
	}
	for _, kv := range entries {
		meta[kv.Key] = kv.Value
	}
	h := sha256.New()
	if err := safetensors.Write(&cancelled{ctx, io.MultiWriter(w, h)}, meta, s.tensors); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// cancelled is a writer that stops with its context.
type cancelled struct {
	ctx context.Context
	w   io.Writer
}

func (c *cancelled) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(b)
}

// operatorWriter collects the tensors of a file.
type operatorWriter struct {
	ctx     context.Context
	tensors []safetensors.Tensor
	names   map[linmap.Matrix]string // of matrices that are in the file
	dense   []string                 // those of names that are dense, in order
	data    []linmap.Stored          // of dense
}

func (s *operatorWriter) operator(op *Operator) (*storedOperator, error) {
	out := &storedOperator{Axes: map[string]map[string]storedMatrix{}, Slots: map[string]storedMatrix{}, Free: map[string]storedFree{}}
	prefix := ""
	if len(op.Slots) > 0 {
		prefix = startPrefix
	}
	var err error
	for _, axis := range slices.Sorted(maps.Keys(op.Axes)) {
		out.Axes[axis] = map[string]storedMatrix{}
		m := op.Axes[axis]
		for _, v := range m.list() {
			if out.Axes[axis][v.kind], err = s.matrix(prefix+v.kind, axis, *v.m); err != nil {
				return nil, err
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(op.Slots)) {
		kind, rest, _ := strings.Cut(key, "/")
		if out.Slots[key], err = s.matrix(kind, rest, op.Slots[key]); err != nil {
			return nil, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(op.Blends)) {
		rows := op.Blends[key]
		width := 0
		if len(rows) > 0 {
			width = len(rows[0])
		}
		if err := s.numbers("w/"+key, []int64{int64(len(rows)), int64(width)}, slices.Concat(rows...)); err != nil {
			return nil, err
		}
		out.Blends = append(out.Blends, key)
	}
	for _, name := range slices.Sorted(maps.Keys(op.Free)) {
		if out.Free[name], err = s.free(name, op.Free[name]); err != nil {
			return nil, err
		}
	}
	out.Dropped = slices.Sorted(maps.Keys(op.Dropped))
	return out, nil
}

// kindOf is a matrix of an axis under its letter.
type kindOf struct {
	kind string
	m    *linmap.Matrix
}

// list is the matrices of an axis.
func (m *AxisMaps) list() []kindOf {
	return []kindOf{{"R", &m.R}, {"L", &m.L}, {"F", &m.F}, {"M", &m.M}, {"Z", &m.Z}}
}

// matrix stores a matrix under kind/rest, or says which of those before it is.
func (s *operatorWriter) matrix(kind, rest string, m linmap.Matrix) (storedMatrix, error) {
	if err := s.ctx.Err(); err != nil {
		return storedMatrix{}, err
	}
	if name, ok := s.names[m]; ok {
		return storedMatrix{Form: formSame, Of: name}, nil
	}
	st := linmap.Store(m)
	name := kind + "/" + rest
	if max(st.To, st.From) > maxStored {
		return storedMatrix{}, fmt.Errorf("matrix %s is %d x %d, a file takes at most %d", name, st.To, st.From, maxStored)
	}
	if st.Form == linmap.FormDense {
		for i, other := range s.data {
			if transposes(st, other) {
				return storedMatrix{Form: formTranspose, Of: s.dense[i]}, nil
			}
		}
		s.dense, s.data = append(s.dense, name), append(s.data, st)
	}
	out := storedMatrix{Form: string(st.Form), To: st.To, From: st.From}
	switch st.Form {
	case linmap.FormIdentity:
		return out, nil // equal ones are equal values, not the same matrix
	case linmap.FormDense:
		if err := s.numbers(name, []int64{int64(st.To), int64(st.From)}, st.Val); err != nil {
			return out, err
		}
	case linmap.FormRows:
		if n := entries(st); n > maxEntries {
			return out, fmt.Errorf("matrix %s has %d entries, a file takes at most %d", name, n, maxEntries)
		}
		for _, x := range []struct {
			what   string
			values []int32
		}{{"row", st.Row}, {"start", st.Start}, {"col", st.Col}} {
			s.add(safetensors.Tensor{Name: kind + "." + x.what + "/" + rest, DType: safetensors.I32, Shape: []int64{int64(len(x.values))}, Values: x.values})
		}
		if err := s.numbers(name, []int64{int64(len(st.Val))}, st.Val); err != nil {
			return out, err
		}
	default:
		for i, p := range st.Parts {
			part, err := s.matrix(fmt.Sprintf("%s.%d", kind, i), rest, p)
			if err != nil {
				return out, err
			}
			out.Parts = append(out.Parts, part)
		}
	}
	s.names[m] = name
	return out, nil
}

// transposes reports whether two dense matrices are one, transposed.
func transposes(a, b linmap.Stored) bool {
	if a.To != b.From || a.From != b.To {
		return false
	}
	for i := range a.To {
		for j := range a.From {
			if math.Float64bits(a.Val[i*a.From+j]) != math.Float64bits(b.Val[j*b.From+i]) {
				return false
			}
		}
	}
	return true
}

func (s *operatorWriter) add(t safetensors.Tensor) { s.tensors = append(s.tensors, t) }

// numbers adds finite numbers as float32 if that holds them, which is so for what was learned in float32, and as float64 otherwise.
func (s *operatorWriter) numbers(name string, shape []int64, x []float64) error {
	t := safetensors.Tensor{Name: name, DType: safetensors.F64, Shape: shape, Values: x}
	narrow := true
	for i, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s: number %d is %v", name, i, v)
		}
		narrow = narrow && math.Float64bits(float64(float32(v))) == math.Float64bits(v)
	}
	if narrow {
		y := make([]float32, len(x))
		for i, v := range x {
			y[i] = float32(v)
		}
		t.DType, t.Values = safetensors.F32, y
	}
	s.add(t)
	return nil
}

// fileTypes are the element types of weights, in safetensors.
var fileTypes = map[onnxio.DType]safetensors.DType{onnxio.Float: safetensors.F32, onnxio.Double: safetensors.F64, onnxio.Float16: safetensors.F16, onnxio.BFloat16: safetensors.BF16}

func (s *operatorWriter) free(tensor string, t *onnxio.Tensor) (storedFree, error) {
	name := "N/" + tensor
	if err := s.ctx.Err(); err != nil {
		return storedFree{}, err
	}
	out := storedFree{DType: t.DType.String(), Shape: append([]int64{}, t.Dims...)}
	x, err := linmap.SurveyOf(t)
	switch {
	case err != nil:
		return out, fmt.Errorf("%s: %w", name, err)
	case !x.Finite:
		return out, fmt.Errorf("%s: not all numbers are finite", name)
	case x.Constant:
		out.Filled = true
		s.add(safetensors.Tensor{Name: name, DType: safetensors.F64, Values: []float64{x.Value}})
		return out, nil
	}
	dt := t.DType
	if !x.Exact {
		if t, err = linmap.Exact(t); err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
		dt = onnxio.Double
	}
	s.add(safetensors.Tensor{Name: name, DType: fileTypes[dt], Shape: out.Shape, Values: t.Data()})
	return out, nil
}

// digestOf is what WriteOperator gives, without a file.
func digestOf(ctx context.Context, p *Plan, op *Operator) (string, error) {
	return WriteOperator(ctx, io.Discard, p, op)
}
