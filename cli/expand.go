package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/verify"
)

const expandSchema = "ligoonnx/expand@1"

type expandJSON struct {
	Schema      string         `json:"schema"`
	Output      outputJSON     `json:"output"`
	Plan        *ligo.Plan     `json:"plan"`
	Learned     *learnedJSON   `json:"learned"`     // null without --data, and where --method auto has chosen not to learn
	Probe       *probeJSON     `json:"probe"`       // null without --method auto
	Operator    *operatorJSON  `json:"operator"`    // null without --save-operator and --operator
	Certificate *verify.Report `json:"certificate"` // null with --no-verify
}

type outputJSON struct {
	Path    string  `json:"path"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	Written bool    `json:"written"` // false: the certificate failed, so there is no file
}

func (p *program) expandCommand() *cli.Command {
	flags := append(slices.Concat(target(), growth(", auto"), []cli.Flag{startFlag()}, learningFlagList(), operatorFlags()),
		toggle(checkFlags, "no-verify", "write the file without running both models first"),
		text(checkFlags, "max-deviation", "X|refuse an approximate growth that deviates more, as in 1% of max|output|"),
		metricsFlag(),
		toggle(outputFlags, "force", "replace OUT and FILE if they exist", "f"),
		toggle(outputFlags, "json", "print JSON (ligoonnx/expand@1)"),
		list(outputFlags, "report", "FILE|write the certificate (.json, .md); may be repeated"),
	)
	return &cli.Command{
		Name: "expand", Usage: "grow a model; what it has learned is kept", ArgsUsage: "IN OUT",
		Description: `The grown model is written beside OUT, both models are run and compared, and only a model that passes gets its name. Sizes that
are not given follow those that are; ligoonnx plan shows what would be done. With --data the growth operator is learned (LiGO): not
the large weights, but the matrices that make them of the small ones, by the loss of the large model. The loss on held-out data is
measured before, during and after, and the best operator is applied: never worse than the start. Data, loss, checkpoints and metrics
are those of ligoonnx train. --method auto tries the exact start, stacking and learned operators on the data: after steps of equal
cost the large model with the lowest held-out loss shows which to apply. An operator that --save-operator wrote grows other models
of the same graph by --operator.`,
		UsageText: `  ligoonnx expand small.onnx large.onnx
  ligoonnx expand small.onnx large.onnx --hidden 768 --heads 12 --layers 12
  ligoonnx expand small.onnx large.onnx --like exported-large.onnx
  ligoonnx expand small.onnx large.onnx --width 1.5x --method lemon --seed 7 --report growth.md
  ligoonnx expand small.onnx large.onnx --data tokens.bin --seq-len 128 --learn support
  ligoonnx expand small.onnx large.onnx --data train.npz --eval-data val.npz --init paper --checkpoint ckpt
  ligoonnx expand small.onnx large.onnx --save-operator op.safetensors
  ligoonnx expand sibling.onnx large2.onnx --operator op.safetensors`,
		Flags:  general(flags...),
		Action: p.expand,
	}
}

func (p *program) expand(c *cli.Context) (err error) {
	if p.printConfig(c) {
		return nil
	}
	args, err := operands(c, "IN", "OUT")
	if err != nil {
		return err
	}
	in, out, force := args[0], args[1], c.Bool("force")
	paths, err := reports(c)
	if err != nil {
		return err
	}
	t, o, err := parseGrowth(c)
	if err != nil {
		return err
	}
	l, err := p.parseLearning(c, &o)
	if err != nil {
		return err
	}
	j := job{out: out, seed: o.Seed, force: force, verify: !c.Bool("no-verify"), from: c.String("operator")}
	if j.save, err = checkSave(c, in, out); err != nil {
		return err
	}
	if j.maxDeviation, err = share(c, "max-deviation"); err != nil {
		return err
	}
	if j.maxMemory, err = parseBytes("max-memory", c.String("max-memory")); err != nil {
		return err
	}
	if _, err := os.Stat(in); err != nil {
		return err
	}
	if err := onnxio.CheckTarget(out, in, force); err != nil {
		return err
	}
	start := time.Now()
	given, err := p.givenOperator(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, given.close()) }()
	m, a, err := p.analyse(c, in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Model.Close()) }()
	j.small = m
	if given != nil {
		err = given.apply(c.Context, &j, a)
	} else {
		j.plan, err = p.makePlan(c, m, a, t, o)
	}
	if err != nil {
		return err
	}
	if err := p.checkMemory(c, j.plan); err != nil {
		return err
	}
	if l != nil {
		l.in, l.out, l.m = in, out, m
		defer func() { err = errors.Join(err, l.close()) }()
		if l.probe != nil {
			j.plan, j.operator, err = l.try(c.Context, j.plan, func(method ligo.Method) (*ligo.Plan, error) {
				return p.makePlan(c, m, a, t, ligo.Options{Method: method, Seed: o.Seed})
			})
		} else {
			j.operator, err = l.run(c.Context, j.plan)
		}
		if err != nil {
			return err
		}
	}
	if j.save != "" {
		if err := p.saveOperator(c.Context, &j); err != nil {
			return err
		}
	}
	report, err := p.grow(c.Context, j)
	failed := errors.Is(err, errFailed)
	if err != nil && !failed {
		return err
	}
	result := outputJSON{Path: out, Written: !failed, Seconds: time.Since(start).Seconds()}
	if info, statErr := os.Stat(out); statErr == nil && !failed {
		result.Bytes = info.Size()
	}
	if report != nil {
		err = errors.Join(err, writeReports(paths, report))
	}
	if c.Bool("json") {
		return errors.Join(err, p.json(expandJSON{expandSchema, result, j.plan, l.json(), l.probeJSON(), j.operatorResult(), report}))
	}
	p.printSizes(j.plan)
	if l != nil {
		l.print()
	}
	p.printPromise(j.plan, j.operator)
	p.printf("\n")
	if report != nil {
		p.failures(report)
		p.verdict(report)
	}
	if j.save != "" {
		j.operatorResult().print(p)
	}
	if failed {
		p.printf("%s was not written\n", out)
		return err
	}
	p.printf("wrote %s, %s, in %s\n", out, size(result.Bytes), time.Since(start).Round(10*time.Millisecond))
	if j.from != "" {
		j.operatorResult().print(p)
	}
	return err
}

// job is one growth.
type job struct {
	small        verify.Model
	plan         *ligo.Plan
	operator     *ligo.Operator // nil: the method's
	from, save   string         // the files that the operator came from and goes to; empty for none
	out          string
	force        bool
	verify       bool
	seed         uint64
	maxDeviation float64
	maxMemory    int64
}

// mostShadowed is how many parameters a grown model may have for its short certificate to include the comparison in float64, which
// about doubles its time: a quarter of a second at the size of BERT-base.
const mostShadowed = 200_000_000

// grow applies a plan, writes the model beside its place, verifies what was written, and gives it its name. A model that fails
// leaves no file, and the error is errFailed with the report.
func (p *program) grow(ctx context.Context, j job) (report *verify.Report, err error) {
	p.term.step("growing", 0, 0, "")
	op := j.operator
	if op == nil {
		if op, err = j.plan.Operator(ctx); err != nil {
			return nil, inFile(j.small.Path, err)
		}
	}
	grown, err := ligo.Apply(ctx, j.plan, op)
	if err != nil {
		return nil, inFile(j.small.Path, err)
	}
	model, err := grown.Graph.ToModel()
	if err != nil {
		return nil, inFile(j.small.Path, err)
	}
	p.term.step("writing "+j.out, 0, 0, "")
	pending, err := onnxio.Create(ctx, model, j.out, onnxio.WriteOptions{Force: j.force, Digest: j.verify})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, pending.Abort())
		}
	}()
	if j.verify {
		if report, err = p.certify(ctx, j, grown, pending); err != nil {
			return report, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return report, pending.Commit()
}

// certify compares what was written with the small model.
func (p *program) certify(ctx context.Context, j job, grown *ligo.Grown, pending *onnxio.Pending) (_ *verify.Report, err error) {
	m, err := pending.Open(onnxio.ReadOptions{ForceIR: true})
	if err != nil {
		return nil, fmt.Errorf("the grown model cannot be read again: %w", err)
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	large, err := verify.Load(j.out, m)
	if err != nil {
		return nil, fmt.Errorf("the grown model cannot be read again: %w", inFile(j.out, err))
	}
	report, err := verify.Compare(ctx, j.small, large, verify.Options{
		Seed: j.seed, Short: true, Shadow: j.plan.ParamsTo <= mostShadowed, MaxDeviation: j.maxDeviation,
		Growth: verify.FromGrown(j.plan, grown), MaxMemory: j.maxMemory, Progress: p.verifying,
	})
	if err != nil {
		return nil, interrupted(ctx, fmt.Errorf("no certificate: %w (--no-verify writes the model without one)", err))
	}
	if !report.Passed() {
		return report, errFailed
	}
	return report, nil
}
