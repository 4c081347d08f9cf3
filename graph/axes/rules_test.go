package axes

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the results that were read into testdata/rules.txt")

// TestRules infers one tiny graph for each form of each operator: testdata/rules.txt holds the graphs (see parse), the axes that
// their values get (see axesOf), and what is frozen, refused and required (see notes).
func TestRules(t *testing.T) {
	path := filepath.Join("testdata", "rules.txt")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		if lines[i] == "" || lines[i][0] == '#' {
			continue
		}
		if i+1 == len(lines) || !strings.HasPrefix(lines[i+1], "  => ") {
			t.Fatalf("%s:%d: no result", path, i+1)
		}
		var show []string
		for _, v := range strings.Split(lines[i+1][len("  => "):], " | ") {
			show = append(show, strings.Fields(v)[0])
		}
		r := inferred(t, lines[i])
		axes, rest := axesOf(r, show...), notes(r)
		want := ""
		if i+2 < len(lines) && strings.HasPrefix(lines[i+2], "  !! ") {
			want = lines[i+2][len("  !! "):]
		}
		if *update {
			lines[i+1] = "  => " + axes
			if want != "" {
				lines[i+2] = "  !! " + rest
			}
		} else if got := lines[i+1][len("  => "):]; got != axes || rest != want {
			t.Errorf("%s:%d: %s\n got %s\nwant %s\nnotes %q\n want %q", path, i+1, lines[i], axes, got, rest, want)
		}
		if i++; want != "" {
			i++
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
