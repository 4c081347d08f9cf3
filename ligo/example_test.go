package ligo_test

import (
	"context"
	"fmt"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
)

// A model of two layers becomes one of three that is half as wide again and computes the same.
func Example() {
	ctx := context.Background()
	g, err := graph.FromModel(fixtures.GPT2(fixtures.Config{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	small, err := ligo.Analyse(ctx, g)
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := ligo.NewPlan(ctx, small, ligo.Target{Hidden: 48, Layers: 3}, ligo.Options{Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	operator, err := plan.Operator(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	grown, err := ligo.Apply(ctx, plan, operator)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plan.From)
	fmt.Println(plan.To)
	fmt.Println(plan.Promise, grown.Graph.Model.Producer)
	// Output:
	// 2 layers, hidden 32, 2 heads of 16, ffn 128
	// 3 layers, hidden 48, 3 heads of 16, ffn 192
	// exact ligoonnx
}
