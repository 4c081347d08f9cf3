package blocks

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// trail is the way of the stream through a block, from its end back to its start.
type trail struct {
	norms  []*axes.Norm   // that the stream passes, the last first
	before []*graph.Value // what is added to the stream before the last norm, or at all where there is none
	after  []*graph.Value // what is added after it
}

// inert finds out which constants silence a block.
//
// Pre-norm: every branch is added to a stream that nothing else touches; a block whose branches end in zeros passes it on.
// Post-norm: the stream goes through norms, and norm after norm is one norm when the first has gain 1 and bias 0. Anything else on
// the stream (a scale) changes it whatever the branches give.
func (b *builder) inert(st *Stage) {
	first := b.blocks[0]
	end := first.Out[0]
	in := &inertia{b: b, memo: map[*graph.Value]*trail{}}
	if len(first.In) == 2 { // the stream is the sum; its norm trails
		if n := b.f.norms[end]; n != nil {
			st.Trail = []StreamNorm{b.streamNorm(n)}
		}
		in.trailing = end
	}
	way := in.stream(end)
	if way == nil {
		in.norms, in.memo = true, map[*graph.Value]*trail{}
		way = in.stream(end)
	}
	if why := in.check(way); why != "" {
		st.Why = why
		return
	}
	if st.Zero, st.Why = in.silent(way.before); st.Why != "" {
		return
	}
	if st.LateZero, st.Why = in.silent(way.after); st.Why != "" {
		st.Zero = nil
		return
	}
	if n := uncopyable(b.blocks); n != nil {
		st.Why = fmt.Sprintf("node %s reads values of its layer in a sub-graph, which cannot be copied", n)
		st.Zero, st.LateZero = nil, nil
		return
	}
	st.PostNorm = len(way.norms) > 0
	for _, n := range slices.Backward(way.norms) {
		st.Shift = append(st.Shift, b.streamNorm(n))
	}
	if len(way.after) > 0 && st.PostNorm {
		st.Late = b.late(way.norms[0].Out)
	}
}

// silent lists the modules which, set to zero, make all the branches of a block zero.
func (in *inertia) silent(branches []*graph.Value) ([]*Module, string) {
	consts, why := in.all(branches...)
	if why != "" {
		return nil, why
	}
	var mods []*Module
	for _, c := range consts {
		m := in.b.module[c]
		if m == nil {
			return nil, fmt.Sprintf("constant %q ends a residual branch, but the other layers have nothing that corresponds to it", c.Name)
		}
		if !slices.Contains(mods, m) {
			mods = append(mods, m)
		}
	}
	return mods, ""
}

// late lists the modules of what the first block computes from v, a value on its stream.
func (b *builder) late(v *graph.Value) []*Module {
	from := func(start ...*graph.Value) map[*graph.Node]bool {
		set := map[*graph.Node]bool{}
		for _, n := range b.blocks[0].Nodes {
			if slices.ContainsFunc(n.In, func(w *graph.Value) bool {
				return w != nil && (slices.Contains(start, w) || set[w.Producer])
			}) {
				set[n] = true
			}
		}
		return set
	}
	late, onStream := from(v), from(b.blocks[0].In...)
	for _, n := range slices.Backward(b.blocks[0].Nodes) { // what prepares its weights
		if !onStream[n] && b.onlyUsedBy(n, late) {
			late[n] = true
		}
	}
	var mods []*Module
	for _, m := range b.modules {
		if late[m.Consts[0].Uses[0].Node] {
			mods = append(mods, m)
		}
	}
	return mods
}

func (b *builder) streamNorm(n *axes.Norm) StreamNorm {
	return StreamNorm{Gain: b.module[n.Gain], Bias: b.module[n.Bias]}
}

// uncopyable finds a node whose sub-graph reads values by name.
func uncopyable(blocks []*Block) *graph.Node {
	for _, bl := range blocks {
		for _, n := range bl.Nodes {
			if len(n.Captures) > 0 {
				return n
			}
		}
	}
	return nil
}

type inertia struct {
	b        *builder
	norms    bool         // the stream may go through norms
	trailing *graph.Value // the normed value beside the stream at the block's end; its norm is not on the stream
	memo     map[*graph.Value]*trail
	stop     *graph.Node // the node where the search gave up first, for the message
}

func (in *inertia) check(way *trail) string {
	where := ""
	if in.stop != nil {
		where = fmt.Sprintf(" (node %s)", in.stop)
	}
	if way == nil {
		return "the residual stream is more than sums and norms" + where + ", so no weights make a layer leave it as it is"
	}
	for _, n := range way.norms {
		if n.Kind == axes.BatchNorm {
			return fmt.Sprintf("a batch norm is on the residual stream (node %s): two in a row are not one", n.Node)
		}
	}
	return ""
}

// stream follows the stream backwards from v to the start of the first block; nil where v is not on it.
func (in *inertia) stream(v *graph.Value) *trail {
	start := in.b.blocks[0].In
	if v == start[len(start)-1] { // of a pair, the sum
		return &trail{}
	}
	if v == nil || !in.b.in[0][v.Producer] {
		return nil
	}
	if t, ok := in.memo[v]; ok {
		return t
	}
	in.memo[v] = nil
	t := in.step(v)
	if t == nil && in.stop == nil && in.b.f.r.Carries(v, in.b.f.d) {
		in.stop = v.Producer
	}
	in.memo[v] = t
	return t
}

func (in *inertia) step(v *graph.Value) *trail {
	n := v.Producer
	if norm := in.b.f.norms[v]; norm != nil || (isSkipNorm(n) && v.OutIndex == 0) {
		var t *trail
		switch {
		case v != in.trailing && !in.norms:
			return nil
		case isSkipNorm(n):
			t = in.sum(n)
		default:
			t = in.stream(norm.In)
		}
		if t == nil || v == in.trailing {
			return t
		}
		if norm == nil {
			return nil
		}
		return &trail{norms: append([]*axes.Norm{norm}, t.norms...), before: slices.Concat(t.before, t.after)}
	}
	switch {
	case isView(n):
		return in.stream(n.In[0])
	case len(addends(n)) > 0 && (v.OutIndex == 0 || v.OutIndex == skipNormSum):
		return in.sum(n)
	}
	return nil
}

// sum follows the one operand of a sum that is the stream; the others are branches.
func (in *inertia) sum(n *graph.Node) *trail {
	at := -1
	var way *trail
	for _, k := range addends(n) {
		if t := in.stream(n.In[k]); t != nil && (way == nil || len(t.norms) < len(way.norms)) {
			at, way = k, t
		}
	}
	if way == nil {
		return nil
	}
	var added []*graph.Value
	for _, k := range addends(n) {
		if k != at {
			added = append(added, n.In[k])
		}
	}
	if isSkipNorm(n) {
		if k := skipNormBias(n); k < len(n.In) && n.In[k] != nil {
			added = append(added, n.In[k])
		}
	}
	if len(way.norms) > 0 {
		return &trail{norms: way.norms, before: way.before, after: slices.Concat(way.after, added)}
	}
	return &trail{before: slices.Concat(way.before, added)}
}

// silence lists constants which, set to zero, make v zero; it says why there are none.
func (in *inertia) silence(v *graph.Value) ([]*graph.Value, string) {
	if v == nil {
		return nil, "a residual branch ends in an operand that is left out"
	}
	if v.IsConst() {
		return []*graph.Value{v}, ""
	}
	n := v.Producer
	if n == nil || !in.b.in[0][n] {
		return nil, fmt.Sprintf("a residual branch ends in %q, which the layers share", v.Name)
	}
	if norm := in.b.f.norms[v]; norm != nil {
		return in.silenceNorm(norm)
	}
	arg := func(i int) *graph.Value {
		if i < len(n.In) {
			return n.In[i]
		}
		return nil
	}
	switch {
	case len(addends(n)) > 0 && !isSkipNorm(n), n.Domain == "" && (n.Op == "Sub" || n.Op == "Concat"):
		return in.all(n.In...)
	case n.Domain == "com.microsoft" && (n.Op == "FastGelu" || n.Op == "BiasGelu" || n.Op == "BiasAdd"):
		return in.all(n.In...)
	case n.Domain == "" && n.Op == "Where" && len(n.In) == 3:
		return in.all(n.In[1], n.In[2])
	case n.Domain == "" && n.Op == "Mul" && len(n.In) == 2:
		return in.factor(n.In[0], n.In[1])
	case n.Op == "MatMul" || n.Op == "FusedMatMul" || n.Op == "MatMulInteger":
		return in.factor(arg(1), arg(0))
	case n.Op == "Gemm" || n.Op == "Conv" && n.Domain == "":
		zero, why := in.factor(arg(1), arg(0))
		if why != "" || arg(2) == nil || (n.Op == "Gemm" && n.Float("beta", 1) == 0) {
			return zero, why
		}
		bias, why := in.silence(arg(2))
		return append(zero, bias...), why
	case n.Domain == "com.microsoft" && n.Op == "Attention" && arg(4) == nil: // packed projections: the values become zero
		return in.all(arg(1), arg(2))
	case keepsZero(n):
		return in.silence(n.In[0])
	}
	return nil, fmt.Sprintf("a residual branch ends in node %s, which no weights make zero", n)
}

// silenceNorm zeroes a norm at the end of a branch: its gain and bias; or, where the gain is stored less 1, what it norms.
func (in *inertia) silenceNorm(n *axes.Norm) ([]*graph.Value, string) {
	var zero []*graph.Value
	if n.Gain != nil && n.GainOffset == 0 {
		zero = append(zero, n.Gain)
	} else {
		inner, why := in.silence(n.In)
		if why != "" {
			return nil, why
		}
		zero = append(zero, inner...)
	}
	if n.Bias != nil {
		zero = append(zero, n.Bias)
	}
	return zero, ""
}

func (in *inertia) all(vs ...*graph.Value) ([]*graph.Value, string) {
	var zero []*graph.Value
	for _, v := range vs {
		if v == nil {
			continue
		}
		z, why := in.silence(v)
		if why != "" {
			return nil, why
		}
		zero = append(zero, z...)
	}
	return zero, ""
}

// factor zeroes a product through one of its factors: a weight or gain before anything computed. A lone number is no weight: it
// scales, and the layers may share it.
func (in *inertia) factor(a, c *graph.Value) ([]*graph.Value, string) {
	isScalar := func(v *graph.Value) bool { return v.IsConst() && v.Const.NumElements() == 1 }
	isWeight := func(v *graph.Value) bool {
		for v != nil && v.Producer != nil && isView(v.Producer) && in.b.in[0][v.Producer] {
			v = v.Producer.In[0]
		}
		return v.IsConst() && !isScalar(v)
	}
	switch {
	case isWeight(a):
		return in.silence(a)
	case isWeight(c):
		return in.silence(c)
	case isScalar(a):
		return in.silence(c)
	case isScalar(c):
		return in.silence(a)
	}
	zero, why := in.silence(a)
	if why == "" {
		return zero, ""
	}
	if other, also := in.silence(c); also == "" {
		return other, ""
	}
	return nil, why
}
