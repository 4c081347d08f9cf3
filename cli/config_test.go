package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever is in a configuration file, reading it ends with values or with one line of error.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{"", "layers: 3", "axis: {ffn.0: 3, b: 4}", "axis: [a=1, b=2]", "- 1", "a: &x [*x]", "a: *b", "? {a: b} : c", "\x00", "a: !!binary x",
		"a: {b: {c: d}}", "a: 1\na: 2", "---\n---\n", "a:\n\t- b"} {
		f.Add(text)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		values, order, err := readConfig(path)
		if err != nil {
			if m := message(err); m == "" || strings.Contains(m, "\n") || exitCode(err) != exitUsage {
				t.Errorf("exit code %d: %q", exitCode(err), m)
			}
			return
		}
		for _, key := range order {
			if values[key] == nil {
				t.Errorf("%q has no values", key)
			}
		}
	})
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1.0K", 124_439_808: "124.4M", 1_300_000_000: "1.3G"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) is %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{12: "12 B", 1500: "1.5 kB", 531_000_000: "531.0 MB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) is %s, want %s", n, got, want)
		}
	}
	for s, want := range map[string]int64{"512MiB": 512 << 20, "2GB": 2e9, "100": 100, "1.5k": 1536, " 3 MB ": 3e6} {
		if got, err := parseBytes("max-memory", s); got != want || err != nil {
			t.Errorf("%q is %d, %v; want %d", s, got, err, want)
		}
	}
	for s, want := range map[string]int64{"110M": 110e6, "1.3B": 1.3e9, "5000": 5000, "2k": 2000} {
		if got, err := parseCount("params", s); got != want || err != nil {
			t.Errorf("%q is %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"-1", "x", "1e400", "M", "0"} {
		if _, err := parseBytes("max-memory", s); err == nil {
			t.Errorf("%q is taken for an amount of memory", s)
		}
		if _, err := parseCount("params", s); err == nil {
			t.Errorf("%q is taken for a number of parameters", s)
		}
		if _, err := parseFactor("width", s); err == nil {
			t.Errorf("%q is taken for a factor", s)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"hidden", "heads", "head-dim", "layers", "kv-heads"}
	for word, want := range map[string]string{"hiden": "hidden", "haeds": "heads", "HIDDEN": "hidden", "layer": "layers", "lay": "layers", "banana": ""} {
		got := suggest(word, known)
		if want != "" {
			want = " (did you mean " + want + "?)"
		}
		if got != want {
			t.Errorf("suggest(%q) is %q, want %q", word, got, want)
		}
	}
}

// On a terminal progress is one line that leaves nothing behind; in a log it is a few plain lines.
func TestProgress(t *testing.T) {
	var b bytes.Buffer
	screen := terminal{err: &b, progress: true}
	screen.step("verifying", 0, 4, "length 1")
	screen.last = screen.last.Add(-1e9)
	screen.step("verifying", 2, 4, "length 5")
	screen.clear()
	if got := b.String(); strings.Contains(got, "\n") || !strings.Contains(got, "[============            ] 2/4 length 5") || !strings.HasSuffix(got, " \r") {
		t.Errorf("the screen gets %q", got)
	}
	b.Reset()
	log := terminal{err: &b}
	for i := range 3 {
		log.step("verifying", i, 3, "")
	}
	if got := b.String(); got != "verifying\n" {
		t.Errorf("the log of something slow gets %q", got)
	}
	b.Reset()
	quiet := terminal{err: &b, progress: true, quiet: true}
	quiet.step("verifying", 0, 3, "")
	quiet.clear()
	if b.Len() > 0 {
		t.Errorf("--quiet gets %q", b.String())
	}
}

func TestColors(t *testing.T) {
	if got := (&terminal{color: true}).paint(green, "PASS"); got != "\x1b[32mPASS\x1b[0m" {
		t.Errorf("painted: %q", got)
	}
	if tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err == nil {
		defer tty.Close()
		for env, want := range map[string]bool{"": true, "1": false} {
			if got := newTerminal(tty, tty, map[string]string{"NO_COLOR": env}).color; got != want {
				t.Errorf("NO_COLOR=%q: colours are %v", env, got)
			}
		}
		if newTerminal(tty, tty, map[string]string{"TERM": "dumb"}).progress {
			t.Error("a dumb terminal gets a rewritten line")
		}
	}
}
