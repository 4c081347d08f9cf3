package ligo_test

import (
	"fmt"
	"math"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// isomorphic compares two normalised graphs from their outputs backwards: operators, attributes, operands in order, every integer,
// scalars to four decimals, and of weights the shape. Epsilons are left out: growth scales them, an exporter does not.
type isomorphic struct {
	pairs map[*graph.Value]*graph.Value
}

func sameGraph(a, b *graph.Graph) error {
	if len(a.Outputs) != len(b.Outputs) {
		return fmt.Errorf("%d and %d outputs", len(a.Outputs), len(b.Outputs))
	}
	m := isomorphic{map[*graph.Value]*graph.Value{}}
	for i := range a.Outputs {
		if err := m.value(a.Outputs[i], b.Outputs[i], "output"); err != nil {
			return err
		}
	}
	return nil
}

func (m *isomorphic) value(a, b *graph.Value, at string) error {
	if a == nil || b == nil {
		if a != b {
			return fmt.Errorf("%s: one operand is left out", at)
		}
		return nil
	}
	if w, ok := m.pairs[a]; ok {
		if w != b {
			return fmt.Errorf("%s: %s is %s here and %s elsewhere", at, a.Name, b.Name, w.Name)
		}
		return nil
	}
	m.pairs[a] = b
	switch {
	case a.IsConst() != b.IsConst() || (a.Producer == nil) != (b.Producer == nil):
		return fmt.Errorf("%s: %s and %s come from different things", at, a.Name, b.Name)
	case a.IsConst():
		return m.constant(a.Const, b.Const, at+" "+a.Name)
	case a.Producer == nil:
		if a.Name != b.Name {
			return fmt.Errorf("%s: inputs %s and %s", at, a.Name, b.Name)
		}
		return nil
	}
	return m.node(a.Producer, b.Producer)
}

func (m *isomorphic) node(a, b *graph.Node) error {
	if a.Op != b.Op || a.Domain != b.Domain || len(a.In) != len(b.In) || len(a.Out) != len(b.Out) {
		return fmt.Errorf("%v is not %v", a, b)
	}
	for _, x := range a.Attrs {
		y := b.Attr(x.Name)
		if x.Name == "epsilon" {
			continue
		}
		if y == nil || x.Kind != y.Kind || x.I != y.I || math.Abs(float64(x.F-y.F)) > 1e-4 || !slices.Equal(x.Ints, y.Ints) || string(x.S) != string(y.S) {
			return fmt.Errorf("%v: attribute %s differs from %v", a, x.Name, b)
		}
	}
	if len(a.Attrs) != len(b.Attrs) {
		return fmt.Errorf("%v: %d attributes, %v has %d", a, len(a.Attrs), b, len(b.Attrs))
	}
	for i := range a.In {
		if err := m.value(a.In[i], b.In[i], a.String()); err != nil {
			return err
		}
	}
	return nil
}

func (m *isomorphic) constant(a, b *onnxio.Tensor, at string) error {
	if a.DType != b.DType || !slices.Equal(a.Dims, b.Dims) {
		return fmt.Errorf("%s: %v %v, the exporter's %v %v", at, a.DType, a.Dims, b.DType, b.Dims)
	}
	if a.DType.Growable() && a.NumElements() > 1 {
		return nil
	}
	x, err := a.Float64s()
	if err != nil {
		return err
	}
	y, err := b.Float64s()
	if err != nil {
		return err
	}
	for i := range x {
		if math.Abs(x[i]-y[i]) > 1e-4 {
			return fmt.Errorf("%s: element %d is %g, the exporter's %g", at, i, x[i], y[i])
		}
	}
	return nil
}
