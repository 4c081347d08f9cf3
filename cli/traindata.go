package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/ligo/train/corpus"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
	"github.com/ligoonnx/ligoonnx/onnxio/tokenizer"
	"github.com/ligoonnx/ligoonnx/verify"
)

// dataOptions is what flags say of data and loss.
type dataOptions struct {
	specs, eval     []string
	batch, seqLen   int
	evalBatches     int
	tokenizer       *tokenizer.Tokenizer
	tokenType       onnxio.DType
	maskToken       int // -1: not given
	maskProb        float64
	padToken        int // -1: not given
	loss            train.Loss
	output, teacher string
	temperature     float64
	only, freeze    []string
	openedTeacher   *teacher
}

func parseData(c *cli.Context) (d dataOptions, err error) {
	d = dataOptions{specs: c.StringSlice("data"), eval: c.StringSlice("eval-data"), output: c.String("output"), teacher: c.String("teacher"),
		only: c.StringSlice("only"), freeze: c.StringSlice("freeze"), maskProb: 0.15}
	for _, f := range []struct {
		name         string
		to           *int
		least, usual int
	}{{"batch", &d.batch, 1, 0}, {"seq-len", &d.seqLen, 1, 0}, {"eval-batches", &d.evalBatches, 1, 0}, {"mask-token", &d.maskToken, 0, -1},
		{"pad-token", &d.padToken, 0, -1}} {
		if *f.to, err = natural(c, f.name, f.least, f.usual); err != nil {
			return d, err
		}
	}
	for flag, to := range map[string]*float64{"mask-prob": &d.maskProb, "temperature": &d.temperature} {
		if c.IsSet(flag) {
			if *to, err = share(c, flag); err != nil {
				return d, err
			}
		}
	}
	loss, err := choice(c, "loss", "", lossNames...)
	if err != nil {
		return d, err
	}
	d.loss = train.Loss(loss)
	switch tt, err := choice(c, "token-type", "", tokenTypeNames...); {
	case err != nil:
		return d, err
	case tt == "uint16":
		d.tokenType = onnxio.Uint16
	case tt == "uint32":
		d.tokenType = onnxio.Uint32
	}
	if d.teacher != "" && d.loss != "" && d.loss != train.Distill {
		return d, usagef("train: --teacher is for --loss distill, not for %s", d.loss)
	}
	if d.loss == train.Distill && d.teacher == "" {
		return d, usagef("train: --loss distill needs --teacher MODEL, the model whose outputs to learn")
	}
	return d, d.openTokenizer(c.String("tokenizer"))
}

func (d *dataOptions) openTokenizer(name string) (err error) {
	switch name {
	case "":
	case "bytes":
		d.tokenizer = tokenizer.Bytes()
	case "chars":
		var texts []string
		for _, spec := range d.specs {
			if !strings.EqualFold(filepath.Ext(spec), ".txt") {
				continue
			}
			text, err := dataset.ReadText(spec)
			if err != nil {
				return err
			}
			texts = append(texts, text)
		}
		if len(texts) == 0 {
			return usagef("train: --tokenizer chars takes the characters of --data texts (.txt), and none is given")
		}
		d.tokenizer = tokenizer.Chars(texts...)
	default:
		d.tokenizer, err = tokenizer.Load(name)
		if err != nil && !isSystem(err) {
			err = &usageError{err.Error()}
		}
	}
	return err
}

// prepare settles the loss and opens the data.
func (t *training) prepare(ctx context.Context) (err error) {
	d := &t.data
	t.term.step("analysing "+t.in, 0, 0, "")
	if d.loss == "" {
		if d.loss, err = t.guessLoss(ctx); err != nil {
			return err
		}
	}
	for flag, loss := range map[string]train.Loss{"mask-token": train.MaskedLM, "mask-prob": train.MaskedLM, "temperature": train.Distill} {
		if t.c.IsSet(flag) && d.loss != loss {
			return usagef("train: --%s is for --loss %s, not for %s", flag, loss, d.loss)
		}
	}
	t.task, err = train.NewTask(ctx, t.m.Graph, train.Spec{Loss: d.loss, Output: d.output, Temperature: d.temperature, Only: d.only, Freeze: d.freeze})
	if err != nil {
		return t.refused(err)
	}
	if d.teacher != "" {
		if d.openedTeacher, err = t.openTeacher(); err != nil {
			return err
		}
	}
	t.term.step("reading data", 0, 0, "")
	if t.feed, err = t.openFeed(ctx, d.specs, false); err != nil {
		return err
	}
	if len(d.eval) == 0 {
		return nil
	}
	if t.eval, err = t.openFeed(ctx, d.eval, true); err != nil {
		return err
	}
	n := int(min(t.eval.c.EvalBatches(0), math.MaxInt32))
	if d.evalBatches > 0 {
		n = min(n, d.evalBatches)
	}
	if n == 0 {
		return usagef("train: --eval-data has too few examples for a batch of the size that the model fixes")
	}
	t.o.Eval, t.o.EvalBatches = t.eval, n
	return nil
}

// guessLoss finds the loss that model and flags leave.
func (t *training) guessLoss(ctx context.Context) (train.Loss, error) {
	d, g := &t.data, t.m.Graph
	switch {
	case d.teacher != "":
		return train.Distill, nil
	case d.maskToken >= 0:
		return train.MaskedLM, nil
	}
	if names := outputNames(g); d.output != "" && !slices.Contains(names, d.output) {
		return "", usagef("train: --output: %s has no output %q%s; outputs are %s", t.in, d.output, suggest(d.output, names), strings.Join(names, ", "))
	}
	ids, rows := corpus.TokenInput(g)
	if out := vocabularyOutput(g, d.output, rows); ids != "" && out != "" {
		causal, err := isCausal(ctx, g, ids, rows, out)
		if err != nil {
			return "", inFile(t.in, err)
		}
		if causal {
			return train.CausalLM, nil
		}
		return "", usagef("train: the outputs of %s see later tokens, so this is no causal language model; pass --loss masked-lm with --mask-token ID, or another --loss", t.in)
	}
	var rank2 int
	for _, v := range g.Outputs {
		if v.Type != nil && v.Type.HasShape && len(v.Type.Dims) == 2 && v.Type.Elem.Growable() && (d.output == "" || d.output == v.Name) {
			rank2++
		}
	}
	if rank2 == 1 && (len(g.Outputs) == 1 || d.output != "") {
		return train.Classify, nil
	}
	return "", usagef("train: which loss %s is to be trained with is not clear from its outputs (%s); pass --loss %s", t.in, strings.Join(outputNames(g), ", "), strings.Join(lossNames, ", "))
}

func outputNames(g *graph.Graph) []string {
	var names []string
	for _, v := range g.Outputs {
		names = append(names, v.Name)
	}
	return names
}

// vocabularyOutput finds the output that has a value for every token: logits of a language model.
func vocabularyOutput(g *graph.Graph, only string, rows int64) string {
	for _, v := range g.Outputs {
		if only != "" && v.Name != only || v.Type == nil || len(v.Type.Dims) != 3 {
			continue
		}
		if last := v.Type.Dims[2]; last.Param == "" && last.Value == rows {
			return v.Name
		}
	}
	return ""
}

// isCausal runs a model twice on inputs that differ in the last token and reports whether the outputs before it are the same.
func isCausal(ctx context.Context, g *graph.Graph, ids string, rows int64, out string) (bool, error) {
	e, err := engine.New(g, engine.Options{})
	if err != nil {
		return false, err
	}
	set, err := verify.Synthesize(ctx, g, e, 0)
	if err != nil {
		return false, err
	}
	var runs [2][]float64
	var dims []int64
	for i := range runs {
		result, err := e.Run(ctx, set.Inputs)
		if err != nil {
			return false, err
		}
		if runs[i], err = result[out].Float64s(); err != nil {
			return false, err
		}
		dims = result[out].Dims
		x := set.Inputs[ids]
		v, err := x.Int64s()
		if err != nil {
			return false, err
		}
		v = slices.Clone(v)
		for at := x.Dims[1] - 1; at < int64(len(v)); at += x.Dims[1] {
			v[at] = (v[at] + 1) % rows
		}
		if set.Inputs[ids], err = dataset.Convert(onnxio.FromInt64s(ids, x.Dims, v), x.DType); err != nil {
			return false, err
		}
	}
	length, width := dims[1], dims[2]
	for i := range runs[0] {
		if int64(i)/width%length < length-1 && runs[0][i] != runs[1][i] {
			return false, nil
		}
	}
	return true, nil
}

// feed is a corpus as training wants it. It counts what was trained on.
type feed struct {
	c                *corpus.Corpus
	task             *train.Task
	teacher          *teacher
	eval             bool
	tokenizer        string // for ID
	tokens, examples int64
}

func (t *training) openFeed(ctx context.Context, specs []string, eval bool) (*feed, error) {
	d := &t.data
	o := corpus.Options{Batch: int64(d.batch), SeqLen: int64(d.seqLen), Seed: t.o.Seed, TokenType: d.tokenType, MaskToken: int64(d.maskToken),
		MaskProb: d.maskProb, PadToken: max(int64(d.padToken), 0)}
	switch d.loss {
	case train.CausalLM:
		o.Objective = corpus.NextToken
	case train.MaskedLM:
		o.Objective = corpus.MaskedToken
	case train.Distill:
		o.Objective = corpus.Unlabelled
	}
	if tok := d.tokenizer; tok != nil {
		o.Tokenizer = tok
		o.Keep = tok.Special()
		if d.padToken < 0 {
			o.PadToken = tok.Pad()
		}
		if id, ok := tok.Mask(); ok && d.maskToken < 0 {
			o.MaskToken = id
		}
	}
	if o.Objective == corpus.MaskedToken && o.MaskToken < 0 {
		return nil, usagef("train: --mask-token is missing: the id of the token that hides others (the tokenizer names none)")
	}
	o.Labels = labelsOf(t.task)
	c, err := corpus.Open(ctx, t.m.Graph, specs, o)
	if err != nil {
		return nil, t.refused(err)
	}
	f := &feed{c: c, task: t.task, teacher: d.openedTeacher, eval: eval}
	if d.tokenizer != nil {
		f.tokenizer = fmt.Sprintf(" tokenizer %s of %d", filepath.Base(t.c.String("tokenizer")), d.tokenizer.Size())
	}
	return f, nil
}

// labelsOf is what a loss takes for labels.
func labelsOf(task *train.Task) corpus.Labels {
	var l corpus.Labels
	for _, v := range task.Inputs {
		if v.Name == task.Labels {
			l.Type = v.Type
		}
	}
	if l.Type == nil || !l.Type.Elem.Integer() {
		return l
	}
	if out := task.Graph.Value(task.Output); out.Type != nil && len(out.Type.Dims) > 0 {
		if last := out.Type.Dims[len(out.Type.Dims)-1]; last.Param == "" && last.Value > 0 {
			l.Classes = last.Value
		}
	}
	return l
}

// Batch makes micro-batch i.
func (f *feed) Batch(ctx context.Context, i int) (map[string]*onnxio.Tensor, error) {
	var b *corpus.Batch
	var err error
	if f.eval {
		b, err = f.c.EvalBatch(ctx, int64(i), 0)
	} else {
		b, err = f.c.Batch(ctx, int64(i))
	}
	if err != nil {
		return nil, err
	}
	f.tokens += b.Tokens
	f.examples += b.Examples
	if f.teacher != nil {
		logits, err := f.teacher.run(ctx, b.Inputs)
		if err != nil {
			return nil, err
		}
		b.Inputs[f.task.Teacher] = logits.Renamed(f.task.Teacher)
	}
	if b.Labels != nil {
		b.Inputs[f.task.Labels] = b.Labels.Renamed(f.task.Labels)
	}
	return b.Inputs, nil
}

// ID says what the batches depend on.
func (f *feed) ID() string {
	id := f.c.ID() + f.tokenizer
	if f.teacher != nil {
		id += " teacher " + f.teacher.id
	}
	return id
}

func (f *feed) close() error {
	if f == nil {
		return nil
	}
	return f.c.Close()
}

// teacher is the model that another is to become like.
type teacher struct {
	m      verify.Model
	e      *engine.Engine
	output string
	id     string
}

func (t *training) openTeacher() (_ *teacher, err error) {
	m, err := t.open(t.c, t.data.teacher)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Model.Close())
		}
	}()
	k := &teacher{m: m, id: filepath.Base(m.Path)}
	var given []string
	for _, v := range t.m.Graph.Inputs {
		given = append(given, v.Name)
	}
	for _, v := range m.Graph.Inputs {
		if !slices.Contains(given, v.Name) {
			return nil, usagef("train: --teacher: %s takes an input %q that %s does not have (inputs: %s)", m.Path, v.Name, t.in, strings.Join(given, ", "))
		}
	}
	for _, v := range m.Graph.Outputs {
		if v.Name == t.task.Output {
			k.output = v.Name
		}
	}
	if k.output == "" && len(m.Graph.Outputs) == 1 {
		k.output = m.Graph.Outputs[0].Name
	}
	if k.output == "" {
		return nil, usagef("train: --teacher: %s has no output %q (outputs: %s)", m.Path, t.task.Output, strings.Join(outputNames(m.Graph), ", "))
	}
	k.e, err = engine.New(m.Graph, engine.Options{MaxMemory: t.o.MaxMemory, Threads: t.o.Threads, Outputs: []string{k.output}})
	return k, inFile(m.Path, err)
}

func (k *teacher) run(ctx context.Context, all map[string]*onnxio.Tensor) (*onnxio.Tensor, error) {
	in := map[string]*onnxio.Tensor{}
	for _, v := range k.m.Graph.Inputs {
		in[v.Name] = all[v.Name]
	}
	out, err := k.e.Run(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", inFile(k.m.Path, err))
	}
	return out[k.output], nil
}
