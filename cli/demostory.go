package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/learn"
	"github.com/ligoonnx/ligoonnx/ligo/race"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/ligo/train/corpus"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/tokenizer"
)

// demoSize is how much is done. The large model is twice as wide and deep.
type demoSize struct {
	layers, hidden, heads int
	rows, tokens          int64
	small, large          int // steps
	smallLR, lr           float64
	warmup, evals         int
	evalRows              int
}

// The large models' rate is the one that is best for the model from scratch (mean loss of two seeds: 2.59 at 2.5e-3, 2.53 at 3.5e-3, 2.51 at
// 5e-3, 2.56 at 8e-3, 2.71 at 1.2e-2): a reference that is trained badly would make every growth look good.
func (d *demonstration) size() demoSize {
	if d.result.Fast {
		return demoSize{layers: 2, hidden: 16, heads: 2, rows: 8, tokens: 32, small: 200, large: 150, smallLR: 1e-2, lr: 8e-3, warmup: 10, evals: 5, evalRows: 64}
	}
	return demoSize{layers: 2, hidden: 32, heads: 2, rows: 16, tokens: 64, small: 900, large: 900, smallLR: 1e-2, lr: 5e-3, warmup: 20, evals: 10, evalRows: 192}
}

// The names of the large models.
const (
	nameScratch = "from scratch"
	nameExact   = "exact start"
	nameStack   = "stack"
	nameLearned = "LiGO, learned"
)

// story trains, grows and compares.
func (d *demonstration) story() (err error) {
	z := d.size()
	config := fixtures.Config{Layers: z.layers, Hidden: z.hidden, Heads: z.heads, Vocab: 256, Positions: int(z.tokens)}
	g, err := graph.FromModel(fixtures.GPT2(config))
	if err != nil {
		return err
	}
	d.term.step("reading text", 0, 0, "")
	t, err := d.readText()
	if err != nil {
		return err
	}
	data, learnData, closeAll, err := d.data(g, t, z)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	usual := train.Options{Beta1: 0.9, Beta2: 0.95, WeightDecay: 0.01, Clip: 1, Schedule: train.Cosine, Warmup: z.warmup, Retries: 3, Threads: d.threads}
	small, large := usual, usual
	small.Steps, small.LR, small.MinLR, small.EvalEvery, small.Init, small.Seed = z.small, z.smallLR, z.smallLR/10, z.small/z.evals, "glorot", d.result.Seed
	large.Steps, large.LR, large.MinLR, large.EvalEvery, large.Seed = z.large, z.lr, z.lr/10, z.large/z.evals, d.result.Seed+1
	operator := learn.Options{Train: train.Options{Steps: z.large / 10, EvalEvery: z.large / 20, Threads: d.threads}}
	s := &race.Story{Small: g, Spec: train.Spec{Loss: train.CausalLM}, SmallTrain: small, Train: large, Seed: d.result.Seed, Data: data, Learn: learnData,
		Entries: []race.Entry{{Name: nameScratch, Method: ligo.Random, Init: "glorot"}, {Name: nameExact, Method: ligo.LiGO}, {Name: nameStack, Method: ligo.Stack},
			{Name: nameLearned, Method: ligo.Paper, Learn: &operator}},
		Progress: func(stage string, steps int, p train.Point) {
			d.term.step(stage, p.Step, steps, fmt.Sprintf("loss %.4f", p.Loss))
		}}
	d.result.Batch = [2]int64{z.rows, z.tokens}
	if d.result.Story, err = s.Run(d.c.Context); err != nil {
		return err
	}
	d.result.save()
	return d.keep()
}

// data opens the text: to train and measure models on, and operators on other batches and another part.
func (d *demonstration) data(g *graph.Graph, t texts, z demoSize) (data, learn race.Data, closeAll func() error, err error) {
	var open []*corpus.Corpus
	closeAll = func() error {
		var err error
		for _, c := range open {
			err = errors.Join(err, c.Close())
		}
		return err
	}
	corpora := [4]*corpus.Corpus{}
	// Measurements are on batches that do not depend on the seed, cut from all over their part.
	for i, part := range []struct {
		text int
		seed uint64
	}{{0, 2 * d.result.Seed}, {2, 0}, {0, 2*d.result.Seed + 1}, {1, 0}} {
		path := filepath.Join(d.dir, []string{"train.txt", "held.txt", "test.txt"}[part.text])
		if err := d.writeText(path, t[part.text]); err != nil {
			return nil, nil, nil, errors.Join(err, closeAll())
		}
		c, err := corpus.Open(d.c.Context, g, []string{path}, corpus.Options{Objective: corpus.NextToken, Batch: z.rows, SeqLen: z.tokens, Seed: part.seed, Tokenizer: tokenizer.Bytes()})
		if err != nil {
			return nil, nil, nil, errors.Join(err, closeAll())
		}
		open, corpora[i] = append(open, c), c
	}
	n := max(1, z.evalRows/int(z.rows))
	feeds := func(a, b *corpus.Corpus, n int) race.Data {
		return func(t *train.Task) (train.Batches, train.Batches, int) {
			return &feed{c: a, task: t}, &feed{c: b, task: t}, n
		}
	}
	return feeds(corpora[0], corpora[1], n), feeds(corpora[2], corpora[3], max(1, n/4)), closeAll, nil
}

func (d *demonstration) writeText(path, text string) error {
	if err := d.c.Context.Err(); err != nil {
		return err
	}
	return writeWhole(path, []byte(text))
}

// keep writes the trained models, where they are wanted.
func (d *demonstration) keep() error {
	if d.c.String("dir") == "" {
		return nil
	}
	for _, m := range []struct {
		file  string
		curve *race.Curve
	}{{"small.onnx", d.result.Story.Small}, {"scratch.onnx", d.result.curve(nameScratch)}, {"exact.onnx", d.result.curve(nameExact)},
		{"stack.onnx", d.result.curve(nameStack)}, {"learned.onnx", d.result.curve(nameLearned)}} {
		if err := writeModel(d.c.Context, m.curve, filepath.Join(d.dir, m.file), d.force); err != nil {
			return err
		}
	}
	return nil
}

func writeModel(ctx context.Context, c *race.Curve, path string, force bool) error {
	m, err := c.Model()
	if err != nil {
		return err
	}
	return onnxio.Write(ctx, m, path, onnxio.WriteOptions{Force: force})
}

func (r *demoJSON) curve(name string) *race.Curve {
	for _, c := range r.Story.Curves {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// savingJSON is what a model needs for the reference's last loss.
type savingJSON struct {
	Name    string   `json:"name"`
	Reached bool     `json:"reached"`
	Step    int      `json:"step"`  // where it is reached
	FLOPs   float64  `json:"flops"` // until there, learning the operator included
	Saved   *float64 `json:"saved"` // share of the reference's; negative: more is needed; null: not reached
	// Charged is Saved if training the small model counts as well.
	Charged *float64 `json:"saved_small_charged"`
}

// save works out the savings.
func (r *demoJSON) save() {
	scratch := r.Story.Curves[0]
	spent := r.Story.Small.Final().FLOPs
	for _, c := range r.Story.Curves {
		s := savingJSON{Name: c.Name}
		if at, ok := c.Reach(scratch.Final().Loss); ok {
			s.Reached, s.Step, s.FLOPs = true, at.Step, at.FLOPs
			if saved, ok := c.Saved(scratch, 0); ok && c != scratch {
				charged, _ := c.Saved(scratch, spent)
				s.Saved, s.Charged = &saved, &charged
			}
		}
		r.Savings = append(r.Savings, s)
	}
}

// account says what the table is of.
func (r *demoJSON) account() string {
	s := r.Story
	return fmt.Sprintf(`A byte-level GPT of %d layers of %d (%s parameters) learned in %d steps from %s: loss %.4f, %s.
Grown to %d layers of %d (%s parameters); each is trained on the same batches of %d x %d bytes for the same FLOPs, %s.`,
		s.Sizes.From.Layers, s.Sizes.From.Hidden, count(int64(s.Small.Parameters)), s.Small.Final().Step, r.Text.Source, s.Small.Final().Loss, work(s.Small.Final().FLOPs),
		s.Sizes.To.Layers, s.Sizes.To.Hidden, count(int64(s.Curves[0].Parameters)), r.Batch[0], r.Batch[1], work(s.Curves[0].Final().FLOPs))
}

// table has the large models as rows: the loss on the way, at shares of the FLOPs, and what was saved.
func (r *demoJSON) table() [][]string {
	rows := [][]string{{"LARGE MODEL", "LOSS AT START", "25 %", "50 %", "75 %", "END", "STEPS", "OPERATOR", "TO SCRATCH'S END", "SAVED", "SMALL CHARGED"}}
	most := r.Story.Curves[0].Final().FLOPs
	for i, c := range r.Story.Curves {
		row := []string{c.Name, loss(c.Points[0].Loss)}
		for _, share := range []float64{.25, .5, .75} {
			cell := "-"
			if l, ok := c.At(share * most); ok {
				cell = loss(l)
			}
			row = append(row, cell)
		}
		operator := "-"
		if o := r.Story.Grown[i].Operator; o != nil {
			operator = fmt.Sprintf("%d steps, %s", o.Steps, work(o.FLOPs))
		}
		row = append(row, loss(c.Final().Loss), strconv.Itoa(c.Final().Step), operator)
		rows = append(rows, append(row, r.Savings[i].cells(i == 0)...))
	}
	return rows
}

func (s savingJSON) cells(reference bool) []string {
	if !s.Reached {
		return []string{"not reached", "-", "-"}
	}
	to := fmt.Sprintf("%d steps, %s", s.Step, work(s.FLOPs))
	if reference || s.Saved == nil {
		return []string{to, "-", "-"}
	}
	return []string{to, points(*s.Saved), points(*s.Charged)}
}

// work writes a number of FLOPs: 1.36 TFLOP.
func work(flops float64) string {
	unit, of := "TFLOP", 1e12
	if flops < 1e11 {
		unit, of = "GFLOP", 1e9
	}
	return fmt.Sprintf("%.3g %s", flops/of, unit)
}

func loss(v float64) string { return fmt.Sprintf("%.4f", v) }

// legend explains the columns that do not explain themselves.
func (r *demoJSON) legend() string {
	return `Losses are on text that nothing was trained on. SAVED is the share of the FLOPs of training from scratch that is not needed for
its last loss, what the operator has cost included; in SMALL CHARGED, the small model's own training is paid for as well.`
}

// best is the model that saves most; ok is false where none comes to the reference's last loss.
func (r *demoJSON) best() (name string, saved float64, ok bool) {
	for _, s := range r.Savings {
		if s.Saved != nil && (!ok || *s.Saved > saved) {
			name, saved, ok = s.Name, *s.Saved, true
		}
	}
	return name, saved, ok
}
