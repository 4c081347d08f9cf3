package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// program is one call of the command.
type program struct {
	out  io.Writer // the result
	err  io.Writer // all else
	env  map[string]string
	term terminal
}

// Run runs one command line (without the program's name) and returns the exit code. A cancelled context ends the command as soon as
// nothing half-done would be left behind.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) (code int) {
	_ = stdin // no command reads it yet; it is here so that tests and main need not change when one does
	p := &program{out: stdout, err: stderr, env: map[string]string{}}
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		p.env[k] = v
	}
	p.term = newTerminal(stdout, stderr, p.env)
	defer func() {
		if r := recover(); r != nil {
			p.term.clear()
			fmt.Fprintf(stderr, "ligoonnx: internal error: %v\n", r)
			fmt.Fprintf(stderr, "This is a defect of ligoonnx, not of your model; please report it with these lines:\n%s", debug.Stack())
			code = exitError
		}
	}()
	err := p.run(ctx, args)
	p.term.clear()
	if err != nil && ctx.Err() != nil {
		err = context.Canceled
	}
	for _, e := range separate(err) {
		if !errors.Is(e, errFailed) {
			fmt.Fprintf(stderr, "ligoonnx: %s\n", message(e))
		}
	}
	return exitCode(err)
}

func (p *program) run(ctx context.Context, args []string) error {
	app := p.app()
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		if len(args) < 2 {
			appHelp(p.out, app)
			return nil
		}
		cmd, err := p.command(app, args[1])
		if err == nil {
			commandHelp(p.out, cmd)
		}
		return err
	}
	if args[0] == "-V" || args[0] == "-version" || args[0] == "--version" {
		args = []string{"version"}
	}
	cmd, err := p.command(app, args[0])
	if err != nil {
		return err
	}
	if wantsHelp(args[1:]) {
		commandHelp(p.out, cmd)
		return nil
	}
	rest, err := arrange(cmd, args[1:])
	if err != nil {
		return err
	}
	return app.RunContext(ctx, append([]string{"ligoonnx", cmd.Name}, rest...))
}

func wantsHelp(args []string) bool {
	for _, a := range args {
		switch a {
		case "--":
			return false
		case "-h", "-help", "--help":
			return true
		}
	}
	return false
}

func (p *program) command(app *cli.App, name string) (*cli.Command, error) {
	var known []string
	for _, c := range app.Commands {
		if c.HasName(name) {
			return c, nil
		}
		known = append(known, c.Name)
	}
	if strings.HasPrefix(name, "-") {
		return nil, usagef("flags come after a command, as in `ligoonnx inspect %s model.onnx`; commands are %s", name, strings.Join(known, ", "))
	}
	return nil, usagef("there is no command %q%s; commands are %s", name, suggest(name, known), strings.Join(known, ", "))
}

func (p *program) app() *cli.App {
	app := &cli.App{
		Name:                      "ligoonnx",
		Usage:                     "grow transformer models in ONNX files without losing what they know",
		HideVersion:               true,
		HideHelp:                  true, // help.go
		Writer:                    p.out,
		ErrWriter:                 p.err,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // Run prints errors and picks the code
		Commands: []*cli.Command{
			p.inspectCommand(), p.planCommand(), p.expandCommand(), p.verifyCommand(), p.trainCommand(), p.runCommand(), p.demoCommand(),
			p.completionCommand(), p.versionCommand(),
		},
	}
	for _, c := range app.Commands {
		c.HideHelp = true
		c.OnUsageError = func(c *cli.Context, err error, _ bool) error {
			return usagef("%s: %v", c.Command.Name, err)
		}
		c.Before = p.before
	}
	return app
}

// before reads what all commands share: the configuration file first, as it may hold the rest.
func (p *program) before(c *cli.Context) error {
	if err := applyConfig(c); err != nil {
		return err
	}
	p.term.quiet = p.term.quiet || c.Bool("quiet")
	p.term.verbose = c.Bool("verbose")
	return nil
}
