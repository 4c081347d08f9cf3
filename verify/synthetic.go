package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/graph/inputs"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// Inputs are made from the signature alone: what a number means is read from what the graph does with it (graph/inputs), and how the
// named sizes depend on each other (a mask of length past + sequence, say) is found by trying until the model runs.

// Runner runs a model; *engine.Engine is one.
type Runner interface {
	Run(ctx context.Context, in map[string]*onnxio.Tensor) (map[string]*onnxio.Tensor, error)
}

// scenario is one choice of the sizes that a signature leaves open, and of what is in the tensors.
type scenario struct {
	name                  string
	batch, sequence, past int64
	pad                   padding
	repeat                bool // one token everywhere
}

type padding uint8

const (
	noPadding padding = iota
	padRight
	padLeft
)

// probe tells the roles of sizes apart: no two of its sizes, or their sum, are equal, and none is 1, which broadcasts.
var probe = scenario{name: "batch 2, length 5", batch: 2, sequence: 5, past: 3}

// role is what a size is made of.
type role struct {
	batch, sequence, past int64 // factors
	plus                  int64
}

func (r role) size(s scenario) int64 {
	return r.batch*s.batch + r.sequence*s.sequence + r.past*s.past + r.plus
}

var (
	isBatch    = role{batch: 1}
	isSequence = role{sequence: 1}
	isPast     = role{past: 1}
	isTotal    = role{sequence: 1, past: 1}
)

func fixed(n int64) role { return role{plus: n} }

// unknown is one number that the signature leaves open: a named or unnamed size, or the content of a scalar.
type unknown struct {
	name       string
	candidates []role // most likely first
	chosen     int
}

func (u *unknown) role() role { return u.candidates[u.chosen] }

// synthesizer makes inputs for a model.
type synthesizer struct {
	g        *graph.Graph
	run      Runner
	seed     uint64
	inputs   []*input
	unknowns []*unknown
	solved   bool
}

// input is one input of the model.
type input struct {
	v     *graph.Value
	sizes []*unknown // by axis; nil where the size is fixed
	inputs.Meaning
	scalar *unknown // the content, for integers of rank 0 or 1 that no table bounds
}

// newSynthesizer prepares to make inputs for g; run must run g. Inputs that are not dense tensors of a known rank cannot be made.
func newSynthesizer(g *graph.Graph, run Runner, seed uint64) (*synthesizer, error) {
	s := &synthesizer{g: g, run: run, seed: seed}
	byName := map[string]*unknown{}
	forms, twins := map[string]*onnxio.Type{}, map[string]string{}
	for _, v := range g.Inputs {
		t := v.Type
		if t == nil || t.Kind != "tensor" || !t.HasShape {
			return nil, fmt.Errorf("input %q: its type is not that of a tensor with a known number of axes, so no input can be made up", v.Name)
		}
		in := &input{v: v, sizes: make([]*unknown, len(t.Dims)), Meaning: inputs.Of(v)}
		if in.Kind == inputs.Unsupported {
			return nil, fmt.Errorf("input %q: no inputs of type %v can be made up", v.Name, t.Elem)
		}
		if in.Kind == inputs.Floats && len(t.Dims) >= 3 {
			twin(t, forms, twins)
		}
		for axis, d := range t.Dims {
			if d.Param == "" && d.Value >= 0 {
				continue
			}
			name := d.Param
			if name == "" {
				name = fmt.Sprintf("axis %d of %s", axis, v.Name)
			}
			if twin := twins[name]; twin != "" {
				name = twin
			}
			u := byName[name]
			if u == nil {
				u = &unknown{name: name}
				byName[name] = u
				s.unknowns = append(s.unknowns, u)
			}
			u.suggest(in, axis, len(t.Dims))
			in.sizes[axis] = u
		}
		if in.Kind == inputs.Mask && len(t.Dims) <= 1 && t.Elem != onnxio.Bool {
			in.scalar = &unknown{name: v.Name, candidates: []role{fixed(1), isTotal, isSequence, isPast, {sequence: 1, past: 1, plus: -1}}}
			s.unknowns = append(s.unknowns, in.scalar)
		}
		s.inputs = append(s.inputs, in)
	}
	return s, nil
}

// twin finds the sizes of an input that are those of an earlier one of the same form, whatever their names: layers have caches of one
// length, and some exporters name the length of each.
func twin(t *onnxio.Type, forms map[string]*onnxio.Type, twins map[string]string) {
	form := fmt.Sprint(t.Elem)
	for _, d := range t.Dims {
		if d.Param != "" {
			form += " ?"
		} else {
			form += fmt.Sprintf(" %d", d.Value)
		}
	}
	first := forms[form]
	if first == nil {
		forms[form] = t
		return
	}
	for i, d := range t.Dims {
		if f := first.Dims[i].Param; d.Param != f && twins[d.Param] == "" {
			twins[d.Param] = f
		}
	}
}

// suggest adds what the size of an axis may be, in the order of how often it is that in exports.
func (u *unknown) suggest(in *input, axis, rank int) {
	var more []role
	cache := in.Kind == inputs.Floats && rank >= 3
	switch {
	case strings.Contains(u.name, "+"):
		more = []role{isTotal, {past: 1, plus: 1}, isSequence}
	case axis == 0:
		more = []role{isBatch, isSequence, isTotal, fixed(1)}
	case cache && rank == 4:
		more = []role{isPast, isTotal, isSequence, fixed(3), fixed(1), fixed(32), fixed(224)}
	case cache:
		more = []role{isSequence, isPast, isTotal}
	default:
		more = []role{isSequence, isTotal, isPast, fixed(1)}
	}
	for _, r := range more {
		if !slices.Contains(u.candidates, r) {
			u.candidates = append(u.candidates, r)
		}
	}
}

// maxTries bounds the search for sizes that fit together.
const maxTries = 400

// solve finds roles for all unknowns with which the model runs.
func (s *synthesizer) solve(ctx context.Context) error {
	if s.solved {
		return nil
	}
	var first error
	for try := 0; try < maxTries; try++ {
		err := s.attempt(ctx, probe)
		if err == nil {
			s.solved = true
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var unsupported *engine.UnsupportedError
		if errors.As(err, &unsupported) {
			return err // no choice of inputs changes that
		}
		if first == nil {
			first = err
		}
		if !s.next() {
			break
		}
	}
	if len(s.unknowns) == 0 {
		return fmt.Errorf("the model does not run on inputs made from its signature: %w", first)
	}
	names := make([]string, len(s.unknowns))
	for i, u := range s.unknowns {
		names[i] = u.name
	}
	return fmt.Errorf("no sizes of %s were found with which the model runs; with the most likely ones: %w", strings.Join(names, ", "), first)
}

// next goes to the next combination of roles, the last unknowns first; false when there is none.
func (s *synthesizer) next() bool {
	for i := len(s.unknowns) - 1; i >= 0; i-- {
		u := s.unknowns[i]
		if u.chosen++; u.chosen < len(u.candidates) {
			return true
		}
		u.chosen = 0
	}
	return false
}

func (s *synthesizer) attempt(ctx context.Context, sc scenario) error {
	set, err := s.make(sc)
	if err != nil {
		return err
	}
	_, err = s.run.Run(ctx, set.Inputs)
	return err
}

// uses reports whether some size depends on what f picks.
func (s *synthesizer) uses(f func(role) int64) bool {
	return slices.ContainsFunc(s.unknowns, func(u *unknown) bool { return f(u.role()) != 0 })
}

func (s *synthesizer) has(k inputs.Kind) bool {
	return slices.ContainsFunc(s.inputs, func(in *input) bool { return in.Kind == k })
}

// Options of how much to make.
type synthesis struct {
	short     bool  // only the base case and length 1
	maxTokens int64 // batch times length
}

// sets makes the sets of inputs, and notes on what was left out.
func (s *synthesizer) sets(ctx context.Context, o synthesis) ([]dataset.Set, []string, error) {
	if err := s.solve(ctx); err != nil {
		return nil, nil, err
	}
	var notes []string
	var sets []dataset.Set
	for i, sc := range s.scenarios(o) {
		if tokens := s.tokens(sc); i > 0 && o.maxTokens > 0 && tokens > o.maxTokens {
			notes = append(notes, fmt.Sprintf("%s: left out, %d tokens take too long on a model of this size", sc.name, tokens))
			continue
		}
		set, err := s.make(sc)
		if err != nil {
			return nil, nil, err
		}
		sets = append(sets, set)
	}
	if !o.short {
		set, note, err := s.longest(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		if set != nil {
			sets = append(sets, *set)
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	return sets, notes, nil
}

// scenarios lists the cases that the model can be given at all.
func (s *synthesizer) scenarios(o synthesis) []scenario {
	batch := s.uses(func(r role) int64 { return r.batch })
	sequence := s.uses(func(r role) int64 { return r.sequence })
	past := s.uses(func(r role) int64 { return r.past })
	masked, tokens := s.has(inputs.Mask), s.has(inputs.Index)
	named := func(sc scenario) scenario {
		var parts []string
		if batch {
			parts = append(parts, fmt.Sprintf("batch %d", sc.batch))
		}
		if sequence {
			parts = append(parts, fmt.Sprintf("length %d", sc.sequence))
		}
		if past {
			parts = append(parts, fmt.Sprintf("past %d", sc.past))
		}
		switch {
		case sc.pad == padRight:
			parts = append(parts, "padded right")
		case sc.pad == padLeft:
			parts = append(parts, "padded left")
		case sc.repeat:
			parts = append(parts, "one token repeated")
		}
		if len(parts) == 0 {
			parts = append(parts, "random values")
		}
		sc.name = strings.Join(parts, ", ")
		return sc
	}
	out := []scenario{named(probe)}
	if batch || sequence {
		out = append(out, named(scenario{batch: 1, sequence: 1, past: probe.past}))
	}
	if o.short {
		return out
	}
	if past {
		out = append(out, named(scenario{batch: 1, sequence: 4}))
	}
	if batch || sequence {
		out = append(out, named(scenario{batch: 3, sequence: 8, past: 1}))
	}
	if masked {
		out = append(out, named(scenario{batch: 3, sequence: 7, past: 2, pad: padRight}), named(scenario{batch: 2, sequence: 6, past: 2, pad: padLeft}))
	}
	if tokens {
		out = append(out, named(scenario{batch: 1, sequence: 6, past: 2, repeat: true}))
	}
	return out
}

// tokens is what a scenario costs: the elements of the largest input that is looked up in a table, or else batch times length.
func (s *synthesizer) tokens(sc scenario) int64 {
	most := int64(0)
	for _, in := range s.inputs {
		if in.Kind != inputs.Index {
			continue
		}
		n := int64(1)
		for _, d := range in.dims(sc) {
			n *= d
		}
		most = max(most, n)
	}
	if most == 0 {
		most = sc.batch * sc.sequence
	}
	return most
}

const longestSequence = 1024

// longest makes the longest sequence that the model takes: tables of positions and masks have their last rows there. Their
// lengths are sizes of constants, so those are what is tried.
func (s *synthesizer) longest(ctx context.Context, o synthesis) (*dataset.Set, string, error) {
	if !s.uses(func(r role) int64 { return r.sequence }) {
		return nil, "", nil
	}
	var lengths []int64
	for _, v := range s.g.Consts {
		for _, d := range v.Const.Dims {
			if d > probe.sequence+probe.past && d <= longestSequence {
				lengths = append(lengths, d)
			}
		}
	}
	slices.Sort(lengths)
	lengths = slices.Compact(lengths)
	slices.Reverse(lengths)
	for _, n := range lengths {
		sc := scenario{batch: 1, sequence: n, name: fmt.Sprintf("length %d", n)}
		if o.maxTokens > 0 && s.tokens(sc) > o.maxTokens {
			continue
		}
		err := s.attempt(ctx, sc)
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		if err != nil {
			continue
		}
		beyond := sc
		beyond.sequence++
		if s.attempt(ctx, beyond) != nil {
			sc.name += ", the longest that the model takes"
		}
		set, err := s.make(sc)
		return &set, "", err
	}
	return nil, fmt.Sprintf("no sequence longer than %d was tried: none of the sizes that the constants suggest is affordable and runs",
		probe.sequence+probe.past), nil
}
