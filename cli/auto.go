package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/learn"
	"github.com/ligoonnx/ligoonnx/ligo/train"
)

// methodAuto is no method: it tries some on the data and takes the best.
const methodAuto = "auto"

// autoFlagList are the flags of --method auto alone.
func autoFlagList() []cli.Flag {
	return []cli.Flag{
		text(learningFlags, "probe-steps", "N|with --method auto: steps of the large model before it is judged; 20 unless given"),
		text(learningFlags, "probe-lr", "X|with --method auto: learning rate of those; 3e-4 unless given"),
	}
}

// probeJSON tells what --method auto has tried.
type probeJSON struct {
	Chosen string       `json:"chosen"`
	LR     float64      `json:"lr"` // of the plain steps
	Trials []*trialJSON `json:"trials"`
}

// trialJSON is one way that was tried. One that was skipped has a reason, and nothing behind it.
type trialJSON struct {
	Name    string      `json:"name"`
	Method  ligo.Method `json:"method"`
	Skipped string      `json:"skipped,omitempty"`
	// OperatorSteps is how long an operator was learned, StepCost what a step of that costs in plain steps, PlainSteps how long the
	// large model was trained, and Cost all of it, in plain steps.
	OperatorSteps int         `json:"operator_steps"`
	StepCost      float64     `json:"step_cost"`
	PlainSteps    int         `json:"plain_steps"`
	Cost          float64     `json:"cost"`
	EvalStart     *train.Eval `json:"eval_start"` // of the large model before and after the plain steps
	EvalEnd       *train.Eval `json:"eval_end"`
}

// parseAuto reads the flags of --method auto, and refuses those of learning one operator.
func (l *learning) parseAuto(c *cli.Context) (err error) {
	if c.String("method") != methodAuto {
		for _, f := range autoFlagList() {
			if name := f.Names()[0]; c.IsSet(name) {
				return callf(c, "--%s is for --method auto", name)
			}
		}
		return nil
	}
	for _, name := range []string{"init", "learn", "tie", "free-term", "lr", "min-lr"} {
		if c.IsSet(name) {
			return callf(c, "--%s is not for --method auto, which tries several ways", name)
		}
	}
	for _, name := range []string{"checkpoint", "checkpoint-every", "keep", "resume", "metrics"} {
		if c.IsSet(name) {
			return callf(c, "--%s is for one run of learning; --method auto makes several", name)
		}
	}
	l.probe = &learn.Probe{}
	if l.probe.Lag, err = natural(c, "probe-steps", 1, 0); err != nil {
		return err
	}
	l.probe.Train.LR, err = share(c, "probe-lr")
	return err
}

// try finds the best way to grow. The plan and what was learned are the chosen trial's.
func (l *learning) try(ctx context.Context, first *ligo.Plan, plan func(ligo.Method) (*ligo.Plan, error)) (*ligo.Plan, *ligo.Operator, error) {
	spec, err := l.spec(ctx)
	if err != nil {
		return nil, nil, err
	}
	// The data is opened for the first large model: the others take the same.
	if _, err := l.grown(ctx, first); err != nil {
		return nil, nil, err
	}
	if l.task, err = train.NewTask(ctx, l.graph, spec); err != nil {
		return nil, nil, l.refused(err)
	}
	if err := l.openData(ctx); err != nil {
		return nil, nil, err
	}
	if err := l.holdOut(); err != nil {
		return nil, nil, err
	}
	q := l.probe
	q.Spec, q.Learn = spec, l.o
	q.Learn.Eval, q.Learn.EvalBatches = nil, 0
	q.Train.Optimizer, q.Train.Accumulate, q.Train.Threads, q.Train.MaxMemory = l.o.Optimizer, l.o.Accumulate, l.o.Threads, l.o.MaxMemory
	q.Plan = func(_ context.Context, m ligo.Method) (*ligo.Plan, error) { return plan(m) }
	q.Data = func(k *train.Task) (train.Batches, train.Batches, int) {
		data, eval := *l.feed, *l.eval
		data.task, eval.task = k, k
		return &data, &eval, l.o.EvalBatches
	}
	q.Progress = l.tried
	l.started = time.Now()
	l.term.step("preparing to try", 0, 0, "")
	l.trials, l.best, err = q.Run(ctx)
	l.seconds = time.Since(l.started).Seconds()
	switch {
	case ctx.Err() != nil:
		l.note("stopped; --method auto begins anew when it is called again")
		return nil, nil, ctx.Err()
	case err != nil && l.first > 0:
		return nil, nil, inFile(l.in, err)
	case err != nil:
		return nil, nil, l.refused(err)
	}
	t := l.trials[l.best]
	l.plan, l.result, l.options = t.Plan, t.Result, t.Options
	return t.Plan, t.Operator, nil
}

// tried shows a step of a trial.
func (l *learning) tried(c learn.Candidate, operator bool, steps int, s train.Point) {
	l.first = 1
	stage := "trying " + c.Name
	if operator {
		stage = "trying " + c.Name + ": operator"
	}
	line := fmt.Sprintf("loss %.4f", s.Loss)
	if s.Eval != nil {
		line += fmt.Sprintf(", eval loss %.4f", s.Eval.Loss)
	}
	switch {
	case l.term.progress:
		l.term.step(stage, s.Step, steps, line)
	case l.term.verbose || s.Step == steps:
		l.note("%s: step %d/%d: %s", stage, s.Step, steps, line)
	}
}

// printTrials prints the table of --method auto.
func (l *learning) printTrials() {
	rows := [][]string{{"", "OPERATOR STEPS", "PLAIN STEPS", "COST", "HELD-OUT LOSS", "AFTERWARDS", ""}}
	for i, t := range l.trials {
		if t.Skipped != "" {
			rows = append(rows, []string{t.Name, "-", "-", "-", "-", "-", "skipped: " + t.Skipped})
			continue
		}
		operator, mark := "-", ""
		if t.Result != nil {
			operator = fmt.Sprintf("%d x %.2f", t.Result.Step, t.StepCost)
		}
		if i == l.best {
			mark = "best"
		}
		rows = append(rows, []string{t.Name, operator, strconv.Itoa(t.Steps), fmt.Sprintf("%.1f", t.Cost), fmt.Sprintf("%.4f", t.Start.Loss), fmt.Sprintf("%.4f", t.End.Loss), mark})
	}
	l.printf("\n")
	l.table(rows)
	l.printf("\n%s is applied: the lowest loss after steps of equal cost (in plain steps), tried in %s\n", l.trials[l.best].Name,
		time.Duration(l.seconds*float64(time.Second)).Round(10*time.Millisecond))
}

// probeJSON is the same for machines.
func (l *learning) probeJSON() *probeJSON {
	if l == nil || l.trials == nil {
		return nil
	}
	out := &probeJSON{Chosen: l.trials[l.best].Name, LR: l.probe.Train.LR}
	for _, t := range l.trials {
		j := &trialJSON{Name: t.Name, Method: t.Method, Skipped: t.Skipped}
		if t.Skipped == "" {
			j.StepCost, j.PlainSteps, j.Cost, j.EvalStart, j.EvalEnd = t.StepCost, t.Steps, t.Cost, t.Start, t.End
			if t.Result != nil {
				j.OperatorSteps = t.Result.Step
			}
		}
		out.Trials = append(out.Trials, j)
	}
	return out
}
