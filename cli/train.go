package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/train"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/verify"
)

const trainSchema = "ligoonnx/train@1"

type trainJSON struct {
	Schema     string       `json:"schema"`
	Output     outputJSON   `json:"output"`
	Loss       train.Loss   `json:"loss"`
	Parameters int64        `json:"parameters"` // that were trained
	Steps      int          `json:"steps"`
	Start      train.Point  `json:"start"` // the first step and the last
	End        train.Point  `json:"end"`
	Eval       *train.Eval  `json:"eval"` // at the end; null without --eval-data
	Tokens     int64        `json:"tokens"`
	Examples   int64        `json:"examples"` // rows that were trained on; like tokens and seconds, of this run alone
	Seconds    float64      `json:"seconds"`
	Checkpoint string       `json:"checkpoint,omitempty"`
	Data       trainingData `json:"data"`
}

type trainingData struct {
	Examples     int64 `json:"examples"`
	EvalExamples int64 `json:"eval_examples,omitempty"`
}

// What flags choose from.
var (
	lossNames      = []string{string(train.CausalLM), string(train.MaskedLM), string(train.Classify), string(train.MSE), string(train.Distill)}
	scheduleNames  = []string{string(train.Constant), string(train.Linear), string(train.Cosine)}
	optimizerNames = []string{string(train.AdamW), string(train.SGD)}
	initNames      = []string{"keep", "random", "glorot"}
	tokenTypeNames = []string{"uint16", "uint32"}
)

const (
	dataFlags     = "Data"
	trainingFlags = "Training"
	resumeFlags   = "Checkpoints"
)

func (p *program) trainCommand() *cli.Command {
	return &cli.Command{
		Name: "train", Usage: "train a model further, or a new one from random weights", ArgsUsage: "IN OUT",
		Description: `Data is .npz, NAME=file.npy, .jsonl, a stream of tokens (.bin, .npy), .txt with --tokenizer, or a test_data_set folder. What a model
takes beside its tokens (masks, positions, caches) is filled in. The loss is found where model and flags leave no choice: causal-lm
where no output sees later tokens, masked-lm with --mask-token, classify where the only output is a row of classes, distill with
--teacher. OUT is IN with other initializers. The same flags and seed give the same file, with any number of threads, and after
--resume too. A model that expand has grown is trained at lr 1e-4 with a warmup of 20 steps and cosine to a tenth, unless flags say
otherwise. Ctrl-C saves a checkpoint. A line of --metrics has step, loss, lr, grad_norm (before clipping), elements (labels),
counted (those that have a loss), accuracy, seconds and eval {loss, accuracy, counted, seconds}.`,
		UsageText: `  ligoonnx train gpt2.onnx out.onnx --data tokens.bin --steps 1000 --seq-len 128 --batch 8 --lr 3e-4
  ligoonnx train bert.onnx out.onnx --data text.txt --tokenizer tokenizer.json --loss masked-lm --steps 500
  ligoonnx train vit.onnx out.onnx --data train.npz --eval-data val.npz --eval-every 100 --steps 1000 --metrics run.jsonl
  ligoonnx train in.onnx out.onnx --config train.yaml --checkpoint ckpt --checkpoint-every 200 --resume`,
		Flags: general(slices.Concat(
			dataFlagList("what to train on; may be repeated", "what to measure the loss on; may be repeated", "evaluate every N steps as well as at the end"),
			lossFlagList(trainingFlags),
			updateFlagList(trainingFlags, usualUpdates{steps: "number of updates", lr: "3e-4", warmup: "0", schedule: "constant", clip: "no limit"}),
			[]cli.Flag{
				text(trainingFlags, "init", "NAME|keep, or random or glorot weights to begin with; keep unless given"),
				list(trainingFlags, "only", "GLOB|train only initializers of that name; may be repeated"),
				list(trainingFlags, "freeze", "GLOB|do not train initializers of that name; may be repeated"),
				text(trainingFlags, "seed", "N|seed of batches and random weights; 0 unless given"),
				text(trainingFlags, "threads", "N|threads to use; the machine's unless given"),
			},
			checkpointFlagList(),
			[]cli.Flag{
				text(outputFlags, "metrics", "FILE|write a line of JSON for every step"),
				toggle(outputFlags, "force", "replace OUT and FILE if they exist", "f"),
				toggle(outputFlags, "json", "print JSON (ligoonnx/train@1)"),
			})...,
		),
		Action: p.train,
	}
}

// dataFlagList are the flags that say what to train on.
func dataFlagList(data, eval, every string) []cli.Flag {
	return []cli.Flag{
		list(dataFlags, "data", "SPEC|"+data),
		list(dataFlags, "eval-data", "SPEC|"+eval),
		text(dataFlags, "eval-every", "N|"+every),
		text(dataFlags, "eval-batches", "N|only the first N batches; all unless given"),
		text(dataFlags, "batch", "N|rows of a batch; what the model fixes, or 8"),
		text(dataFlags, "seq-len", "N|tokens of a row; what the model fixes, or 128"),
		text(dataFlags, "tokenizer", "FILE|tokenizer.json, or bytes, or chars (ranks of the characters of the data)"),
		text(dataFlags, "token-type", "TYPE|uint16 or uint32 in .bin files; uint16 unless the vocabulary is larger"),
		text(dataFlags, "mask-token", "ID|token that hides others, for masked-lm; the tokenizer's unless given"),
		text(dataFlags, "mask-prob", "X|share of the tokens that are predicted, for masked-lm; 15% unless given"),
		text(dataFlags, "pad-token", "ID|token that fills up shorter rows; the tokenizer's, or 0"),
	}
}

// lossFlagList are the flags that say what is to become small.
func lossFlagList(category string) []cli.Flag {
	return []cli.Flag{
		text(category, "loss", "NAME|"+strings.Join(lossNames, ", ")),
		text(category, "output", "NAME|output of the model that the loss is of, where there are several"),
		text(category, "teacher", "MODEL|for distill: the model whose outputs to learn"),
		text(category, "temperature", "X|for distill; 1 unless given"),
	}
}

// usualUpdates says what is done without flags, for the help.
type usualUpdates struct{ steps, lr, warmup, schedule, clip string }

// updateFlagList are the flags that say how numbers are updated.
func updateFlagList(category string, u usualUpdates) []cli.Flag {
	return []cli.Flag{
		text(category, "steps", "N|"+u.steps),
		text(category, "lr", "X|largest learning rate; "+u.lr+" unless given"),
		text(category, "min-lr", "X|where linear and cosine schedules end; 0 unless given"),
		text(category, "warmup", "N|steps in which the rate rises; "+u.warmup+" unless given"),
		text(category, "schedule", "NAME|constant, linear or cosine; "+u.schedule+" unless given"),
		text(category, "optimizer", "NAME|adamw or sgd; adamw unless given"),
		text(category, "betas", "X,X|of adamw; 0.9,0.999 unless given"),
		text(category, "momentum", "X|of sgd; 0 unless given"),
		text(category, "weight-decay", "X|of weights of two or more axes; 0 unless given"),
		text(category, "clip", "X|largest norm of the gradient; "+u.clip+" unless given"),
		text(category, "accumulate", "N|batches of a step; 1 unless given"),
	}
}

// checkpointFlagList are the flags for runs that last.
func checkpointFlagList() []cli.Flag {
	return []cli.Flag{
		text(resumeFlags, "checkpoint", "DIR|folder for checkpoints: at the end and on Ctrl-C"),
		text(resumeFlags, "checkpoint-every", "N|and every N steps"),
		text(resumeFlags, "keep", "N|the latest that stay; 2 unless given"),
		toggle(resumeFlags, "resume", "go on from the latest checkpoint in DIR"),
	}
}

// training is one run of the command, or of another that learns from data.
type training struct {
	*program
	c       *cli.Context
	in, out string
	m       verify.Model
	graph   *graph.Graph // of the model that is trained: what data is matched with
	stage   string       // for progress
	task    *train.Task
	o       train.Options
	data    dataOptions
	feed    *feed
	eval    *feed
	metrics *metrics
	started time.Time
	shown   time.Time // when the last line of a log was printed
	first   int       // step of the first update of this run
}

func (p *program) train(c *cli.Context) (err error) {
	if p.printConfig(c) {
		return nil
	}
	args, err := operands(c, "IN", "OUT")
	if err != nil {
		return err
	}
	t := &training{program: p, c: c, in: args[0], out: args[1], stage: "training"}
	if t.o, err = trainOptions(c, train.Options{LR: 3e-4, Schedule: train.Constant}); err != nil {
		return err
	}
	if err := wanted(c, t.o); err != nil {
		return err
	}
	init, err := choice(c, "init", "keep", initNames...)
	if err != nil {
		return err
	}
	if init != "keep" {
		t.o.Init = init
	}
	if t.data, err = parseData(c); err != nil {
		return err
	}
	if _, err := os.Stat(t.in); err != nil {
		return err
	}
	if err := onnxio.CheckTarget(t.out, t.in, c.Bool("force")); err != nil {
		return err
	}
	if t.metrics, err = newMetrics(c.String("metrics"), c.Bool("resume"), c.Bool("force")); err != nil {
		return err
	}
	if t.m, err = p.open(c, t.in); err != nil {
		return err
	}
	if err := t.usualOfGrown(); err != nil {
		return inFile(t.in, err)
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.prepare(c.Context); err != nil {
		return err
	}
	return t.run(c.Context)
}

// close closes what is open.
func (t *training) close() error {
	return errors.Join(t.closeData(), t.m.Model.Close())
}

// closeData closes what was opened for training.
func (t *training) closeData() error {
	err := errors.Join(t.eval.close(), t.feed.close(), t.metrics.Close())
	if k := t.data.openedTeacher; k != nil {
		err = errors.Join(err, k.m.Model.Close())
	}
	return err
}

// run trains and writes the result.
func (t *training) run(ctx context.Context) error {
	t.started = time.Now()
	t.o.Progress = t.progress
	result, err := train.Run(ctx, t.task, t.feed, t.o)
	if t.metrics.err != nil {
		return t.metrics.err
	}
	if err != nil {
		if result != nil && ctx.Err() != nil {
			t.stopped(result.State.Step, result.Checkpoint)
			return ctx.Err()
		}
		if t.first > 0 {
			return inFile(t.in, err) // it went well for a while: nothing is wrong with the call
		}
		return t.refused(err)
	}
	seconds := time.Since(t.started).Seconds()
	model, err := t.task.Export(result.Values)
	if err != nil {
		return inFile(t.in, err)
	}
	t.term.step("writing "+t.out, 0, 0, "")
	if err := onnxio.Write(ctx, model, t.out, onnxio.WriteOptions{Force: t.c.Bool("force")}); err != nil {
		return err
	}
	return t.report(result, seconds)
}

// stopped says what an interrupted run has left, and how to go on with it.
func (t *training) stopped(step int, checkpoint string) {
	switch {
	case checkpoint != "" && t.c.Bool("resume"):
		t.note("stopped after step %d of %d, saved in %s; the same command goes on from there", step, t.o.Steps, checkpoint)
	case checkpoint != "":
		t.note("stopped after step %d of %d, saved in %s; the same command with --resume goes on from there", step, t.o.Steps, checkpoint)
	default:
		t.note("stopped after step %d of %d; with --checkpoint DIR it could have gone on from there", step, t.o.Steps)
	}
}

// usualOfGrown changes what flags leave open for a model that ligoonnx has grown: at the rate of a model from scratch, a few dozen steps
// take away what it has been given (docs/results.md has the measurements).
func (t *training) usualOfGrown() error {
	_, grown, err := ligo.FromMetadata(t.m.Model.Metadata)
	if err != nil || !grown || t.o.Init != "" {
		return err
	}
	if !t.c.IsSet("lr") {
		t.o.LR = 1e-4
	}
	if !t.c.IsSet("warmup") {
		t.o.Warmup = min(20, t.o.Steps/5)
	}
	if !t.c.IsSet("schedule") {
		t.o.Schedule = train.Cosine
		if !t.c.IsSet("min-lr") {
			t.o.MinLR = t.o.LR / 10
		}
	}
	t.note("%s was grown by ligoonnx: lr %g, warmup %d, schedule %s unless flags say otherwise", t.in, t.o.LR, t.o.Warmup, t.o.Schedule)
	return nil
}

// trainOptions reads how to train; usual is what is done without flags.
func trainOptions(c *cli.Context, usual train.Options) (o train.Options, err error) {
	o = usual
	for _, f := range []struct {
		name  string
		to    *int
		least int
		usual int
	}{{"steps", &o.Steps, 1, usual.Steps}, {"warmup", &o.Warmup, 0, usual.Warmup}, {"accumulate", &o.Accumulate, 1, 1}, {"eval-every", &o.EvalEvery, 1, 0},
		{"checkpoint-every", &o.CheckpointEvery, 1, 0}, {"keep", &o.Keep, 1, 2}, {"threads", &o.Threads, 1, 0}} {
		if *f.to, err = natural(c, f.name, f.least, f.usual); err != nil {
			return o, err
		}
	}
	for flag, to := range map[string]*float64{"lr": &o.LR, "min-lr": &o.MinLR, "momentum": &o.Momentum, "weight-decay": &o.WeightDecay, "clip": &o.Clip} {
		if c.IsSet(flag) {
			if *to, err = share(c, flag); err != nil {
				return o, err
			}
		}
	}
	schedule, err := choice(c, "schedule", string(usual.Schedule), scheduleNames...)
	if err != nil {
		return o, err
	}
	optimizer, err := choice(c, "optimizer", string(train.AdamW), optimizerNames...)
	if err != nil {
		return o, err
	}
	o.Schedule, o.Optimizer = train.Schedule(schedule), train.Optimizer(optimizer)
	if err := betas(c, &o); err != nil {
		return o, err
	}
	if o.Seed, err = seed(c); err != nil {
		return o, err
	}
	if o.MaxMemory, err = parseBytes("max-memory", c.String("max-memory")); err != nil {
		return o, err
	}
	o.Checkpoint = c.String("checkpoint")
	if c.Bool("resume") {
		o.Resume = o.Checkpoint
	}
	return o, consistent(c, o)
}

// wanted refuses to train without what it needs.
func wanted(c *cli.Context, o train.Options) error {
	switch {
	case o.Steps == 0:
		return callf(c, "--steps is missing: the number of updates")
	case len(c.StringSlice("data")) == 0:
		return callf(c, "--data is missing: what to train on")
	case (o.EvalEvery > 0 || c.IsSet("eval-batches")) && len(c.StringSlice("eval-data")) == 0:
		return callf(c, "--eval-every and --eval-batches need --eval-data, what to evaluate on")
	}
	return nil
}

// callf is a mistake in a call of a command.
func callf(c *cli.Context, format string, args ...any) error {
	return usagef("%s: %s", c.Command.Name, fmt.Sprintf(format, args...))
}

// consistent refuses flags that need others.
func consistent(c *cli.Context, o train.Options) error {
	switch {
	case c.Bool("resume") && o.Checkpoint == "":
		return callf(c, "--resume needs --checkpoint DIR, the folder to go on from")
	case (o.CheckpointEvery > 0 || c.IsSet("keep")) && o.Checkpoint == "":
		return callf(c, "--checkpoint-every and --keep need --checkpoint DIR, the folder for checkpoints")
	case c.IsSet("betas") && o.Optimizer != train.AdamW:
		return callf(c, "--betas are of --optimizer adamw, not of %s", o.Optimizer)
	case c.IsSet("momentum") && o.Optimizer != train.SGD:
		return callf(c, "--momentum is of --optimizer sgd, not of %s", o.Optimizer)
	case o.LR > 0 && o.MinLR > o.LR:
		return callf(c, "--min-lr %g is above --lr %g", o.MinLR, o.LR)
	}
	return nil
}

func betas(c *cli.Context, o *train.Options) error {
	s := c.String("betas")
	if s == "" {
		return nil
	}
	first, second, ok := strings.Cut(s, ",")
	var err1, err2 error
	o.Beta1, err1 = strconv.ParseFloat(strings.TrimSpace(first), 64)
	o.Beta2, err2 = strconv.ParseFloat(strings.TrimSpace(second), 64)
	in := func(b float64) bool { return b >= 0 && b < 1 }
	if !ok || err1 != nil || err2 != nil || !in(o.Beta1) || !in(o.Beta2) {
		return usagef("--betas: %q is not two numbers from 0 up to 1, such as 0.9,0.95", s)
	}
	return nil
}

// natural reads a whole number.
func natural(c *cli.Context, flag string, least, usual int) (int, error) {
	s := c.String(flag)
	if s == "" {
		return usual, nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < int64(least) {
		return 0, usagef("--%s: %q is no whole number from %d on", flag, s, least)
	}
	return int(n), nil
}

// choice reads one of several names.
func choice(c *cli.Context, flag, usual string, names ...string) (string, error) {
	s := c.String(flag)
	if s == "" {
		return usual, nil
	}
	for _, n := range names {
		if n == s {
			return s, nil
		}
	}
	return "", usagef("--%s: there is no %q%s; it is one of %s", flag, s, suggest(s, names), strings.Join(names, ", "))
}

// refused makes a mistake in the call of what a library says of data, names or options; what it says of models keeps its kind.
func (t *training) refused(err error) error {
	switch {
	case err == nil || isSystem(err):
		return err
	case exitCode(err) == exitError && !train.Diverged(err):
		return callf(t.c, "%v", err)
	}
	return inFile(t.in, err)
}
