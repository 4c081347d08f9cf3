package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

func init() {
	register("", "Identity", 1, 1, func(_ *compiler, _ *step, in []*value) ([]*value, error) { return in[:1], nil })
	register("", "Dropout", 1, 3, dropout)
	register("", "Constant", 0, 0, constantNode)
	register("", "ConstantOfShape", 1, 1, constantOfShape)
	register("", "Shape", 1, 1, shapeNode)
	register("", "Size", 1, 1, func(c *compiler, _ *step, in []*value) ([]*value, error) {
		return []*value{c.fixed(int64s(nil, int64(in[0].size())))}, nil
	})
	register("", "Reshape", 1, 2, reshapeNode)
	register("", "Flatten", 1, 1, func(c *compiler, s *step, in []*value) ([]*value, error) {
		axis, r := s.int("axis", 1), int64(in[0].rank())
		if axis < 0 {
			axis += r
		}
		if axis < 0 || axis > r {
			return nil, fmt.Errorf("axis %d is outside rank %d", s.int("axis", 1), r)
		}
		v, err := c.reshape(s.label, in[0], []int{product(in[0].shape[:axis]), product(in[0].shape[axis:])})
		return []*value{v}, err
	})
	register("", "Squeeze", 1, 2, squeeze)
	register("", "Unsqueeze", 1, 2, unsqueeze)
	register("", "If", 1, 1, ifNode)
}

// viewOp is its operand under another shape of the same size.
type viewOp struct{ shape []int }

func (o viewOp) infer(in []*value) ([]spec, error) {
	if err := checkShape(o.shape); err != nil {
		return nil, err
	}
	if product(o.shape) != in[0].size() {
		return nil, fmt.Errorf("shape %v has %d elements, the operand %v has %d", o.shape, product(o.shape), in[0].shape, in[0].size())
	}
	return []spec{in[0].with(o.shape)}, nil
}

// forward is never called: whoever runs a viewer hands on the operand's buffer.
func (o viewOp) forward(*exec, []*tensor, []*tensor) error {
	return errors.New("a view is not computed")
}

func (o viewOp) view() {}

// reshape gives v another shape.
func (c *compiler) reshape(label string, v *value, shape []int) (*value, error) {
	if slices.Equal(v.shape, shape) {
		return v, nil
	}
	return c.one(label, viewOp{shape}, v)
}

// dropout is the identity; the mask, where it is asked for, is all true. Training mode is not what an engine for evaluation runs.
func dropout(c *compiler, s *step, in []*value) ([]*value, error) {
	if t := operand(in, 2); t != nil {
		v, err := t.ints()
		if err != nil {
			return nil, err
		}
		r := 0.5
		if k := operand(in, 1); k != nil {
			p, err := k.content()
			if err != nil {
				return nil, err
			}
			if p.size() != 1 {
				return nil, fmt.Errorf("a ratio of %d elements", p.size())
			}
			r = p.float(0)
		}
		if len(v) > 0 && v[0] != 0 && r != 0 {
			return nil, errors.New("training_mode is set: random dropout is not supported")
		}
	}
	out := []*value{in[0]}
	if s.wants(1) {
		dt := onnxio.Bool
		if s.version < 10 && s.version > 0 {
			dt = in[0].dt
		}
		one, err := c.number(dt, 1)
		if err != nil {
			return nil, err
		}
		mask, err := c.one(s.label, &expandOp{shape: in[0].shape}, one)
		if err != nil {
			return nil, err
		}
		out = append(out, mask)
	}
	return out, nil
}

func constantNode(c *compiler, s *step, _ []*value) ([]*value, error) {
	for _, a := range s.attrs {
		var t *tensor
		switch {
		case a.Name == "value" && a.Kind == onnxio.AttrTensor:
			v, err := c.constant(s.out[0], a.T)
			return []*value{v}, err
		case a.Name == "value_int" && a.Kind == onnxio.AttrInt:
			t = int64s(nil, a.I)
		case a.Name == "value_ints" && a.Kind == onnxio.AttrInts:
			t = int64s([]int{len(a.Ints)}, a.Ints...)
		case a.Name == "value_float" && a.Kind == onnxio.AttrFloat:
			v, err := c.number(onnxio.Float, float64(a.F))
			return []*value{v}, err
		case a.Name == "value_floats" && a.Kind == onnxio.AttrFloats:
			v, err := c.constant(s.out[0], onnxio.FromFloat32s(s.out[0], []int64{int64(len(a.Floats))}, a.Floats))
			return []*value{v}, err
		default:
			continue
		}
		return []*value{c.fixed(t)}, nil
	}
	return nil, errors.New("no attribute holds a value that is supported (strings and sparse tensors are not)")
}

func constantOfShape(c *compiler, s *step, in []*value) ([]*value, error) {
	dims, err := in[0].ints()
	if err != nil {
		return nil, err
	}
	if in[0].rank() != 1 {
		return nil, fmt.Errorf("a shape of rank %d", in[0].rank())
	}
	one, err := c.number(onnxio.Float, 0)
	if a := s.attr("value"); a != nil && a.T != nil {
		var t *tensor
		if t, err = fromONNX(a.T, c.x.shadow); err == nil {
			if t.size() != 1 {
				return nil, fmt.Errorf("a value of %d elements", t.size())
			}
			one = c.fixed(&tensor{spec{t.dt, nil}, t.buf})
		}
	}
	if err != nil {
		return nil, err
	}
	return c.apply(s.label, &expandOp{shape: toInts(dims)}, one)
}

func shapeNode(c *compiler, s *step, in []*value) ([]*value, error) {
	r := int64(in[0].rank())
	bound := func(name string, def int64) int64 {
		v := s.int(name, def)
		if v < 0 {
			v += r
		}
		return max(0, min(v, r))
	}
	lo, hi := bound("start", 0), bound("end", r)
	var dims []int64
	for i := lo; i < hi; i++ {
		dims = append(dims, int64(in[0].shape[i]))
	}
	return []*value{c.fixed(int64s([]int{len(dims)}, dims...))}, nil
}

func reshapeNode(c *compiler, s *step, in []*value) ([]*value, error) {
	dims := s.ints("shape") // an attribute before opset 5
	if len(in) > 1 && in[1] != nil {
		var err error
		if dims, err = in[1].ints(); err != nil {
			return nil, err
		}
	} else if dims == nil {
		return nil, errors.New("no shape")
	}
	shape := make([]int, len(dims))
	unknown, rest := -1, 1
	zeros := s.flag("allowzero", false)
	for i, d := range dims {
		switch {
		case d == -1 && unknown < 0:
			unknown = i
			continue
		case d < 0 || d > math.MaxInt32:
			return nil, fmt.Errorf("target shape %v", dims)
		case d == 0 && !zeros:
			if i >= in[0].rank() {
				return nil, fmt.Errorf("target shape %v copies dimension %d of shape %v", dims, i, in[0].shape)
			}
			d = int64(in[0].shape[i])
		}
		shape[i] = int(d)
		rest *= shape[i]
	}
	if unknown >= 0 {
		switch {
		case rest == 0 && in[0].size() == 0:
			shape[unknown] = 0
		case rest == 0 || in[0].size()%rest != 0:
			return nil, fmt.Errorf("target shape %v does not divide the %d elements of shape %v", dims, in[0].size(), in[0].shape)
		default:
			shape[unknown] = in[0].size() / rest
		}
	}
	v, err := c.reshape(s.label, in[0], shape)
	return []*value{v}, err
}

// axesOperand reads axes from the attribute (older opsets) or the operand (newer); nil where neither is given.
func axesOperand(s *step, in []*value, i int) ([]int64, error) {
	if v := operand(in, i); v != nil {
		axes, err := v.ints()
		if err == nil && axes == nil {
			axes = []int64{}
		}
		return axes, err
	}
	return s.ints("axes"), nil
}

func squeeze(c *compiler, s *step, in []*value) ([]*value, error) {
	list, err := axesOperand(s, in, 1)
	if err != nil {
		return nil, err
	}
	axes, err := axesOf(list, in[0].rank())
	if err != nil {
		return nil, err
	}
	shape := []int{}
	for i, d := range in[0].shape {
		switch {
		case list == nil && d == 1:
		case slices.Contains(axes, i):
			if d != 1 {
				return nil, fmt.Errorf("dimension %d of shape %v is not 1", i, in[0].shape)
			}
		default:
			shape = append(shape, d)
		}
	}
	v, err := c.reshape(s.label, in[0], shape)
	return []*value{v}, err
}

func unsqueeze(c *compiler, s *step, in []*value) ([]*value, error) {
	list, err := axesOperand(s, in, 1)
	if err != nil {
		return nil, err
	}
	if list == nil {
		return nil, errors.New("no axes")
	}
	rank := in[0].rank() + len(list)
	axes, err := axesOf(list, rank)
	if err != nil {
		return nil, err
	}
	shape := make([]int, rank)
	next := 0
	for i := range shape {
		if slices.Contains(axes, i) {
			shape[i] = 1
			continue
		}
		shape[i] = in[0].shape[next]
		next++
	}
	v, err := c.reshape(s.label, in[0], shape)
	return []*value{v}, err
}

// ifNode runs the nodes of the branch that the condition takes, in place of the node. The condition must be known.
func ifNode(c *compiler, s *step, in []*value) ([]*value, error) {
	cond, err := in[0].ints()
	if err != nil {
		return nil, err
	}
	if len(cond) != 1 {
		return nil, fmt.Errorf("a condition of %d elements", len(cond))
	}
	name := "else_branch"
	if cond[0] != 0 {
		name = "then_branch"
	}
	a := s.attr(name)
	if a == nil || a.G == nil {
		return nil, fmt.Errorf("attribute %q is missing", name)
	}
	return c.inline(a.G)
}

// inline builds the nodes of a sub-graph in a scope of its own and returns the values of its outputs.
func (c *compiler) inline(f *onnxio.Graph) ([]*value, error) {
	if c.depth >= maxDepth {
		return nil, errors.New("sub-graphs are nested too deeply")
	}
	c.depth++
	defer func() { c.depth-- }()
	steps, err := subSteps(f, c.e.g.Opsets)
	if err != nil {
		return nil, err
	}
	env := make(map[string]*value, len(c.env))
	for k, v := range c.env {
		env[k] = v
	}
	for _, t := range f.Initializers {
		if env[t.Name], err = c.constant(t.Name, t); err != nil {
			return nil, err
		}
	}
	if err := c.run(steps, env); err != nil {
		return nil, err
	}
	var out []*value
	for _, o := range f.Outputs {
		v := env[o.Name]
		if v == nil {
			return nil, fmt.Errorf("sub-graph output %q has no value", o.Name)
		}
		out = append(out, v)
	}
	return out, nil
}
