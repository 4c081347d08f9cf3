package ligo

import (
	"fmt"
	"strconv"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// SummarySchema names the form of Summary as JSON.
const SummarySchema = "ligoonnx/inspect@1"

// Summary is what a model is: the result of `inspect`. A role that the model lacks is nil.
type Summary struct {
	Schema string `json:"schema"`
	Params int64  `json:"params"`
	// FLOPs counts the multiplications and additions of the weights for one token (one patch) forward.
	FLOPs    int64          `json:"flops_per_token"`
	Opset    int64          `json:"opset"`
	Stages   []StageSummary `json:"stages"`
	Layers   int64          `json:"layers"`
	Hidden   *int64         `json:"hidden"`
	Heads    *int64         `json:"heads"`
	KVHeads  *int64         `json:"kv_heads"`
	HeadDim  *int64         `json:"head_dim"`
	FFN      *int64         `json:"ffn"`
	Norm     *string        `json:"norm"` // pre or post
	NormKind *string        `json:"norm_kind"`
	Axes     []AxisSummary  `json:"axes"`
	Inputs   []ValueSummary `json:"inputs"`
	Outputs  []ValueSummary `json:"outputs"`
	// Notes say what was seen and cannot grow: operators without a rule, layers without a way to pass the stream through.
	Notes []string `json:"notes,omitempty"`
}

// StageSummary is one run of equal layers.
type StageSummary struct {
	Layers int64  `json:"layers"`
	Norm   string `json:"norm"`
	// Why says why the stage cannot get more layers exactly; empty when it can.
	Why string `json:"why,omitempty"`
}

// AxisSummary is one width of the model.
type AxisSummary struct {
	Name     string   `json:"name"`
	Size     int64    `json:"size"`
	Kind     string   `json:"kind"` // the role; empty for a width without one
	Growable bool     `json:"growable"`
	Tensors  []string `json:"tensors"`
	Why      []string `json:"why,omitempty"` // why it cannot grow
}

// ValueSummary is one input or output.
type ValueSummary struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []string `json:"shape"` // sizes, names, or "?"
}

// Sizes are the sizes of a model by role; zero for a role that it lacks.
type Sizes struct {
	Hidden  int64   `json:"hidden,omitempty"`
	Heads   int64   `json:"heads,omitempty"`
	KVHeads int64   `json:"kv_heads,omitempty"`
	HeadDim int64   `json:"head_dim,omitempty"`
	FFN     int64   `json:"ffn,omitempty"`
	Layers  int64   `json:"layers,omitempty"` // of the main stage, the one with the most
	Stages  []int64 `json:"stages,omitempty"`
}

// Depth is the number of layers in all stages.
func (s Sizes) Depth() int64 {
	n := int64(0)
	for _, k := range s.Stages {
		n += k
	}
	return n
}

// Summary describes the model.
func (a *Analysis) Summary() Summary {
	r := a.Axes
	sz := sizesOf(r, axes.Sizes{}, a.stageLayers())
	s := Summary{
		Schema: SummarySchema, Opset: a.Graph.Opsets[""], Layers: sz.Layers,
		Hidden: known(sz.Hidden), Heads: known(sz.Heads), KVHeads: known(sz.KVHeads), HeadDim: known(sz.HeadDim), FFN: known(sz.FFN),
		Stages: []StageSummary{}, Axes: []AxisSummary{}, Inputs: values(r.Graph.Inputs), Outputs: values(r.Graph.Outputs),
	}
	s.Params, _ = parameters(r.Graph)
	s.FLOPs = flops(r, axes.Sizes{})
	for _, st := range a.Blocks.Stages {
		norm := "pre"
		if st.PostNorm {
			norm = "post"
		}
		if s.Norm == nil {
			s.Norm = &norm
		}
		s.Stages = append(s.Stages, StageSummary{int64(len(st.Blocks)), norm, st.Why})
	}
	if h := r.Hidden; h != nil {
		for _, n := range r.Norms {
			if n.Axis.Kind == axes.Leaf && n.Axis.Atom == h {
				kind := n.Kind.String()
				s.NormKind = &kind
				break
			}
		}
	}
	tensors := map[*axes.Atom][]string{}
	for _, w := range r.Weights {
		for _, e := range w.Axes {
			e.Atoms(func(at *axes.Atom) {
				if l := tensors[at]; len(l) == 0 || l[len(l)-1] != w.Value.Origin {
					tensors[at] = append(l, w.Value.Origin)
				}
			})
		}
	}
	for _, at := range r.Atoms {
		if len(tensors[at]) == 0 && !at.Growable() {
			continue // run-time dimensions and helper axes are nobody's width
		}
		s.Axes = append(s.Axes, AxisSummary{at.Name, at.Size, string(at.Role), at.Growable(), append([]string{}, tensors[at]...), at.Why})
	}
	s.Notes = append(s.Notes, a.Blocks.Notes...)
	for _, c := range r.Conflicts {
		note := c.Reason
		if c.Node != nil {
			note = c.Node.String() + ": " + note
		}
		s.Notes = append(s.Notes, note)
	}
	return s
}

func known(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

func (a *Analysis) stageLayers() []int64 {
	out := make([]int64, len(a.Blocks.Stages))
	for i, s := range a.Blocks.Stages {
		out[i] = int64(len(s.Blocks))
	}
	return out
}

// sizesOf reads the sizes by role under s. A role whose atoms differ in size shows its first.
func sizesOf(r *axes.Result, s axes.Sizes, layers []int64) Sizes {
	out := Sizes{Stages: layers}
	if len(layers) > 0 {
		out.Layers = layers[mainStage(layers)]
	}
	if r.Hidden != nil {
		out.Hidden = s.Of(r.Hidden)
	}
	out.Heads, out.KVHeads = heads(r, s)
	if e := headDim(r); e != nil {
		out.HeadDim = s.Eval(e)
	}
	if a := first(r, axes.RoleFFN); a != nil {
		out.FFN = s.Of(a)
	}
	return out
}

// heads counts the query heads and the key/value heads: what the first scores are batched over, or else the first axes of those
// roles.
func heads(r *axes.Result, s axes.Sizes) (query, kv int64) {
	if len(r.Scores) > 0 && r.Scores[0].Batch != nil {
		query, kv = s.Eval(r.Scores[0].Batch), 0
		r.Scores[0].Batch.Atoms(func(a *axes.Atom) {
			if a.Role == axes.RoleKVHeads {
				kv = s.Of(a)
			}
		})
		if kv == 0 {
			kv = query
		}
		return query, kv
	}
	if a := first(r, axes.RoleHeads); a != nil {
		query = s.Of(a)
	}
	return query, query
}

func first(r *axes.Result, role axes.Role) *axes.Atom {
	for _, a := range r.Atoms {
		if a.Role == role {
			return a
		}
	}
	return nil
}

// headDim is the axis that is the size of a head: what the scores contract (it may have parts: rotary halves), or else the first
// axis with the role.
func headDim(r *axes.Result) *axes.Expr {
	if len(r.Scores) > 0 {
		return r.Scores[0].Inner
	}
	if a := first(r, axes.RoleHeadDim); a != nil {
		return &axes.Expr{Kind: axes.Leaf, Atom: a, Size: a.Size}
	}
	return nil
}

func values(vs []*graph.Value) []ValueSummary {
	out := make([]ValueSummary, len(vs))
	for i, v := range vs {
		out[i] = ValueSummary{Name: v.Name, Shape: []string{}}
		if v.Type == nil {
			continue
		}
		out[i].DType = v.Type.Elem.String()
		for _, d := range v.Type.Dims {
			switch {
			case d.Param != "":
				out[i].Shape = append(out[i].Shape, d.Param)
			case d.Value < 0:
				out[i].Shape = append(out[i].Shape, "?")
			default:
				out[i].Shape = append(out[i].Shape, strconv.FormatInt(d.Value, 10))
			}
		}
	}
	return out
}

// String is one line: "2 layers, hidden 32, 2 heads of 16, ffn 128".
func (s Sizes) String() string {
	text := fmt.Sprintf("%d layers", s.Layers)
	if s.Layers == 1 {
		text = "1 layer"
	}
	if s.Hidden > 0 {
		text += fmt.Sprintf(", hidden %d", s.Hidden)
	}
	if s.Heads > 0 {
		text += fmt.Sprintf(", %d heads", s.Heads)
		if s.KVHeads != s.Heads {
			text += fmt.Sprintf(" (%d kv)", s.KVHeads)
		}
		if s.HeadDim > 0 {
			text += fmt.Sprintf(" of %d", s.HeadDim)
		}
	}
	if s.FFN > 0 {
		text += fmt.Sprintf(", ffn %d", s.FFN)
	}
	return text
}
