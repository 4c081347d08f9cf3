package train

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// moduleSizes is sum(p.numel() for p in module.parameters()) of the PyTorch modules that fixtures/export (and the scripts beside the larger
// set) have exported; tied weights count once there.
var moduleSizes = map[string]int{
	"bert_s": 30915, "bert_b": 212931, "bert_hd": 93811,
	"gpt2_s": 29664, "gpt2_b": 208448, "gpt2_hd": 91200,
	"vit_s": 32554, "vit_b": 214218, "vit_hd": 95530,
	"deit_s": 32948, "deit_b": 214996, "deit_hd": 96116,
	"cait_s": 58210, "cait_b": 315050, "cait_hd": 152542,
	"llama_s": 29024, "llama_b": 205760, "llama_hd": 89712,
	"llamawhere_s": 29024, "llamawhere_b": 205760, "llamawhere_hd": 89712,
	"llamamha_s": 28928, "llamamha_b": 217856, "llamamha_hd": 93408,
	"hf_clip_text": 1352, "hf_gemma2": 1136, "hf_gpt2": 1992, "hf_gptj": 6829, "hf_gptneox": 1288, "hf_llama": 1208, "hf_llama_past": 1208,
	"hf_opt": 1328, "hf_phi": 1269,
	"gpt2_shakespeare": 354240, "bert_mlm_shakespeare": 364098, "vit_mnist": 88666,
}

var exporter = regexp.MustCompile(`_(op|dyn|ts)\d+(_\w+)?$`)

// family is the name of a model without operator set and variant.
func family(name string) string { return exporter.ReplaceAllString(name, "") }

func lossFor(name string) Spec {
	switch f := family(name); {
	case strings.HasPrefix(f, "vit"), strings.HasPrefix(f, "deit"), strings.HasPrefix(f, "cait"), f == "hf_clip_text":
		return Spec{Loss: Classify}
	case strings.HasPrefix(f, "bert"):
		return Spec{Loss: MaskedLM}
	}
	return Spec{Loss: CausalLM}
}

func open(t testing.TB, path string) *graph.Graph {
	t.Helper()
	m, err := onnxio.Read(path, onnxio.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func mustTask(t testing.TB, g *graph.Graph, s Spec) *Task {
	t.Helper()
	task, err := NewTask(context.Background(), g, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Graph.Validate(); err != nil {
		t.Fatal(err)
	}
	return task
}

// What is trained is exactly what the PyTorch modules train.
func TestParametersAreTheModules(t *testing.T) {
	paths := map[string]string{}
	for _, name := range fixtures.Models(t) {
		paths[name] = fixtures.Path(t, name)
	}
	if dir := os.Getenv("LIGOONNX_TESTDATA"); dir != "" {
		for _, sub := range []string{"plain", "trained"} {
			more, err := filepath.Glob(filepath.Join(dir, "models", sub, "*", "model.onnx"))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range more {
				paths[filepath.Base(filepath.Dir(p))] = p
			}
		}
	}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			want, ok := moduleSizes[family(name)]
			if !ok {
				t.Fatalf("the size of %s's module is not in the table", family(name))
			}
			task := mustTask(t, open(t, path), lossFor(name))
			if got := task.Elements(); got != want {
				for _, p := range task.Params {
					t.Logf("%s %v %s, %d copies", p.Name, p.Shape, p.Role, len(p.copies))
				}
				t.Errorf("%d elements are trained, the module has %d", got, want)
			}
		})
	}
}
