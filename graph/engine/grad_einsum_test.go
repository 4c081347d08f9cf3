package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

func einsumCase(i int) gradientCase {
	k := einsumCases[i]
	out := gradientCase{name: k.equation}
	var names []string
	for j, s := range k.shapes {
		names = append(names, fmt.Sprintf("x%d", j))
		out.consts = append(out.consts, random(names[j], uint64(10*i+j+1), s...))
	}
	n := node("Einsum", strings.Join(names, ","), "y")
	n.Attrs = []*onnxio.Attribute{graph.StringAttr("equation", k.equation)}
	out.nodes = []*onnxio.Node{n}
	return out
}

func TestGradientsOfEinsum(t *testing.T) {
	for i := range einsumCases {
		k := einsumCase(i)
		t.Run(k.name, func(t *testing.T) { checkGradients(t, k) })
	}
}
