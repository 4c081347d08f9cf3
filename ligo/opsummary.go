package ligo

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/ligo/linmap"
)

const operatorSchema = "ligoonnx/operator@1"

// OperatorSummary is what an operator is, for people and as JSON.
type OperatorSummary struct {
	Schema  string  `json:"schema"`
	SHA256  string  `json:"sha256"`
	Bytes   int64   `json:"bytes"`
	Numbers int64   `json:"numbers"` // in matrices, blends and free terms
	Method  Method  `json:"method"`
	Seed    uint64  `json:"seed"`
	Source  string  `json:"source_sha256,omitempty"`
	From    Sizes   `json:"from"`
	To      Sizes   `json:"to"`
	Promise Promise `json:"promise"`
	// Learned is null for an operator that a method makes.
	Learned  *Learned        `json:"learned"`
	Matrices []MatrixSummary `json:"matrices"`
	// Shared is how many further matrices are one of Matrices, or one transposed.
	Shared int `json:"shared"`
	// Inverses say for every axis how far what is written to it and read from it again is from what was there.
	Inverses []InverseSummary `json:"inverses"`
	Blends   []BlendSummary   `json:"blends"`
	Free     []FreeSummary    `json:"free_terms"`
	// Dropped is the number of tensors of which nothing is taken over.
	Dropped int `json:"dropped"`
	// Skipped counts the figures that are null because they would have taken too long.
	Skipped int `json:"skipped"`
}

// MatrixSummary is a matrix of the operator.
type MatrixSummary struct {
	Name    string `json:"name"`
	To      int    `json:"rows"`
	From    int    `json:"columns"`
	Form    string `json:"form"`
	Learned bool   `json:"learned"`
	// Density is the share of elements that are not zero.
	Density *float64 `json:"density"`
	// Largest and Smallest are singular values; Condition is their ratio, null where the smallest is 0 or was left out.
	Largest   *float64 `json:"largest_singular_value"`
	Smallest  *float64 `json:"smallest_singular_value"`
	Condition *float64 `json:"condition"`
}

// InverseSummary is the largest element of |L·R - I|, for what reads an axis and what writes it: 0 where growing keeps every value.
type InverseSummary struct {
	Axis   string   `json:"axis"`
	Reader string   `json:"reader"`
	Writer string   `json:"writer"`
	Off    *float64 `json:"max_abs_l_r_minus_i"`
}

// BlendSummary is the blend of a module's layers. A row that sums to 1 keeps the size of weights.
type BlendSummary struct {
	Module string  `json:"module"`
	To     int     `json:"layers"`
	From   int     `json:"from_layers"`
	MinSum float64 `json:"row_sum_min"`
	MaxSum float64 `json:"row_sum_max"`
}

// FreeSummary is a free term.
type FreeSummary struct {
	Tensor string  `json:"tensor"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Filled bool    `json:"filled"` // all elements are one number
}

// summaryWork bounds the multiplications of a summary: about ten seconds. The cheapest figures come first.
const summaryWork = 1e10

// Summary measures the operator. Condition numbers and inverses are left out beyond a fixed amount of work. Progress may be nil.
func (f *OperatorFile) Summary(ctx context.Context, progress func(done, total int)) (*OperatorSummary, error) {
	r := f.Record
	s := &OperatorSummary{Schema: operatorSchema, SHA256: f.SHA256, Bytes: f.Bytes, Numbers: f.Numbers, Method: r.Method, Seed: r.Seed, Source: r.Source,
		From: r.From, To: r.To, Promise: r.Promise, Learned: r.Learned, Dropped: len(f.dropped), Blends: []BlendSummary{}, Free: []FreeSummary{}}
	if s.From.Stages == nil {
		s.From.Stages, s.To.Stages = []int64{}, []int64{}
	}
	var work []task
	work = append(work, f.matrixTasks(s)...)
	work = append(work, f.inverseTasks(s)...)
	slices.SortStableFunc(work, func(a, b task) int { return cmp.Compare(a.cost, b.cost) })
	spent := 0.0
	for i, w := range work {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if spent += w.cost; spent > summaryWork {
			s.Skipped = len(work) - i
			break
		}
		if progress != nil {
			progress(i, len(work))
		}
		w.do()
	}
	for _, key := range slices.Sorted(maps.Keys(f.blends)) {
		s.Blends = append(s.Blends, blendSummary(key, f.blends[key]))
	}
	for _, name := range slices.Sorted(maps.Keys(f.free)) {
		t := f.free[name]
		s.Free = append(s.Free, FreeSummary{name, t.dt.String(), append([]int64{}, t.shape...), t.filled})
	}
	return s, nil
}

// task is a figure that takes work.
type task struct {
	cost float64
	do   func()
}

// whole reports whether the name of a matrix is that of a whole one, not of a part (R.0/axis).
func whole(name string) bool {
	kind, _, _ := strings.Cut(name, "/")
	return len(strings.TrimPrefix(kind, startPrefix)) == 1
}

func (f *OperatorFile) matrixTasks(s *OperatorSummary) (work []task) {
	for _, name := range slices.Sorted(maps.Keys(f.names)) {
		m := f.names[name]
		switch {
		case !whole(name):
			continue
		case f.shared[name] != "":
			s.Shared++
			continue
		}
		st := linmap.Store(m)
		x := MatrixSummary{Name: name, To: st.To, From: st.From, Form: string(st.Form), Learned: f.Record.Learned != nil && f.slots[name] != nil}
		if n, ok := linmap.NonZeros(m); ok && st.To > 0 && st.From > 0 {
			d := float64(n) / (float64(st.To) * float64(st.From))
			x.Density = &d
		}
		i := len(s.Matrices)
		s.Matrices = append(s.Matrices, x)
		work = append(work, task{linmap.SingularCost(m), func() {
			large, small, ok := linmap.Singular(m)
			if !ok {
				return
			}
			x := &s.Matrices[i]
			x.Largest, x.Smallest = &large, &small
			if c := large / small; small > 0 && !math.IsInf(c, 0) {
				x.Condition = &c
			}
		}})
	}
	if s.Matrices == nil {
		s.Matrices = []MatrixSummary{}
	}
	return work
}

// inverseTasks pairs what reads an axis with what writes it: of slots where there are any, of the axes otherwise. The matrix of a
// reader acts from the small to the large axis as every slot's does, so it is Lᵀ.
func (f *OperatorFile) inverseTasks(s *OperatorSummary) (work []task) {
	s.Inverses = []InverseSummary{}
	add := func(axis, reader, writer string, l, r linmap.Matrix) {
		i := len(s.Inverses)
		s.Inverses = append(s.Inverses, InverseSummary{Axis: axis, Reader: reader, Writer: writer})
		work = append(work, task{linmap.OffIdentityCost(l, r), func() {
			off := linmap.OffIdentity(l, r)
			s.Inverses[i].Off = &off
		}})
	}
	writers, readers, learned := map[string][]string{}, map[string][]string{}, map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(f.slots)) {
		axis := slotAxis(key)
		for _, name := range strings.Fields(axis) {
			learned[strings.Trim(name, "()")] = true // a factor of a product has no reader of its own any more
		}
		switch key[0] {
		case 'R':
			writers[axis] = append(writers[axis], key)
		case 'L', 'F':
			readers[axis] = append(readers[axis], key)
		}
	}
	prefix := ""
	if len(f.slots) > 0 {
		prefix = startPrefix
	}
	for _, axis := range slices.Sorted(maps.Keys(f.axes)) {
		if m := f.axes[axis]; !learned[axis] {
			add(axis, prefix+"L/"+axis, prefix+"R/"+axis, m.L, m.R)
		}
	}
	for _, axis := range slices.Sorted(maps.Keys(writers)) {
		for _, w := range writers[axis] {
			for _, r := range readers[axis] {
				a, b := f.slots[r], f.slots[w]
				if at, af := a.Dims(); at == dim(b, 0) && af == dim(b, 1) {
					add(axis, r, w, linmap.Transpose(a), b)
				}
			}
		}
	}
	return work
}

func dim(m linmap.Matrix, i int) int {
	to, from := m.Dims()
	return [2]int{to, from}[i]
}

// slotAxis is the axis in a slot's key, KIND/AXIS[@PLACE or OWNER][#PART].
func slotAxis(key string) string {
	_, rest, _ := strings.Cut(key, "/")
	axis, _, _ := strings.Cut(rest, "@")
	return axis
}

func blendSummary(key string, rows [][]float64) BlendSummary {
	b := BlendSummary{Module: key, To: len(rows), MinSum: math.Inf(1), MaxSum: math.Inf(-1)}
	for _, row := range rows {
		sum := 0.0
		for _, v := range row {
			sum += v
		}
		b.From, b.MinSum, b.MaxSum = len(row), min(b.MinSum, sum), max(b.MaxSum, sum)
	}
	if len(rows) == 0 {
		b.MinSum, b.MaxSum = 0, 0
	}
	return b
}
