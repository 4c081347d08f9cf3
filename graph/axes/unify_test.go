package axes

import (
	"context"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
)

func emptyState() *state {
	b := &budget{ctx: context.Background(), left: maxWork}
	return newState(b, graph.New("test", nil), func(int, string) int64 { return 11 }, nil)
}

// axis makes the axis that s writes: 6, or a product 2x3, or a sum 4+2, with one nesting in parentheses.
func (s *state) axis(text string) *node {
	var parse func(text string) *node
	split := func(text string, sep byte) []string {
		var out []string
		depth, from := 0, 0
		for i := range len(text) {
			switch text[i] {
			case '(':
				depth++
			case ')':
				depth--
			case sep:
				if depth == 0 {
					out, from = append(out, text[from:i]), i+1
				}
			}
		}
		return append(out, text[from:])
	}
	parse = func(text string) *node {
		for i, sep := range []byte{'+', 'x'} {
			parts := split(text, sep)
			if len(parts) == 1 {
				continue
			}
			var args []*node
			for _, p := range parts {
				args = append(args, parse(p))
			}
			if i == 0 {
				return s.sum(args...)
			}
			return s.product(args...)
		}
		if strings.HasPrefix(text, "(") {
			return parse(text[1 : len(text)-1])
		}
		return s.width(number64(text))
	}
	return parse(text)
}

// TestUnify makes two expressions one axis: the refinement that both get, or the conflict.
func TestUnify(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"6", "6", "6"},
		{"6", "2x3", "(2x3)"},
		{"4+2", "6", "(4+2)"},
		{"2x12", "2x12", "(2x12)"},
		{"2x12", "8x3", "(2x(4x3))"},
		{"24x5", "2x12x5", "((2x12)x5)"},
		{"4x6", "2x2x6", "((2x2)x6)"},
		{"3+5", "5+3", "(3+(2+3))"},
		{"3+5", "3+5", "(3+5)"},
		{"2+6", "2+2+4", "(2+(2+4))"},
		{"3x2x4", "8+8+8", "((2x4)+(2x4)+(2x4))"}, // the 3 of a fused projection
		{"6x4", "16+8", "((4x4)+(2x4))"},          // grouped heads: 4 query heads, 2 others
		{"(2+3)x4", "8+12", "((2x4)+(3x4))"},      // the boundary is a multiple of the width
		{"6", "7", "conflict"},                    // sizes differ
		{"4x3", "6x2", "conflict"},                // no common refinement
		{"5x3", "7+8", "conflict"},                // boundaries inside a factor
		{"2x3x4", "(2+4)x4", "conflict"},          // 2+4 is no 2x3
		{"(2+4)x4", "2x3x4", "conflict"},
		{"1x6", "6", "(1x6)"},       // a width of 1 stays
		{"1x2x3", "2x3", "(1x2x3)"}, // and need not have a partner
		{"2x(3+3)", "2x6", "(2x(3+3))"},
		{"2x(3+3)+4", "12+4", "((2x(3+3))+4)"},
		{"2x(3+3)+4", "6+6+4", "(((3+3)+(3+3))+4)"}, // two heads, counted by a frozen 2
		{"2x6+4", "6+6+4", "((6+6)+4)"},
		{"2x6", "6+6", "(6+6)"},
		{"16", "2x2x2x2", "(2x2x2x2)"},
		{"(2x2)+(2x2)", "2+2+2+2", "((2+2)+(2+2))"},
		{"1+1+1", "3", "(1+1+1)"},
		{"3x1", "1+1+1", "(1+1+1)"},
		{"100x7", "7+7+7+679", "(7+7+7+(97x7))"},
		{"2x2", "3+1", "conflict"},
		{"2x2x3", "12", "(2x2x3)"},
		{"(4x2)+(4x2)", "16", "((4x2)+(4x2))"},
		{"(4x2)+(4x2)", "2x8", "((4x2)+(4x2))"},
		{"9223372036854775807x2", "7", "conflict"}, // sizes do not wrap around
		{"9223372036854775807+9", "8", "conflict"},
		{"3x3", "2+2+2+2+1", "conflict"},
		{"2x4611686018427387904", "0", "conflict"},
	} {
		s := emptyState()
		a, b := s.axis(c.a), s.axis(c.b)
		at := &graph.Node{Op: "Test"}
		ok := s.unify(a, b, at, "test")
		got := a.String()
		if !ok {
			got = "conflict"
			if len(s.conflicts) == 0 || s.conflicts[0].Node != at {
				t.Errorf("%s and %s: a failure without a conflict", c.a, c.b)
			}
			for _, side := range []*node{a, b} {
				frozen := false
				for _, l := range side.leaves() {
					frozen = frozen || (l.flags&FlagConflict != 0 && len(l.why) > 0)
				}
				if !frozen {
					t.Errorf("%s and %s: conflict, but nothing of %s is frozen", c.a, c.b, side)
				}
			}
		} else if a.find() != b.find() && a.String() != b.String() {
			t.Errorf("%s and %s: became %s and %s", c.a, c.b, a, b)
		}
		if got != c.want {
			t.Errorf("%s and %s: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

// TestUnifyInside refuses an axis that would contain itself, and leaves every structure finite.
func TestUnifyInside(t *testing.T) {
	s := emptyState()
	x := s.width(6)
	p := s.product(s.width(1), x)
	if s.unify(x, p, &graph.Node{Op: "Test"}, "test") || len(s.conflicts) != 1 || !strings.Contains(s.conflicts[0].Reason, "inside itself") {
		t.Errorf("conflicts %v", s.conflicts)
	}
	// a composite inside another one that is as large, beside a width of 1
	s = emptyState()
	inner := s.axis("2x3")
	l := s.width(6)
	outer := s.product(s.width(1), l)
	s.unify(l, inner, nil, "test")
	s.unify(inner, outer, nil, "test")
	if outer.String() != "(1x(2x3))" || inner.String() != "(2x3)" {
		t.Errorf("%s and %s", outer, inner)
	}
}

// TestFlags checks that flags and their reasons reach the atoms, also when a frozen width is refined later.
func TestFlags(t *testing.T) {
	s := emptyState()
	x := s.width(12)
	x.flag(FlagVocab, "looked up")
	parts, ok := s.cut(x, []int64{4, 8}, nil, "test")
	if !ok || !parts[1].has(FlagVocab) || parts[1].why[0] != "looked up" {
		t.Fatalf("%v", parts)
	}
	// reasons added to one part must not show in the other
	parts[0].flag(FlagIndex, "first")
	parts[1].flag(FlagSpatial, "second")
	if parts[0].why[1] != "first" || parts[1].why[1] != "second" {
		t.Errorf("reasons %q and %q", parts[0].why, parts[1].why)
	}
	y := s.axis("4+8")
	s.unify(x, y, nil, "test")
	if !y.leaves()[0].has(FlagIndex) || y.leaves()[1].has(FlagIndex) {
		t.Error("flags do not follow unification")
	}
	for i := range 100 {
		parts[0].because(strings.Repeat("x", i))
	}
	if len(parts[0].why) > 8 {
		t.Errorf("%d reasons", len(parts[0].why))
	}
}
