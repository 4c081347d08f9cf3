package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// structure compares what users of a model rely on: versions, and the names, order, types and symbolic sizes of its inputs and
// outputs. Inputs and outputs that grew, and those of new layers, may differ in the way the growth says.
func (c *comparison) structure() {
	s, l := c.small.Model, c.large.Model
	if s.IRVersion != l.IRVersion {
		c.report.fail(FailVersion, "ir_version", fmt.Sprintf("is %d, the small model's is %d", l.IRVersion, s.IRVersion))
	}
	for _, o := range s.Opsets {
		if got := l.Opset(o.Domain); got != o.Version {
			c.report.fail(FailVersion, domain(o.Domain), fmt.Sprintf("operator set is %d, the small model's is %d", got, o.Version))
		}
	}
	for _, o := range l.Opsets {
		if s.Opset(o.Domain) == 0 {
			c.report.fail(FailVersion, domain(o.Domain), fmt.Sprintf("operator set %d is imported, the small model does not", o.Version))
		}
	}
	c.signature("input", c.small.Graph.Inputs, c.large.Graph.Inputs, func(name string) bool { return c.o.Growth.maps(false)[name] != nil })
	c.signature("output", c.small.Graph.Outputs, c.large.Graph.Outputs, func(name string) bool { return c.o.Growth.maps(true)[name] != nil })
}

func domain(d string) string {
	if d == "" {
		return "ai.onnx"
	}
	return d
}

// signature compares one side. The values of new layers stand wherever the large model puts them; without them the order must be
// the small model's.
func (c *comparison) signature(side string, small, large []*graph.Value, grown func(string) bool) {
	have := map[string]*graph.Value{}
	for _, v := range large {
		have[v.Name] = v
	}
	known := map[string]bool{}
	var order []string
	for _, v := range small {
		known[v.Name] = true
		order = append(order, v.Name)
		w := have[v.Name]
		if w == nil {
			c.report.fail(FailSignature, v.Name, fmt.Sprintf("the small model has this %s, the large one has not", side))
			continue
		}
		if text := typeDifference(v.Type, w.Type, grown(v.Name)); text != "" {
			c.report.fail(FailSignature, v.Name, fmt.Sprintf("this %s %s", side, text))
		}
	}
	var kept, added []string
	for _, v := range large {
		if known[v.Name] {
			kept = append(kept, v.Name)
		} else {
			added = append(added, v.Name)
		}
	}
	if len(kept) == len(order) && !slices.Equal(kept, order) {
		c.report.fail(FailSignature, strings.Join(kept, ", "), fmt.Sprintf("the %ss are in another order than the small model's %s", side, strings.Join(order, ", ")))
	}
	if len(added) == 0 {
		return
	}
	if g := c.o.Growth; g != nil && !g.Deeper {
		c.report.fail(FailSignature, strings.Join(added, ", "), fmt.Sprintf("new %ss, though no layers were added", side))
		return
	}
	c.note("new %ss of new layers: %s", side, strings.Join(added, ", "))
}

// typeDifference says how the type of a value changed; "" when it did not. Sizes that grew may differ where they are numbers.
func typeDifference(a, b *onnxio.Type, grown bool) string {
	switch {
	case a == nil && b == nil:
		return ""
	case a == nil || b == nil:
		if grown || a == nil {
			return ""
		}
		return "has no declared type any more"
	case a.Kind != b.Kind || a.Elem != b.Elem:
		return fmt.Sprintf("is %s of %v, the small model's is %s of %v", b.Kind, b.Elem, a.Kind, a.Elem)
	case a.HasShape != b.HasShape:
		return "has a known number of axes in only one of the models"
	case len(a.Dims) != len(b.Dims):
		return fmt.Sprintf("has %d axes, the small model's has %d", len(b.Dims), len(a.Dims))
	}
	for i, d := range a.Dims {
		e := b.Dims[i]
		number := d.Param == "" && e.Param == "" && d.Value >= 0 && e.Value >= 0
		if d.Param == e.Param && (d.Param != "" || d.Value == e.Value) || d.Param == "" && e.Param == "" && d.Value < 0 && e.Value < 0 {
			continue
		}
		if grown && number && e.Value > d.Value {
			continue
		}
		return fmt.Sprintf("has shape [%s], the small model's is [%s]", onnxio.DimsText(b.Dims), onnxio.DimsText(a.Dims))
	}
	return ""
}

// planned compares the shapes of the large model's initializers with those of the growth repeated from its record.
func (c *comparison) planned() {
	g := c.o.Growth
	if g == nil || g.Planned == nil {
		return
	}
	want, err := initializerShapes(g.Planned)
	if err != nil {
		c.note("the plan could not be compared: %v", err)
		return
	}
	have, err := initializerShapes(c.large.Graph)
	if err != nil {
		c.note("the plan could not be compared: %v", err)
		return
	}
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		got, ok := have[name]
		switch {
		case !ok:
			c.report.fail(FailPlan, name, "the planned model has this initializer, the large one has not")
		case got != want[name]:
			c.report.fail(FailPlan, name, fmt.Sprintf("is %s, planned is %s", got, want[name]))
		}
	}
}

func initializerShapes(g *graph.Graph) (map[string]string, error) {
	m, err := g.ToModel()
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, t := range m.Graph.Initializers {
		out[t.Name] = t.DType.String() + shapeText(t.Dims)
	}
	return out, nil
}
