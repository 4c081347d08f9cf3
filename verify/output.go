package verify

import (
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// output gathers what is measured of one output over all sets.
type output struct {
	name   string
	dtype  onnxio.DType
	stats  Stats // sums over all sets; MaxDiff, Worst are those of the worst set
	dims   []int64
	set    string
	tol    float64 // in the worst set
	worst  float64 // largest difference over tolerance
	mapped bool
	ran    bool

	shadowRan             bool
	shadowDiff, shadowTol float64
	shadowWorst           float64
}

// over is a difference as a multiple of its tolerance.
func over(diff, tol float64) float64 {
	switch {
	case diff == 0:
		return 0
	case tol == 0:
		return math.Inf(1)
	}
	return diff / tol
}

func (o *output) ratio() float64 { return o.worst }

// compare takes the large model's outputs on one set. want are the small model's, exact those in float64 (nil: not run).
func (c *comparison) compare(set string, got, want, exact values) {
	for _, o := range c.outputs {
		w, noise, ok := c.wanted(o, want, exact)
		if !ok {
			continue
		}
		g, ok := c.sameShape(o, set, got, w)
		if !ok {
			continue
		}
		s := Difference(g.v, w.v)
		if s.NonFinite > 0 {
			c.report.fail(FailNonFinite, o.name, fmt.Sprintf("%d elements are NaN or infinite on %q, the first at %s, where the small model gives %g",
				s.NonFinite, set, shapeText(unflatten(s.FirstBad, g.dims)), w.v[s.FirstBad]))
		}
		tol := c.report.Basis.native(o.dtype, s.MaxWant, noise)
		if !o.dtype.Growable() && o.dtype != onnxio.Undefined {
			tol = 0 // numbers that are not rounded
		}
		o.stats.N += s.N
		o.stats.SumDiff += s.SumDiff
		o.stats.SumSq += s.SumSq
		o.stats.MaxWant = max(o.stats.MaxWant, s.MaxWant)
		if r := over(s.MaxDiff, tol); !o.ran || r > o.worst {
			o.worst, o.tol, o.set, o.dims = r, tol, set, g.dims
			o.stats.MaxDiff, o.stats.Worst = s.MaxDiff, s.Worst
		}
		o.ran = true
	}
}

func (c *comparison) compareShadow(got, want, exact values) {
	for _, o := range c.outputs {
		if _, ok := got[o.name]; !ok {
			continue
		}
		w, noise, ok := c.wanted(o, exact, want)
		if !ok || !slices.Equal(got[o.name].dims, w.dims) {
			continue
		}
		s := Difference(got[o.name].v, w.v)
		tol := c.report.Basis.shadow(s.MaxWant, noise)
		if !o.dtype.Growable() && o.dtype != onnxio.Undefined {
			tol = 0
		}
		if s.NonFinite > 0 {
			s.MaxDiff = math.Inf(1)
		}
		if r := over(s.MaxDiff, tol); !o.shadowRan || r > o.shadowWorst {
			o.shadowWorst, o.shadowDiff, o.shadowTol = r, s.MaxDiff, tol
		}
		o.shadowRan = true
	}
}

// wanted is what the large model must give for an output: the small model's value, mapped where axes grew. noise is the distance
// between the small model's two results. False: the output cannot be compared, and why is noted.
func (c *comparison) wanted(o *output, want, other values) (tensor, float64, bool) {
	w, ok := want[o.name]
	if !ok {
		return tensor{}, 0, false
	}
	noise := 0.0
	if x, ok := other[o.name]; ok && len(x.v) == len(w.v) {
		noise = Difference(w.v, x.v).MaxDiff
	}
	m := c.o.Growth.maps(true)[o.name]
	if m == nil {
		return w, noise, true
	}
	o.mapped = true
	t, err := linmap.Grow(onnxio.FromFloat64s(o.name, w.dims, w.v), m)
	if err == nil {
		w.dims = t.Dims
		w.v, err = t.Float64s()
	}
	if err != nil {
		c.report.fail(FailShape, o.name, fmt.Sprintf("its growth does not fit: %v", err))
		return tensor{}, 0, false
	}
	return w, noise, true
}

func (c *comparison) sameShape(o *output, set string, got values, w tensor) (tensor, bool) {
	g, ok := got[o.name]
	if !ok {
		return g, false // a missing output is a failure of the signature
	}
	if slices.Equal(g.dims, w.dims) {
		return g, true
	}
	c.report.fail(FailShape, o.name, fmt.Sprintf("has shape %s on %q, expected is %s", shapeText(g.dims), set, shapeText(w.dims)))
	return g, false
}

// result is the output's entry in the report. A difference beyond the tolerance is a failure where exactness was promised or the
// caller chose the tolerance.
func (o *output) result(c *comparison) Output {
	r := Output{
		Name: o.name, MaxAbsDiff: Number(o.stats.MaxDiff), MeanAbs: Number(o.stats.Mean()), RMS: Number(o.stats.RMS()),
		WorstIndex: unflatten(o.stats.Worst, o.dims), WorstSet: o.set, MaxAbs: Number(o.stats.MaxWant), Tolerance: Number(o.tol),
		Mapped: o.mapped, Pass: o.ran,
	}
	if o.shadowRan {
		r.Shadow = &Measured{Number(o.shadowDiff), Number(o.shadowTol)}
	}
	if c.report.Promised == Exact || c.report.Basis.Given {
		if o.worst > 1 {
			r.Pass = false
			c.report.fail(FailDifference, o.name, fmt.Sprintf("differs by %.3g at %s on %q, the tolerance is %.3g",
				o.stats.MaxDiff, shapeText(r.WorstIndex), o.set, o.tol))
		}
		if o.shadowRan && o.shadowWorst > 1 {
			r.Pass = false
			c.report.fail(FailShadow, o.name, fmt.Sprintf("differs by %.3g when everything is computed in float64, the tolerance is %.3g: "+
				"the difference is not rounding", o.shadowDiff, o.shadowTol))
		}
	}
	if !o.ran && len(c.report.Failures) == 0 {
		c.report.fail(FailRun, o.name, "this output could not be compared on any inputs")
	}
	for _, f := range c.report.Failures {
		if f.Where == o.name {
			r.Pass = false
		}
	}
	return r
}
