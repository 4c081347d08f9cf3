package cli

import (
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo"
)

// A flag's usage text is "PLACEHOLDER|text"; help.go takes it apart.

const (
	targetFlags = "Target (nothing given: --width 2x --depth 2x)"
	growthFlags = "Growth"
	checkFlags  = "Verification"
	outputFlags = "Output"
	otherFlags  = "General"
)

func text(category, name, usage string, aliases ...string) *cli.StringFlag {
	return &cli.StringFlag{Name: name, Usage: usage, Category: category, Aliases: aliases}
}

func list(category, name, usage string, aliases ...string) *cli.StringSliceFlag {
	return &cli.StringSliceFlag{Name: name, Usage: usage, Category: category, Aliases: aliases}
}

func toggle(category, name, usage string, aliases ...string) *cli.BoolFlag {
	return &cli.BoolFlag{Name: name, Usage: usage, Category: category, Aliases: aliases}
}

// general are the flags of every command that works on models.
func general(more ...cli.Flag) []cli.Flag {
	return append(more,
		text(otherFlags, "config", "FILE|read flags from a YAML file; those on the command line win"),
		toggle(otherFlags, "print-config", "print the flags as such a file and do nothing else"),
		text(otherFlags, "max-memory", "SIZE|refuse what needs more, such as 512MiB"),
		toggle(otherFlags, "force-ir", "accept files of a newer IR version than is known"),
		toggle(otherFlags, "quiet", "print only the result and errors", "q"),
		toggle(otherFlags, "verbose", "print every step", "v"),
	)
}

func target() []cli.Flag {
	return []cli.Flag{
		text(targetFlags, "hidden", "N|width of the residual stream"),
		text(targetFlags, "heads", "N|attention heads"),
		text(targetFlags, "kv-heads", "N|key/value heads, where queries share them"),
		text(targetFlags, "head-dim", "N|size of a head"),
		text(targetFlags, "ffn", "N|inner width of the feed-forward layers"),
		text(targetFlags, "layers", "N|number of layers (of the main stage, where there are several)"),
		list(targetFlags, "axis", "NAME=N|size of any axis that inspect lists; may be repeated"),
		text(targetFlags, "width", "FACTOR|multiply every width at the same head size, as in 1.5x"),
		text(targetFlags, "depth", "FACTOR|multiply the number of layers"),
		text(targetFlags, "like", "MODEL|take every size from another model"),
		text(targetFlags, "params", "N|as many parameters as that, as in 110M"),
	}
}

func growth(more string) []cli.Flag {
	return []cli.Flag{
		text(growthFlags, "method", "NAME|"+strings.Join(methodNames(), ", ")+more+"; usually ligo"),
		text(growthFlags, "seed", "N|seed of everything random; 0 unless given"),
	}
}

// startFlag chooses where learning starts.
func startFlag() cli.Flag {
	return text(growthFlags, "init", "NAME|exact, or paper for LiGO's own random start (method paper); exact unless given")
}

func methodNames() []string {
	var names []string
	for _, m := range ligo.Methods() {
		names = append(names, string(m.Name))
	}
	return names
}

// whole reads a positive integer; 0 when the flag is not given.
func whole(c *cli.Context, flag string) (int64, error) {
	s := c.String(flag)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, usagef("--%s: %q is no size; it must be a whole number above 0", flag, s)
	}
	return n, nil
}

func seed(c *cli.Context) (uint64, error) {
	s := c.String("seed")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, usagef("--seed: %q is no whole number from 0 on", s)
	}
	return n, nil
}

// share reads a number that is not negative; 0 when the flag is not given.
func share(c *cli.Context, flag string) (float64, error) {
	s := c.String(flag)
	if s == "" {
		return 0, nil
	}
	unit := 1.0
	digits, percent := strings.CutSuffix(s, "%")
	if percent {
		unit = 0.01
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(f >= 0) || f > 1e300 {
		return 0, usagef("--%s: %q is no number from 0 on", flag, s)
	}
	return f * unit, nil
}

// parseTarget reads the target flags, all but --like, which needs a file.
func parseTarget(c *cli.Context) (ligo.Target, error) {
	var t ligo.Target
	for _, f := range []struct {
		name string
		to   *int64
	}{{"hidden", &t.Hidden}, {"heads", &t.Heads}, {"kv-heads", &t.KVHeads}, {"head-dim", &t.HeadDim}, {"ffn", &t.FFN}, {"layers", &t.Layers}} {
		n, err := whole(c, f.name)
		if err != nil {
			return t, err
		}
		*f.to = n
	}
	var err error
	if t.Width, err = parseFactor("width", c.String("width")); err != nil {
		return t, err
	}
	if t.Depth, err = parseFactor("depth", c.String("depth")); err != nil {
		return t, err
	}
	if t.Params, err = parseCount("params", c.String("params")); err != nil {
		return t, err
	}
	for _, a := range c.StringSlice("axis") {
		name, digits, ok := strings.Cut(a, "=")
		n, err := strconv.ParseInt(digits, 10, 64)
		if !ok || name == "" || err != nil || n <= 0 {
			return t, usagef("--axis: %q is not NAME=N", a)
		}
		if t.Axes == nil {
			t.Axes = map[string]int64{}
		}
		if _, twice := t.Axes[name]; twice {
			return t, usagef("--axis: %s is given twice", name)
		}
		t.Axes[name] = n
	}
	return t, nil
}

// parseGrowth reads what to grow to and how.
func parseGrowth(c *cli.Context) (t ligo.Target, o ligo.Options, err error) {
	if t, err = parseTarget(c); err != nil {
		return t, o, err
	}
	if o.Method, err = parseMethod(c); err != nil {
		return t, o, err
	}
	o.Seed, err = seed(c)
	return t, o, err
}

func parseMethod(c *cli.Context) (ligo.Method, error) {
	name := c.String("method")
	if name == "" {
		return ligo.LiGO, nil
	}
	if name == methodAuto {
		if findFlag(c.Command.Flags, "data") == nil {
			return "", callf(c, "--method auto tries methods on data, which only expand does; name a method")
		}
		return ligo.LiGO, nil
	}
	for _, m := range ligo.Methods() {
		if string(m.Name) == name {
			return m.Name, nil
		}
	}
	return "", usagef("--method: there is no method %q%s; methods are %s", name, suggest(name, methodNames()), strings.Join(methodNames(), ", "))
}
