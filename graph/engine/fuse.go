package engine

import (
	"fmt"
	"slices"
)

// Exporters write a layer norm as nine operators, a GELU as five, an attention as eight and more. The fusion pass finds such groups
// among the compiled calls, where shapes and constants are known, and puts one call in their place that does the same in fewer passes
// over memory. It runs before gradients are made, so both directions gain.
//
// The pass goes through the calls once, in order. A rule looks at a call as the last one of a pattern, upwards, and adds calls that
// compute the same value from earlier ones. The value keeps its identity and gets the new calls as its producer; what is no longer
// read is dead, and never emitted. Rules build on what earlier ones have made of a call's operands: a norm without a gain takes up
// the multiplication behind it. A rule looks a bounded number of calls far, so the pass takes time linear in the program.

// rule is one pattern. It returns a value that is equal to k's first output, or nil where k ends no such pattern. Calls that it adds
// are taken back if it returns nil, an error or a value of another type.
type rule func(f *fuser, k *call) (*value, error)

var rules = []rule{fuseCast, fuseTranspose, fuseLinear, fuseNorm, fuseAffine, fuseActivation, fuseRotary, fuseAttention, fuseMergedHeads, fuseLoss}

// fuser is the state of the pass.
type fuser struct {
	*compiler
	// readers counts the live calls that read a value, and the program where it returns it.
	readers map[*value]int
	static  map[*value]bool
	tables  []*value             // constant biases of attentions
	biases  map[biasKey]*value   // computed biases of attentions
	merged  map[[2]*value]*value // sums of biases
	halves  map[*value]*value    // of rotary tables
}

// fuse applies the rules to the calls that the values returned by the program need.
func (c *compiler) fuse() error {
	if c.e.opts.NoFusion {
		return nil
	}
	f := &fuser{compiler: c, readers: map[*value]int{}, static: map[*value]bool{}, biases: map[biasKey]*value{}, merged: map[[2]*value]*value{}, halves: map[*value]*value{}}
	live := map[*call]bool{}
	for _, name := range c.e.outputs {
		if v := c.env[name]; v != nil {
			mark(v, live)
			f.readers[v]++
		}
	}
	for k := range live {
		for i, v := range k.in {
			if v != nil && !slices.Contains(k.in[:i], v) {
				f.readers[v]++
			}
		}
	}
	calls := c.calls
	c.calls = make([]*call, 0, len(calls))
	for _, k := range calls {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if !live[k] || k.out[0].known != nil || !f.rewrite(k) {
			c.calls = append(c.calls, k)
		}
	}
	return nil
}

// rewrite applies rules to a call until none fits, and reports whether one did.
func (f *fuser) rewrite(k *call) bool {
	v, done, limit := k.out[0], false, len(f.calls)+maxAdded
	for i := 0; i < len(rules); i++ {
		at := len(f.calls)
		w, err := f.try(rules[i], v.from)
		if w == nil || err != nil || w.dt != v.dt || !slices.Equal(w.shape, v.shape) {
			f.calls = f.calls[:at]
			continue
		}
		if w.known != nil {
			v.known = w.known
			return true
		}
		// The calls that were in v's place are replaced by those that the rule has added.
		p := w.from
		p.out[w.index] = v
		v.from, v.index = p, w.index
		f.count(f.calls[at:])
		if done = true; len(f.calls) > limit {
			break
		}
		i = -1
	}
	return done
}

// maxAdded is how many calls may take the place of one: more than any chain of rules adds.
const maxAdded = 64

// count notes who reads the values that new calls make.
func (f *fuser) count(added []*call) {
	for _, k := range added {
		for i, v := range k.in {
			if v != nil && v.from != nil && slices.Contains(added, v.from) && !slices.Contains(k.in[:i], v) {
				f.readers[v]++
			}
		}
	}
}

// try calls a rule. A rule that panics does not apply: the program without it is right as well.
func (f *fuser) try(r rule, k *call) (v *value, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, fmt.Errorf("internal error: %v", p)
		}
	}()
	at := len(f.calls)
	v, err = r(f, k)
	if v == nil || err != nil || v.known != nil {
		return v, err
	}
	if v.from == nil || !slices.Contains(f.calls[at:], v.from) {
		// A value that was there before keeps its identity too.
		v, err = f.one(k.label, viewOp{v.shape}, v)
		if err != nil || v.known == nil && v.from == nil {
			return nil, err
		}
	}
	return v, nil
}

// sole reports whether v is read in one place only, and not returned.
func (f *fuser) sole(v *value) bool { return f.readers[v] == 1 }

// alone is sole for the first output of a call whose other outputs are not read at all.
func (f *fuser) alone(v *value) bool {
	if v.from == nil || v.index != 0 || !f.sole(v) {
		return false
	}
	for _, o := range v.from.out[1:] {
		if f.readers[o] > 0 {
			return false
		}
	}
	return true
}

// floatScalar is the number that v holds, if v has one element, is a floating number and known.
func floatScalar(v *value) (float64, bool) {
	if v == nil || v.known == nil || v.size() != 1 || !isFloat(v.dt) {
		return 0, false
	}
	return v.known.float(0), true
}

// knownScalar is floatScalar for any type.
func knownScalar(v *value) (float64, bool) {
	if v == nil || v.known == nil || v.size() != 1 {
		return 0, false
	}
	if isFloat(v.dt) {
		return v.known.float(0), true
	}
	n, err := v.known.ints()
	if err != nil {
		return 0, false
	}
	return float64(n[0]), true
}

// arithmetic is the call that makes v, if that is a binary operation of floating operands.
func arithmetic(v *value) (*binaryOp, *value, *value) {
	if v == nil || v.known != nil || v.from == nil {
		return nil, nil, nil
	}
	op, ok := v.from.op.(*binaryOp)
	if !ok || op.bound || !isFloat(v.dt) || !isFloat(v.from.in[1].dt) && !op.mixed {
		return nil, nil, nil
	}
	return op, v.from.in[0], v.from.in[1]
}

// produced is the operator that makes v, where it is of that type, and v is its first output.
func produced[T operator](v *value) (op T, ok bool) {
	if v == nil || v.known != nil || v.from == nil || v.index != 0 {
		return op, false
	}
	op, ok = v.from.op.(T)
	return op, ok
}

// behind looks through views that change no shape.
func behind(v *value) *value {
	for v != nil {
		if _, ok := produced[viewOp](v); !ok || !slices.Equal(v.shape, v.from.in[0].shape) {
			break
		}
		v = v.from.in[0]
	}
	return v
}

// unviewed looks through all views.
func unviewed(v *value) *value {
	for v != nil {
		if _, ok := produced[viewOp](v); !ok {
			break
		}
		v = v.from.in[0]
	}
	return v
}

// sameValue reports whether two values are the same, or made in the same way from the same values: exporters repeat short
// computations. It looks depth calls far.
func sameValue(a, b *value, depth int) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.dt != b.dt || !slices.Equal(a.shape, b.shape) {
		return false
	}
	if x, ok := knownScalar(a); ok {
		y, ok := knownScalar(b)
		return ok && x == y
	}
	if depth == 0 || a.known != nil || b.known != nil || a.from == nil || b.from == nil || a.index != b.index || len(a.from.in) != len(b.from.in) || !sameOp(a.from.op, b.from.op) {
		return false
	}
	for i, v := range a.from.in {
		if !sameValue(v, b.from.in[i], depth-1) {
			return false
		}
	}
	return true
}

// sameOp compares the operators that patterns may contain twice.
func sameOp(a, b operator) bool {
	switch a := a.(type) {
	case *binaryOp:
		b, ok := b.(*binaryOp)
		return ok && a.op == b.op
	case *reduceOp:
		b, ok := b.(*reduceOp)
		return ok && *a == *b
	case viewOp:
		_, ok := b.(viewOp) // of values of equal shape
		return ok
	case castOp:
		_, ok := b.(castOp)
		return ok
	}
	return false
}

// fuseCast makes a conversion to the type that a value has a view.
func fuseCast(f *fuser, k *call) (*value, error) {
	if _, ok := k.op.(castOp); !ok || k.in[0].dt != k.out[0].dt {
		return nil, nil
	}
	return k.in[0], nil
}
