package engine

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// parsed is the package's source files whose names have a suffix that is not the other one.
func parsed(t *testing.T, want func(name string) bool) []*ast.File {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var out []*ast.File
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || !want(e.Name()) {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// TestEveryOperatorHasAGradient: an operator is differentiable or constant, and says so itself.
func TestEveryOperatorHasAGradient(t *testing.T) {
	without := map[string]string{
		"addAtOp": "part of a gradient", "placeOp": "part of a gradient", "tensorPickOp": "part of a gradient", "widenOp": "part of a gradient",
	}
	methods := map[string]map[string]bool{}
	for _, f := range parsed(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") }) {
		for _, d := range f.Decls {
			m, ok := d.(*ast.FuncDecl)
			if !ok || m.Recv == nil {
				continue
			}
			of := m.Recv.List[0].Type
			if p, ok := of.(*ast.StarExpr); ok {
				of = p.X
			}
			name, ok := of.(*ast.Ident)
			if !ok {
				continue // a generic type: no operator is one
			}
			if methods[name.Name] == nil {
				methods[name.Name] = map[string]bool{}
			}
			methods[name.Name][m.Name.Name] = true
		}
	}
	operators := 0
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		m := methods[name]
		if !m["forward"] {
			continue
		}
		operators++
		// A gradient is not differentiated again.
		if has := m["gradient"] || m["constant"]; !has && without[name] == "" && !strings.HasSuffix(name, "GradOp") {
			t.Errorf("%s has neither a gradient nor the mark of a constant", name)
		}
	}
	for name := range without {
		if m := methods[name]; !m["forward"] || m["gradient"] || m["constant"] {
			t.Errorf("%s needs no exception", name)
		}
	}
	if operators < 40 {
		t.Errorf("only %d operators were found", operators)
	}
}

// TestEveryNodeHasAGradientTest walks the registry: every ONNX operator has a gradient case, or none to have.
func TestEveryNodeHasAGradientTest(t *testing.T) {
	without := map[string]string{}
	for reason, names := range map[string]string{
		"makes no floating numbers of its operands": "ArgMin And Equal GreaterOrEqual IsInf IsNaN Less LessOrEqual NonZero Not Or Shape Size Xor",
		"makes constants": "Constant ConstantOfShape EyeLike Range",
	} {
		for _, n := range strings.Fields(names) {
			without[n] = reason
		}
	}
	tested := map[string]bool{}
	for _, f := range parsed(t, func(name string) bool { return strings.HasPrefix(name, "grad") && strings.HasSuffix(name, "_test.go") }) {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING {
				if text, err := strconv.Unquote(s.Value); err == nil {
					tested[text] = true
				}
			}
			return true
		})
	}
	for _, domain := range slices.Sorted(maps.Keys(registry)) {
		for _, name := range slices.Sorted(maps.Keys(registry[domain])) {
			switch {
			case without[name] == "" && !tested[name]:
				t.Errorf("no gradient case has a node %s.%s", domain, name)
			case without[name] != "" && tested[name]:
				t.Errorf("%s.%s, which %s, has a gradient case", domain, name, without[name])
			}
		}
	}
}
