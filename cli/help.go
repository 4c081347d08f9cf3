package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Help is written by hand: what matters most about a command is its examples, and every flag fits one line.

const appExamples = `  ligoonnx demo                             the whole story in a minute
  ligoonnx inspect small.onnx               what can grow
  ligoonnx expand small.onnx large.onnx     twice as wide and twice as deep
  ligoonnx expand small.onnx large.onnx --layers 12 --hidden 768
  ligoonnx verify small.onnx large.onnx     for CI: exit code 0 or 3`

func appHelp(w io.Writer, app *cli.App) {
	fmt.Fprintf(w, "ligoonnx: %s\n\nUsage:\n  ligoonnx COMMAND [arguments] [flags]\n\nCommands:\n", app.Usage)
	for _, c := range app.Commands {
		fmt.Fprintf(w, "  %-11s %s\n", c.Name, c.Usage)
	}
	fmt.Fprintf(w, "\nExamples:\n%s\n\n", appExamples)
	fmt.Fprint(w, `ligoonnx help COMMAND tells more about one of them.

Exit codes: 0 ok, 1 internal or I/O error, 2 usage, 3 verification failed, 4 invalid or unsupported model, 5 refused by a limit,
130 interrupted.
`)
}

func commandHelp(w io.Writer, c *cli.Command) {
	fmt.Fprintf(w, "ligoonnx %s: %s\n\nUsage:\n  ligoonnx %s", c.Name, c.Usage, c.Name)
	if c.ArgsUsage != "" {
		fmt.Fprintf(w, " %s", c.ArgsUsage)
	}
	if len(c.Flags) > 0 {
		fmt.Fprint(w, " [flags]")
	}
	fmt.Fprintln(w)
	if c.Description != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.Description))
	}
	var order []string
	lines := map[string][][2]string{}
	width := 0
	for _, f := range c.Flags {
		category := f.(cli.CategorizableFlag).GetCategory()
		if !slices.Contains(order, category) {
			order = append(order, category)
		}
		line := flagLine(f)
		width = max(width, len(line[0]))
		lines[category] = append(lines[category], line)
	}
	for _, category := range order {
		fmt.Fprintf(w, "\n%s:\n", category)
		for _, l := range lines[category] {
			fmt.Fprintf(w, "  %-*s  %s\n", width, l[0], l[1])
		}
	}
	if c.UsageText != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", strings.TrimRight(c.UsageText, "\n"))
	}
}

// flagLine is a flag's names with the placeholder of its value, and its text with its default.
func flagLine(f cli.Flag) [2]string {
	usage := f.(cli.DocGenerationFlag).GetUsage()
	var names []string
	for _, n := range f.Names() {
		if len(n) == 1 {
			names = append(names, "-"+n)
		} else {
			names = append(names, "--"+n)
		}
	}
	head := strings.Join(names, ", ")
	if place, rest, ok := strings.Cut(usage, "|"); ok {
		head, usage = head+" "+place, rest
	}
	if s, ok := f.(*cli.StringFlag); ok && s.Value != "" {
		usage += " (default " + s.Value + ")"
	}
	return [2]string{head, usage}
}
