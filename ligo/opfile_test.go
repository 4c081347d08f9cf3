package ligo_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// storedFile is an operator as the bytes of a file.
func storedFile(t testing.TB, p *ligo.Plan, op *ligo.Operator) []byte {
	t.Helper()
	var b bytes.Buffer
	digest, err := ligo.WriteOperator(context.Background(), &b, p, op)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b.Bytes()); digest != hex.EncodeToString(sum[:]) {
		t.Errorf("the digest is said to be %s, it is %x", digest, sum)
	}
	return b.Bytes()
}

// loaded is the operator of a file for a model.
func loaded(t testing.TB, file []byte, a *ligo.Analysis) (*ligo.Plan, *ligo.Operator) {
	t.Helper()
	ctx := context.Background()
	f, err := ligo.OpenOperator(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Plan(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	op, err := f.Operator(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if op.SHA256 == "" || op.SHA256 != f.SHA256 {
		t.Errorf("the operator's digest is %q, the file's %q", op.SHA256, f.SHA256)
	}
	return p, op
}

// fileOf is the model that an operator makes, and that as a file.
func fileOf(t testing.TB, p *ligo.Plan, op *ligo.Operator) (*ligo.Grown, []byte) {
	t.Helper()
	g, err := ligo.Apply(context.Background(), p, op)
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Graph.ToModel()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := onnxio.Write(context.Background(), m, path, onnxio.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return g, raw
}

// sameGrowth saves and loads an operator and holds the models against each other, byte by byte.
func sameGrowth(t *testing.T, a *ligo.Analysis, p *ligo.Plan, op *ligo.Operator) {
	t.Helper()
	file := storedFile(t, p, op)
	q, again := loaded(t, file, a)
	digest := again.SHA256
	op.SHA256 = digest // the one difference that is meant
	_, named := fileOf(t, p, op)
	g, got := fileOf(t, q, again)
	if !bytes.Equal(named, got) {
		t.Errorf("the loaded operator makes another model (%d and %d bytes)", len(named), len(got))
	}
	if want := p.Promise; op.Learned == nil && g.Record.Promise != want || op.Learned != nil && g.Record.Promise != ligo.None {
		t.Errorf("the loaded operator promises %s, the plan %s", g.Record.Promise, want)
	}
	if g.Record.Operator != digest {
		t.Errorf("the record names the operator %q", g.Record.Operator)
	}
	if second := storedFile(t, q, again); !bytes.Equal(file, second) {
		t.Error("saved again, the file is another")
	}
}

func TestOperatorFile(t *testing.T) {
	for _, f := range families {
		if testing.Short() && f.name != "bert" {
			continue
		}
		for i, dt := range []onnxio.DType{onnxio.Float, onnxio.Float16} {
			if i > 0 && f.name != "bert" {
				continue
			}
			a := analyse(t, f.model(fixtures.Config{DType: dt}))
			for _, method := range ligo.Methods() {
				for _, target := range []ligo.Target{{}, {Width: 1.5, Depth: 1.5}} {
					p, err := ligo.NewPlan(context.Background(), a, target, ligo.Options{Method: method.Name, Seed: 5})
					if err != nil {
						continue // the method only doubles
					}
					t.Run(fmt.Sprintf("%s/%v/%s/%v", f.name, dt, method.Name, target.Width), func(t *testing.T) {
						op, err := p.Operator(context.Background())
						if err != nil {
							t.Fatal(err)
						}
						sameGrowth(t, a, p, op)
					})
				}
			}
		}
	}
}

// noisy is the operator of a parametrisation after a made-up step.
func noisy(t testing.TB, l *ligo.Learnable) *ligo.Operator {
	t.Helper()
	op, err := l.Operator(func(name string) []float64 {
		x, err := l.Graph.Value(name).Const.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(7, uint64(len(name))))
		for i := range x {
			x[i] += 0.01 * rng.NormFloat64()
		}
		return x
	})
	if err != nil {
		t.Fatal(err)
	}
	op.Learned = &ligo.Learned{Steps: 1, LR: 0.01, Free: ligo.FreeDense, Tie: ligo.TieNone}
	return op
}

func TestLearnedOperatorFile(t *testing.T) {
	for name, m := range learnables() {
		for i, s := range starts {
			if i%3 != 0 && name != "gpt2 odd" && name != "bert odd" {
				continue // what is stored differs by the start, not by the family
			}
			t.Run(fmt.Sprintf("%s/%s/%s/%s/%v", name, s.method, s.o.Free, s.o.Tie, s.o.Additive), func(t *testing.T) {
				p, _, l := learnable(t, m.model, m.target, s.method, s.o)
				sameGrowth(t, analyse(t, m.model), p, noisy(t, l))
			})
		}
	}
}

// Analytic matrices are stored by structure: the operator of a model of any size takes a few numbers for each unit of its axes.
func TestOperatorFileIsSmall(t *testing.T) {
	a := analyse(t, fixtures.GPT2(fixtures.Config{Hidden: 256, Heads: 4}))
	for _, k := range []struct {
		method ligo.Method
		target ligo.Target
	}{{ligo.LiGO, ligo.Target{}}, {ligo.LEMON, ligo.Target{Width: 1.5}}, {ligo.Net2Net, ligo.Target{Width: 1.25}}} {
		p, err := ligo.NewPlan(context.Background(), a, k.target, ligo.Options{Method: k.method})
		if err != nil {
			t.Fatal(err)
		}
		op, err := p.Operator(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(storedFile(t, p, op)); int64(n) > p.ParamsTo/10 {
			t.Errorf("%s: %d bytes for %d parameters", k.method, n, p.ParamsTo)
		} else {
			t.Logf("%s: %d bytes for %d parameters", k.method, n, p.ParamsTo)
		}
	}
}
