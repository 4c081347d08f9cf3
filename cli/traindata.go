package cli

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/ligo/train/corpus"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
	"github.com/ligoonnx/ligoonnx/onnxio/tokenizer"
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
		return d, callf(c, "--teacher is for --loss distill, not for %s", d.loss)
	}
	if d.loss == train.Distill && d.teacher == "" {
		return d, callf(c, "--loss distill needs --teacher MODEL, the model whose outputs to learn")
	}
	return d, d.openTokenizer(c)
}

func (d *dataOptions) openTokenizer(c *cli.Context) (err error) {
	switch name := c.String("tokenizer"); name {
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
			return callf(c, "--tokenizer chars takes the characters of --data texts (.txt), and none is given")
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
	spec, err := t.spec(ctx)
	if err != nil {
		return err
	}
	spec.Only, spec.Freeze = t.data.only, t.data.freeze
	t.graph = t.m.Graph
	if t.task, err = train.NewTask(ctx, t.graph, spec); err != nil {
		return t.refused(err)
	}
	return t.openData(ctx)
}

// spec settles the loss.
func (t *training) spec(ctx context.Context) (_ train.Spec, err error) {
	d := &t.data
	t.term.step("analysing "+t.in, 0, 0, "")
	if d.loss == "" {
		if d.loss, err = t.guessLoss(ctx); err != nil {
			return train.Spec{}, err
		}
	}
	for flag, loss := range map[string]train.Loss{"mask-token": train.MaskedLM, "mask-prob": train.MaskedLM, "temperature": train.Distill} {
		if t.c.IsSet(flag) && d.loss != loss {
			return train.Spec{}, callf(t.c, "--%s is for --loss %s, not for %s", flag, loss, d.loss)
		}
	}
	return train.Spec{Loss: d.loss, Output: d.output, Temperature: d.temperature}, nil
}

// openData opens the data for the task.
func (t *training) openData(ctx context.Context) (err error) {
	d := &t.data
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
	return t.evaluateOn(t.eval)
}

// evaluateOn sets what the loss is measured on.
func (t *training) evaluateOn(eval *feed) error {
	n := int(min(eval.c.EvalBatches(0), math.MaxInt32))
	if t.data.evalBatches > 0 {
		n = min(n, t.data.evalBatches)
	}
	if n == 0 {
		return callf(t.c, "--eval-data has too few examples for a batch of the size that the model fixes")
	}
	t.o.Eval, t.o.EvalBatches = eval, n
	return nil
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
		return nil, callf(t.c, "--mask-token is missing: the id of the token that hides others (the tokenizer names none)")
	}
	o.Labels = labelsOf(t.task)
	c, err := corpus.Open(ctx, t.graph, specs, o)
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
