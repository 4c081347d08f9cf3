package ligo

import (
	"context"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo/linmap"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// activation is an axis that is made by one linear layer, passes an element-wise function, is normalised and then read by linear
// layers, as the transform in front of BERT's output is, and grows to a width that is no whole multiple. linmap.GrowActivatedNorm says
// how.
type activation struct {
	rule         *rule
	site         *normSite
	weight, bias *axes.Weight
	readers      []*axes.Weight
	act          func(float64) float64
	maps         linmap.ActivatedNorm
}

// key names the maps of the axis among the operator's.
func (a *activation) key() string { return a.rule.atom.Name + "@activated" }

// activations finds such axes and solves for their maps. An axis of another form keeps the mean rule.
func (p *Plan) activations(ctx context.Context, u *ruler) error {
	for _, site := range p.sites {
		n := site.norm
		if n.Axis.Kind != axes.Leaf || n.Kind != axes.LayerNorm || n.Post || n.Gain == nil || n.Bias == nil || n.GainOffset != 0 {
			continue
		}
		r := p.rules[n.Axis.Atom]
		if r.form != formMean || r.residue() == 0 || r.gauge != 1 || !r.atom.Has(axes.UseNonlinear) || len(u.norms[r.atom]) != 1 {
			continue
		}
		a := &activation{rule: r, site: site}
		if !a.find(u) {
			continue
		}
		if err := a.function(ctx, u.r.Graph); err != nil {
			return err
		}
		if a.act == nil {
			continue
		}
		if err := a.solve(p, u); err != nil {
			return err
		}
		p.activated = append(p.activated, a)
		site.gain, site.bias, site.eps = math.Sqrt(a.maps.Epsilon), 1, a.maps.Epsilon
	}
	return nil
}

// find collects the weights around the axis; it reports false if there are others than the form has.
func (a *activation) find(u *ruler) bool {
	n := a.site.norm
	for _, w := range u.r.Weights {
		if w.Value == n.Gain || w.Value == n.Bias {
			continue
		}
		at := slices.IndexFunc(w.Axes, func(e *axes.Expr) bool { return carries(e, a.rule.atom) })
		switch {
		case at < 0:
		case w.Axes[at].Kind != axes.Leaf:
			return false
		case len(w.Axes) == 2 && w.Sides[at] == axes.Producer && w.Sides[1-at] == axes.Consumer && a.weight == nil:
			a.weight = w
		case len(w.Axes) == 1 && w.Sides[at] == axes.Producer && a.bias == nil:
			a.bias = w
		case w.Sides[at] == axes.Consumer:
			a.readers = append(a.readers, w)
		default:
			return false
		}
	}
	if a.weight == nil || a.bias == nil {
		return false
	}
	uses, output := readers(u.r.Graph, n.Out)
	if output {
		return false
	}
	for _, use := range uses {
		if w := u.consumerOf(use, a.rule.atom); w == nil || !slices.Contains(a.readers, w) {
			return false
		}
	}
	return true
}

// function finds out what happens between the linear layer and the norm; act stays nil if it is not a function of single elements.
func (a *activation) function(ctx context.Context, g *graph.Graph) error {
	node, _ := reader(a.weight.Value)
	if node == nil {
		return nil
	}
	pre := node.Out[0]
	if use := a.bias.Value.Uses[0]; use.Node != node {
		if use.Node.Op != "Add" || !slices.Contains(use.Node.In, pre) {
			return nil
		}
		pre = use.Node.Out[0]
	}
	f := graph.New("activation", g.Opsets)
	const step, most = 1.0 / 256, 32.0
	x := f.NewInput("x", onnxio.TensorType(a.bias.Value.Const.DType, onnxio.Dim{Param: "n"}))
	made := map[*graph.Value]*graph.Value{pre: x}
	var build func(v *graph.Value) *graph.Value
	build = func(v *graph.Value) *graph.Value {
		switch {
		case v == nil:
			return nil
		case made[v] != nil:
			return made[v]
		case v.IsConst():
			if v.Const.NumElements() == 1 {
				t := v.Const.Renamed(v.Name)
				t.Dims = nil
				made[v] = f.NewConst(v.Name, t)
			}
			return made[v]
		}
		n := v.Producer
		if n == nil || !elementwise[n.Op] || len(n.Captures) > 0 {
			return nil
		}
		in := make([]*graph.Value, len(n.In))
		for i, w := range n.In {
			if in[i] = build(w); in[i] == nil && w != nil {
				return nil
			}
		}
		out := f.NewValue(v.Name, nil)
		f.CopyNode(n, "", in, []*graph.Value{out})
		made[v] = out
		return out
	}
	y := build(a.site.norm.In)
	if y == nil || y == x {
		return nil
	}
	f.AddOutput(y)
	e, err := engine.New(f, engine.Options{Float64: true})
	if err != nil {
		return nil // an operator that cannot be run: the mean rule is there
	}
	grid := make([]float64, 2*int(most/step)+1)
	for i := range grid {
		grid[i] = float64(i)*step - most
	}
	xs, err := onnxio.FromFloats("x", a.bias.Value.Const.DType, []int64{int64(len(grid))}, grid)
	if err != nil {
		return err
	}
	out, err := e.Run(ctx, map[string]*onnxio.Tensor{"x": xs})
	if err != nil {
		return ctx.Err()
	}
	ys, err := out[y.Name].Float64s()
	if err != nil || len(ys) != len(grid) {
		return err
	}
	a.act = interpolate(ys, -most, step)
	return nil
}

// elementwise lists the operators that activation functions are written with; contributed ones take the bias themselves and are not
// among them.
var elementwise = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Pow": true, "Sqrt": true, "Erf": true, "Tanh": true,
	"Sigmoid": true, "Relu": true, "LeakyRelu": true, "Elu": true, "Selu": true, "Celu": true, "Softplus": true, "HardSigmoid": true,
	"HardSwish": true, "Mish": true, "Gelu": true, "QuickGelu": true, "Swish": true, "Exp": true, "Neg": true, "Abs": true, "Clip": true,
	"Max": true, "Min": true, "Identity": true, "Cast": true, "Reciprocal": true, "FastGelu": true}

// interpolate is the function through the given values at low, low+step, …; beyond them it goes on straight.
func interpolate(y []float64, low, step float64) func(float64) float64 {
	return func(x float64) float64 {
		at := (x - low) / step
		i := int(max(1, min(at, float64(len(y)-3))))
		t := at - float64(i)
		if t < 0 || t > 1 {
			return y[i] + t*(y[i+1]-y[i])
		}
		// Cubic through four points: slopes come out smooth.
		a, b, c, d := y[i-1], y[i], y[i+1], y[i+2]
		return b + t/2*(c-a+t*(2*a-5*b+4*c-d+t*(3*(b-c)+d-a)))
	}
}

func (a *activation) solve(p *Plan, u *ruler) error {
	n := a.site.norm
	read := func(v *graph.Value) []float64 {
		x, err := v.Const.Float64s()
		if err != nil {
			return nil
		}
		return x
	}
	weight, bias, gain, shift := read(a.weight.Value), read(a.bias.Value), read(n.Gain), read(n.Bias)
	out := a.rule.n1
	in := len(weight) / out
	if a.weight.Sides[0] == axes.Consumer { // in x out
		t := make([]float64, len(weight))
		for i := range in {
			for j := range out {
				t[j*in+i] = weight[i*out+j]
			}
		}
		weight = t
	}
	std, mean := u.affine(a.weight.Value, in)
	for i := range std {
		std[i] = math.Abs(std[i])
	}
	a.maps = linmap.GrowActivatedNorm(a.rule.n2, linmap.Activated{Act: a.act, Weight: weight, Bias: bias, Mean: mean, Std: std,
		Gain: gain, Shift: shift, Share: p.splits(a.rule)[:a.rule.kept]})
	return nil
}

// affine is the gain and the bias of the norm whose output a weight reads: the spread and the mean of its features. They are 1 and 0
// where it reads something else.
func (u *ruler) affine(v *graph.Value, n int) (gain, shift []float64) {
	gain, shift = make([]float64, n), make([]float64, n)
	for i := range gain {
		gain[i] = 1
	}
	_, x := reader(v)
	x = behind(x)
	for _, norm := range u.r.Norms {
		if norm.Out != x || x == nil || norm.Gain == nil {
			continue
		}
		if g, err := norm.Gain.Const.Float64s(); err == nil && len(g) == n {
			gain = g
		}
		if norm.Bias == nil {
			continue
		}
		if b, err := norm.Bias.Const.Float64s(); err == nil && len(b) == n {
			shift = b
		}
	}
	return gain, shift
}

// assign gives the weights around the axis their maps.
func (a *activation) assign(p *Plan) {
	n := a.site.norm
	set := func(v *graph.Value, to variant) {
		wp := p.byValue[v]
		for i, e := range wp.axes {
			if e.Kind == axes.Leaf && e.Atom == a.rule.atom {
				wp.slots[i] = to
			}
		}
		wp.place = a.key()
	}
	set(a.weight.Value, variantR)
	set(a.bias.Value, variantZ)
	set(n.Gain, variantZ)
	set(n.Bias, variantZ)
	p.byValue[n.Gain].factor = a.site.gain
	for _, w := range a.readers {
		set(w.Value, variantL)
	}
	a.rule.text += ", which a norm after a non-linear function sees"
}

// free adds what the vectors around the axis hold beyond copies.
func (a *activation) free(op *Operator) error {
	n := a.site.norm
	for _, f := range []struct {
		v      *graph.Value
		want   []float64
		factor float64
	}{{a.bias.Value, a.maps.Bias, 1}, {n.Gain, a.maps.Gain, a.site.gain}, {n.Bias, a.maps.Shift, 1}} {
		have, err := f.v.Const.Float64s()
		if err != nil {
			return err
		}
		add := slices.Clone(f.want)
		some := false
		for i := range add {
			if i < a.rule.kept {
				add[i] -= f.factor * have[a.rule.index[i]]
				if math.Abs(add[i]) < 1e-12*math.Abs(have[a.rule.index[i]]) {
					add[i] = 0 // the same product in another order
				}
			}
			some = some || add[i] != 0
		}
		if !some {
			continue
		}
		t, err := onnxio.FromFloats(f.v.Name, f.v.Const.DType, []int64{int64(len(add))}, add)
		if err != nil {
			return err
		}
		op.Free[f.v.Name] = t
	}
	return nil
}
