package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func (p *program) completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a completion script for bash, zsh or fish", ArgsUsage: "bash|zsh|fish",
		UsageText: `  source <(ligoonnx completion bash)
  ligoonnx completion zsh > "${fpath[1]}/_ligoonnx"
  ligoonnx completion fish > ~/.config/fish/completions/ligoonnx.fish`,
		Action: func(c *cli.Context) error {
			args, err := operands(c, "bash, zsh or fish")
			if err != nil {
				return err
			}
			shells := map[string]func([]*cli.Command) string{"bash": bash, "zsh": zsh, "fish": fish}
			script, ok := shells[args[0]]
			if !ok {
				return usagef("completion: there are scripts for bash, zsh and fish, not for %q%s", args[0], suggest(args[0], []string{"bash", "zsh", "fish"}))
			}
			p.printf("%s", script(c.App.Commands))
			return nil
		},
	}
}

// words are what may follow a command: its flags, and the values that flags and operands choose from.
func words(c *cli.Command) []string {
	out := flagNames(c.Flags)
	if c.Name == "completion" {
		out = append(out, "bash", "zsh", "fish")
	}
	return out
}

// choices are the words that a command's flag takes one of; empty where it takes anything.
func choices(command, flag string) string {
	list := map[string][]string{"method": methodNames(), "loss": lossNames, "schedule": scheduleNames, "optimizer": optimizerNames, "token-type": tokenTypeNames,
		"init": startNames, "learn": freeNames, "tie": tieNames}[flag]
	switch {
	case command == "train" && flag == "init":
		list = initNames
	case command == "expand" && flag == "method":
		list = append(list, methodAuto)
	}
	return strings.Join(list, " ")
}

func bash(commands []*cli.Command) string {
	var names []string
	var cases, values strings.Builder
	for _, c := range commands {
		names = append(names, c.Name)
		fmt.Fprintf(&cases, "    %s) words=%q ;;\n", c.Name, strings.Join(words(c), " "))
		for _, f := range c.Flags {
			if list := choices(c.Name, f.Names()[0]); list != "" {
				fmt.Fprintf(&values, "    %s:--%s) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", c.Name, f.Names()[0], list)
			}
		}
	}
	return fmt.Sprintf(`# bash completion for ligoonnx
_ligoonnx() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W %q -- "$cur"))
    return
  fi
  case ${COMP_WORDS[1]}:$prev in
%s  esac
  case ${COMP_WORDS[1]} in
%s  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [ "${cur#-}" = "$cur" ]; then COMPREPLY+=($(compgen -f -- "$cur")); fi
}
complete -o filenames -F _ligoonnx ligoonnx
`, strings.Join(append(names, "help"), " "), values.String(), cases.String())
}

func zsh(commands []*cli.Command) string {
	var list, cases strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&list, "    '%s:%s'\n", c.Name, quote(strings.ReplaceAll(c.Usage, ":", "\\:")))
		fmt.Fprintf(&cases, "    %s)\n      _arguments", c.Name)
		for _, f := range c.Flags {
			line := flagLine(f)
			usage := strings.NewReplacer("[", "(", "]", ")", ":", ";").Replace(line[1])
			value := ""
			if _, isBool := f.(*cli.BoolFlag); !isBool {
				value = ":value:_files"
				if words := choices(c.Name, f.Names()[0]); words != "" {
					value = ":" + f.Names()[0] + ":(" + words + ")"
				}
			}
			repeat := ""
			if _, many := f.(*cli.StringSliceFlag); many {
				repeat = "*"
			}
			fmt.Fprintf(&cases, " \\\n        '%s--%s[%s]%s'", repeat, f.Names()[0], quote(usage), value)
		}
		operand := "*:file:_files"
		if c.Name == "completion" {
			operand = "1:shell:(bash zsh fish)"
		}
		fmt.Fprintf(&cases, " \\\n        '%s' ;;\n", operand)
	}
	return fmt.Sprintf(`#compdef ligoonnx
_ligoonnx() {
  local -a commands
  commands=(
%s  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
%s  esac
}
_ligoonnx "$@"
`, list.String(), cases.String())
}

func fish(commands []*cli.Command) string {
	var b strings.Builder
	b.WriteString("# fish completion for ligoonnx\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "complete -c ligoonnx -n __fish_use_subcommand -f -a %s -d '%s'\n", c.Name, quote(c.Usage))
		for _, f := range c.Flags {
			line := flagLine(f)
			value := " -r"
			if _, isBool := f.(*cli.BoolFlag); isBool {
				value = ""
			} else if words := choices(c.Name, f.Names()[0]); words != "" {
				value = " -x -a '" + words + "'"
			}
			fmt.Fprintf(&b, "complete -c ligoonnx -n '__fish_seen_subcommand_from %s' -l %s%s -d '%s'\n", c.Name, f.Names()[0], value, quote(line[1]))
		}
	}
	b.WriteString("complete -c ligoonnx -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n")
	return b.String()
}

// quote makes text safe inside single quotes; the three shells agree on none better than leaving them out.
func quote(s string) string { return strings.ReplaceAll(s, "'", "") }
