package cli_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/cli"
	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// stream writes tokens that a model can learn: a counts up by steps that repeat.
func stream(t *testing.T, dir string, n int) string {
	t.Helper()
	var raw []byte
	at := 0
	for i := range n {
		raw = binary.LittleEndian.AppendUint16(raw, uint16(at%67))
		at += []int{1, 2, 5}[i%3]
	}
	path := filepath.Join(dir, "tokens.bin")
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// images writes labelled images for fixtures.ViT: class c has a bright channel, brighter with c.
func images(t *testing.T, dir string, n int) string {
	t.Helper()
	x, labels := make([]float32, n*3*32*32), make([]int64, n)
	for i := range labels {
		labels[i] = int64(i % 3)
		for k := range 32 * 32 {
			x[(i*3+i%3)*32*32+k] = 1
		}
	}
	path := filepath.Join(dir, "images.npz")
	err := dataset.WriteNPZ(path, map[string]*onnxio.Tensor{
		"pixel_values": onnxio.FromFloat32s("", []int64{int64(n), 3, 32, 32}, x), "labels": onnxio.FromInt64s("", []int64{int64(n)}, labels)})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

type trained struct {
	Schema   string
	Output   struct{ Path string }
	Loss     string
	Steps    int
	Start    struct{ Loss float64 }
	End      struct{ Loss float64 }
	Eval     *struct{ Loss float64 }
	Tokens   int64
	Examples int64
}

// trains calls train with --json and expects the loss to fall.
func trains(t *testing.T, args ...string) trained {
	t.Helper()
	var got trained
	if err := json.Unmarshal([]byte(ok(t, append([]string{"train", "--json"}, args...)...).out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != "ligoonnx/train@1" || !(got.End.Loss < got.Start.Loss) {
		t.Errorf("%v: %+v", args, got)
	}
	return got
}

// sameButWeights expects two models to differ in the numbers of initializers, and in at least one of them, and in nothing else.
func sameButWeights(t *testing.T, a, b string) {
	t.Helper()
	var models [2]*onnxio.Model
	for i, path := range []string{a, b} {
		m, err := onnxio.Read(path, onnxio.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		models[i] = m
	}
	changed := 0
	x, y := models[0], models[1]
	if len(x.Graph.Initializers) != len(y.Graph.Initializers) {
		t.Fatalf("%d initializers became %d", len(x.Graph.Initializers), len(y.Graph.Initializers))
	}
	for i, w := range x.Graph.Initializers {
		v := y.Graph.Initializers[i]
		if v.Name != w.Name || v.DType != w.DType || !reflect.DeepEqual(v.Dims, w.Dims) {
			t.Errorf("initializer %s %v %v became %s %v %v", w.Name, w.DType, w.Dims, v.Name, v.DType, v.Dims)
		}
		if equal, err := w.Equal(v); err != nil {
			t.Fatal(err)
		} else if !equal {
			changed++
		}
	}
	if changed == 0 {
		t.Error("no initializer has changed")
	}
	// With the old numbers in it, the new file is the old one.
	y.Graph.Initializers = x.Graph.Initializers
	var files [2][]byte
	for i, m := range models {
		path := filepath.Join(t.TempDir(), "again.onnx")
		if err := onnxio.Write(context.Background(), m, path, onnxio.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = raw
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Errorf("%s and %s differ in more than the numbers of initializers (%d and %d bytes)", a, b, len(files[0]), len(files[1]))
	}
}

func TestTrain(t *testing.T) {
	in := gpt2(t)
	dir := filepath.Dir(in)
	tokens, out := stream(t, dir, 3000), beside(in, "out.onnx")
	got := trains(t, in, out, "--data", tokens, "--eval-data", tokens, "--eval-batches", "2", "--steps", "15", "--batch", "4", "--seq-len", "16", "--lr", "3e-3")
	if got.Loss != "causal-lm" || got.Tokens != 15*4*16 || got.Examples != 60 || got.Eval == nil || got.Output.Path != out {
		t.Errorf("%+v", got)
	}
	sameButWeights(t, in, out)
	if names := files(t, dir); names != "out.onnx small.onnx tokens.bin" {
		t.Errorf("the folder holds %s", names)
	}
	refused(t, 2, []string{"out.onnx", "exists already", "--force"}, "train", in, out, "--data", tokens, "--steps", "1")

	var results [2][]byte
	for i, threads := range []string{"1", "3"} {
		path := beside(in, "threads.onnx")
		ok(t, "train", in, path, "--force", "--data", tokens, "--steps", "3", "--batch", "8", "--seq-len", "32", "--lr", "1e-2", "--threads", threads)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		results[i] = raw
	}
	if !bytes.Equal(results[0], results[1]) {
		t.Error("the result depends on the number of threads")
	}

	// A committed export, whose numbers do not matter either.
	again := beside(in, "again.onnx")
	trains(t, fixtures.Path(t, "gpt2_s_op17"), again, "--data", tokens, "--steps", "10", "--batch", "2", "--seq-len", "16", "--lr", "3e-3")
	sameButWeights(t, fixtures.Path(t, "gpt2_s_op17"), again)
}

func TestTrainEveryLoss(t *testing.T) {
	in := save(t, fixtures.BERT(fixtures.Config{}))
	dir := filepath.Dir(in)
	tokens := stream(t, dir, 2000)
	usual := []string{"--steps", "12", "--batch", "4", "--seq-len", "12", "--lr", "3e-3"}
	t.Run("masked-lm", func(t *testing.T) {
		got := trains(t, append(usual, in, beside(in, "mlm.onnx"), "--data", tokens, "--mask-token", "66", "--mask-prob", "30%")...)
		if got.Loss != "masked-lm" {
			t.Errorf("%+v", got)
		}
		refused(t, 2, []string{"later tokens", "--loss masked-lm"}, append([]string{"train", in, beside(in, "x.onnx"), "--data", tokens}, usual...)...)
	})
	t.Run("classify", func(t *testing.T) {
		vit := save(t, fixtures.ViT(fixtures.Config{}))
		got := trains(t, vit, beside(vit, "out.onnx"), "--data", images(t, filepath.Dir(vit), 12), "--steps", "12", "--batch", "6", "--lr", "1e-3")
		if got.Loss != "classify" || got.Tokens != 0 || got.Examples != 72 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("distill", func(t *testing.T) {
		student, master := gpt2(t), save(t, fixtures.GPT2(fixtures.Config{Seed: 5, Layers: 3}))
		got := trains(t, append(usual, student, beside(student, "out.onnx"), "--data", tokens, "--teacher", master)...)
		if got.Loss != "distill" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("jsonl with a tokenizer", func(t *testing.T) {
		lines := filepath.Join(dir, "text.jsonl")
		text := strings.Repeat("{\"text\": \"abcabcabc\"}\n{\"text\": \"bcabc\"}\n", 8)
		if err := os.WriteFile(lines, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		vocabulary := filepath.Join(dir, "tokenizer.json")
		if err := os.WriteFile(vocabulary, []byte(`{"model": {"type": "BPE", "vocab": {"a": 1, "b": 2, "c": 3}, "merges": []},
			"added_tokens": [{"id": 66, "content": "[MASK]", "special": true}]}`), 0o666); err != nil {
			t.Fatal(err)
		}
		got := trains(t, append(usual, in, beside(in, "text.onnx"), "--data", lines, "--tokenizer", vocabulary, "--loss", "masked-lm")...)
		if got.Tokens == 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("mse", func(t *testing.T) {
		sets := fixtures.Dir(t, "gpt2_s_op17")
		other := gpt2(t) // learns to give what the committed model gives
		trains(t, other, beside(other, "out.onnx"), "--data", sets, "--loss", "mse", "--steps", "8", "--lr", "1e-3")
	})
}

// cancelling cancels a context when it is told about a step.
type cancelling struct {
	bytes.Buffer
	at     string
	cancel func()
}

func (c *cancelling) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(c.at)) {
		c.cancel()
	}
	return c.Buffer.Write(p)
}

func TestTrainInterruptedAndResumed(t *testing.T) {
	in := gpt2(t)
	tokens := stream(t, filepath.Dir(in), 3000)
	straight, resumed := beside(in, "straight.onnx"), beside(in, "resumed.onnx")
	metrics, checkpoints := beside(in, "run.jsonl"), beside(in, "checkpoints")
	flags := []string{"--data", tokens, "--steps", "9", "--batch", "2", "--seq-len", "8", "--lr", "1e-2", "--warmup", "2", "--schedule", "cosine", "--accumulate", "2",
		"--clip", "1", "--weight-decay", "0.1", "--seed", "3", "--init", "random"}
	ok(t, append([]string{"train", in, straight}, flags...)...)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	screen := &cancelling{at: "step 4/9", cancel: cancel}
	args := append([]string{"train", in, resumed, "--checkpoint", checkpoints, "--metrics", metrics, "--verbose"}, flags...)
	var out bytes.Buffer
	if code := cli.Run(ctx, args, strings.NewReader(""), &out, screen, nil); code != 130 {
		t.Fatalf("exit code %d\n%s", code, screen.String())
	}
	if text := screen.String(); !strings.Contains(text, "stopped after step 4 of 9, saved in "+checkpoints) || !strings.Contains(text, "--resume goes on") || out.Len() > 0 {
		t.Errorf("standard output %q, standard error\n%s", out.String(), text)
	}
	if _, err := os.Stat(resumed); !os.IsNotExist(err) {
		t.Errorf("an interrupted run left a model: %v", err)
	}
	// As if it had been killed later than its checkpoint says.
	f, err := os.OpenFile(metrics, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("{\"step\":5,\"loss\":1}\n{\"step\":6,\"lo"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	ok(t, append(args, "--resume")...)
	a, errA := os.ReadFile(straight)
	b, errB := os.ReadFile(resumed)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("resumed and straight runs differ (%v, %v)", errA, errB)
	}
	text, err := os.ReadFile(metrics)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, line := range lines {
		var s struct {
			Step              int
			Loss, LR          float64
			Grad_norm         float64
			Seconds           float64
			Counted, Elements int64
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.Step != i+1 || s.Loss == 1 || s.Counted != 32 || s.Grad_norm <= 0 {
			t.Errorf("line %d: %s (%v)", i, line, err)
		}
	}
	if len(lines) != 9 {
		t.Errorf("%d lines of metrics:\n%s", len(lines), text)
	}
	if names := files(t, checkpoints); names != "step-00000004 step-00000009" {
		t.Errorf("checkpoints are %s", names)
	}
	refused(t, 2, []string{"run.jsonl", "exists already"}, append([]string{"train", in, beside(in, "x.onnx"), "--metrics", metrics}, flags...)...)

	// Without a checkpoint nothing is left, and that is said.
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	screen = &cancelling{at: "step 4/9", cancel: cancel}
	code := cli.Run(ctx, append([]string{"train", in, beside(in, "x.onnx"), "-v"}, flags...), strings.NewReader(""), &out, screen, nil)
	if code != 130 || !strings.Contains(screen.String(), "with --checkpoint DIR") {
		t.Errorf("exit code %d\n%s", code, screen.String())
	}
}

func TestTrainPrints(t *testing.T) {
	in := gpt2(t)
	dir := filepath.Dir(in)
	tokens := stream(t, dir, 3000)
	r := ok(t, "train", in, beside(in, "out.onnx"), "--data", tokens, "--eval-data", tokens, "--eval-every", "2", "--eval-batches", "1", "--steps", "4", "--batch", "2", "--seq-len", "8")
	numbers := regexp.MustCompile(`[0-9]+(\.[0-9]+)?(ms|s|K|M)?`)
	hide := func(s string) string { return numbers.ReplaceAllString(strings.ReplaceAll(s, dir, "DIR"), "#") }
	spaces := regexp.MustCompile(` +`)
	golden(t, "train", spaces.ReplaceAllString(hide(r.out), " "))
	golden(t, "train-log", hide(r.err))
	golden(t, "help-train", ok(t, "help", "train").out)
	if r := ok(t, "train", in, beside(in, "out.onnx"), "--force", "--quiet", "--data", tokens, "--steps", "1", "--seq-len", "8"); r.err != "" {
		t.Errorf("--quiet prints %q", r.err)
	}
}

func TestTrainRefuses(t *testing.T) {
	in := gpt2(t)
	vit := save(t, fixtures.ViT(fixtures.Config{}))
	tokens := stream(t, filepath.Dir(in), 100)
	dir := filepath.Dir(in)
	text := filepath.Join(dir, "a.txt")
	if err := os.WriteFile(text, []byte("some text"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  string
		code  int
		parts string
	}{
		{"IN OUT", 2, "--steps is missing"},
		{"IN OUT --steps 0", 2, "--steps;from 1 on"},
		{"IN OUT --steps 1", 2, "--data is missing"},
		{"IN --steps 1 --data TOKENS", 2, "OUT is missing"},
		{"IN OUT --steps 1 --data none.bin", 1, "none.bin;no such file"},
		{"IN OUT --steps 1 --data TOKENS --loss causal", 2, `"causal";did you mean causal-lm?`},
		{"IN OUT --steps 1 --data TOKENS --schedule cosin", 2, "did you mean cosine?"},
		{"IN OUT --steps 1 --data TOKENS --optimizer adam", 2, "did you mean adamw?"},
		{"IN OUT --steps 1 --data TOKENS --init zero", 2, "keep, random"},
		{"IN OUT --steps 1 --data TOKENS --betas 0.9", 2, "--betas;0.9,0.95"},
		{"IN OUT --steps 1 --data TOKENS --momentum 0.9", 2, "--momentum;sgd"},
		{"IN OUT --steps 1 --data TOKENS --lr 1e-4 --min-lr 1", 2, "--min-lr"},
		{"IN OUT --steps 1 --data TOKENS --resume", 2, "--resume needs --checkpoint"},
		{"IN OUT --steps 1 --data TOKENS --seq-len 8 --resume --checkpoint EMPTY", 1, "empty;no such file"},
		{"IN OUT --steps 1 --data TOKENS --checkpoint-every 2", 2, "--checkpoint-every and --keep need --checkpoint"},
		{"IN OUT --steps 1 --data TOKENS --eval-every 2", 2, "--eval-data"},
		{"IN OUT --steps 1 --data TOKENS --loss distill", 2, "--teacher"},
		{"IN OUT --steps 1 --data TOKENS --loss mse --teacher IN", 2, "--teacher is for --loss distill"},
		{"IN OUT --steps 1 --data TOKENS --teacher VIT", 2, "pixel_values"},
		{"IN OUT --steps 1 --data TOKENS --loss masked-lm", 2, "--mask-token is missing"},
		{"IN OUT --steps 1 --data TOKENS --mask-token 67", 2, "67;mask token"},
		{"IN OUT --steps 1 --data TOKENS --seq-len 100", 2, "100 tokens;needs 101"},
		{"IN OUT --steps 1 --data TOKENS --mask-prob 20%", 2, "--mask-prob is for --loss masked-lm, not for causal-lm"},
		{"IN OUT --steps 1 --data TOKENS --temperature 2", 2, "--temperature is for --loss distill"},
		{"IN OUT --steps 1 --data TOKENS --token-type uint8", 2, "uint16, uint32"},
		{"IN OUT --steps 1 --data TOKENS --token-type uint32 --seq-len 4", 2, "token 0 is;0 to 66"},
		{"IN OUT --steps 1 --data TEXT --seq-len 4", 2, "a.txt;tokenizer"},
		{"IN OUT --steps 1 --data TEXT --seq-len 4 --tokenizer bytes", 2, "token 0 is 115"},
		{"IN OUT --steps 1 --data TEXT --tokenizer TOKENS", 2, "tokens.bin;tokenizer.json"},
		{"IN OUT --steps 1 --data TOKENS --tokenizer chars", 2, "chars;.txt"},
		{"IN OUT --steps 1 --data TOKENS --output logit", 2, `"logit";did you mean logits?`},
		{"IN OUT --steps 1 --data TOKENS --output logit --loss mse", 2, `"logit";logits`},
		{"IN OUT --steps 1 --data TOKENS --only nothing", 2, "nothing"},
		{"VIT OUT --steps 1 --data TOKENS", 2, "tokens.bin;pixel_values"},
		{"IN OUT --steps 1 --data TOKENS --seq-len 8 --max-memory 1kB", 5, "memory"},
		{"IN IN --steps 1 --data TOKENS", 2, "small.onnx"},
		{"TOKENS OUT --steps 1 --data TOKENS", 4, "tokens.bin"},
	} {
		replace := strings.NewReplacer("IN", in, "OUT", beside(in, "out.onnx"), "TOKENS", tokens, "TEXT", text, "VIT", vit, "EMPTY", filepath.Join(dir, "empty"))
		refused(t, c.code, strings.Split(c.parts, ";"), append([]string{"train"}, strings.Fields(replace.Replace(c.args))...)...)
	}
	if names := files(t, dir); names != "a.txt small.onnx tokens.bin" {
		t.Errorf("refusals left %s", names)
	}
}

// A configuration file holds the same keys; a run can be gone on with only as what it was.
func TestTrainFromAFile(t *testing.T) {
	in := gpt2(t)
	tokens := stream(t, filepath.Dir(in), 1000)
	config := beside(in, "train.yaml")
	text := "data: [" + tokens + "]\nsteps: 2\nseq-len: 8\nbatch: 2\nlr: 1e-3\nschedule: linear\ncheckpoint: " + beside(in, "ckpt") + "\n"
	if err := os.WriteFile(config, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	out := ok(t, "train", in, beside(in, "out.onnx"), "--config", config, "--print-config", "--steps", "3").out
	for _, want := range []string{"# ligoonnx train --config THIS-FILE\n", "steps: 3\n", "lr: 1e-3\n", "schedule: linear\n", "data:\n  - " + tokens + "\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the printed configuration lacks %q:\n%s", want, out)
		}
	}
	ok(t, "train", in, beside(in, "out.onnx"), "--config", config)
	refused(t, 2, []string{"learning rate"}, "train", in, beside(in, "out.onnx"), "--force", "--config", config, "--resume", "--lr", "2e-3", "-q")
	refused(t, 2, []string{"data"}, "train", in, beside(in, "out.onnx"), "--force", "--config", config, "--resume", "--batch", "4", "-q")
}

// The trained models of the zoo get better at what they were trained for, from random weights too.
func TestTrainTheZoo(t *testing.T) {
	zoo := fixtures.TestData(t)
	dir := t.TempDir()
	data := func(name string) string { return filepath.Join(zoo, "data", name) }
	for _, c := range []struct {
		model string
		args  []string
	}{
		{"gpt2_shakespeare_op17", []string{"--data", data("shakespeare_train.bin"), "--seq-len", "64"}},
		{"gpt2_shakespeare_op13", []string{"--data", data("tinyshakespeare.txt"), "--tokenizer", "chars", "--seq-len", "64"}},
		{"bert_mlm_shakespeare_op17", []string{"--data", data("shakespeare_train.bin"), "--seq-len", "32", "--mask-token", "65"}},
		{"vit_mnist_op17", []string{"--data", data("mnist_train.npz"), "--batch", "32"}},
	} {
		in, out := filepath.Join(zoo, "models", "trained", c.model, "model.onnx"), filepath.Join(dir, c.model+".onnx")
		trains(t, append([]string{in, out, "--steps", "20", "--init", "random", "--lr", "1e-3"}, c.args...)...)
		sameButWeights(t, in, out)
	}
}

// A model that expand has grown is trained gently, as far as flags leave that open.
func TestTrainGrown(t *testing.T) {
	in := gpt2(t)
	large, out, metrics := beside(in, "large.onnx"), beside(in, "out.onnx"), beside(in, "run.jsonl")
	tokens := stream(t, filepath.Dir(in), 3000)
	ok(t, "expand", in, large, "--width", "1x", "--depth", "2x", "--no-verify")
	rates := func(args ...string) (rates []float64, said string) {
		t.Helper()
		r := ok(t, append([]string{"train", large, out, "--force", "--data", tokens, "--steps", "10", "--batch", "2", "--seq-len", "16", "--metrics", metrics}, args...)...)
		raw, err := os.ReadFile(metrics)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			var p struct{ LR float64 }
			if err := json.Unmarshal([]byte(line), &p); err != nil {
				t.Fatal(err)
			}
			rates = append(rates, p.LR)
		}
		return rates, r.err
	}
	got, said := rates()
	if len(got) != 10 || got[0] != 0 || got[2] != 1e-4 || !(got[9] < 3e-5) || !strings.Contains(said, "was grown by ligoonnx: lr 0.0001, warmup 2, schedule cosine") {
		t.Errorf("rates %v; %s", got, said)
	}
	if got, _ = rates("--lr", "1e-2", "--warmup", "0", "--schedule", "constant"); got[0] != 1e-2 || got[9] != 1e-2 {
		t.Errorf("rates %v with flags", got)
	}
}
