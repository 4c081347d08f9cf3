// Package readme runs the commands that README.md shows and compares what they print, numbers apart.
package readme

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	block  = regexp.MustCompile("(?s)```console\n(.*?)```")
	number = regexp.MustCompile(`[0-9][0-9.]*(e[-+]?[0-9]+)?(ms|s)?`)
	spaces = regexp.MustCompile(`[ ]+`)
)

// skeleton is a line without what may differ between machines and runs: numbers and the width of columns.
func skeleton(line string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(number.ReplaceAllString(line, "#"), " "))
}

// TestCommands runs every command of README in one folder, in order. Each must succeed and print the lines that README shows, in
// that order; README may leave lines out.
func TestCommands(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	command := filepath.Join(dir, "ligoonnx")
	build := exec.Command("go", "build", "-o", command, "./cli/ligoonnx")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Symlink(filepath.Join(root, "fixtures"), filepath.Join(dir, "fixtures")); err != nil {
		t.Fatal(err)
	}
	blocks := block.FindAllSubmatch(readme, -1)
	if len(blocks) < 5 {
		t.Fatalf("README has only %d console blocks", len(blocks))
	}
	for _, b := range blocks {
		lines := strings.Split(strings.TrimSpace(string(b[1])), "\n")
		args, ok := strings.CutPrefix(lines[0], "$ ligoonnx ")
		if !ok {
			t.Errorf("a console block begins with %q", lines[0])
			continue
		}
		cmd := exec.Command(command, strings.Fields(args)...)
		cmd.Dir = dir
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("ligoonnx %s: %v\n%s", args, err, stderr.Bytes())
			continue
		}
		got := strings.Split(stdout.String(), "\n")
		for _, want := range lines[1:] {
			for len(got) > 0 && skeleton(got[0]) != skeleton(want) {
				got = got[1:]
			}
			if len(got) == 0 {
				t.Errorf("ligoonnx %s does not print (numbers apart)\n%s\nbut\n%s", args, want, stdout.Bytes())
				break
			}
		}
	}
}
