package axes

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// parse reads a model written for reading, one statement a line or after a semicolon:
//
//	opset 17               default; "opset com.microsoft 1" for another domain
//	in x [batch, seq, 32]  graph input; "in ids int64 [batch, seq]"; ? is an unnamed dimension
//	w wq [32, 64]          float weight
//	ints s 0 0 2 16        vector of int64; "int k 2" a scalar
//	float c 0.125          float scalar
//	y = MatMul(x, wq)      node; "a, b = Split(x, s) axis=-1 name=sp"; _ is an operand left out
//	out y                  graph outputs
func parse(src string) *onnxio.Model {
	f := &onnxio.Graph{Name: "test"}
	m := &onnxio.Model{IRVersion: 8, Opsets: []onnxio.Opset{{Version: 17}}, Graph: f}
	for _, line := range strings.FieldsFunc(src, func(r rune) bool { return r == '\n' || r == ';' }) {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) == "" {
			continue
		}
		w := strings.Fields(line)
		switch {
		case strings.Contains(line, "= ") || strings.Contains(line, " ="):
			n := parseNode(line)
			f.Nodes = append(f.Nodes, n)
			if n.Domain != "" && len(m.Opsets) == 1 {
				m.Opsets = append(m.Opsets, onnxio.Opset{Domain: n.Domain, Version: 1})
			}
		case w[0] == "opset" && len(w) == 2:
			m.Opsets[0].Version = number64(w[1])
		case w[0] == "in":
			name, dt, dims := declaration(line)
			f.Inputs = append(f.Inputs, &onnxio.ValueInfo{Name: name, Type: onnxio.TensorType(dt, dims...)})
		case w[0] == "w":
			name, _, dims := declaration(line)
			sizes, n := []int64{}, int64(1)
			for _, d := range dims {
				sizes = append(sizes, d.Value)
				n *= d.Value
			}
			v := make([]float32, n)
			for i := range v {
				v[i] = float32(i%7) - 3
			}
			f.Initializers = append(f.Initializers, onnxio.FromFloat32s(name, sizes, v))
		case w[0] == "ints" || w[0] == "int":
			var v []int64
			for _, x := range w[2:] {
				v = append(v, number64(x))
			}
			dims := []int64{int64(len(v))}
			if w[0] == "int" {
				dims = nil
			}
			f.Initializers = append(f.Initializers, onnxio.FromInt64s(w[1], dims, v))
		case w[0] == "float":
			x, err := strconv.ParseFloat(w[2], 32)
			if err != nil {
				panic(err)
			}
			f.Initializers = append(f.Initializers, onnxio.FromFloat32s(w[1], nil, []float32{float32(x)}))
		case w[0] == "out":
			for _, name := range w[1:] {
				f.Outputs = append(f.Outputs, &onnxio.ValueInfo{Name: name})
			}
		default:
			panic("what is " + line)
		}
	}
	return m
}

var declared = regexp.MustCompile(`^\s*\w+ (\S+)( [a-z0-9]+)? \[(.*)\]`)

func declaration(line string) (string, onnxio.DType, []onnxio.Dim) {
	p := declared.FindStringSubmatch(line)
	if p == nil {
		panic("what is " + line)
	}
	dt := onnxio.Float
	if strings.TrimSpace(p[2]) == "int64" {
		dt = onnxio.Int64
	}
	dims := []onnxio.Dim{}
	for _, d := range strings.Split(p[3], ",") {
		switch d = strings.TrimSpace(d); {
		case d == "":
		case d == "?":
			dims = append(dims, onnxio.Dim{Value: -1})
		case strings.ContainsAny(d[:1], "-0123456789"):
			dims = append(dims, onnxio.Dim{Value: number64(d)})
		default:
			dims = append(dims, onnxio.Dim{Param: d})
		}
	}
	return p[1], dt, dims
}

var called = regexp.MustCompile(`^(.*?)\s*=\s*([\w.]+)\((.*?)\)(.*)$`)

func parseNode(line string) *onnxio.Node {
	p := called.FindStringSubmatch(strings.TrimSpace(line))
	if p == nil {
		panic("what is " + line)
	}
	list := func(s string) []string {
		var out []string
		for _, x := range strings.Split(s, ",") {
			if x = strings.TrimSpace(x); x == "_" {
				x = ""
			} else if x == "" {
				continue
			}
			out = append(out, x)
		}
		return out
	}
	n := &onnxio.Node{OpType: p[2], Outputs: list(p[1]), Inputs: list(p[3])}
	if op, ok := strings.CutPrefix(p[2], "ms."); ok {
		n.OpType, n.Domain = op, ms
	} else if op, ok := strings.CutPrefix(p[2], "my."); ok {
		n.OpType, n.Domain = op, "my"
	}
	for _, kv := range strings.Fields(p[4]) {
		k, v, _ := strings.Cut(kv, "=")
		switch {
		case k == "name":
			n.Name = v
		case strings.HasPrefix(v, "["):
			var ints []int64
			for _, x := range list(strings.Trim(v, "[]")) {
				ints = append(ints, number64(x))
			}
			n.Attrs = append(n.Attrs, graph.IntsAttr(k, ints...))
		case strings.HasPrefix(v, "'"):
			n.Attrs = append(n.Attrs, graph.StringAttr(k, strings.Trim(v, "'")))
		case strings.Contains(v, "."):
			x, err := strconv.ParseFloat(v, 32)
			if err != nil {
				panic(err)
			}
			n.Attrs = append(n.Attrs, graph.FloatAttr(k, float32(x)))
		default:
			n.Attrs = append(n.Attrs, graph.IntAttr(k, number64(v)))
		}
	}
	return n
}

func number64(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func linked(t testing.TB, m *onnxio.Model) *graph.Graph {
	t.Helper()
	g, err := graph.FromModel(m)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func inferred(t testing.TB, src string) *Result {
	t.Helper()
	r, err := Infer(context.Background(), linked(t, parse(src)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var flagNames = []string{"run", "vocab", "index", "spatial", "factor", "class", "input", "norule", "conflict", "fixed"}

var useNames = []string{"produced", "contracted", "layernorm", "rmsnorm", "batchnorm", "nonlinear", "score", "batch", "value", "in", "out", "postnorm"}

func (f Flag) names() string {
	var out []string
	for i, n := range flagNames {
		if f&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	for i, n := range useNames {
		if f&(1<<(16+i)) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, ",")
}

// axesOf writes the axes of a value: "batch seq 2x(3+5)" with sizes; atoms that are one width share a letter: "a32 b2xc16".
func axesOf(r *Result, names ...string) string {
	letters := map[*Atom]string{}
	var expr func(e *Expr) string
	expr = func(e *Expr) string {
		if e.Kind == Leaf {
			switch a := e.Atom; {
			case a.Flags&FlagRun != 0 && !strings.Contains(a.Name, ".") && a.Name != "":
				return a.Name
			case a.Size == 1 && !a.Growable() && a.Flags&^(FlagIndex|FlagFixed|FlagSpatial|UseOutput|UseScoreBatch) == 0:
				return "1"
			default:
				if letters[a] == "" {
					letters[a] = string(rune('a' + len(letters)))
				}
				return fmt.Sprintf("%s%d", letters[a], a.Size)
			}
		}
		var parts []string
		for _, x := range e.Args {
			s := expr(x)
			if x.Kind == Sum {
				s = "(" + s + ")"
			}
			parts = append(parts, s)
		}
		return strings.Join(parts, map[Kind]string{Product: "x", Sum: "+"}[e.Kind])
	}
	var out []string
	for _, name := range names {
		v := r.Graph.Value(name)
		if v == nil {
			out = append(out, "no value "+name)
			continue
		}
		if r.Axes(v) == nil {
			out = append(out, name+" ?")
			continue
		}
		s := name
		for _, e := range r.Axes(v) {
			s += " " + expr(e)
		}
		out = append(out, s)
	}
	return strings.Join(out, " | ")
}

// notes lists what freezes widths in r, the nodes that no rule covers, and the integers that state sizes.
func notes(r *Result) string {
	var out []string
	for _, a := range r.Atoms {
		if f := a.Flags & forbid &^ FlagRun &^ FlagInput; f != 0 && a.Size > 1 {
			out = append(out, fmt.Sprintf("%d:%s", a.Size, f.names()))
		}
	}
	for _, c := range r.Conflicts {
		out = append(out, "conflict: "+c.Reason)
	}
	for _, c := range r.refused {
		out = append(out, "refused: "+c.Reason)
	}
	for _, q := range r.reqs {
		sign := ""
		if q.neg {
			sign = "-"
		}
		out = append(out, fmt.Sprintf("%s=%s%d", q.y, sign, q.axis.Size))
	}
	return strings.Join(out, "; ")
}
