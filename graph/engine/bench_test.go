package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
)

// BenchmarkForward is one forward pass of BERT models on 1 x 128 tokens, the program compiled before.
func BenchmarkForward(b *testing.B) {
	for name, c := range map[string]fixtures.Config{"small": fixtures.BERTSmall(), "base": fixtures.BERTBase()} {
		m := fixtures.BERT(c)
		g, err := graph.FromModel(m)
		if err != nil {
			b.Fatal(err)
		}
		in := fixtures.Inputs(m, 1, map[string]int{"batch": 1, "sequence": 128})
		for threads := 1; threads <= 2; threads++ {
			b.Run(fmt.Sprintf("bert-%s/threads%d", name, threads), func(b *testing.B) {
				e, err := engine.New(g, engine.Options{Threads: threads})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := e.Run(context.Background(), in); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := e.Run(context.Background(), in); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
