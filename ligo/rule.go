package ligo

import (
	"fmt"
	"math"

	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// form is how the units of a grown axis relate to the small one's. With n1 units becoming n2, k = ⌊n2/n1⌋ and r = n2 - k·n1:
type form uint8

const (
	// formKeep: the axis does not grow.
	formKeep form = iota
	// formCopies: every unit of the large axis copies one of the small axis, x* = C x. Exact through any element-wise function if
	// the weights of the copies of a unit sum to 1 in every reader (L·C = I).
	formCopies
	// formMean: k blocks of copies, then r units that hold the mean, x* = [x; …; x; mean(x)] (LEMON). The mean of x* is the mean of
	// x and its variance s = k·n1/n2 times that of x; so a layer norm with gain √s·γ, bias [β; …; β; 0] and epsilon s·ε gives
	// [z; …; z; 0], and its readers' last r columns are free.
	formMean
	// formZero: k blocks of copies, then r units that hold zero. The mean square is s times the old one; otherwise as formMean, for
	// norms that do not subtract the mean, and for axes that nothing normalises.
	formZero
)

// rule is how one atom grows.
type rule struct {
	atom   *axes.Atom
	form   form
	n1, n2 int
	// index gives, for each unit of the large axis, the unit of the small axis it copies. In the residue of formMean and formZero it
	// is the unit whose gain and reading weights the residue unit starts from.
	index []int
	// kept is how many units of the large axis copy; those behind are the residue.
	kept int
	// gauge multiplies what weights produce, and its inverse what they read: queries and keys whose product is scaled by a function
	// of the head size (math: q·k/√d' = (c·q)·(c·k)/√d' with c = (d'/d)^¼).
	gauge float64
	text  string
}

func (r *rule) grows() bool   { return r.form != formKeep }
func (r *rule) trivial() bool { return r.form == formKeep && r.gauge == 1 }
func (r *rule) residue() int  { return r.n2 - r.kept }

// ruler chooses rules. It collects why they are not exact.
type ruler struct {
	r         *axes.Result
	sizes     axes.Sizes
	width     widthRule
	seed      uint64
	norms     map[*axes.Atom][]*axes.Norm // over the atom alone
	within    map[*axes.Atom][]*axes.Norm // over a product or sum with the atom in it
	inner     map[*axes.Atom]bool         // contracted in attention scores
	activated map[*axes.Atom]bool         // grown by GrowActivatedNorm
	reasons   []Reason
}

func newRuler(r *axes.Result, sizes axes.Sizes, w widthRule, seed uint64) *ruler {
	u := &ruler{r: r, sizes: sizes, width: w, seed: seed,
		norms: map[*axes.Atom][]*axes.Norm{}, within: map[*axes.Atom][]*axes.Norm{}, inner: map[*axes.Atom]bool{}, activated: map[*axes.Atom]bool{}}
	for _, n := range r.Norms {
		if n.Axis.Kind == axes.Leaf {
			u.norms[n.Axis.Atom] = append(u.norms[n.Axis.Atom], n)
			continue
		}
		n.Axis.Atoms(func(a *axes.Atom) { u.within[a] = append(u.within[a], n) })
	}
	for _, s := range r.Scores {
		s.Inner.Atoms(func(a *axes.Atom) { u.inner[a] = true })
	}
	return u
}

func (u *ruler) because(code string, n *axes.Norm, format string, args ...any) {
	re := Reason{Code: code, Text: fmt.Sprintf(format, args...)}
	if n != nil {
		re.Node = n.Node.String()
		if n.Gain != nil {
			re.Tensor = n.Gain.Origin
		}
	}
	u.reasons = append(u.reasons, re)
}

// all chooses a rule for every atom.
func (u *ruler) all() map[*axes.Atom]*rule {
	out := map[*axes.Atom]*rule{}
	for _, a := range u.r.Atoms {
		out[a] = u.rule(a)
	}
	u.gauges(out)
	return out
}

func (u *ruler) rule(a *axes.Atom) *rule {
	r := &rule{atom: a, n1: int(a.Size), n2: int(u.sizes.Of(a)), gauge: 1}
	r.kept = r.n2
	if r.n2 == r.n1 {
		return r
	}
	layer, rms, batch := kinds(u.norms[a])
	partLayer, partRMS, _ := kinds(u.within[a])
	switch {
	case u.width == widthPad:
		r.form = formZero
		r.kept = r.n1
		if layer || rms || partLayer || partRMS || u.inner[a] {
			u.because(CodeLossyMethod, nil, "zeros beside %s change what normalises or scales it", a.Name)
		}
	case u.inner[a]:
		// Copies would add to the score; new units must contribute nothing to it. Under a layer norm they hold the mean, which the
		// norm turns into zero.
		r.form = formZero
		if layer {
			r.form = formMean
		}
		if partLayer {
			u.because(CodeCompositeNorm, u.within[a][0], "%s grows from %d to %d inside a layer norm over %s", a.Name, r.n1, r.n2, u.within[a][0].Axis)
		}
		r.kept = r.n1
	case u.width == widthPaper:
		r.form = formCopies
	case layer || rms:
		u.normalised(r, layer, rms, batch)
	case partLayer || partRMS:
		r.form = formCopies
		if r.n2%r.n1 != 0 && !partLayer && u.exactCopies() {
			r.form = formZero
			r.kept = r.n2 / r.n1 * r.n1
		} else if r.n2%r.n1 != 0 {
			u.because(CodeCompositeNorm, u.within[a][0], "%s grows from %d to %d inside a norm over %s", a.Name, r.n1, r.n2, u.within[a][0].Axis)
		}
	default:
		r.form = formCopies
	}
	r.index = u.indices(r)
	r.text = r.describe()
	return r
}

// exactCopies says that the method keeps copies in blocks where a norm needs it.
func (u *ruler) exactCopies() bool {
	return u.width == widthExact || u.width == widthAverage || u.width == widthClone || u.width == widthStaged
}

// normalised chooses the rule of an axis with a norm of its own.
func (u *ruler) normalised(r *rule, layer, rms, batch bool) {
	a := r.atom
	if r.n2%r.n1 == 0 {
		r.form = formCopies // mean and variance stay
		return
	}
	if !u.exactCopies() {
		r.form = formCopies
		u.because(CodeUnevenCopies, u.norms[a][0], "%s grows from %d to %d: some units are copied more often than others, which moves mean and variance", a.Name, r.n1, r.n2)
		return
	}
	r.kept = r.n2 / r.n1 * r.n1
	r.form = formZero
	if layer {
		r.form = formMean
	}
	if layer && (rms || batch) || batch {
		u.because(CodeMixedNorms, u.norms[a][0], "%s grows from %d to %d and is normalised in more than one way", a.Name, r.n1, r.n2)
	}
	if a.Has(axes.UseNonlinear) {
		u.because(CodeNonlinearNorm, u.norms[a][0], "%s grows from %d to %d, and passes a non-linear function before it is normalised", a.Name, r.n1, r.n2)
	}
	for _, n := range u.within[a] {
		u.because(CodeCompositeNorm, n, "%s grows from %d to %d inside a norm over %s", a.Name, r.n1, r.n2, n.Axis)
	}
}

func kinds(ns []*axes.Norm) (layer, rms, batch bool) {
	for _, n := range ns {
		switch n.Kind {
		case axes.LayerNorm:
			layer = true
		case axes.RMSNorm:
			rms = true
		case axes.BatchNorm:
			batch = true
		}
	}
	return
}

// gauges finds the factors that keep attention scores where the scale on their path changes with the head size.
func (u *ruler) gauges(rules map[*axes.Atom]*rule) {
	if u.width == widthPad {
		return
	}
	set := map[*axes.Atom]bool{}
	for _, s := range u.r.Scores {
		c := math.Pow(s.Ratio(u.sizes), -0.5)
		s.Inner.Atoms(func(a *axes.Atom) {
			r := rules[a]
			if set[a] && r.gauge != c {
				u.reasons = append(u.reasons, Reason{Code: CodeLossyMethod, Node: s.Node.String(),
					Text: fmt.Sprintf("%s takes part in scores that are scaled in different ways", a.Name)})
			}
			set[a] = true
			r.gauge = c
		})
	}
}

// indices says which unit every unit of the large axis copies.
func (u *ruler) indices(r *rule) []int {
	index := make([]int, r.n2)
	rng := newRand(u.seed, "copies", r.atom.Name)
	switch u.width {
	case widthRandom, widthNext:
		// Every unit is drawn once before any is drawn again, so that whole multiples stay balanced.
		for i := range r.n1 {
			index[i] = i
		}
		for at := r.n1; at < r.n2; at += r.n1 {
			copy(index[at:], rng.Perm(r.n1))
		}
	default:
		whole := r.n2 / r.n1 * r.n1
		for i := range whole {
			index[i] = i % r.n1
		}
		copy(index[whole:], rng.Perm(r.n1))
	}
	return index
}

func (r *rule) describe() string {
	k := r.kept / r.n1
	switch {
	case r.form == formCopies && r.n2%r.n1 == 0:
		return fmt.Sprintf("%d copies", k)
	case r.form == formCopies:
		return fmt.Sprintf("every unit copied, %d of them once more", r.n2%r.n1)
	}
	head := "kept"
	if k > 1 {
		head = fmt.Sprintf("%d copies", k)
	}
	if r.form == formMean {
		return fmt.Sprintf("%s, then %d units that hold the mean", head, r.residue())
	}
	return fmt.Sprintf("%s, then %d units of zero", head, r.residue())
}
