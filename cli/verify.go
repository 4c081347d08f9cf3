package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/verify"
)

func (p *program) verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "decide whether a grown model is what it promised to be; exit code 0 or 3", ArgsUsage: "SMALL LARGE",
		Description: `Runs both models on the same inputs, in their own precision and in float64, and compares every output with a tolerance that is
derived from rounding. What was promised is read from the large model's growth record. Structure is compared too, and the large
file is decoded a second time by another library. Without --inputs, inputs are made up from the small model's signature: several
batch and sequence sizes, length 1, padding, the longest sequence. The last line is made for grep.`,
		UsageText: `  ligoonnx verify small.onnx large.onnx
  ligoonnx verify small.onnx large.onnx --inputs batch.npz --report verify.md --report verify.json
  ligoonnx verify small.onnx large.onnx --max-deviation 1%`,
		Flags: general(
			list(checkFlags, "inputs", "SPEC|.npz, NAME=file.npy or a test_data_set folder; may be repeated", "data"),
			toggle(checkFlags, "synthetic", "made-up inputs as well as given ones"),
			text(checkFlags, "seed", "N|seed of made-up inputs; 0 unless given"),
			text(checkFlags, "atol", "X|tolerance instead of the derived one: atol + rtol * max|output|"),
			text(checkFlags, "rtol", "X|see --atol"),
			text(checkFlags, "max-deviation", "X|fail an approximate growth that deviates more, as in 1% of max|output|"),
			toggle(checkFlags, "no-shadow", "leave out the comparison in float64"),
			toggle(outputFlags, "json", "print JSON (ligoonnx/verify@1)"),
			list(outputFlags, "report", "FILE|write a report as well (.json, .md); may be repeated"),
		),
		Action: p.verify,
	}
}

func (p *program) verify(c *cli.Context) (err error) {
	if p.printConfig(c) {
		return nil
	}
	args, err := operands(c, "SMALL", "LARGE")
	if err != nil {
		return err
	}
	var o verify.Options
	for flag, to := range map[string]*float64{"atol": &o.Atol, "rtol": &o.Rtol, "max-deviation": &o.MaxDeviation} {
		if *to, err = share(c, flag); err != nil {
			return err
		}
	}
	if o.Seed, err = seed(c); err != nil {
		return err
	}
	if o.MaxMemory, err = parseBytes("max-memory", c.String("max-memory")); err != nil {
		return err
	}
	paths, err := reports(c)
	if err != nil {
		return err
	}
	small, err := p.open(c, args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, small.Model.Close()) }()
	large, err := p.open(c, args[1])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, large.Model.Close()) }()
	if o.Sets, err = p.load(c.Context, c.StringSlice("inputs"), small); err != nil {
		return err
	}
	p.term.step("recalling the growth", 0, 0, "")
	growth, note, err := verify.Recall(c.Context, small, large)
	if err != nil {
		return err
	}
	o.Growth, o.Synthetic, o.Shadow, o.SecondReader, o.Progress = growth, c.Bool("synthetic"), !c.Bool("no-shadow"), true, p.verifying
	report, err := verify.Compare(c.Context, small, large, o)
	if err != nil {
		return err
	}
	if note != "" {
		report.Notes = append(report.Notes, note)
	}
	if err := writeReports(paths, report); err != nil {
		return err
	}
	if c.Bool("json") {
		if err := p.json(report); err != nil {
			return err
		}
		p.note("%s", verdictLine(report))
	} else {
		p.printCertificate(report)
	}
	if !report.Passed() {
		return errFailed
	}
	return nil
}

// verifying shows the progress of a comparison.
func (p *program) verifying(done, total int, what string) {
	p.term.step("verifying", done, total, what)
}
