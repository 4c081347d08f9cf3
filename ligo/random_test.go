package ligo_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// TestRandomGrowths draws models, targets and methods. A target is either impossible, and said to be, or grown; and what is promised
// to be exact is.
func TestRandomGrowths(t *testing.T) {
	const draws = 60
	refused, kept := 0, 0
	for seed := range uint64(draws) {
		r := rand.New(rand.NewPCG(seed, 11))
		kv := 1 + r.IntN(3)
		c := fixtures.Config{DType: onnxio.Double, Seed: seed, Layers: 2 + r.IntN(2), KVHeads: kv, Heads: kv * (1 + r.IntN(3)), HeadDim: 4 * (1 + r.IntN(3)),
			FFN: 20 + r.IntN(30), Unfolded: r.IntN(2) == 0, QKNorm: r.IntN(4) == 0, RotaryComputed: r.IntN(2) == 0}
		c.Hidden = c.Heads * c.HeadDim
		f := families[r.IntN(len(families))]
		if f.name != "llama" {
			c.KVHeads = 0
		}
		var target ligo.Target
		maybe := func(field *int64, now, most int) {
			if r.IntN(2) == 0 {
				*field = int64(now + r.IntN(most))
			}
		}
		maybe(&target.Hidden, c.Hidden, 40)
		maybe(&target.Heads, c.Heads, 4)
		if f.name == "llama" {
			maybe(&target.KVHeads, kv, 3)
		}
		maybe(&target.HeadDim, c.HeadDim, 9)
		maybe(&target.FFN, c.FFN, 50)
		if r.IntN(3) == 0 {
			target = ligo.Target{Width: 1 + 2*r.Float64(), Depth: 1 + r.Float64()}
		}
		method := ligo.Methods()[r.IntN(len(ligo.Methods()))].Name
		t.Run(fmt.Sprintf("%d %s %s", seed, f.name, method), func(t *testing.T) {
			m := f.model(c)
			a := analyse(t, m)
			_, err := ligo.NewPlan(context.Background(), a, target, ligo.Options{Method: method, Seed: seed})
			var impossible *ligo.TargetError
			if errors.As(err, &impossible) {
				refused++
				t.Logf("%+v -> %+v: %v", c, target, err)
				return
			}
			p, g := grow(t, a, target, ligo.Options{Method: method, Seed: seed})
			d := difference(t, a.Graph, g, inputs(m))
			kept++
			t.Logf("%s -> %s: %s, off %.3g", p.From, p.To, p.Promise, d)
			if p.Promise == ligo.Exact && d > 10*exact {
				t.Errorf("promised exact, off %g: %+v -> %+v", d, c, target)
			}
		})
	}
	if refused > kept {
		t.Errorf("%d of %d targets were refused", refused, draws)
	}
}
