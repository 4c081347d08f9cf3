package train

import (
	"fmt"
	"slices"

	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Export is the model with the parameters' values in it, rounded once to the types of the file. Everything but the initializers (and
// Constant nodes) that hold parameters is as it was in the file, byte for byte when it is written. Only where the file stores
// one initializer for weights that have become different, or a function holds a weight, is the model written from its normalised form,
// with an initializer for each. values has an entry for each of t.Params.
func (t *Task) Export(values []engine.Floats) (*onnxio.Model, error) {
	if len(values) != len(t.Params) {
		return nil, fmt.Errorf("%d values for %d parameters", len(values), len(t.Params))
	}
	fresh := map[string]*onnxio.Tensor{} // by constant of the normalised graph
	for i, p := range t.Params {
		if values[i].Len() != p.Len() {
			return nil, fmt.Errorf("%d values for parameter %q of shape %v", values[i].Len(), p.Name, p.Shape)
		}
		plain, err := p.tensor(values[i], false)
		if err != nil {
			return nil, err
		}
		var turned *onnxio.Tensor
		for _, c := range p.copies {
			fresh[c.value] = plain
			if c.transposed {
				if turned == nil {
					if turned, err = p.tensor(values[i], true); err != nil {
						return nil, err
					}
				}
				fresh[c.value] = turned
			}
		}
	}
	if m := t.inPlace(fresh); m != nil {
		return m, nil
	}
	g := t.source.Clone()
	for _, c := range g.Consts {
		if n := fresh[c.Name]; n != nil {
			c.Const = n
		}
	}
	return g.ToModel()
}

// tensor is the parameter's values in its type.
func (p *Param) tensor(f engine.Floats, transposed bool) (*onnxio.Tensor, error) {
	dims := make([]int64, len(p.Shape))
	for i, d := range p.Shape {
		dims[i] = int64(d)
	}
	raw := make([]byte, f.Len()*p.DType.Bits()/8)
	if transposed {
		dims[0], dims[1] = dims[1], dims[0]
		f = transpose(f, p.Shape[0], p.Shape[1])
	}
	var err error
	if f.F64 != nil {
		err = onnxio.EncodeFloats(raw, p.DType, f.F64)
	} else {
		err = onnxio.EncodeFloats(raw, p.DType, f.F32)
	}
	if err != nil {
		return nil, fmt.Errorf("parameter %q: %w", p.Name, err)
	}
	return onnxio.FromBytes(p.Name, p.DType, dims, raw)
}

func transpose(f engine.Floats, rows, cols int) engine.Floats {
	out := zeros(f)
	for i := range rows {
		for j := range cols {
			if f.F64 != nil {
				out.F64[j*rows+i] = f.F64[i*cols+j]
			} else {
				out.F32[j*rows+i] = f.F32[i*cols+j]
			}
		}
	}
	return out
}

// inPlace is the model of the file with other tensors, or nil where that cannot say what has become of them: constants that the file
// stores as one have different values now, or a tensor is not among the main graph's initializers and Constant nodes.
func (t *Task) inPlace(fresh map[string]*onnxio.Tensor) *onnxio.Model {
	old := t.source.Model
	if old == nil || old.Graph == nil {
		return nil
	}
	change := map[*onnxio.Tensor]*onnxio.Tensor{}
	for _, c := range t.source.Consts {
		now := fresh[c.Name]
		if now == nil {
			now = c.Const
		}
		if was, ok := change[c.Const]; ok && was != now {
			return nil
		}
		change[c.Const] = now
	}
	left := 0
	for was, now := range change {
		if was == now {
			delete(change, was)
		} else {
			left++
		}
	}
	m, g := *old, *old.Graph
	m.Graph = &g
	g.Initializers = slices.Clone(g.Initializers)
	for i, was := range g.Initializers {
		if now := change[was]; now != nil {
			g.Initializers[i] = now.Renamed(was.Name)
			left--
		}
	}
	g.Nodes = slices.Clone(g.Nodes)
	for i, n := range g.Nodes {
		if n.OpType != "Constant" || len(n.Attrs) == 0 || n.Attrs[0].T == nil || change[n.Attrs[0].T] == nil {
			continue
		}
		a, c := *n.Attrs[0], *n
		a.T = change[a.T].Renamed(a.T.Name)
		c.Attrs = append([]*onnxio.Attribute{&a}, n.Attrs[1:]...)
		g.Nodes[i] = &c
		left--
	}
	if left != 0 {
		return nil
	}
	return &m
}
