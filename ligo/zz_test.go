package ligo_test

import (
	"fmt"
	"github.com/ligoonnx/ligoonnx/ligo"
	"testing"
)

func TestZZ(t *testing.T) {
	for n, c := range learnables() {
		_, _, l := learnable(t, c.model, c.target, ligo.LearnOptions{Free: ligo.FreeDense})
		fmt.Println(n)
		for _, p := range l.Params {
			fmt.Println("   ", p, l.Graph.Value(p).Const.Dims)
		}
	}
}
