package cli_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ligoonnx/ligoonnx/cli"
)

// demoNumbers matches what the text or the processor decides.
var demoNumbers = regexp.MustCompile(`-?[0-9]+(\.[0-9]+)?(e[-+][0-9]+)?( [GT]FLOP| %|ms\b|s\b)?| +`)

func demoSkeleton(text string) string {
	text = demoNumbers.ReplaceAllStringFunc(text, func(s string) string {
		if strings.TrimSpace(s) == "" {
			return " "
		}
		return "#"
	})
	return text
}

// The demonstration in small: certificates, the story, the report, the models.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	models, out := filepath.Join(dir, "models"), filepath.Join(dir, "out")
	r := ok(t, "demo", "--fast", "--quiet", "--out", out, "--dir", models)
	if strings.Count(r.out, "PASS") != 4 || r.err != "" {
		t.Errorf("demo prints\n%s%s", r.out, r.err)
	}
	version := regexp.MustCompile(`source of \S+`)
	golden(t, "demo", demoSkeleton(version.ReplaceAllString(strings.ReplaceAll(strings.ReplaceAll(r.out, models, "MODELS"), out, "OUT"), "source of GO")))
	want := "bert-grown.onnx bert-odd-grown.onnx bert-odd.onnx bert.onnx exact.onnx gpt2-grown.onnx gpt2-odd-grown.onnx gpt2-odd.onnx gpt2.onnx held.txt learned.onnx scratch.onnx small.onnx stack.onnx test.txt train.txt"
	if got := files(t, models); got != want {
		t.Errorf("the folder of models holds %s", got)
	}
	// What is kept is what was trained.
	ok(t, "run", filepath.Join(models, "learned.onnx"))
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	checkReport(t, string(page))
	refused(t, 2, []string{"exists already"}, "demo", "--fast", "--out", out, "--dir", models)
}

// checkReport checks that a report is well-formed, needs nothing else, and has what it is for.
func checkReport(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(page, "<!DOCTYPE html>\n")))
	d.Entity = xml.HTMLEntity
	count := map[string]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the report is not well-formed: %v", err)
		}
		e, isStart := token.(xml.StartElement)
		if !isStart {
			continue
		}
		count[e.Name.Local]++
		for _, a := range e.Attr {
			switch a.Name.Local {
			case "src", "href", "data", "action", "srcset", "onload":
				t.Errorf("<%s %s=%q> is outside of the report", e.Name.Local, a.Name.Local, a.Value)
			}
		}
	}
	if count["svg"] != 1 || count["table"] != 3 || count["script"]+count["link"]+count["img"]+count["iframe"] != 0 || count["circle"] < 15 {
		t.Errorf("the report has %v", count)
	}
	for _, bad := range []string{"url(http", "@import", "NaN", "ZgotmplZ", "%!", "&lt;svg"} {
		if strings.Contains(page, bad) {
			t.Errorf("the report has %q", bad)
		}
	}
	for _, part := range []string{"prefers-color-scheme: dark", "from scratch", "exact start", "stack", "LiGO, learned", "SMALL CHARGED", "PASS"} {
		if !strings.Contains(page, part) {
			t.Errorf("the report has no %q", part)
		}
	}
}

// demoResult is what the tests read of the JSON.
type demoResult struct {
	Schema string
	Text   struct{ Source string }
	Story  struct {
		Small  struct{ Points []demoPoint }
		Curves []struct {
			Name   string
			Points []demoPoint
		}
	}
	Savings []struct {
		Name    string
		Reached bool
		Saved   *float64
	}
}

type demoPoint struct {
	Step  int
	FLOPs float64
	Loss  float64
}

func demoJSON(t *testing.T, args ...string) (demoResult, string) {
	t.Helper()
	var d demoResult
	r := ok(t, append([]string{"demo", "--fast", "--json", "--out", t.TempDir()}, args...)...)
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		t.Fatal(err)
	}
	return d, r.err
}

// Without Go's source there is another text, and the run says so. The numbers are a function of the seed, not of the threads.
func TestDemoWithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	one, said := demoJSON(t, "--threads", "1")
	two, _ := demoJSON(t, "--threads", "2")
	if !strings.Contains(said, "--text FILE gives another") {
		t.Errorf("nothing says that the text is invented:\n%s", said)
	}
	if one.Schema != "ligoonnx/demo@1" || !strings.Contains(one.Text.Source, "invented") || len(one.Story.Curves) != 4 || len(one.Savings) != 4 {
		t.Fatalf("%+v", one)
	}
	for i, c := range one.Story.Curves {
		d := two.Story.Curves[i]
		if len(c.Points) < 4 || len(c.Points) != len(d.Points) {
			t.Fatalf("%s: %d and %d points", c.Name, len(c.Points), len(d.Points))
		}
		for j := range c.Points {
			if c.Points[j] != d.Points[j] {
				t.Errorf("%s: %+v with one thread, %+v with two", c.Name, c.Points[j], d.Points[j])
			}
		}
	}
	small := one.Story.Small.Points
	if a, b := small[len(small)-1].Loss, one.Story.Curves[1].Points[0].Loss; math.Abs(a-b) > 1e-5 {
		t.Errorf("the small model's loss is %v, the exact start's %v", a, b)
	}
	if s := one.Savings[1]; s.Name != "exact start" || !s.Reached || s.Saved == nil || *s.Saved <= 0 {
		t.Errorf("%+v", s)
	}
}

func TestDemoRefuses(t *testing.T) {
	dir := t.TempDir()
	report := filepath.Join(dir, "report.html")
	if err := os.WriteFile(report, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	refused(t, 2, []string{"report.html exists already"}, "demo", "--fast", "--out", dir)
	if text, err := os.ReadFile(report); err != nil || string(text) != "mine" {
		t.Errorf("the file is %q, %v", text, err)
	}
	short := filepath.Join(dir, "short.txt")
	if err := os.WriteFile(short, []byte("short"), 0o666); err != nil {
		t.Fatal(err)
	}
	refused(t, 2, []string{"short.txt has 5 bytes"}, "demo", "--fast", "--text", short, "--out", t.TempDir(), "-q", "--json")
	refused(t, 2, []string{"--threads"}, "demo", "--threads", "none")
	refused(t, 2, []string{"--seed"}, "demo", "--seed", "-1")
}

// A text of one's own and another seed, and a report that a demo has written, which another replaces.
func TestDemoText(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "own.txt")
	if err := os.WriteFile(path, []byte(strings.Repeat("What grows keeps what it knows. Äöü! ", 800)), 0o666); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, seed := range []string{"1", "2"} {
		r := ok(t, "demo", "--fast", "-q", "--text", path, "--out", dir, "--seed", seed)
		_, story, _ := strings.Cut(r.out, "LARGE MODEL")
		story, _, _ = strings.Cut(story, "wrote")
		if !strings.Contains(r.out, "own.txt") || story == "" || story == first {
			t.Errorf("demo prints\n%s", r.out)
		}
		first = story
	}
}

// Ctrl-C ends it wherever it is, and leaves no report.
func TestDemoInterrupted(t *testing.T) {
	for _, wait := range []time.Duration{0, 20, 400, 1500} {
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(context.Background(), wait*time.Millisecond)
		code := cli.Run(ctx, []string{"demo", "--out", dir}, strings.NewReader(""), io.Discard, io.Discard, nil)
		cancel()
		if names := files(t, dir); code != 130 || names != "" {
			t.Errorf("after %d ms: exit code %d, the folder holds %q", wait, code, names)
		}
	}
}
