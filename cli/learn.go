package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/learn"
	"github.com/ligoonnx/ligoonnx/ligo/train"
)

const learningFlags = "Learning the operator"

// What is held out of the data, to measure the loss on, where nothing is given for that: a tenth, but no more than tells operators apart.
const (
	heldShare    = 0.1
	heldTokens   = 8192
	heldExamples = 512
)

// What flags choose from.
var (
	startNames = []string{"exact", "paper"}
	tieNames   = []string{string(ligo.TieNone), string(ligo.TiePaper)}
	freeNames  = []string{string(ligo.FreeDense), string(ligo.FreeSupport), string(ligo.FreeDepth)}
)

// learningFlagList are the flags of growth that learns. Without --data they mean nothing.
func learningFlagList() []cli.Flag {
	return slices.Concat(
		dataFlagList("learn the operator on that; may be repeated", "measure the loss on that; may be repeated; a part of the data unless given",
			"evaluate every N steps; a tenth of them unless given"),
		lossFlagList(learningFlags),
		[]cli.Flag{
			text(learningFlags, "learn", "WHAT|dense (all of it), support (what is not zero) or depth (blends of layers); dense unless given"),
			text(learningFlags, "tie", "NAME|none or paper (one matrix for all that read and write an axis); paper with --init paper"),
			toggle(learningFlags, "free-term", "learn numbers that are added to the weights as well"),
		},
		updateFlagList(learningFlags, usualUpdates{steps: "number of updates; 100 unless given", lr: "by what is learned, from 3e-5 to 1e-2",
			warmup: "a tenth of the steps, 10 at most,", schedule: "linear", clip: "1"}),
		autoFlagList(),
		[]cli.Flag{text(learningFlags, "threads", "N|threads to use; the machine's unless given")},
		checkpointFlagList(),
	)
}

func metricsFlag() cli.Flag {
	return text(outputFlags, "metrics", "FILE|write a line of JSON for every step of learning")
}

// learning is the part of expand that learns an operator.
type learning struct {
	training
	options learn.Options
	plan    *ligo.Plan
	op      *learn.Task
	result  *learn.Result // nil: no operator was learned
	seconds float64
	// What --method auto tries; nil without it.
	probe  *learn.Probe
	trials []*learn.Trial
	best   int
}

// learnedJSON is what was learned, and how.
type learnedJSON struct {
	Start      ligo.Method  `json:"start"`   // the method whose operator learning began with
	Promise    ligo.Promise `json:"promise"` // none, unless the best operator is the start
	Free       ligo.Free    `json:"free"`
	Tie        ligo.Tie     `json:"tie"`
	FreeTerm   bool         `json:"free_term"`
	Loss       train.Loss   `json:"loss"`
	Parameters int          `json:"parameters"` // numbers that were learned
	Steps      int          `json:"steps"`
	LR         float64      `json:"lr"`
	// EvalStart and EvalBest are on held-out data, before the first step and after BestStep, whose operator was applied.
	EvalStart  *train.Eval  `json:"eval_start"`
	EvalBest   *train.Eval  `json:"eval_best"`
	BestStep   int          `json:"best_step"`
	Tokens     int64        `json:"tokens"` // like examples and seconds, of this run alone
	Examples   int64        `json:"examples"`
	Seconds    float64      `json:"seconds"`
	Checkpoint string       `json:"checkpoint,omitempty"`
	Data       trainingData `json:"data"`
}

// parseLearning reads how to learn; nil where nothing is to be learned. It changes the method to the start that was chosen.
func (p *program) parseLearning(c *cli.Context, o *ligo.Options) (*learning, error) {
	if err := parseStart(c, o); err != nil {
		return nil, err
	}
	if len(c.StringSlice("data")) == 0 {
		if c.String("method") == methodAuto {
			return nil, callf(c, "--method auto needs --data, what to try on")
		}
		for _, f := range append(learningFlagList(), metricsFlag()) {
			if name := f.Names()[0]; c.IsSet(name) {
				return nil, callf(c, "--%s is for learning the operator, which needs --data, what to learn on", name)
			}
		}
		return nil, nil
	}
	l := &learning{training: training{program: p, c: c, stage: "learning"}}
	if err := l.parseAuto(c); err != nil {
		return nil, err
	}
	free, err := choice(c, "learn", string(ligo.FreeDense), freeNames...)
	if err != nil {
		return nil, err
	}
	tie := ligo.TieNone
	if o.Method == ligo.Paper {
		tie = ligo.TiePaper
	}
	chosen, err := choice(c, "tie", string(tie), tieNames...)
	if err != nil {
		return nil, err
	}
	if ligo.Tie(chosen) == ligo.TiePaper && o.Method != ligo.Paper {
		return nil, callf(c, "--tie paper needs --init paper: the matrices that an exact start reads with are not those it writes with")
	}
	l.options.Learn = ligo.LearnOptions{Free: ligo.Free(free), Tie: ligo.Tie(chosen), Additive: c.Bool("free-term")}
	steps := 100
	if l.probe != nil {
		steps = 20
	}
	if l.o, err = trainOptions(c, train.Options{Steps: steps, Schedule: train.Linear}); err != nil {
		return nil, err
	}
	switch {
	case c.IsSet("lr") && l.o.LR == 0:
		return nil, callf(c, "--lr: nothing is learned at a rate of 0")
	case c.IsSet("warmup") && l.o.Warmup == 0:
		l.o.Warmup = -1 // none, and not the default
	case c.IsSet("clip") && l.o.Clip == 0:
		l.o.Clip = -1
	}
	if l.data, err = parseData(c); err != nil {
		return nil, err
	}
	l.metrics, err = newMetrics(c.String("metrics"), c.Bool("resume"), c.Bool("force"))
	return l, err
}

// parseStart reads --init: the paper's start is a method.
func parseStart(c *cli.Context, o *ligo.Options) error {
	init, err := choice(c, "init", "", startNames...)
	switch {
	case err != nil || init == "":
		return err
	case init == "paper" && c.IsSet("method") && o.Method != ligo.LiGO && o.Method != ligo.Paper:
		return callf(c, "--init paper is the start of --method ligo, not of %s", o.Method)
	case init == "exact" && o.Method == ligo.Paper:
		return callf(c, "--init exact is not the start of --method paper")
	case init == "paper":
		o.Method = ligo.Paper
	}
	return nil
}

// run learns the operator of a plan.
func (l *learning) run(ctx context.Context, plan *ligo.Plan) (*ligo.Operator, error) {
	l.plan = plan
	spec, err := l.spec(ctx)
	if err != nil {
		return nil, err
	}
	start, err := l.grown(ctx, plan)
	if err != nil {
		return nil, err
	}
	l.term.step("preparing to learn", 0, 0, "")
	l.options.Train = l.o
	l.options.Train.Progress = l.progress
	if l.op, err = learn.NewTask(ctx, plan, start, spec, l.options); err != nil {
		return nil, l.refused(err)
	}
	l.task, l.options = l.op.Task, l.op.Options()
	if err := l.openData(ctx); err != nil {
		return nil, err
	}
	if err := l.holdOut(); err != nil {
		return nil, err
	}
	l.op.HoldOut(l.o.Eval, l.o.EvalBatches)
	begin := time.Now()
	l.term.step("measuring the start", 0, 0, "")
	l.result, err = l.op.Run(ctx, l.feed)
	l.seconds = time.Since(begin).Seconds()
	switch {
	case l.metrics.err != nil:
		return nil, l.metrics.err
	case err == nil:
		return l.result.Operator, nil
	case ctx.Err() != nil:
		if l.result != nil {
			l.stopped(l.result.Step, l.result.Checkpoint)
		}
		return nil, ctx.Err()
	case l.first > 0:
		return nil, inFile(l.in, err) // it went well for a while: nothing is wrong with the call
	}
	return nil, l.refused(err)
}

// grown makes the model at the start of learning the one that data is matched with: a deeper one may have more inputs.
func (l *learning) grown(ctx context.Context, plan *ligo.Plan) (*ligo.Operator, error) {
	start, err := plan.Operator(ctx)
	if err != nil {
		return nil, inFile(l.in, err)
	}
	grown, err := ligo.Apply(ctx, plan, start)
	if err != nil {
		return nil, inFile(l.in, err)
	}
	l.graph = grown.Graph
	return start, nil
}

// holdOut takes the data to measure the loss on from that to learn on, where none is given.
func (l *learning) holdOut() error {
	if l.eval != nil {
		return nil
	}
	held, err := l.feed.c.HoldOut(heldShare, heldTokens, heldExamples)
	if err != nil {
		return callf(l.c, "%v; give some with --eval-data", err)
	}
	eval := *l.feed
	eval.c, eval.eval = held, true
	l.eval = &eval
	return l.evaluateOn(l.eval)
}

// json is what was learned, for machines.
func (l *learning) json() *learnedJSON {
	if l == nil || l.result == nil {
		return nil
	}
	r, o := l.result, l.options
	j := &learnedJSON{Start: r.Operator.Method, Free: o.Learn.Free, Tie: o.Learn.Tie, FreeTerm: o.Learn.Additive, Loss: l.data.loss, Parameters: r.Elements,
		Steps: o.Train.Steps, LR: o.Train.LR, EvalStart: r.Start, EvalBest: r.Best, BestStep: r.BestStep, Tokens: l.feed.tokens, Examples: l.feed.examples,
		Seconds: l.seconds, Checkpoint: r.Checkpoint}
	j.Promise, _ = l.plan.Promised(r.Operator)
	j.Data = trainingData{Examples: l.feed.c.Examples(), EvalExamples: l.eval.c.Examples()}
	return j
}

// print tells people what was learned.
func (l *learning) print() {
	if l.trials != nil {
		l.printTrials()
		return
	}
	r, o := l.result, l.options
	rows := [][]string{{"", "START", "BEST"}, {"step", "0", strconv.Itoa(r.BestStep)},
		{"held-out loss", fmt.Sprintf("%.4f", r.Start.Loss), fmt.Sprintf("%.4f", r.Best.Loss)}}
	if r.Start.Accuracy != nil && r.Best.Accuracy != nil {
		rows = append(rows, []string{"held-out accuracy", percent(*r.Start.Accuracy), percent(*r.Best.Accuracy)})
	}
	l.printf("\n")
	l.table(rows)
	n, unit := l.feed.tokens, "tokens"
	if n == 0 {
		n, unit = l.feed.examples, "examples"
	}
	elapsed := time.Duration(l.seconds * float64(time.Second))
	what := []string{string(o.Learn.Free)}
	if o.Learn.Tie == ligo.TiePaper {
		what = append(what, "tied as in the paper")
	}
	if o.Learn.Additive {
		what = append(what, "with free terms")
	}
	l.printf("\n%s, %s numbers of the operator (%s) learned in %d steps", l.data.loss, count(int64(r.Elements)), strings.Join(what, ", "), o.Train.Steps)
	if n > 0 { // not of a checkpoint that was at its end
		l.printf(" on %s %s in %s, %s", count(n), unit, elapsed.Round(10*time.Millisecond), l.speed(elapsed))
	}
	l.printf("\n")
	if r.BestStep == 0 {
		l.printf("no step lowered the held-out loss: the operator is the start\n")
	}
}

// close closes what is open; the model is expand's.
func (l *learning) close() error {
	if l == nil {
		return nil
	}
	return l.closeData()
}
