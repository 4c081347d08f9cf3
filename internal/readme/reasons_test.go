package readme

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/ligo"
)

// TestReasons holds docs/reasons.md against the codes that the program uses. LIGOONNX_UPDATE=1 writes it anew.
func TestReasons(t *testing.T) {
	const path = "../../docs/reasons.md"
	var want strings.Builder
	want.WriteString("# Reason codes\n\nReports and messages of ligoonnx carry these codes; they are stable. In JSON they are the `code` of `reasons` (verify,\nexpand) and `problems` (plan).\n")
	for _, part := range []struct {
		title, text string
		take        func(ligo.CodeInfo) bool
	}{
		{"Why a growth is not exact", "The growth is done; `promised` is `approximate` or `none`.", func(c ligo.CodeInfo) bool { return !c.Problem && !c.Note }},
		{"Notes", "Worth knowing; the promise holds.", func(c ligo.CodeInfo) bool { return c.Note }},
		{"Why a target is refused", "Nothing is done; the message names the nearest sizes that are possible.", func(c ligo.CodeInfo) bool { return c.Problem }},
	} {
		fmt.Fprintf(&want, "\n## %s\n\n%s\n\n| code | meaning |\n|---|---|\n", part.title, part.text)
		for _, c := range ligo.Codes() {
			if part.take(c) {
				fmt.Fprintf(&want, "| `%s` | %s |\n", c.Code, c.Text)
			}
		}
	}
	if os.Getenv("LIGOONNX_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Errorf("%s is not what ligo.Codes lists; LIGOONNX_UPDATE=1 writes it anew", path)
	}
}
