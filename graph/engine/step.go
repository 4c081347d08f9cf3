package engine

import (
	"fmt"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// step is one node of the model, of the main graph or of a sub-graph, as the operators' builders see it.
type step struct {
	label   string // names the node in errors
	op      string
	domain  string
	version int64 // of the domain's operator set
	attrs   []*onnxio.Attribute
	in, out []string // "" is an operand left out
}

func mainSteps(g *graph.Graph) []*step {
	steps := make([]*step, len(g.Nodes))
	for i, n := range g.Nodes {
		s := &step{label: n.String(), op: n.Op, domain: n.Domain, version: g.Version(n), attrs: n.Attrs}
		for _, v := range n.In {
			s.in = append(s.in, valueName(v))
		}
		for _, v := range n.Out {
			s.out = append(s.out, valueName(v))
		}
		steps[i] = s
	}
	return steps
}

func valueName(v *graph.Value) string {
	if v == nil {
		return ""
	}
	return v.Name
}

// subSteps are the nodes of a sub-graph, sorted: files need not be.
func subSteps(f *onnxio.Graph, opsets map[string]int64) ([]*step, error) {
	made := map[string]bool{}
	for _, n := range f.Nodes {
		for _, o := range n.Outputs {
			made[o] = true
		}
	}
	var steps []*step
	done := make([]bool, len(f.Nodes))
	for len(steps) < len(f.Nodes) {
		before := len(steps)
		for i, n := range f.Nodes {
			if done[i] || !ready(n, made) {
				continue
			}
			domain := n.Domain
			if domain == "ai.onnx" {
				domain = ""
			}
			label := (&graph.Node{Name: n.Name, Op: n.OpType, Domain: domain}).String()
			steps = append(steps, &step{label, n.OpType, domain, opsets[domain], n.Attrs, n.Inputs, n.Outputs})
			for _, o := range n.Outputs {
				delete(made, o)
			}
			done[i] = true
		}
		if len(steps) == before {
			return nil, fmt.Errorf("sub-graph %q has a cycle", f.Name)
		}
	}
	return steps, nil
}

// ready reports whether no operand of n is an output that is still to come. Names that sub-graphs of n read count as well.
func ready(n *onnxio.Node, pending map[string]bool) bool {
	for _, in := range n.Inputs {
		if in != "" && pending[in] {
			return false
		}
	}
	for _, a := range n.Attrs {
		if a.G == nil {
			continue
		}
		for _, inner := range a.G.Nodes {
			if !ready(inner, pending) {
				return false
			}
		}
		for _, o := range a.G.Outputs {
			if pending[o.Name] {
				return false
			}
		}
	}
	return true
}

func (s *step) attr(name string) *onnxio.Attribute {
	for _, a := range s.attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

func (s *step) has(name string) bool { return s.attr(name) != nil }

func (s *step) int(name string, def int64) int64 {
	if a := s.attr(name); a != nil && a.Kind == onnxio.AttrInt {
		return a.I
	}
	return def
}

func (s *step) flag(name string, def bool) bool {
	if a := s.attr(name); a != nil && a.Kind == onnxio.AttrInt {
		return a.I != 0
	}
	return def
}

// ints is nil where the attribute is missing, and not nil where it is an empty list.
func (s *step) ints(name string) []int64 {
	if a := s.attr(name); a != nil && a.Kind == onnxio.AttrInts {
		if a.Ints == nil {
			return []int64{}
		}
		return a.Ints
	}
	return nil
}

func (s *step) float(name string, def float64) float64 {
	if a := s.attr(name); a != nil && a.Kind == onnxio.AttrFloat {
		return float64(a.F)
	}
	return def
}

func (s *step) str(name, def string) string {
	if a := s.attr(name); a != nil && a.Kind == onnxio.AttrString {
		return string(a.S)
	}
	return def
}

// operand returns in[i], or nil where it is left out.
func operand(in []*value, i int) *value {
	if i < len(in) {
		return in[i]
	}
	return nil
}

// wants reports whether output i of the node is used.
func (s *step) wants(i int) bool { return i < len(s.out) && s.out[i] != "" }
