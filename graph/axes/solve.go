package axes

import (
	"context"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// Edits are the changes that new sizes ask of integers, attributes and score scales. They refer to the normalised graph.
type Edits struct {
	Consts map[*graph.Value]*onnxio.Tensor     // new contents of integer constants and scale literals
	Attrs  map[*graph.Node][]*onnxio.Attribute // attributes to replace
	Types  map[*graph.Value]*onnxio.Type       // declared types (value infos, inputs, outputs) with new sizes
}

// Solve finds every integer literal, attribute and score-scale literal that states a size which changes under s, and its new
// value. Problems are size equations that s breaks ("hidden = heads x head_dim: needs 48, evaluates to 32"), integers that two
// rules want different, and growth of atoms that cannot grow. The edits are complete only when there are no problems.
func (r *Result) Solve(s Sizes) (*Edits, []Problem) { return nil, nil }

// Equation is a relation of sizes that the graph forces: Left must equal Right under any new sizes.
type Equation struct {
	Left, Right *Expr
	Node        *graph.Node
}

// Equations lists the size relations between different expressions ("hidden = heads x head_dim"), for planning defaults.
func (r *Result) Equations() []Equation { return nil }

// Check is the gate: it infers the grown graph again and compares, for every value whose name both graphs have, the sizes with
// those planned. Each difference is one Problem. old maps the values of a deepened graph to themselves; s are the planned sizes.
func (r *Result) Check(ctx context.Context, grown *graph.Graph, s Sizes) ([]Problem, error) {
	return nil, nil
}
