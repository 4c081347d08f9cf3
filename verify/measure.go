package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// The engines run one after the other, each on all sets, so that the weights of one model in one precision are all that memory
// has to hold.

// maxWork is how many operations the made-up inputs may cost a model forward; it decides how long sequences get.
const maxWork = 1.5e11

// values are the outputs of one model on one set.
type values map[string]tensor

type tensor struct {
	dims []int64
	v    []float64
}

// measure runs both models and compares their outputs.
func (c *comparison) measure(ctx context.Context) error {
	double := c.report.Basis.Arithmetic == onnxio.Double.String()
	c.report.Shadow = c.o.Shadow && !double
	if c.o.Shadow && double {
		c.note("the models compute in float64 themselves, so there is no shadow run")
	}
	sets, native, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	for _, v := range c.small.Graph.Outputs {
		c.outputs = append(c.outputs, &output{name: v.Name, dtype: elemOf(v)})
	}
	c.release(c.small)
	total := len(sets)
	if c.report.Shadow {
		total *= 3
	}
	done := 0
	step := func(what string) {
		if c.o.Progress != nil {
			c.o.Progress(done, total, what)
		}
		done++
	}
	var exact []values
	if c.report.Shadow {
		if exact, err = c.smallShadow(ctx, sets, step); err != nil {
			return err
		}
	}
	c.release(c.small)
	grown := make([]dataset.Set, len(sets))
	for i, s := range sets {
		if grown[i], err = c.grownInputs(s); err != nil {
			return err
		}
	}
	if !c.largeRun(ctx, grown, false, step, func(i int, got values) { c.compare(sets[i].Name, got, native[i], at(exact, i)) }) {
		return ctx.Err()
	}
	c.release(c.large)
	if c.report.Shadow {
		c.largeRun(ctx, grown, true, step, func(i int, got values) { c.compareShadow(got, native[i], exact[i]) })
	}
	return ctx.Err()
}

// mostKept is how many parameters a model may have that is not worth the trouble of release.
const mostKept = 4_000_000

// release lets go of the memory behind a model that has been run: pages of its file, and what an engine made of its weights. The
// next engine needs as much again, and the collector would only begin to look when both are there.
func (c *comparison) release(m Model) {
	if c.report.Large.Params <= mostKept {
		return
	}
	for _, v := range m.Graph.Consts {
		v.Const.Forget()
	}
	debug.FreeOSMemory()
}

func at(v []values, i int) values {
	if v == nil {
		return nil
	}
	return v[i]
}

func elemOf(v *graph.Value) onnxio.DType {
	if v.Type == nil {
		return onnxio.Undefined
	}
	return v.Type.Elem
}

// prepare gathers the sets of inputs and what the small model gives for them. Made-up sets that the small model cannot take are
// left out; given ones must fit.
func (c *comparison) prepare(ctx context.Context) ([]dataset.Set, []values, error) {
	e, err := engine.New(c.small.Graph, engine.Options{MaxMemory: c.o.MaxMemory, Frugal: true})
	if err != nil {
		return nil, nil, inModel(c.small, err)
	}
	var kept []dataset.Set
	var outs []values
	order := inputNames(c.small.Graph)
	take := func(s dataset.Set, synthetic bool) error {
		got, err := e.Run(ctx, s.Inputs)
		if err != nil {
			return err
		}
		v, err := read(got)
		if err != nil {
			return err
		}
		for _, name := range sortedNames(v) {
			if slices.ContainsFunc(v[name].v, math.IsNaN) {
				c.note("the small model itself gives NaN in %s for %q", name, s.Name)
			}
		}
		kept, outs = append(kept, s), append(outs, v)
		c.report.Sets = append(c.report.Sets, SetInfo{s.Name, synthetic, describe(&s, order)})
		return nil
	}
	for _, s := range c.o.Sets {
		if err := take(s, false); err != nil {
			return nil, nil, inModel(c.small, fmt.Errorf("inputs %q: %w", s.Name, err))
		}
	}
	if c.o.Synthetic || len(c.o.Sets) == 0 {
		made, err := c.synthesize(ctx, e)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range made {
			err := take(s, true)
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			if err != nil {
				c.note("%s: left out, the small model does not take it: %v", s.Name, err)
			}
		}
	}
	if len(kept) == 0 {
		return nil, nil, inModel(c.small, errors.New("there are no inputs on which the models could be compared"))
	}
	return kept, outs, nil
}

func (c *comparison) synthesize(ctx context.Context, e *engine.Engine) ([]dataset.Set, error) {
	s, err := newSynthesizer(c.small.Graph, e, c.o.Seed)
	if err != nil {
		return nil, inModel(c.small, err)
	}
	tokens := int64(maxWork / (2 * math.Max(1, float64(c.report.Large.Params))))
	made, notes, err := s.sets(ctx, synthesis{short: c.o.Short, maxTokens: max(tokens, 8)})
	c.report.Notes = append(c.report.Notes, notes...)
	return made, inModel(c.small, err)
}

// smallShadow runs the small model in float64.
func (c *comparison) smallShadow(ctx context.Context, sets []dataset.Set, step func(string)) ([]values, error) {
	e, err := engine.New(c.small.Graph, engine.Options{Float64: true, MaxMemory: c.o.MaxMemory, Frugal: true})
	if err != nil {
		return nil, inModel(c.small, err)
	}
	out := make([]values, len(sets))
	for i, s := range sets {
		step("small model in float64: " + s.Name)
		got, err := e.Run(ctx, s.Inputs)
		if err != nil {
			return nil, inModel(c.small, fmt.Errorf("in float64: %w", err))
		}
		if out[i], err = read(got); err != nil {
			return nil, inModel(c.small, err)
		}
	}
	return out, nil
}

// largeRun runs the large model on all sets; false when it does not run, which is a failure of the certificate.
func (c *comparison) largeRun(ctx context.Context, sets []dataset.Set, shadow bool, step func(string), each func(int, values)) bool {
	what := "large model"
	if shadow {
		what += " in float64"
	}
	fail := func(set string, err error) bool {
		if ctx.Err() == nil {
			c.report.fail(FailRun, set, fmt.Sprintf("the %s does not run: %v", what, err))
		}
		return false
	}
	e, err := engine.New(c.large.Graph, engine.Options{Float64: shadow, MaxMemory: c.o.MaxMemory, Frugal: true})
	if err != nil {
		return fail("", err)
	}
	for i, s := range sets {
		step(what + ": " + s.Name)
		got, err := e.Run(ctx, s.Inputs)
		if err != nil {
			return fail(s.Name, err)
		}
		v, err := read(got)
		if err != nil {
			return fail(s.Name, err)
		}
		each(i, v)
	}
	return true
}

// grownInputs makes the large model's inputs from the small model's: values whose axes grew are mapped, the caches of new layers
// are made up.
func (c *comparison) grownInputs(s dataset.Set) (dataset.Set, error) {
	out := dataset.Set{Name: s.Name, Inputs: map[string]*onnxio.Tensor{}}
	sizes := map[string]int64{}
	for _, v := range c.small.Graph.Inputs {
		t := s.Inputs[v.Name]
		if t == nil || v.Type == nil {
			continue
		}
		for i, d := range v.Type.Dims {
			if d.Param != "" && i < len(t.Dims) {
				sizes[d.Param] = t.Dims[i]
			}
		}
	}
	for _, v := range c.large.Graph.Inputs {
		if t := s.Inputs[v.Name]; t != nil {
			m := c.o.Growth.maps(false)[v.Name]
			if m == nil {
				out.Inputs[v.Name] = t
				continue
			}
			g, err := linmap.Grow(t, m)
			if err != nil {
				return out, fmt.Errorf("input %q: %w", v.Name, err)
			}
			out.Inputs[v.Name] = g
			continue
		}
		t, err := c.extraInput(v, s, sizes)
		if err != nil {
			// The structural failure, if it is one, is reported already; the run will name the input that is missing.
			c.note("input %q of the large model: %v", v.Name, err)
			continue
		}
		out.Inputs[v.Name] = t
	}
	return out, nil
}

// extraInput makes a value for an input that only the large model has, such as the cache of a new layer.
func (c *comparison) extraInput(v *graph.Value, s dataset.Set, sizes map[string]int64) (*onnxio.Tensor, error) {
	if v.Type == nil || !v.Type.HasShape || !v.Type.Elem.Growable() {
		return nil, errors.New("only floating-point inputs of a known rank can be made up")
	}
	dims := make([]int64, len(v.Type.Dims))
	n := int64(1)
	for i, d := range v.Type.Dims {
		size, known := sizes[d.Param]
		switch {
		case d.Param == "" && d.Value >= 0:
			dims[i] = d.Value
		case d.Param != "" && known:
			dims[i] = size
		default:
			dims[i] = 1
			for _, in := range c.small.Graph.Inputs { // as the caches that there are
				if t := s.Inputs[in.Name]; t != nil && len(t.Dims) == len(dims) && t.DType == v.Type.Elem {
					dims[i] = t.Dims[i]
				}
			}
		}
		n *= dims[i]
	}
	return normal(v.Name, v.Type.Elem, dims, n, source(c.o.Seed, s.Name, v.Name))
}

// read takes the outputs out of the engine's tensors. Types that are no numbers are left out.
func read(out map[string]*onnxio.Tensor) (values, error) {
	v := values{}
	for name, t := range out {
		f, err := t.Float64s()
		if err != nil {
			return nil, err
		}
		v[name] = tensor{t.Dims, f}
	}
	return v, nil
}

func inputNames(g *graph.Graph) []string {
	var names []string
	for _, v := range g.Inputs {
		names = append(names, v.Name)
	}
	return names
}

func sortedNames(v values) []string {
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ModelError is an error about one of the models.
type ModelError struct {
	Path string
	Err  error
}

func (e *ModelError) Error() string { return e.Path + ": " + e.Err.Error() }

func (e *ModelError) Unwrap() error { return e.Err }

func inModel(m Model, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &ModelError{m.Path, err}
}
