package blocks

import "testing"

func TestNumbering(t *testing.T) {
	for _, c := range []struct {
		what     string
		tuples   [][]string
		from, to int
		name     string
		want     string
	}{
		{"scopes", [][]string{{"h.0.attn", "h.1.attn"}, {"h.0.mlp", "h.1.mlp"}}, 1, 2, "h.1.mlp.weight", "h.2.mlp.weight"},
		{"node scopes", [][]string{{"/h.0/Add", "/h.1/Add"}, {"/h.0/Mul", "/h.1/Mul"}}, 0, 12, "/h.0/Mul_1", "/h.12/Mul_1"},
		{"from 1", [][]string{{"layer1.w", "layer2.w"}, {"layer1.b", "layer2.b"}}, 0, 2, "layer1.w", "layer3.w"},
		{"leading zeros", [][]string{{"l_00/w", "l_01/w"}, {"l_00/b", "l_01/b"}}, 1, 2, "l_01/w", "l_02/w"},
		{"other numbers", [][]string{{"h.0.ln_1", "h.1.ln_1"}, {"h.0.ln_2", "h.1.ln_2"}}, 1, 2, "h.1.ln_1", "h.2.ln_1"},
		{"two layers a block", [][]string{{"h.0.a", "h.2.a"}, {"h.1.b", "h.3.b"}, {"h.1.c", "h.3.c"}}, 1, 2, "h.3.b", "h.5.b"},
		{"counted names", [][]string{{"m_12", "m_29"}, {"m_14", "m_31"}, {"m_15", "m_32"}}, 1, 2, "m_29", "m_29_layer2"},
		{"one coincidence", [][]string{{"m_12", "m_13"}}, 1, 2, "m_13", "m_13_layer2"},
		{"no number in this name", [][]string{{"h.0.a", "h.1.a"}, {"h.0.b", "h.1.b"}}, 1, 2, "onnx::MatMul_9", "onnx::MatMul_9_layer2"},
		{"another layer's number", [][]string{{"h.0.a", "h.1.a"}, {"h.0.b", "h.1.b"}}, 1, 2, "h.0.a", "h.0.a_layer2"},
		{"states count from 1", [][]string{{"h.0.a", "h.1.a"}, {"h.0.b", "h.1.b"}, {"s.1", "s.2"}}, 1, 2, "s.2", "s.3"},
		{"no name", [][]string{{"h.0.a", "h.1.a"}, {"h.0.b", "h.1.b"}}, 1, 2, "", ""},
	} {
		n := findNumbering(c.tuples, 2)
		if got := n.rename(c.name, c.from, c.to); got != c.want {
			t.Errorf("%s: %q becomes %q, want %q", c.what, c.name, got, c.want)
		}
	}
}
