package learn

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/ligo/train/corpus"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// feed is a corpus as batches of a task.
type feed struct {
	c      *corpus.Corpus
	labels string
	eval   bool
}

func (f *feed) ID() string { return f.c.ID() }

func (f *feed) Batch(ctx context.Context, i int) (map[string]*onnxio.Tensor, error) {
	make := f.c.Batch
	if f.eval {
		make = func(ctx context.Context, n int64) (*corpus.Batch, error) { return f.c.EvalBatch(ctx, n, 0) }
	}
	b, err := make(ctx, int64(i))
	if err != nil {
		return nil, err
	}
	b.Inputs[f.labels] = b.Labels
	return b.Inputs, nil
}

func openFeed(t testing.TB, g *graph.Graph, task *train.Task, spec string, eval bool, o corpus.Options) *feed {
	t.Helper()
	for _, v := range task.Inputs {
		if v.Name == task.Labels {
			o.Labels.Type = v.Type
		}
	}
	c, err := corpus.Open(context.Background(), g, []string{spec}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &feed{c, task.Labels, eval}
}

// trainedCase is a trained small model and its data.
type trainedCase struct {
	model, train, val string
	spec              train.Spec
	corpus            corpus.Options
	evalBatches       int
}

func trainedCases(root string) map[string]trainedCase {
	tokens := filepath.Join(root, "data", "shakespeare_")
	return map[string]trainedCase{
		"gpt2": {"gpt2_shakespeare_op17", tokens + "train.bin", tokens + "val.bin", train.Spec{Loss: train.CausalLM}, corpus.Options{Objective: corpus.NextToken, Batch: 16, SeqLen: 64}, 16},
		"bert": {"bert_mlm_shakespeare_op17", tokens + "train.bin", tokens + "val.bin", train.Spec{Loss: train.MaskedLM},
			corpus.Options{Objective: corpus.MaskedToken, Batch: 16, SeqLen: 64, MaskToken: 65, MaskProb: 0.15}, 16},
		"vit": {"vit_mnist_op17", filepath.Join(root, "data", "mnist_train.npz"), filepath.Join(root, "data", "mnist_val.npz"), train.Spec{Loss: train.Classify},
			corpus.Options{Batch: 32}, 46},
	}
}

// learnOn learns the operator that doubles a trained model, and gives the small model's loss on the same held-out data.
func learnOn(t testing.TB, c trainedCase, root string, method ligo.Method, o Options) (small float64, r *Result) {
	t.Helper()
	ctx := context.Background()
	m, err := onnxio.Read(filepath.Join(root, "models", "trained", c.model, "model.onnx"), onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	base, err := train.NewTask(ctx, g, c.spec)
	if err != nil {
		t.Fatal(err)
	}
	still, err := train.Run(ctx, base, openFeed(t, g, base, c.train, false, c.corpus), train.Options{KeepBest: true, Eval: openFeed(t, g, base, c.val, true, c.corpus), EvalBatches: c.evalBatches})
	if err != nil {
		t.Fatal(err)
	}
	a, err := ligo.Analyse(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ligo.NewPlan(ctx, a, ligo.Target{}, ligo.Options{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	start, err := p.Operator(ctx)
	if err != nil {
		t.Fatal(err)
	}
	task, err := NewTask(ctx, p, start, c.spec, o)
	if err != nil {
		t.Fatal(err)
	}
	task.o.Train.Eval, task.o.Train.EvalBatches, task.o.Train.KeepBest = openFeed(t, g, task.Task, c.val, true, c.corpus), c.evalBatches, true
	r, err = task.Run(ctx, openFeed(t, g, task.Task, c.train, false, c.corpus))
	if err != nil {
		t.Fatal(err)
	}
	return still.Start.Loss, r
}

// TestTrainedModels learns the operators that double trained models. Without LIGOONNX_LONG only one of the nine cases runs: each
// takes a minute on two cores.
func TestTrainedModels(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short")
	}
	root := fixtures.TestData(t)
	for name, c := range trainedCases(root) {
		for _, s := range []struct {
			method ligo.Method
			free   ligo.Free
		}{{ligo.LiGO, ligo.FreeDense}, {ligo.LiGO, ligo.FreeSupport}, {ligo.Paper, ligo.FreeDense}} {
			t.Run(name+"/"+string(s.method)+"/"+string(s.free), func(t *testing.T) {
				if os.Getenv("LIGOONNX_LONG") == "" && (name != "gpt2" || s.method != ligo.Paper) {
					t.Skip("SKIPPED: LIGOONNX_LONG is not set")
				}
				small, r := learnOn(t, c, root, s.method, Options{Learn: ligo.LearnOptions{Free: s.free}})
				t.Logf("small %.4f, start %.4f, best %.4f after %d steps, %d numbers learned", small, r.Start.Loss, r.Best.Loss, r.BestStep, r.Elements)
				switch {
				case s.method == ligo.LiGO && (r.Start.Loss-small > 1e-5 || small-r.Start.Loss > 1e-5):
					t.Errorf("the exact start has loss %v, the small model %v", r.Start.Loss, small)
				case s.method == ligo.LiGO && r.Best.Loss > small:
					t.Errorf("learned from the exact start: loss %v, the small model's is %v", r.Best.Loss, small)
				case s.method == ligo.Paper && name == "gpt2" && r.Best.Loss > 1.94:
					t.Errorf("learned from the paper's start: loss %v; the reference implementation comes to 1.93", r.Best.Loss)
				}
			})
		}
	}
}
