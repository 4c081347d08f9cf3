// Package lint holds the rules of this repository that no general linter knows: which package may import which, who may
// print, and how long a file may be. They are tests, so that breaking one is reported where everything else is.
package lint

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ligoonnx/ligoonnx"

// layers lists the top folders from the lowest to the highest: a package may import its own layer and those below.
var layers = []string{"onnxio", "graph", "ligo", "verify", "cli"}

// maxLines is where a file has stopped being one idea.
const maxLines = 600

type source struct {
	path string // slash-separated, relative to the module's root
	text []byte
	file *ast.File
}

func (s source) dir() string     { return path.Dir(s.path) }
func (s source) test() bool      { return strings.HasSuffix(s.path, "_test.go") }
func (s source) generated() bool { return ast.IsGenerated(s.file) }
func (s source) top() string     { top, _, _ := strings.Cut(s.path, "/"); return top }

// ignored reports whether the file is left out of every build ("//go:build ignore"): a generator, run by hand.
func (s source) ignored() bool { return bytes.Contains(s.text, []byte("//go:build ignore")) }

func TestImportsPointDownwards(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range imports(t, s) {
			if reason := forbidden(s, imp); reason != "" {
				t.Errorf("%s imports %s: %s", s.path, imp, reason)
			}
		}
	}
}

// forbidden says why a file may not import a package of this module; it is empty when it may.
func forbidden(s source, imp string) string {
	inOnnxio := s.dir() == "onnxio" || strings.HasPrefix(s.dir(), "onnxio/")
	if imp == "onnxio/onnxpb" && !inOnnxio {
		return "only onnxio knows the wire format"
	}
	if s.test() || s.ignored() {
		return "" // a test may look down on anything: it compares layers with each other
	}
	top, _, _ := strings.Cut(imp, "/")
	if top == "internal" {
		return "internal holds the tools of the repository, not parts of the program"
	}
	from, to := slices.Index(layers, s.top()), slices.Index(layers, top)
	switch {
	case s.top() == "fixtures":
		if top != "fixtures" && top != "onnxio" {
			return "fixtures builds model files and knows nothing above onnxio"
		}
	case from < 0:
		return "" // internal/…
	case top == "fixtures":
		if s.top() != "cli" {
			return "fixtures is for tests and for `ligoonnx demo`"
		}
	case to < 0:
		return "it belongs to no layer: " + strings.Join(layers, " < ")
	case to > from:
		return "imports point downwards: " + strings.Join(layers, " < ")
	}
	return ""
}

// Only cli knows of a terminal: a package that prints or exits cannot be used by anyone else.
func TestOnlyCLIPrintsAndExits(t *testing.T) {
	banned := map[string]map[string]bool{
		"fmt": {"Print": true, "Printf": true, "Println": true},
		"os":  {"Exit": true, "Stdout": true, "Stderr": true, "Args": true},
	}
	for _, s := range sources(t) {
		if s.test() || s.ignored() || s.generated() || s.top() == "cli" || s.top() == "internal" {
			continue
		}
		local := map[string]string{} // name in this file → import path
		for _, spec := range s.file.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			name := path.Base(p)
			if spec.Name != nil {
				name = spec.Name.Name
			}
			local[name] = p
			if p == "log" || p == "flag" || p == "log/slog" {
				t.Errorf("%s imports %s: only cli prints and reads flags", s.path, p)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && banned[local[x.Name]][n.Sel.Name] {
					t.Errorf("%s uses %s.%s: only cli prints and exits", s.path, x.Name, n.Sel.Name)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
					t.Errorf("%s uses %s: only cli prints", s.path, f.Name)
				}
			}
			return true
		})
	}
}

func TestFilesStaySmall(t *testing.T) {
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > maxLines && !s.generated() {
			t.Errorf("%s has %d lines, at most %d", s.path, n, maxLines)
		}
	}
}

// Unfinished work belongs in an issue, where someone sees it.
func TestNothingIsLeftToDo(t *testing.T) {
	marks := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK"}
	for _, s := range sources(t) {
		if s.generated() {
			continue
		}
		for _, group := range s.file.Comments {
			for _, mark := range marks {
				if strings.Contains(group.Text(), mark) {
					t.Errorf("%s has a comment with %s: finish it or file it", s.path, mark)
				}
			}
		}
	}
}

// gorgonia's own choice of this module panics when a program starts on Go 1.26, which no build and no vet notices, and
// "go mod tidy" keeps the line only as long as nobody removes it.
func TestMovingGCPin(t *testing.T) {
	const pin = "go4.org/unsafe/assume-no-moving-gc v0.0.0-20231121144256-b99613f794b6"
	text, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(pin)) {
		t.Errorf("go.mod no longer requires %s: the program panics at start without it", pin)
	}
}

// imports lists the packages of this module that a file imports, relative to the module's root.
func imports(t *testing.T, s source) []string {
	var out []string
	for _, spec := range s.file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatalf("%s: %v", s.path, err)
		}
		if rel, ok := strings.CutPrefix(p, module+"/"); ok {
			out = append(out, rel)
		}
	}
	return out
}

// sources parses every Go file of the module, leaving out nested modules and folders that the go command ignores too.
func sources(t *testing.T) []source {
	t.Helper()
	top := root(t)
	var out []source
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			nested := p != top && exists(filepath.Join(p, "go.mod"))
			if nested || name == "testdata" || p != top && (name[0] == '.' || name[0] == '_') {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		out = append(out, source{filepath.ToSlash(rel), text, file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no Go files found: the rules would hold for nothing")
	}
	return out
}

// root is the folder of go.mod; tests run in their own package's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(dir, "go.mod")) {
		t.Fatalf("%s holds no go.mod", dir)
	}
	return dir
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}
