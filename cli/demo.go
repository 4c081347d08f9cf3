package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo/race"
)

const demoSchema = "ligoonnx/demo@1"

// demoJSON is everything the demonstration has found out.
type demoJSON struct {
	Schema  string       `json:"schema"`
	Fast    bool         `json:"fast"`
	Seed    uint64       `json:"seed"`
	Growths []growthJSON `json:"growths"`
	Text    textJSON     `json:"text"`
	// Batch is rows and tokens of a row.
	Batch [2]int64   `json:"batch"`
	Story *race.Told `json:"story"`
	// Savings are of the curves, in their order; the first is the reference.
	Savings []savingJSON `json:"savings"`
	Report  string       `json:"report"`
	Seconds float64      `json:"seconds"`
}

func (p *program) demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "the whole story: train a small model, grow it in several ways, train on, compare",
		Description: `First, small models with random weights are grown and verified: the grown model computes the same function, to rounding, or
says why not. Then a byte-level GPT is trained on the source code of Go's standard library and grown by the exact start, by stacking
and by a learned LiGO operator; each large model is trained on the same batches as one from scratch, for the same FLOPs. The table
says what each saves on the way to scratch's last loss, learning the operator included; report.html has the curves. It takes about a
minute on two cores.`,
		UsageText: `  ligoonnx demo
  ligoonnx demo --fast           the same with tiny models, in a few seconds
  ligoonnx demo --dir models     keeps the models
  ligoonnx demo --text book.txt  trains on another text`,
		Flags: []cli.Flag{
			toggle(growthFlags, "fast", "tiny models, a few seconds"),
			text(growthFlags, "text", "FILE|train on that; the standard library's source unless given"),
			text(growthFlags, "seed", "N|seed of everything random; 0 unless given"),
			text(growthFlags, "threads", "N|threads to use; the machine's unless given"),
			text(outputFlags, "out", "FOLDER|write report.html there; the current folder unless given"),
			text(outputFlags, "dir", "FOLDER|keep the models there; a temporary folder unless given"),
			toggle(outputFlags, "force", "replace models in that folder, and a report.html that is not a demo's", "f"),
			toggle(outputFlags, "json", "print JSON (ligoonnx/demo@1)"),
			toggle(otherFlags, "quiet", "print only the result and errors", "q"),
			toggle(otherFlags, "verbose", "print every step", "v"),
		},
		Action: p.demo,
	}
}

// demonstration is one run of the command.
type demonstration struct {
	*program
	c       *cli.Context
	dir     string // of the models
	force   bool
	threads int
	result  demoJSON
}

func (p *program) demo(c *cli.Context) (err error) {
	if _, err := operands(c); err != nil {
		return err
	}
	start := time.Now()
	d := &demonstration{program: p, c: c, dir: c.String("dir"), force: c.Bool("force"), result: demoJSON{Schema: demoSchema, Fast: c.Bool("fast")}}
	if d.result.Seed, err = seed(c); err != nil {
		return err
	}
	if d.threads, err = natural(c, "threads", 1, 0); err != nil {
		return err
	}
	if err := d.place(); err != nil {
		return err
	}
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "ligoonnx-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
		d.force = true
	} else if err := os.MkdirAll(d.dir, 0o777); err != nil {
		return err
	}
	if err := d.growths(); err != nil {
		return err
	}
	if !c.Bool("json") {
		d.printGrowths(time.Since(start))
	}
	if err := d.story(); err != nil {
		return err
	}
	d.result.Seconds = time.Since(start).Seconds()
	if err := d.writeReport(); err != nil {
		return err
	}
	if c.Bool("json") {
		return p.json(d.result)
	}
	d.printStory()
	return nil
}

// place decides where the report goes, before any work.
func (d *demonstration) place() error {
	out := d.c.String("out")
	if out == "" {
		out = "."
	} else if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	d.result.Report = filepath.Join(out, "report.html")
	text, err := os.ReadFile(d.result.Report)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !d.force && !ownReport(text):
		return callf(d.c, "%s exists already, and no demo has written it; --force replaces it, --out puts the report elsewhere", d.result.Report)
	}
	return nil
}

// printStory tells the result to people.
func (d *demonstration) printStory() {
	r := d.result
	d.printf("\n%s\n\n", r.account())
	d.table(r.table())
	d.printf("\n%s\n", r.legend())
	d.printf("wrote %s in %s; open it in a browser\n", r.Report, time.Duration(r.Seconds*float64(time.Second)).Round(10*time.Millisecond))
	if d.c.String("dir") != "" {
		d.printf("the models are in %s; try: ligoonnx inspect %s\n", d.dir, filepath.Join(d.dir, "small.onnx"))
	} else {
		d.printf("now with your own: ligoonnx expand small.onnx large.onnx --data text.jsonl\n")
	}
}

func points(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }
