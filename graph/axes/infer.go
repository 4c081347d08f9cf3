package axes

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
)

// bindings are the sizes tried for run-time dimensions, in the order of the dimensions' first appearance. Primes keep Reshape
// nearly unambiguous; the later lists suit small position tables.
var bindings = [][]int64{
	{11, 13, 17, 19, 23, 29, 31, 37, 41, 43},
	{5, 7, 3, 2, 11, 13, 17},
	{3, 5, 2, 7, 11, 13, 17},
	{2, 3, 5, 7, 11, 13, 17},
}

// maxFolds bounds how deep static Ifs are nested.
const maxFolds = 1000

func infer(ctx context.Context, g *graph.Graph, o Options) (r *Result, err error) {
	b := &budget{ctx: ctx, left: maxWork}
	defer b.rescue(&err)
	g = g.Clone()
	if err := g.Normalize(); err != nil {
		return nil, err
	}
	var best *state
	try := func(bind func(int, string) int64) error {
		s, err := sweepFolding(b, g, bind, nil)
		if err != nil {
			return err
		}
		if ones := s.widthsOfOne(); len(ones) > 0 {
			t, err := sweepFolding(b, g, bind, ones)
			if err != nil {
				return err
			}
			if !s.betterThan(t) {
				s = t
			}
		}
		if best == nil || s.betterThan(best) {
			best = s
		}
		return nil
	}
	for _, b := range bindings {
		if err := try(func(i int, _ string) int64 { return b[i%len(b)] }); err != nil {
			return nil, err
		}
		if best.clean() {
			break
		}
	}
	for tries, better := 0, true; better && !best.clean(); {
		better = false
		for _, e := range best.equals() {
			if tries++; tries > maxRebinds {
				break
			}
			was, bind := best, best.bindTo
			if err := try(func(i int, param string) int64 {
				if param == e.param {
					return e.size
				}
				return bind(i, param)
			}); err != nil {
				return nil, err
			}
			if better = best != was; better {
				break
			}
		}
	}
	if !best.clean() && len(o.Bind) > 0 {
		b := bindings[0]
		if err := try(func(i int, param string) int64 {
			if n, ok := o.Bind[param]; ok && n > 0 {
				return n
			}
			return b[i%len(b)]
		}); err != nil {
			return nil, err
		}
	}
	return best.result(), nil
}

// twinDims leads from run-time dimensions to others that are as long: those at the same place of an earlier input of the same form.
// Layers have caches of one length even where the exporter named every dimension on its own, and the first axis is the batch.
// Inputs of fewer axes than rank are no caches: tokens and their mask may differ in length.
func twinDims(g *graph.Graph, rank int) map[string]string {
	twins := map[string]string{}
	first := map[string]*graph.Value{}
	batch := ""
	for _, v := range g.Inputs {
		if v.Type == nil || len(v.Type.Dims) == 0 {
			continue
		}
		switch p := v.Type.Dims[0].Param; {
		case batch == "":
			batch = p
		case p != "" && p != batch:
			twins[p] = batch
		}
		if len(v.Type.Dims) < rank {
			continue
		}
		form := fmt.Sprint(v.Type.Elem)
		for _, d := range v.Type.Dims {
			if d.Param != "" {
				form += " ?"
			} else {
				form += fmt.Sprintf(" %d", d.Value)
			}
		}
		f := first[form]
		if f == nil {
			first[form] = v
			continue
		}
		for i, d := range v.Type.Dims {
			if t := f.Type.Dims[i].Param; d.Param != "" && d.Param != t && twins[d.Param] == "" {
				twins[d.Param] = t
			}
		}
	}
	return twins
}

// maxRebinds bounds the bindings that conflicts suggest: a few for each layer of a model with caches.
const maxRebinds = 256

// rebinding is a size to try for a run-time dimension.
type rebinding struct {
	param string
	size  int64
}

// equals lists bindings that may end the conflicts between run-time sizes. Exporters that name every dimension of every input (one
// past length for each layer's cache) leave out which of them must be equal: those whose sizes differ, or relate, as the sizes in
// conflict do.
func (s *state) equals() []rebinding {
	names := slices.Sorted(maps.Keys(s.runs))
	var out []rebinding
	if s.uncovered > 0 {
		twins := twinDims(s.g, 1)
		for _, p := range names {
			if q, ok := s.runs[twins[p]]; ok && q.find().size != s.runs[p].find().size {
				out = append(out, rebinding{p, q.find().size})
			}
		}
	}
	for _, c := range s.clashes {
		for _, p := range names {
			for _, q := range names {
				x, y := s.runs[p].find().size, s.runs[q].find().size
				if x == y || x-y != c[0]-c[1] && x*c[1] != y*c[0] {
					continue
				}
				for _, e := range []rebinding{{q, x}, {p, y}} {
					if !slices.Contains(out, e) {
						out = append(out, e)
					}
				}
			}
		}
	}
	return out
}

// clean reports that no other binding could do better.
func (s *state) clean() bool { return len(s.conflicts) == 0 && s.uncovered == 0 }

func (s *state) betterThan(t *state) bool {
	if len(s.conflicts) != len(t.conflicts) {
		return len(s.conflicts) < len(t.conflicts)
	}
	return s.uncovered < t.uncovered
}

// sweepFolding sweeps, folding the Ifs that turn out static, until none is left. Folding changes g.
func sweepFolding(b *budget, g *graph.Graph, bind func(int, string) int64, ones map[birthKey]bool) (*state, error) {
	for range maxFolds {
		s := newState(b, g, bind, ones)
		if err := s.sweep(); err != nil {
			return nil, err
		}
		if len(s.staticIfs) == 0 {
			return s, nil
		}
		for _, f := range s.staticIfs {
			if err := g.InlineBranch(f.node, f.branch); err != nil {
				return nil, err
			}
		}
		if err := g.Normalize(); err != nil {
			return nil, err
		}
	}
	return nil, &graph.InvalidError{Where: b.at.String(), Problem: fmt.Sprintf("If nodes nested more than %d deep", maxFolds)}
}

func (s *state) sweep() error {
	twins := twinDims(s.g, 3)
	for _, v := range s.g.Inputs {
		s.input(v, twins)
	}
	for _, c := range s.g.Consts {
		s.constant(c)
	}
	for _, n := range s.g.Nodes {
		if s.at = n; s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if err := wellFormed(n); err != nil {
			return err
		}
		if n.Op == "If" && n.Domain == "" {
			// the sweep goes on behind a static If with its outputs unknown, to find others: it only counts when it finds none
			if !s.foldIf(n) {
				s.noRule(n, "its condition depends on the data or on a run-time size")
			}
			continue
		}
		s.apply(n)
	}
	return nil
}

// foldIf finds out whether the condition of an If is known and does not depend on run-time sizes.
func (s *state) foldIf(n *graph.Node) bool {
	if len(n.In) == 0 || n.In[0] == nil {
		return false
	}
	st := s.vals[n.In[0]]
	if st == nil || len(st.elems) != 1 || st.elems[0].run() {
		return false
	}
	name := "else_branch"
	if st.elems[0].ival != 0 {
		name = "then_branch"
	}
	a := n.Attr(name)
	if a == nil || a.G == nil {
		return false
	}
	s.staticIfs = append(s.staticIfs, staticIf{n, a.G})
	return true
}
