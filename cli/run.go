package cli

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
	"github.com/ligoonnx/ligoonnx/verify"
)

const runSchema = "ligoonnx/run@1"

type runJSON struct {
	Schema string       `json:"schema"`
	Model  string       `json:"model"`
	Sets   []runSetJSON `json:"sets"`
	// Passed is null unless outputs were expected.
	Passed *bool `json:"passed"`
}

type runSetJSON struct {
	Name    string          `json:"name"`
	Outputs []runOutputJSON `json:"outputs"`
}

type runOutputJSON struct {
	Name      string        `json:"name"`
	DType     string        `json:"dtype"`
	Shape     []int64       `json:"shape"`
	Min       verify.Number `json:"min"`
	Max       verify.Number `json:"max"`
	Mean      verify.Number `json:"mean"`
	RMS       verify.Number `json:"rms"`
	NonFinite int64         `json:"non_finite"`
	// Expected is null unless the inputs came with this output.
	Expected *expectedJSON `json:"expected"`
}

type expectedJSON struct {
	MaxAbsDiff verify.Number `json:"max_abs_diff"`
	Beyond     int64         `json:"beyond_tolerance"`
	Pass       bool          `json:"pass"`
	Problem    string        `json:"problem,omitempty"`
}

func (p *program) runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run a model and show, save or compare its outputs", ArgsUsage: "MODEL",
		Description: `Without --inputs, inputs are made up from the model's signature and --seed. With --expect, outputs that the inputs come with
(output_N.pb of a test_data_set folder, arrays of an .npz named like outputs) are compared, and every difference must be at most
atol + rtol * |expected|.`,
		UsageText: `  ligoonnx run model.onnx --inputs test_data_set_0 --expect
  ligoonnx run model.onnx --inputs input_ids=ids.npy --output logits.npz`,
		Flags: general(
			list(checkFlags, "inputs", "SPEC|.npz, NAME=file.npy or a test_data_set folder; may be repeated", "data"),
			toggle(checkFlags, "expect", "compare with the outputs that the inputs come with"),
			text(checkFlags, "rtol", "X|relative tolerance of --expect; 1e-4 unless given"),
			text(checkFlags, "atol", "X|absolute tolerance of --expect; 1e-5 unless given"),
			text(checkFlags, "seed", "N|seed of made-up inputs; 0 unless given"),
			text(outputFlags, "output", "FILE|save the outputs as .npz", "o"),
			toggle(outputFlags, "force", "replace FILE if it exists", "f"),
			toggle(outputFlags, "json", "print JSON (ligoonnx/run@1)"),
			toggle(checkFlags, "float64", "compute everything in float64"),
		),
		Action: p.runModel,
	}
}

func (p *program) runModel(c *cli.Context) (err error) {
	if p.printConfig(c) {
		return nil
	}
	args, err := operands(c, "MODEL")
	if err != nil {
		return err
	}
	r := runner{program: p, rtol: 1e-4, atol: 1e-5, expect: c.Bool("expect")}
	for flag, to := range map[string]*float64{"rtol": &r.rtol, "atol": &r.atol} {
		if c.IsSet(flag) {
			if *to, err = share(c, flag); err != nil {
				return err
			}
		}
	}
	random, err := seed(c)
	if err != nil {
		return err
	}
	memory, err := parseBytes("max-memory", c.String("max-memory"))
	if err != nil {
		return err
	}
	save := c.String("output")
	if save != "" {
		if err := onnxio.CheckTarget(save, args[0], c.Bool("force")); err != nil {
			return err
		}
	}
	m, err := p.open(c, args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Model.Close()) }()
	e, err := engine.New(m.Graph, engine.Options{MaxMemory: memory, Float64: c.Bool("float64")})
	if err != nil {
		return inFile(m.Path, err)
	}
	sets, err := p.load(c.Context, c.StringSlice("inputs"), m)
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		if r.expect {
			return usagef("run: --expect needs --inputs that come with outputs")
		}
		s, err := verify.Synthesize(c.Context, m.Graph, e, random)
		if err != nil {
			return inFile(m.Path, err)
		}
		s.Name = "made up: " + s.Name
		sets = []dataset.Set{s}
	}
	if save != "" && len(sets) != 1 {
		return usagef("run: --output takes the outputs of one set of inputs, %d are given", len(sets))
	}
	result := runJSON{Schema: runSchema, Model: m.Path, Sets: []runSetJSON{}}
	for i, s := range sets {
		p.term.step("running", i, len(sets), s.Name)
		out, err := e.Run(c.Context, s.Inputs)
		if err != nil {
			return inFile(m.Path, err)
		}
		set, err := r.set(m, s, out)
		if err != nil {
			return err
		}
		result.Sets = append(result.Sets, set)
		if save != "" {
			if err := dataset.WriteNPZ(save, out); err != nil {
				return err
			}
		}
	}
	if r.expect {
		if r.compared == 0 {
			return usagef("run: --expect: the inputs come with no outputs to compare with")
		}
		passed := !r.failed
		result.Passed = &passed
	}
	if c.Bool("json") {
		err = p.json(result)
	} else {
		r.print(result)
	}
	if err == nil && r.failed {
		return errFailed
	}
	return err
}

// runner compares and prints the outputs of runs.
type runner struct {
	*program
	rtol, atol float64
	expect     bool
	compared   int
	failed     bool
}

func (r *runner) set(m verify.Model, s dataset.Set, out map[string]*onnxio.Tensor) (runSetJSON, error) {
	set := runSetJSON{Name: s.Name, Outputs: []runOutputJSON{}}
	for _, v := range m.Graph.Outputs {
		t := out[v.Name]
		x, err := verify.RangeOf(t)
		if err != nil {
			return set, fmt.Errorf("output %q: %w", v.Name, err)
		}
		o := runOutputJSON{Name: v.Name, DType: t.DType.String(), Shape: append([]int64{}, t.Dims...), Min: verify.Number(x.Min),
			Max: verify.Number(x.Max), Mean: verify.Number(x.Mean), RMS: verify.Number(x.RMS), NonFinite: x.NonFinite}
		if want := s.Outputs[v.Name]; r.expect && want != nil {
			r.compared++
			o.Expected = r.check(t, want)
			r.failed = r.failed || !o.Expected.Pass
		}
		set.Outputs = append(set.Outputs, o)
	}
	return set, nil
}

func (r *runner) check(got, want *onnxio.Tensor) *expectedJSON {
	s, err := verify.DifferenceOf(got, want)
	if err != nil {
		return &expectedJSON{Problem: err.Error()}
	}
	beyond, err := verify.Beyond(got, want, r.rtol, r.atol)
	if err != nil {
		return &expectedJSON{Problem: err.Error()}
	}
	e := &expectedJSON{MaxAbsDiff: verify.Number(s.MaxDiff), Beyond: beyond, Pass: beyond == 0}
	if s.NonFinite > 0 {
		e.Problem = fmt.Sprintf("%d elements are NaN or infinite", s.NonFinite)
	}
	return e
}

func (r *runner) print(result runJSON) {
	for i, s := range result.Sets {
		if i > 0 {
			r.printf("\n")
		}
		r.printf("%s\n", s.Name)
		head := []string{"OUTPUT", "TYPE", "SHAPE", "MIN", "MAX", "MEAN", "RMS", "NAN/INF"}
		if r.expect {
			head = append(head, "MAX|Δ|", "EXPECTED")
		}
		rows := [][]string{head}
		for _, o := range s.Outputs {
			row := []string{o.Name, o.DType, fmt.Sprint(o.Shape), short(o.Min), short(o.Max), short(o.Mean), short(o.RMS), fmt.Sprint(o.NonFinite)}
			if r.expect {
				diff, state := "-", "-"
				if e := o.Expected; e != nil {
					diff, state = short(e.MaxAbsDiff), "ok"
					if !e.Pass {
						state = fmt.Sprintf("FAIL: %d elements beyond rtol %g, atol %g", e.Beyond, r.rtol, r.atol)
						if e.Problem != "" {
							state = "FAIL: " + e.Problem
						}
					}
				}
				row = append(row, diff, state)
			}
			rows = append(rows, row)
		}
		r.table(rows)
	}
	if result.Passed != nil {
		verdict, color := verify.Pass, green
		if !*result.Passed {
			verdict, color = verify.Fail, red
		}
		r.printf("%s run %s outputs=%d rtol=%g atol=%g\n", r.term.paint(color, verdict), result.Model, r.compared, r.rtol, r.atol)
	}
}
