package engine

import (
	"context"
	"testing"

	"gorgonia.org/gorgonia"
	dense "gorgonia.org/tensor"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

func TestStockOperatorsAreRefused(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gorgonia.NewMatrix(g, dense.Float32, gorgonia.WithShape(2, 2), gorgonia.WithName("x"))
	gorgonia.Must(gorgonia.Slice(gorgonia.Must(gorgonia.Mul(x, x)), gorgonia.S(0)))
	if err := onlyOurs(g); err == nil {
		t.Error("a program with gorgonia's own Mul and Slice is accepted")
	}
}

// Every node of a program that trains has a hash code of its own, also among the gradients of equal-looking calls.
func TestTrainingProgramsHaveUniqueNodes(t *testing.T) {
	nodes := []*onnxio.Node{node("Split", "a", "p,q"), node("Mul", "p,q", "r"), node("Mul", "p,q", "s"), node("Mul", "r,s", "y")}
	k := gradientCase{consts: []*onnxio.Tensor{random("a", 1, 2, 768)}, nodes: nodes}
	g, params := k.lossGraph(t)
	tr, err := NewTrainer(g, "loss", params, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Gradients(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]*gop{}
	for _, o := range tr.e.cache[0].p.ops {
		if seen[o.Hashcode()] != nil {
			t.Errorf("%s and %s have the same hash code", o, seen[o.Hashcode()])
		}
		seen[o.Hashcode()] = o
	}
}
