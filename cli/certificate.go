package cli

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/ligoonnx/ligoonnx/verify"
)

// printCertificate prints a report for people, the verdict last.
func (p *program) printCertificate(r *verify.Report) {
	if len(r.Outputs) > 0 {
		p.table(outputRows(r))
	}
	p.printf("\ntolerance: %s\n", r.Basis.Text)
	for _, x := range r.Readers {
		p.printf("second reader %s: %s\n", x.Library, x.Text)
	}
	for _, line := range reasonLines(r) {
		p.printf("reason %s\n", line)
	}
	if p.term.verbose {
		for _, s := range r.Sets {
			p.printf("inputs %q: %s\n", s.Name, s.Text)
		}
	}
	for _, n := range r.Notes {
		p.printf("note: %s\n", n)
	}
	p.failures(r)
	p.verdict(r)
}

func (p *program) failures(r *verify.Report) {
	for _, f := range r.Failures {
		where := f.Where
		if where != "" {
			where += ": "
		}
		p.printf("%s %s: %s%s\n", p.term.paint(red, "failure"), f.Code, where, f.Text)
	}
}

// verdict prints the line that scripts look for.
func (p *program) verdict(r *verify.Report) {
	line := verdictLine(r)
	color := green
	if !r.Passed() {
		color = red
	}
	p.printf("%s%s\n", p.term.paint(color, r.Verdict), strings.TrimPrefix(line, r.Verdict))
}

// verdictLine is the result of verify in one line. Its form is part of the interface; new facts are added at its end.
func verdictLine(r *verify.Report) string {
	return fmt.Sprintf("%s verify %s %s max|Δ|=%s tolerance=%s promised=%s deviation=%s inputs=%d outputs=%d", r.Verdict, r.Small.Path, r.Large.Path,
		short(r.MaxAbsDiff), short(r.Tolerance), r.Promised, short(r.Deviation), len(r.Sets), len(r.Outputs))
}

func outputRows(r *verify.Report) [][]string {
	head := []string{"OUTPUT", "MAX|Δ|", "MEAN|Δ|", "RMS", "TOLERANCE", "MAX|OUT|"}
	if r.Shadow {
		head = append(head, "FLOAT64 |Δ|", "TOLERANCE")
	}
	rows := [][]string{append(head, "WORST AT", "")}
	for _, o := range r.Outputs {
		row := []string{o.Name, short(o.MaxAbsDiff), short(o.MeanAbs), short(o.RMS), short(o.Tolerance), short(o.MaxAbs)}
		if r.Shadow {
			diff, tol := "-", "-"
			if o.Shadow != nil {
				diff, tol = short(o.Shadow.MaxAbsDiff), short(o.Shadow.Tolerance)
			}
			row = append(row, diff, tol)
		}
		worst, state := "-", "ok"
		if len(o.WorstIndex) > 0 {
			worst = fmt.Sprintf("%v of %s", o.WorstIndex, o.WorstSet)
		}
		if !o.Pass {
			state = "FAIL"
		}
		rows = append(rows, append(row, worst, state))
	}
	return rows
}

func short(n verify.Number) string {
	f := float64(n)
	if math.IsNaN(f) {
		return "nan"
	}
	return fmt.Sprintf("%.3g", f)
}

// reasonLines lists the different reasons, each with the first place that it names.
func reasonLines(r *verify.Report) []string {
	count := map[string]int{}
	for _, x := range r.Reasons {
		count[x.Code+x.Text]++
	}
	var lines []string
	for _, x := range r.Reasons {
		n := count[x.Code+x.Text]
		if n == 0 {
			continue
		}
		delete(count, x.Code+x.Text)
		line := x.Code + ": " + x.Text
		at := x.Node
		if at == "" {
			at = x.Tensor
		}
		switch {
		case n > 1:
			line += fmt.Sprintf(" (at %d places, the first is %s)", n, at)
		case at != "":
			line += fmt.Sprintf(" (at %s)", at)
		}
		lines = append(lines, line)
	}
	return lines
}

// markdown writes a report that fits the summary page of a CI job.
func markdown(w io.Writer, r *verify.Report) {
	fmt.Fprintf(w, "## %s: `%s` against `%s`\n\n", r.Verdict, r.Large.Path, r.Small.Path)
	fmt.Fprintf(w, "Promised **%s**, max|Δ| **%s**, tolerance **%s**, deviation %s of the largest output, %d sets of inputs.\n\n",
		r.Promised, short(r.MaxAbsDiff), short(r.Tolerance), short(r.Deviation), len(r.Sets))
	if len(r.Failures) > 0 {
		fmt.Fprint(w, "### Failures\n\n")
		for _, f := range r.Failures {
			fmt.Fprintf(w, "- **%s** `%s`: %s\n", f.Code, dash(f.Where), cell(f.Text))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "### Outputs\n\n")
	for i, row := range outputRows(r) {
		for j := range row {
			row[j] = cell(row[j])
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
	fmt.Fprintf(w, "\nTolerance: %s.\n", r.Basis.Text)
	section := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		fmt.Fprintf(w, "\n### %s\n\n", title)
		for _, l := range lines {
			fmt.Fprintf(w, "- %s\n", cell(l))
		}
	}
	section("Why the growth is not exact", reasonLines(r))
	var sets, readers []string
	for _, s := range r.Sets {
		sets = append(sets, s.Name+": "+s.Text)
	}
	for _, x := range r.Readers {
		readers = append(readers, x.Library+": "+x.Text)
	}
	section("Inputs", sets)
	section("Second reader", readers)
	section("Notes", r.Notes)
	fmt.Fprintf(w, "\n| model | parameters | sha256 |\n| --- | --- | --- |\n| `%s` | %s | `%s` |\n| `%s` | %s | `%s` |\n",
		r.Small.Path, count(r.Small.Params), r.Small.SHA256, r.Large.Path, count(r.Large.Params), r.Large.SHA256)
}

// cell keeps text from ending a cell of a Markdown table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
