package ligo

import (
	"bytes"
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

// OperatorFile is an operator as a file holds it, without a model. What it says of itself agrees with itself; whether it fits a model is
// for Plan and Operator to say.
type OperatorFile struct {
	// Record is that of a growth by the operator: method, seed, sizes, the source's file, what was learned.
	Record Record
	// SHA256 is that of the file.
	SHA256 string
	// Bytes is the size of the file, Numbers how many numbers its matrices, blends and free terms have.
	Bytes, Numbers int64

	axes    map[string]AxisMaps
	slots   map[string]linmap.Matrix
	blends  map[string][][]float64
	free    map[string]freeTerm
	dropped []string
	// names has the matrices by the names of their tensors; shared says which of them are others, or others transposed.
	names  map[string]linmap.Matrix
	shared map[string]string
}

// freeTerm is a free term whose numbers are still in the file.
type freeTerm struct {
	dt     onnxio.DType
	shape  []int64
	filled bool
	value  float64
	held   onnxio.DType // the type in the file
	data   fileData
}

// fileData is the elements of a tensor of a file.
type fileData struct {
	f *safetensors.File
	e safetensors.Entry
}

func (d fileData) Len() int64 { return d.e.Bytes() }

func (d fileData) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, d.f.Elements(d.e)) }

func (d fileData) ReadAt(p []byte, off int64) (int, error) { return d.f.Elements(d.e).ReadAt(p, off) }

// bad is an error of a file: what is wrong with which tensor.
func bad(where, format string, args ...any) error {
	if where != "" {
		where = fmt.Sprintf("tensor %.200q", where)
	}
	return &onnxio.InvalidError{Where: where, Problem: fmt.Sprintf(format, args...)}
}

// OpenOperator reads an operator from a file of the given size, which must stay open as long as operators made of it are used: free terms
// stay in it. Files are not trusted: every size is held against the bytes that are there before anything is made of it, and a
// tensor too many is as wrong as one too few. Errors that are the file's fault are *onnxio.InvalidError values.
func OpenOperator(r io.ReaderAt, size int64) (*OperatorFile, error) {
	f, err := safetensors.Open(r, size)
	if err != nil {
		return nil, err
	}
	out := &OperatorFile{Bytes: size, names: map[string]linmap.Matrix{}, shared: map[string]string{}}
	var stored storedOperator
	if err := out.metadata(f.Metadata, &stored); err != nil {
		return nil, err
	}
	s := &operatorReader{f: f, out: out, used: map[string]bool{}, turned: map[string]linmap.Matrix{}}
	if err := s.operator(&stored); err != nil {
		return nil, err
	}
	for _, e := range f.Tensors {
		if !s.used[e.Name] {
			return nil, bad(e.Name, "belongs to nothing of the operator")
		}
	}
	if err := out.agrees(); err != nil {
		return nil, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, size)); err != nil {
		return nil, err
	}
	out.SHA256 = hex.EncodeToString(h.Sum(nil))
	return out, nil
}

func (f *OperatorFile) metadata(meta map[string]string, stored *storedOperator) error {
	format, ok := meta[formatKey]
	switch {
	case !ok:
		return bad("", "is no operator of ligoonnx: its metadata has no %s", formatKey)
	case format != operatorFormat:
		return bad("", "its format is %.50q, this version reads %s", format, operatorFormat)
	}
	entries := make([]onnxio.KeyValue, 0, len(meta))
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		entries = append(entries, onnxio.KeyValue{Key: k, Value: meta[k]})
	}
	rec, ok, err := FromMetadata(entries)
	if err != nil {
		return bad("", "%v", err)
	}
	if !ok {
		return bad("", "its metadata has no %sgrowth", metadataPrefix)
	}
	if _, err := rec.Method.info(); err != nil {
		return bad("", "%v", err)
	}
	f.Record = rec
	d := json.NewDecoder(bytes.NewReader([]byte(meta[operatorKey])))
	d.DisallowUnknownFields()
	if err := d.Decode(stored); err != nil {
		return bad("", "metadata entry %s: %v", operatorKey, err)
	}
	return nil
}

// operatorReader makes the parts of an operator from the tensors of a file.
type operatorReader struct {
	f      *safetensors.File
	out    *OperatorFile
	used   map[string]bool
	turned map[string]linmap.Matrix // transposed ones, each made once
}

// slotKinds are the letters of matrices.
const slotKinds = "RLFMZT"

func (s *operatorReader) operator(stored *storedOperator) (err error) {
	out := s.out
	prefix := ""
	if len(stored.Slots) > 0 {
		prefix, out.slots = startPrefix, map[string]linmap.Matrix{}
	}
	out.axes = map[string]AxisMaps{}
	for _, axis := range slices.Sorted(maps.Keys(stored.Axes)) {
		var m AxisMaps
		all := stored.Axes[axis]
		for _, v := range m.list() {
			x, ok := all[v.kind]
			if !ok || len(all) != len(m.list()) {
				return bad("", "axis %.200q has not the matrices R, L, F, M and Z", axis)
			}
			if *v.m, err = s.matrix(prefix+v.kind, axis, x, 0); err != nil {
				return err
			}
		}
		out.axes[axis] = m
	}
	for _, key := range slices.Sorted(maps.Keys(stored.Slots)) {
		kind, rest, ok := strings.Cut(key, "/")
		if !ok || len(kind) != 1 || !strings.Contains(slotKinds, kind) {
			return bad("", "%.200q is no name of a slot", key)
		}
		if out.slots[key], err = s.matrix(kind, rest, stored.Slots[key], 0); err != nil {
			return err
		}
	}
	out.blends = map[string][][]float64{}
	for _, key := range stored.Blends {
		if out.blends[key], err = s.blend("w/" + key); err != nil {
			return err
		}
	}
	out.free = map[string]freeTerm{}
	for _, name := range slices.Sorted(maps.Keys(stored.Free)) {
		if out.free[name], err = s.free("N/"+name, stored.Free[name]); err != nil {
			return err
		}
	}
	out.dropped = stored.Dropped
	return nil
}

// take finds a tensor and marks it.
func (s *operatorReader) take(name string) (safetensors.Entry, error) {
	e, ok := s.f.Tensor(name)
	if !ok {
		return e, bad("", "it holds no tensor %.200q", name)
	}
	if s.used[name] {
		return e, bad(name, "is used twice")
	}
	s.used[name] = true
	return e, nil
}

// numbers reads a tensor of floats as float64.
func (s *operatorReader) numbers(name string) ([]float64, []int64, error) {
	e, err := s.take(name)
	if err != nil {
		return nil, nil, err
	}
	n := e.Bytes() / max(1, e.DType.Size())
	x := make([]float64, n)
	switch e.DType {
	case safetensors.F64:
		err = s.f.Read(name, x)
	case safetensors.F32:
		y := make([]float32, n)
		err = s.f.Read(name, y)
		for i, v := range y {
			x[i] = float64(v)
		}
	default:
		return nil, nil, bad(name, "is %s, expected F64 or F32", e.DType)
	}
	if err != nil {
		return nil, nil, err
	}
	for i, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, nil, bad(name, "number %d is %v", i, v)
		}
	}
	s.out.Numbers += n
	return x, e.Shape, nil
}

func (s *operatorReader) ints(name string) ([]int32, error) {
	e, err := s.take(name)
	if err != nil {
		return nil, err
	}
	if e.DType != safetensors.I32 || len(e.Shape) != 1 {
		return nil, bad(name, "is %s of shape %v, expected I32 of one axis", e.DType, e.Shape)
	}
	x := make([]int32, e.Shape[0])
	return x, s.f.Read(name, x)
}

// deepest is how far parts of parts go: a direct sum of Kronecker products of chains.
const deepest = 8

func (s *operatorReader) matrix(kind, rest string, x storedMatrix, depth int) (linmap.Matrix, error) {
	name := kind + "/" + rest
	if x.Form == formSame || x.Form == formTranspose {
		m, err := s.other(name, x)
		if err != nil {
			return nil, err
		}
		s.out.names[name], s.out.shared[name] = m, x.Of
		return m, nil
	}
	if x.To < 0 || x.From < 0 || max(x.To, x.From) > maxStored {
		return nil, bad(name, "is said to be %d x %d, at most %d are possible", x.To, x.From, maxStored)
	}
	if depth > deepest {
		return nil, bad(name, "has parts of parts %d deep", depth)
	}
	st := linmap.Stored{Form: linmap.Form(x.Form), To: x.To, From: x.From}
	var err error
	switch st.Form {
	case linmap.FormDense, linmap.FormRows:
		var shape []int64
		if st.Val, shape, err = s.numbers(name); err != nil {
			return nil, err
		}
		want := []int64{int64(x.To), int64(x.From)}
		if st.Form == linmap.FormRows {
			want = []int64{int64(len(st.Val))}
			for _, part := range []struct {
				name string
				to   *[]int32
			}{{"row", &st.Row}, {"start", &st.Start}, {"col", &st.Col}} {
				if *part.to, err = s.ints(kind + "." + part.name + "/" + rest); err != nil {
					return nil, err
				}
			}
		}
		if !slices.Equal(shape, want) {
			return nil, bad(name, "has shape %v, expected %v", shape, want)
		}
	default:
		for i, part := range x.Parts {
			m, err := s.matrix(fmt.Sprintf("%s.%d", kind, i), rest, part, depth+1)
			if err != nil {
				return nil, err
			}
			st.Parts = append(st.Parts, m)
		}
	}
	m, err := linmap.Load(st)
	if err != nil {
		return nil, bad(name, "%v", err)
	}
	if n := entries(st); n > maxEntries {
		return nil, bad(name, "has %d entries, at most %d are possible", n, maxEntries)
	}
	s.out.names[name] = m
	return m, nil
}

// other is a matrix that is one before it, or that one transposed.
func (s *operatorReader) other(name string, x storedMatrix) (linmap.Matrix, error) {
	m, ok := s.out.names[x.Of]
	if !ok {
		return nil, bad(name, "is %s as %.200q, which does not come before it", x.Form, x.Of)
	}
	if x.Form == formSame {
		return m, nil
	}
	if linmap.Store(m).Form != linmap.FormDense {
		return nil, bad(name, "is the transpose of %.200q, which is not dense", x.Of)
	}
	if s.turned[x.Of] == nil {
		s.turned[x.Of] = linmap.Transpose(m)
	}
	return s.turned[x.Of], nil
}

func (s *operatorReader) blend(name string) ([][]float64, error) {
	x, shape, err := s.numbers(name)
	if err != nil {
		return nil, err
	}
	if len(shape) != 2 || shape[1] == 0 {
		return nil, bad(name, "has shape %v, expected [layers, small layers]", shape)
	}
	rows := make([][]float64, shape[0])
	for i := range rows {
		rows[i] = x[int64(i)*shape[1] : (int64(i)+1)*shape[1]]
	}
	return rows, nil
}

func (s *operatorReader) free(name string, x storedFree) (freeTerm, error) {
	out := freeTerm{shape: x.Shape, filled: x.Filled}
	for dt := range fileTypes {
		if dt.String() == x.DType {
			out.dt = dt
		}
	}
	if out.dt == onnxio.Undefined {
		return out, bad(name, "belongs to a tensor of type %.50q, to which nothing can be added", x.DType)
	}
	if out.filled {
		v, shape, err := s.numbers(name)
		if err == nil && (len(shape) != 0 || len(v) != 1) {
			err = bad(name, "has shape %v, expected one number", shape)
		}
		if err == nil {
			out.value = v[0]
		}
		return out, err
	}
	e, err := s.take(name)
	if err != nil {
		return out, err
	}
	out.held = out.dt
	if e.DType != fileTypes[out.dt] {
		out.held = onnxio.Double
	}
	if e.DType != fileTypes[out.held] || !slices.Equal(e.Shape, x.Shape) {
		return out, bad(name, "is %s of shape %.100s, expected %s or F64 of shape %.100s", e.DType, fmt.Sprint(e.Shape), fileTypes[out.dt], fmt.Sprint(x.Shape))
	}
	out.data = fileData{s.f, e}
	s.out.Numbers += e.Bytes() / e.DType.Size()
	return out, out.finite(name)
}

// finite reads the numbers through once.
func (t freeTerm) finite(name string) error {
	x, err := linmap.SurveyOf(onnxio.NewTensor(name, t.held, t.shape, t.data))
	if err == nil && !x.Finite {
		err = bad(name, "not all its numbers are finite")
	}
	return err
}

// tensor is the free term, under the name that its tensor has.
func (t freeTerm) tensor(name string) (*onnxio.Tensor, error) {
	if t.filled {
		return linmap.Fill(t.dt, t.shape, t.value).Renamed(name), nil
	}
	x := onnxio.NewTensor(name, t.held, t.shape, t.data)
	if t.held == t.dt {
		return x, nil
	}
	return linmap.As(t.dt, x)
}

// agrees checks the record against the matrices, before anybody plans by it.
func (f *OperatorFile) agrees() error {
	r := f.Record
	for _, axis := range slices.Sorted(maps.Keys(r.Axes)) {
		to := r.Axes[axis]
		m, ok := f.axes[axis]
		if !ok {
			return bad("", "axis %.200q grows to %d, and there are no matrices for it", axis, to)
		}
		if rows, _ := m.R.Dims(); int64(rows) != to {
			return bad("", "axis %.200q grows to %d, its matrix R to %d", axis, to, rows)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(f.blends)) {
		rows := f.blends[key]
		stage := -1
		if _, err := fmt.Sscanf(key, "%d/", &stage); err != nil || stage < 0 || stage >= len(r.Layers) {
			return bad("w/"+key, "belongs to no run of layers; there are %d", len(r.Layers))
		}
		if int64(len(rows)) != r.Layers[stage] {
			return bad("w/"+key, "makes %d layers, the model gets %d", len(rows), r.Layers[stage])
		}
	}
	if r.Learned != nil && r.Learned.Steps <= 0 {
		return bad("", "the operator was learned in %d steps", r.Learned.Steps)
	}
	return nil
}
