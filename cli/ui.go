package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// terminal knows what the two output streams can show.
type terminal struct {
	err            io.Writer
	progress       bool // standard error is a terminal: one line, rewritten
	color          bool // standard output is a terminal that wants colours
	quiet, verbose bool
	shown          int // runes of the progress line on the screen
	started, last  time.Time
	stage          string
}

func newTerminal(stdout, stderr io.Writer, env map[string]string) terminal {
	_, noColor := env["NO_COLOR"]
	dumb := env["TERM"] == "dumb"
	return terminal{started: time.Now(), err: stderr, progress: isTerminal(stderr) && !dumb, color: isTerminal(stdout) && !dumb && !(noColor && env["NO_COLOR"] != "")}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

const (
	barWidth = 24
	patience = 2 * time.Second // what takes less needs no progress in a log
)

// step shows progress: done of total (0: unknown) in a stage of the work. On a terminal it is one line that is rewritten; elsewhere
// one plain line for each stage once the command has been at it for a while, and for each step with -v.
func (t *terminal) step(stage string, done, total int, what string) {
	if t.quiet {
		return
	}
	if !t.progress {
		if t.verbose || stage != t.stage && time.Since(t.started) > patience {
			line := stage
			if t.verbose && total > 0 {
				line += fmt.Sprintf(" %d/%d", done+1, total)
			}
			if t.verbose && what != "" {
				line += ": " + what
			}
			fmt.Fprintln(t.err, line)
		}
		t.stage = stage
		return
	}
	// A screen shows no more than a few lines a second.
	if now := time.Now(); stage == t.stage && now.Sub(t.last) < 50*time.Millisecond {
		return
	} else {
		t.last, t.stage = now, stage
	}
	line := stage
	if total > 0 {
		full := barWidth * done / total
		line += " [" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "] " + fmt.Sprintf("%d/%d", done, total)
	}
	if what != "" {
		line += " " + what
	}
	runes := []rune(line)
	if len(runes) > 100 {
		runes = append(runes[:99], '…')
	}
	pad := max(0, t.shown-len(runes))
	fmt.Fprintf(t.err, "\r%s%s", string(runes), strings.Repeat(" ", pad))
	t.shown = len(runes)
}

// clear removes the progress line.
func (t *terminal) clear() {
	if t.shown > 0 {
		fmt.Fprintf(t.err, "\r%s\r", strings.Repeat(" ", t.shown))
		t.shown = 0
	}
	t.stage = ""
}

// note prints a line for people on standard error.
func (p *program) note(format string, args ...any) {
	if !p.term.quiet {
		p.term.clear()
		fmt.Fprintf(p.err, format+"\n", args...)
	}
}

// printf prints part of the result.
func (p *program) printf(format string, args ...any) {
	p.term.clear()
	fmt.Fprintf(p.out, format, args...)
}

// json prints a result as indented JSON.
func (p *program) json(v any) error {
	p.term.clear()
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows in columns, the first row as head.
func (p *program) table(rows [][]string) {
	p.term.clear()
	writeTable(p.out, rows)
}

func writeTable(out io.Writer, rows [][]string) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	_ = w.Flush() // a strings.Builder takes everything
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(out, strings.TrimRight(line, " \n"))
	}
}

const (
	green = "\x1b[32m"
	red   = "\x1b[31m"
	reset = "\x1b[0m"
)

// paint colours a verdict.
func (t *terminal) paint(color, text string) string {
	if !t.color {
		return text
	}
	return color + text + reset
}
