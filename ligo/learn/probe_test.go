package learn

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/train"
)

// probeOf tries ways to grow a tiny GPT-2.
func probeOf(t *testing.T, target ligo.Target) *Probe {
	t.Helper()
	g, err := graph.FromModel(fixtures.GPT2(fixtures.Config{Layers: 2, Hidden: 16, Heads: 2, Vocab: 23, Positions: 12}))
	if err != nil {
		t.Fatal(err)
	}
	a, err := ligo.Analyse(context.Background(), g)
	if err != nil {
		t.Fatal(err)
	}
	return &Probe{
		Plan: func(ctx context.Context, m ligo.Method) (*ligo.Plan, error) {
			return ligo.NewPlan(ctx, a, target, ligo.Options{Method: m})
		},
		Spec: train.Spec{Loss: train.CausalLM},
		Data: func(k *train.Task) (data, eval train.Batches, n int) {
			d := counting{labels: k.Labels, vocab: 23, length: 12}
			held := d
			held.seed = 1001
			return d, held, 2
		},
		Learn: train.Options{Steps: 6},
		Lag:   5,
	}
}

func TestProbe(t *testing.T) {
	p := probeOf(t, ligo.Target{})
	seen := map[string][2]int{} // steps of operator and model
	p.Progress = func(c Candidate, operator bool, steps int, s train.Point) {
		n := seen[c.Name]
		if operator {
			n[0]++
		} else {
			n[1]++
		}
		seen[c.Name] = n
		if s.Step > steps {
			t.Errorf("%s: step %d of %d", c.Name, s.Step, steps)
		}
	}
	trials, best, err := p.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(trials) != 4 {
		t.Fatalf("%d trials", len(trials))
	}
	lowest, dearest, cheapest := math.Inf(1), 0.0, math.Inf(1)
	for i, x := range trials {
		if x.Skipped != "" || x.Start == nil || x.End == nil {
			t.Fatalf("%s: %+v", x.Name, x)
		}
		lowest, dearest, cheapest = min(lowest, x.End.Loss), max(dearest, x.Cost), min(cheapest, x.Cost)
		if n := seen[x.Name]; n[1] != x.Steps || n[0] != 6 && x.Learn != nil || n[0] != 0 && x.Learn == nil {
			t.Errorf("%s: %v steps, reported are %d", x.Name, n, x.Steps)
		}
		if (x.Operator != nil) != (i == best) || (x.Result != nil) != (x.Learn != nil) || (x.StepCost > 1) != (x.Learn != nil) {
			t.Errorf("%s: operator %t, result %t, cost of a step %v", x.Name, x.Operator != nil, x.Result != nil, x.StepCost)
		}
		if x.Learn != nil && math.Abs(x.Start.Loss-x.Result.Best.Loss) > 1e-5 {
			t.Errorf("%s: training starts at %v, learning ended at %v", x.Name, x.Start.Loss, x.Result.Best.Loss)
		}
	}
	if dearest-cheapest >= 1 {
		t.Errorf("costs are from %v to %v: not equal to a step", cheapest, dearest)
	}
	if trials[best].End.Loss != lowest {
		t.Errorf("the best is %s with %v, the lowest loss is %v", trials[best].Name, trials[best].End.Loss, lowest)
	}
	// The exact start has the small model's loss, the others do not.
	if trials[0].Start.Loss == trials[1].Start.Loss {
		t.Error("stacking has changed nothing")
	}

	again, same, err := probeOf(t, ligo.Target{}).Run(context.Background())
	if err != nil || same != best {
		t.Fatalf("another run prefers %d (%v)", same, err)
	}
	for i, x := range again {
		if x.End.Loss != trials[i].End.Loss || x.Cost != trials[i].Cost {
			t.Errorf("%s: another run comes to %v at %v, this one to %v at %v", x.Name, x.End.Loss, x.Cost, trials[i].End.Loss, trials[i].Cost)
		}
	}
}

// What cannot be tried, or comes to nothing, is skipped with its reason.
func TestProbeSkips(t *testing.T) {
	p := probeOf(t, ligo.Target{Width: 2, Depth: 1})
	p.Candidates = append(Candidates(), Candidate{"depth", ligo.LiGO, &ligo.LearnOptions{Free: ligo.FreeDepth}})
	p.Learn.LR, p.Learn.Warmup = 1e30, -1
	trials, best, err := p.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "no layers are added", "NaN", "NaN", "nothing of the operator can be learned"} {
		if x := trials[i]; !strings.Contains(x.Skipped, want) || (want == "") != (x.Skipped == "") {
			t.Errorf("%s: skipped because %q, want %q", x.Name, x.Skipped, want)
		}
	}
	if best != 0 {
		t.Errorf("the best is %d", best)
	}
	p.Candidates = p.Candidates[1:]
	if _, _, err := p.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "no way to grow could be tried") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p = probeOf(t, ligo.Target{})
	p.Progress = func(Candidate, bool, int, train.Point) { cancel() }
	if _, _, err := p.Run(ctx); ctx.Err() == nil || err == nil {
		t.Errorf("cancelled: %v", err)
	}
}
