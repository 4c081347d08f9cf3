package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// operatorFlags are those of operators in files.
func operatorFlags() []cli.Flag {
	return []cli.Flag{
		text(growthFlags, "operator", "FILE|grow by an operator that was saved, this model or a sibling; sizes, method and seed are its"),
		text(outputFlags, "save-operator", "FILE|write the operator as well (.safetensors), to grow siblings by it"),
	}
}

// operatorJSON is the operator's file in the result of expand.
type operatorJSON struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Saved  bool   `json:"saved"` // false: it was there, and was applied
	Bytes  int64  `json:"bytes"`
}

// operatorFile is an operator in a file that is open.
type operatorFile struct {
	*ligo.OperatorFile
	path string
	file *os.File
}

// openOperator opens an operator.
func (p *program) openOperator(path string) (*operatorFile, error) {
	p.term.step("reading "+path, 0, 0, "")
	f, size, err := onnxio.OpenFile(path)
	if err != nil {
		return nil, err
	}
	o, err := ligo.OpenOperator(f, size)
	if err != nil {
		return nil, errors.Join(inFile(path, err), f.Close())
	}
	return &operatorFile{o, path, f}, nil
}

func (o *operatorFile) close() error {
	if o == nil {
		return nil
	}
	return o.file.Close()
}

// givenOperator opens the operator of --operator; nil where there is none. Flags that would choose what it brings are refused.
func (p *program) givenOperator(c *cli.Context) (*operatorFile, error) {
	path := c.String("operator")
	if path == "" {
		return nil, nil
	}
	for _, f := range slices.Concat(target(), growth(""), []cli.Flag{startFlag()}, learningFlagList(), operatorFlags()[1:]) {
		if name := f.Names()[0]; c.IsSet(name) {
			return nil, callf(c, "--%s cannot be given with --operator: sizes, method, seed and matrices are those of %s", name, path)
		}
	}
	return p.openOperator(path)
}

// apply plans the growth of a model by the operator and makes it the job's.
func (o *operatorFile) apply(ctx context.Context, j *job, a *ligo.Analysis) (err error) {
	if j.plan, err = o.Plan(ctx, a); err != nil {
		return interrupted(ctx, inFile(o.path, err))
	}
	if j.operator, err = o.Operator(ctx, j.plan); err != nil {
		return interrupted(ctx, inFile(o.path, err))
	}
	j.seed = o.Record.Seed
	return nil
}

// saveOperator writes the job's operator, before the model is made: it may have taken hours to learn.
func (p *program) saveOperator(ctx context.Context, j *job) (err error) {
	if j.operator == nil {
		if j.operator, err = j.plan.Operator(ctx); err != nil {
			return inFile(j.small.Path, err)
		}
	}
	p.term.step("writing "+j.save, 0, 0, "")
	saved := *j.operator
	err = onnxio.WriteFile(j.save, j.force, func(w io.Writer) (err error) {
		saved.SHA256, err = ligo.WriteOperator(ctx, w, j.plan, j.operator)
		return err
	})
	j.operator = &saved
	return interrupted(ctx, err)
}

// checkSave checks --save-operator before any work.
func checkSave(c *cli.Context, in, out string) (string, error) {
	path := c.String("save-operator")
	switch {
	case path == "":
		return "", nil
	case !strings.EqualFold(filepath.Ext(path), ".safetensors"):
		return "", callf(c, "--save-operator: %s: an operator's file ends in .safetensors", path)
	case filepath.Clean(path) == filepath.Clean(out):
		return "", callf(c, "--save-operator: %s is OUT", path)
	}
	return path, onnxio.CheckTarget(path, in, c.Bool("force"))
}

// operatorResult is the operator's file in the result.
func (j *job) operatorResult() *operatorJSON {
	path := j.save
	if path == "" {
		path = j.from
	}
	if path == "" || j.operator == nil || j.operator.SHA256 == "" {
		return nil
	}
	out := &operatorJSON{Path: path, SHA256: j.operator.SHA256, Saved: j.save != ""}
	if info, err := os.Stat(path); err == nil {
		out.Bytes = info.Size()
	}
	return out
}

// print tells people which file was written or applied.
func (o *operatorJSON) print(p *program) {
	switch {
	case o == nil:
	case o.Saved:
		p.printf("wrote %s, the operator, %s\n", o.Path, size(o.Bytes))
	default:
		p.printf("grown by the operator in %s, SHA-256 %s\n", o.Path, o.SHA256[:12])
	}
}

// isOperator reports whether inspect is to read a file as an operator: a safetensors file, by its name or its first bytes.
func isOperator(path string) bool {
	if strings.EqualFold(filepath.Ext(path), ".safetensors") {
		return true
	}
	f, size, err := onnxio.OpenFile(path)
	if err != nil {
		return false // the reader of models will say why
	}
	defer f.Close()
	var head [9]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return false
	}
	n := int64(0)
	for i := 7; i >= 0; i-- {
		n = n<<8 | int64(head[i])
	}
	return n >= 0 && n <= size-8 && head[8] == '{'
}

// inspectOperator shows an operator.
func (p *program) inspectOperator(c *cli.Context, path string) (err error) {
	o, err := p.openOperator(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	s, err := o.Summary(c.Context, func(done, total int) { p.term.step("measuring "+path, done, total, "") })
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return p.json(s)
	}
	p.printOperator(path, s, c.Bool("all"))
	return nil
}

// shownRows is how many rows of a table are shown without --all.
const shownRows = 16

// rows prints the first rows of a table, or all.
func (p *program) rows(rows [][]string, what string, all bool) {
	if hidden := len(rows) - 1 - shownRows; hidden > 0 && !all {
		p.table(rows[:1+shownRows])
		p.printf("and %d more %s (--all lists them)\n", hidden, what)
		return
	}
	p.table(rows)
}

func (p *program) printOperator(path string, s *ligo.OperatorSummary, all bool) {
	p.printf("%s: an operator from %s to %s\n", path, s.From, s.To)
	how := fmt.Sprintf("method %s, seed %d", s.Method, s.Seed)
	if l := s.Learned; l != nil {
		how += fmt.Sprintf("; learned in %d steps at rate %g, %s, tied %s", l.Steps, l.LR, l.Free, l.Tie)
		if l.LossBefore != 0 || l.LossAfter != 0 {
			how += fmt.Sprintf(", held-out loss %.4f to %.4f", l.LossBefore, l.LossAfter)
		}
	}
	p.printf("%s; promise: %s\n", how, promiseText(s.Promise))
	p.printf("%d matrices (and %d that are the same or transposed), %s numbers, %s\n", len(s.Matrices), s.Shared, count(s.Numbers), size(s.Bytes))
	if s.Source != "" {
		p.printf("made for the model with SHA-256 %s\n", s.Source)
	}
	rows := [][]string{{"MATRIX", "SHAPE", "FORM", "DENSITY", "σ MAX", "σ MIN", "CONDITION"}}
	for _, m := range s.Matrices {
		rows = append(rows, []string{m.Name, fmt.Sprintf("%d x %d", m.To, m.From), m.Form, percentOf(m.Density), figure(m.Largest), figure(m.Smallest), condition(m)})
	}
	p.printf("\n")
	p.rows(rows, "matrices", all)
	if len(s.Inverses) > 0 {
		rows = [][]string{{"AXIS", "MAX|L·R - I|", "READER", "WRITER"}}
		for _, v := range s.Inverses {
			rows = append(rows, []string{v.Axis, figure(v.Off), v.Reader, v.Writer})
		}
		p.printf("\n")
		p.rows(rows, "pairs", all)
	}
	if len(s.Blends) > 0 {
		rows = [][]string{{"BLEND", "LAYERS", "ROW SUMS"}}
		for _, b := range s.Blends {
			rows = append(rows, []string{b.Module, fmt.Sprintf("%d to %d", b.From, b.To), fmt.Sprintf("%.4g to %.4g", b.MinSum, b.MaxSum)})
		}
		p.printf("\n")
		p.rows(rows, "modules", all)
	}
	if len(s.Free) > 0 {
		rows = [][]string{{"FREE TERM", "TYPE", "SHAPE"}}
		for _, n := range s.Free {
			shape := fmt.Sprint(n.Shape)
			if n.Filled {
				shape += ", one number"
			}
			rows = append(rows, []string{n.Tensor, n.DType, shape})
		}
		p.printf("\n")
		p.rows(rows, "free terms", all)
	}
	if s.Dropped > 0 {
		p.printf("\n%d tensors of the small model are not used\n", s.Dropped)
	}
	if s.Skipped > 0 {
		p.printf("\n%d figures were left out (-): they would take too long\n", s.Skipped)
	}
}

func percentOf(x *float64) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("%.3g%%", 100**x)
}

func figure(x *float64) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("%.3g", *x)
}

// condition is a condition number; a matrix that loses something has none.
func condition(m ligo.MatrixSummary) string {
	if m.Condition == nil && m.Smallest != nil {
		return "∞"
	}
	return figure(m.Condition)
}
