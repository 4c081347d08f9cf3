package main

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// tie makes a matrix that is the transpose of an earlier one that matrix, transposed: exporters write a head that shares its weight with
// the embedding as a copy.
func tie(g *onnxio.Graph) error {
	for i, t := range g.Initializers {
		for _, of := range g.Initializers[:i] {
			same, err := transposed(of, t)
			if err != nil {
				return err
			}
			if !same {
				continue
			}
			g.Initializers = slices.Delete(g.Initializers, i, i+1)
			g.Nodes = slices.Insert(g.Nodes, 0, &onnxio.Node{Name: "tie", OpType: "Transpose", Inputs: []string{of.Name}, Outputs: []string{t.Name},
				Attrs: []*onnxio.Attribute{graph.IntsAttr("perm", 1, 0)}})
			return tie(g)
		}
	}
	return nil
}

func transposed(a, b *onnxio.Tensor) (bool, error) {
	if a.DType != onnxio.Float || b.DType != onnxio.Float || len(a.Dims) != 2 || len(b.Dims) != 2 || a.Dims[0] != b.Dims[1] || a.Dims[1] != b.Dims[0] {
		return false, nil
	}
	x, err := a.Float32s()
	if err != nil {
		return false, err
	}
	y, err := b.Float32s()
	if err != nil {
		return false, err
	}
	rows, cols := int(a.Dims[0]), int(a.Dims[1])
	for i := range rows {
		for j := range cols {
			if x[i*cols+j] != y[j*rows+i] {
				return false, nil
			}
		}
	}
	return true, nil
}
