package cli_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ligoonnx/ligoonnx/fixtures"
)

func TestHelp(t *testing.T) {
	golden(t, "help", ok(t).out)
	golden(t, "help-expand", ok(t, "expand", "--help").out)
	if a, b := ok(t, "help", "verify").out, ok(t, "verify", "x", "-h").out; a != b || !strings.Contains(a, "--max-deviation") {
		t.Errorf("help verify and verify -h differ:\n%s\n%s", a, b)
	}
	// Every line of help fits a terminal of usual width, and tells an example.
	for _, c := range []string{"inspect", "plan", "expand", "verify", "train", "run", "demo", "completion"} {
		text := ok(t, "help", c).out
		if !strings.Contains(text, "Examples:\n  ") {
			t.Errorf("help %s has no example", c)
		}
		for _, line := range strings.Split(text, "\n") {
			if len([]rune(line)) > 132 {
				t.Errorf("help %s: line too long: %s", c, line)
			}
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args  string
		parts string // separated by ;
	}{
		{"exapnd a b", `no command "exapnd";did you mean expand?`},
		{"--json inspect x", "flags come after a command"},
		{"expand a b --laters 3", "--laters;did you mean --layers?"},
		{"expand a", "OUT is missing;usage: ligoonnx expand IN OUT"},
		{"expand a b c", `"c" is one argument too many`},
		{"expand a b --layers", "--layers needs a value"},
		{"expand a b --layers many", `--layers: "many" is no size`},
		{"expand a b --hidden -5", `--hidden: "-5"`},
		{"expand a b --width 2y", "--width;1.5x"},
		{"expand a b --params lots", "--params;110M"},
		{"expand a b --axis hidden", "--axis;NAME=N"},
		{"expand a b --axis x=1 --axis x=2", "given twice"},
		{"expand a b --method lmon", `no method "lmon";did you mean lemon?`},
		{"expand a b --seed x", "--seed"},
		{"expand a b --max-memory little", "--max-memory;512MiB"},
		{"expand a b --report x.pdf", "x.pdf;.json or .md"},
		{"expand a b --quiet=perhaps", "expand;perhaps"},
		{"verify a", "LARGE is missing"},
		{"verify a b --atol small", "--atol"},
		{"run", "MODEL is missing"},
		{"completion tcsh", "tcsh;zsh"},
		{"completion zhs", "did you mean zsh?"},
		{"version please", "please"},
	} {
		refused(t, 2, strings.Split(c.parts, ";"), strings.Fields(c.args)...)
	}
}

func TestInspect(t *testing.T) {
	path := gpt2(t)
	r := ok(t, "inspect", path)
	if r.err != "" {
		t.Errorf("standard error has %q", r.err)
	}
	golden(t, "inspect", r.out, filepath.Dir(path))

	var got struct {
		Schema        string
		Params        int64
		Layers        int64
		Hidden, Heads *int64
		Norm          *string
		Axes          []struct {
			Name     string
			Size     int64
			Growable bool
			Tensors  []string
		}
		Inputs, Outputs []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(ok(t, "inspect", path, "--json").out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != "ligoonnx/inspect@1" || got.Layers != 2 || *got.Hidden != 32 || *got.Heads != 2 || *got.Norm != "pre" ||
		len(got.Axes) == 0 || got.Inputs[0].Name != "input_ids" || got.Outputs[0].Name != "logits" {
		t.Errorf("%+v", got)
	}
}

func TestPlan(t *testing.T) {
	path := gpt2(t)
	golden(t, "plan", ok(t, "plan", path, "--layers", "4", "--heads=3").out, filepath.Dir(path))
	if out := ok(t, "plan", save(t, fixtures.BERT(fixtures.Config{})), "--width", "1.5x").out; !strings.Contains(out, "promise: approximate") ||
		!strings.Contains(out, "reason post-norm-indivisible-width: ") {
		t.Errorf("an approximate plan does not say why:\n%s", out)
	}
	if names := files(t, filepath.Dir(path)); names != "small.onnx" {
		t.Errorf("plan left %s", names)
	}
	refused(t, 2, []string{"small.onnx", "hidden", "16", "and 2 more"}, "expand", path, beside(path, "large.onnx"), "--hidden", "16")
	if r := ligoonnx(t, "plan", path, "--hidden", "16"); r.code != 2 || r.out != "" || strings.Count(r.err, "ligoonnx: ") != 3 || strings.Count(r.err, "\n") != 3 {
		t.Errorf("plan names not every problem: exit code %d\n%s%s", r.code, r.out, r.err)
	}
	refused(t, 2, []string{`no axis "hiden"`, "did you mean hidden?"}, "plan", path, "--axis", "hiden=64")

	r := ligoonnx(t, "plan", path, "--hidden", "16", "--json")
	var refusal struct{ Problems []struct{ Code, Text string } }
	if err := json.Unmarshal([]byte(r.out), &refusal); err != nil || r.code != 2 || len(refusal.Problems) != 3 || refusal.Problems[0].Code != "shrink" {
		t.Errorf("exit code %d, %v: %s", r.code, err, r.out)
	}

	var got map[string]any
	if err := json.Unmarshal([]byte(ok(t, "plan", path, "--json").out), &got); err != nil {
		t.Fatal(err)
	}
	if got["schema"] != "ligoonnx/plan@1" || got["promise"] != "exact" || got["params_to"].(float64) <= got["params_from"].(float64) {
		t.Errorf("%v", got)
	}
}

func TestExpandAndVerify(t *testing.T) {
	in := gpt2(t)
	out, report, page := beside(in, "large.onnx"), beside(in, "r.json"), beside(in, "r.md")
	r := ok(t, "expand", in, out, "--layers", "3", "--heads", "3", "--report", report, "--report", page)
	golden(t, "expand", r.out, filepath.Dir(in))
	if names := files(t, filepath.Dir(in)); names != "large.onnx r.json r.md small.onnx" {
		t.Errorf("the folder holds %s", names)
	}
	var got map[string]any
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil || got["schema"] != "ligoonnx/verify@1" || got["verdict"] != "PASS" {
		t.Errorf("%v, %v", got, err)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.HasPrefix(string(text), "## PASS: ") || !strings.Contains(string(text), "| logits |") {
		t.Errorf("%v:\n%s", err, text)
	}

	r = ok(t, "verify", in, out)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	golden(t, "verify-last-line", lines[len(lines)-1]+"\n", filepath.Dir(in))
	r = ok(t, "verify", in, out, "--json", "--no-shadow")
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(r.err, "PASS verify ") || got["promised"] != "exact" || got["shadow"] != false {
		t.Errorf("standard error: %s, report: %v", r.err, got)
	}
	if r = ok(t, "verify", in, out, "--json", "--quiet"); r.err != "" {
		t.Errorf("--quiet prints %q", r.err)
	}
}

func TestVerifyFails(t *testing.T) {
	in := gpt2(t)
	other := save(t, fixtures.GPT2(fixtures.Config{Seed: 8}))
	r := ligoonnx(t, "verify", in, other)
	if r.code != 3 || r.err != "" {
		t.Errorf("exit code %d, standard error %q", r.code, r.err)
	}
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "FAIL verify ") || !strings.Contains(last, "max|Δ|=") || !strings.Contains(last, "tolerance=") {
		t.Errorf("the last line is %s", last)
	}
	if !strings.Contains(r.out, "failure difference: logits: ") {
		t.Errorf("no failure is named:\n%s", r.out)
	}
	bert := save(t, fixtures.BERT(fixtures.Config{}))
	out := beside(bert, "large.onnx")
	r = ligoonnx(t, "expand", bert, out, "--width", "1.5", "--max-deviation", "0.0001%")
	if r.code != 3 || !strings.Contains(r.out, "failure deviation: ") || !strings.Contains(r.out, "was not written") {
		t.Errorf("exit code %d:\n%s%s", r.code, r.out, r.err)
	}
	if names := files(t, filepath.Dir(bert)); names != "small.onnx" {
		t.Errorf("a failed growth left %s", names)
	}
}

func TestExpandJSONAndForce(t *testing.T) {
	in := gpt2(t)
	out := beside(in, "large.onnx")
	var got struct {
		Schema      string
		Output      struct{ Path string }
		Plan        map[string]any
		Certificate map[string]any
	}
	for _, args := range [][]string{{}, {"--force"}, {"--force", "--no-verify"}} {
		got.Certificate = nil
		if err := json.Unmarshal([]byte(ok(t, append([]string{"expand", in, out, "--json", "--depth", "2x"}, args...)...).out), &got); err != nil {
			t.Fatal(err)
		}
		if got.Schema != "ligoonnx/expand@1" || got.Output.Path != out || got.Plan["promise"] != "exact" || (got.Certificate == nil) != (len(args) == 2) {
			t.Errorf("%v: %+v", args, got)
		}
	}
	before, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, 2, []string{"large.onnx", "exists already", "--force"}, "expand", in, out)
	if after, err := os.ReadFile(out); err != nil || string(after) != string(before) {
		t.Errorf("an existing output was changed, %v", err)
	}
}

// Every method writes a model, and says what it promises.
func TestMethods(t *testing.T) {
	in := gpt2(t)
	for method, promise := range map[string]string{"ligo": "exact", "net2net": "exact", "lemon": "exact", "hyperclone": "exact", "staged": "exact",
		"stack": "none", "interpolate": "none", "direct": "none", "aki": "none", "random": "none"} {
		r := ok(t, "expand", in, beside(in, method+".onnx"), "--method", method)
		if !strings.Contains(r.out, "PASS verify") || !strings.Contains(r.out, " promised="+promise+" ") {
			t.Errorf("%s:\n%s", method, r.out)
		}
		ok(t, "verify", in, beside(in, method+".onnx"))
	}
}

func TestLike(t *testing.T) {
	in := gpt2(t)
	like := save(t, fixtures.GPT2(fixtures.Config{Layers: 4, Hidden: 64, Heads: 4, Seed: 2}))
	r := ok(t, "expand", in, beside(in, "large.onnx"), "--like", like)
	if !strings.Contains(r.out, "PASS verify") {
		t.Errorf("no certificate:\n%s", r.out)
	}
	refused(t, 2, []string{"leaves no size to choose"}, "plan", in, "--like", like, "--layers", "5")
}

func TestRun(t *testing.T) {
	in := gpt2(t)
	first, again := beside(in, "a.npz"), beside(in, "b.npz")
	r := ok(t, "run", in, "--output", first)
	if !strings.Contains(r.out, "made up: batch 2, length 5") || !strings.Contains(r.out, "logits") {
		t.Errorf("run prints\n%s", r.out)
	}
	ok(t, "run", in, "-o", again, "--seed", "0")
	a, _ := os.ReadFile(first)
	b, _ := os.ReadFile(again)
	if len(a) == 0 || string(a) != string(b) {
		t.Error("the same seed gives other outputs")
	}
	refused(t, 2, []string{"exists already"}, "run", in, "-o", first)
	refused(t, 2, []string{"--expect"}, "run", in, "--expect")
	refused(t, 1, []string{"nowhere"}, "run", in, "--inputs", beside(in, "nowhere.npz"))

	set := filepath.Join(fixtures.Dir(t, "gpt2_s_op17"), "test_data_set_0")
	model := fixtures.Path(t, "gpt2_s_op17")
	r = ok(t, "run", model, "--inputs", set, "--expect")
	if !strings.Contains(r.out, "\nPASS run ") {
		t.Errorf("run --expect prints\n%s", r.out)
	}
	r = ligoonnx(t, "run", in, "--inputs", set, "--expect", "--json")
	if r.code != 3 || !strings.Contains(r.out, `"passed": false`) {
		t.Errorf("another model's outputs: exit code %d\n%s", r.code, r.out)
	}
}

func TestVerifyOnGivenInputs(t *testing.T) {
	model := fixtures.Path(t, "bert_s_op17")
	set := filepath.Join(fixtures.Dir(t, "bert_s_op17"), "test_data_set_0")
	out := filepath.Join(t.TempDir(), "large.onnx")
	ok(t, "expand", model, out, "--layers", "3")
	r := ok(t, "verify", model, out, "--inputs", set, "-v")
	if !strings.Contains(r.out, "inputs=1 ") || !strings.Contains(r.err, "verifying") {
		t.Errorf("verify prints\n%s%s", r.out, r.err)
	}
}

func TestConfig(t *testing.T) {
	in := gpt2(t)
	config := beside(in, "growth.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("layers: 4\nmethod: lemon\nseed: 3\njson: true\naxis:\n  ffn.0: 160\n")
	var got struct {
		Method string
		Seed   int
		To     map[string]any
	}
	if err := json.Unmarshal([]byte(ok(t, "plan", in, "--config", config, "--layers", "3").out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Method != "lemon" || got.Seed != 3 || got.To["layers"].(float64) != 3 {
		t.Errorf("flags do not win over the file: %+v", got)
	}
	golden(t, "print-config", ok(t, "plan", in, "--config", config, "--layers", "3", "--print-config").out)

	write("laters: 4\n")
	refused(t, 2, []string{"growth.yaml", `no key "laters"`, "did you mean layers?"}, "plan", in, "--config", config)
	write("layers: [3, 4]\n")
	refused(t, 2, []string{"layers takes one value"}, "plan", in, "--config", config)
	write("layers: {a: {b: 1}}\n")
	refused(t, 2, []string{"line 1", "layers"}, "plan", in, "--config", config)
	write("- a\n")
	refused(t, 2, []string{"line 1", "flag: value"}, "plan", in, "--config", config)
	write("layers: 3\nlayers: 4\n")
	refused(t, 2, []string{"layers"}, "plan", in, "--config", config)
	write("")
	ok(t, "plan", in, "--config", config)
	refused(t, 1, []string{"none.yaml", "there is no such file"}, "plan", in, "--config", beside(in, "none.yaml"))
}

func TestLimits(t *testing.T) {
	in := gpt2(t)
	refused(t, 5, []string{"--max-memory allows 1.0 kB"}, "expand", in, beside(in, "large.onnx"), "--max-memory", "1kB")
	refused(t, 5, []string{"needs", "limit"}, "run", in, "--max-memory", "100B")
	if names := files(t, filepath.Dir(in)); names != "small.onnx" {
		t.Errorf("a refused growth left %s", names)
	}
}

func TestInterrupted(t *testing.T) {
	in := gpt2(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, args := range [][]string{{"expand", in, beside(in, "large.onnx")}, {"verify", in, in}, {"run", in}, {"demo"}} {
		if r := with(t, ctx, args...); r.code != 130 || r.err != "ligoonnx: interrupted\n" {
			t.Errorf("%v: exit code %d, %q", args, r.code, r.err)
		}
	}
	for wait := range 8 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(wait)*5*time.Millisecond)
		out := beside(in, "large.onnx")
		r := with(t, ctx, "expand", in, out)
		cancel()
		want := "small.onnx"
		if r.code == 0 {
			want = "large.onnx small.onnx"
		}
		if names := files(t, filepath.Dir(in)); names != want {
			t.Errorf("after %d ms and exit code %d the folder holds %s", wait*5, r.code, names)
		}
		_ = os.Remove(out)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := ok(t, "completion", shell).out
		for _, want := range []string{"expand", "max-deviation", "lemon"} {
			if !strings.Contains(script, want) {
				t.Errorf("the %s script does not know %s", shell, want)
			}
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("SKIPPED: there is no %s to check its script", shell)
			continue
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
}
