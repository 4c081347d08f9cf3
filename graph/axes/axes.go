// Package axes finds out which axes of a transformer graph are one width, from the graph alone: a symbolic shape inference in
// which every axis of every value carries an expression over atoms. Operators unify expressions; no operator, tensor or
// architecture name plays a part beyond the operator types of the ONNX specification.
//
// Two equalities are kept apart. Same coordinates (data flow forces it) is union-find. Same size (an integer in the file says
// so: a Reshape target, a Split size, an attribute) is an equation, solved again for the new sizes by Solve.
package axes

import (
	"context"
	"strings"

	"github.com/ligoonnx/ligoonnx/graph"
)

// Role is what an atom is to a transformer, read from structure; for display, flags and defaults only.
type Role string

// Roles.
const (
	RoleNone    Role = ""
	RoleHidden  Role = "hidden"   // a normalised width: the residual stream, or a transform in front of a head
	RoleHeads   Role = "heads"    // batch axis of attention products; with grouped queries: query heads per key/value head
	RoleKVHeads Role = "kv_heads" // batch axis that queries, keys and values share, where queries have one more
	RoleHeadDim Role = "head_dim" // contracted in the scores, or last axis of the values
	RoleFFN     Role = "ffn"      // produced and contracted by weights, element-wise between
)

// Flag tells why an atom cannot grow, or what it takes part in.
type Flag uint32

// Flags that forbid growth.
const (
	FlagRun      Flag = 1 << iota // run-time dimension: batch, sequence
	FlagVocab                     // rows looked up by data: vocabulary, positions
	FlagIndex                     // addressed by a constant or run-time index, or normalised by a softmax or a sum
	FlagSpatial                   // convolution kernel or feature map
	FlagFactor                    // the 3 of a fused qkv, the 2 of a gated projection
	FlagClass                     // reaches an output and nothing contracts or normalises it: classes, vocabulary logits
	FlagInput                     // an axis of a graph input that no weight produces
	FlagNoRule                    // goes through an operator without a growth rule
	FlagConflict                  // two rules disagree about it
	FlagFixed                     // a constant that nothing ties to a weight: helper tensors
)

// Flags that tell what an atom takes part in.
const (
	UseProduced   Flag = 1 << (16 + iota) // a weight produces it
	UseContracted                         // a weight contracts it
	UseLayerNorm                          // normalised with mean and variance
	UseRMSNorm                            // normalised by its root mean square
	UseBatchNorm                          // channel axis of a batch normalisation
	UseNonlinear                          // passes an element-wise function that is not linear
	UseScoreInner                         // contracted in attention scores
	UseScoreBatch                         // batch axis of an attention product
	UseValueDim                           // last axis of the attention values
	UseInput                              // axis of a graph input (caches)
	UseOutput                             // axis of a graph output
	UsePostNorm                           // a normalised value is added to the stream again: the norm is on the stream
)

const forbid = FlagRun | FlagVocab | FlagIndex | FlagSpatial | FlagFactor | FlagClass | FlagInput | FlagNoRule | FlagConflict | FlagFixed

// Atom is one width variable: the unit of growth.
type Atom struct {
	ID    int    // position in Result.Atoms: order of first appearance in the graph
	Name  string // unique, for people and for --axis: "hidden", "ffn.0", "heads.3" …
	Size  int64
	Role  Role
	Flags Flag
	// Layer numbers the atoms of one role in the order of appearance.
	Layer int
	// Why gives, for each flag that forbids growth, the node (and reason) that set it first.
	Why []string
	// Parts is how often the atom occurs in its role's axis: 2 for a head size made of two rotary halves, else 1. The size of the
	// role is Size * Parts plus what Rest holds.
	Parts int64
	// Rest lists the other atoms of the role's axis (the part of a head that does not rotate); nil for most.
	Rest []*Atom
	// Groups is, for heads with grouped queries, the kv-heads atom that the group structure multiplies; nil otherwise.
	Groups *Atom
}

// Growable reports whether the atom may grow: something contracts or normalises it, and nothing forbids it.
func (a *Atom) Growable() bool {
	return a.Flags&forbid == 0 && a.Has(UseProduced) && a.Flags&(UseContracted|UseLayerNorm|UseRMSNorm|UseScoreInner|UseValueDim|UseScoreBatch) != 0
}

// Has reports whether all the given flags are set.
func (a *Atom) Has(f Flag) bool { return a.Flags&f == f }

// Kind says how an expression is made.
type Kind uint8

// Kinds of expressions.
const (
	Leaf    Kind = iota // one atom
	Product             // Kronecker product of Args, outermost first (Reshape merged or splits them)
	Sum                 // direct sum of Args in order (Concat, Split, Slice)
)

// Expr is the expression of one axis.
type Expr struct {
	Kind Kind
	Atom *Atom   // Leaf
	Args []*Expr // Product, Sum
	Size int64

	parts int // atoms, repeats included
}

// Atoms calls f for every atom of the expression, in order, repeats included.
func (e *Expr) Atoms(f func(*Atom)) {
	if e.Kind == Leaf {
		f(e.Atom)
		return
	}
	for _, a := range e.Args {
		a.Atoms(f)
	}
}

// Sizes gives new sizes to atoms; an atom that is missing keeps its own.
type Sizes map[*Atom]int64

// Of is the size of an atom under s.
func (s Sizes) Of(a *Atom) int64 {
	if n, ok := s[a]; ok {
		return n
	}
	return a.Size
}

// Eval is the size of an expression under s; math.MaxInt64 when it is larger.
func (s Sizes) Eval(e *Expr) int64 {
	switch e.Kind {
	case Leaf:
		return s.Of(e.Atom)
	case Product:
		n := int64(1)
		for _, a := range e.Args {
			n = times(n, s.Eval(a))
		}
		return n
	default:
		n := int64(0)
		for _, a := range e.Args {
			n = plus(n, s.Eval(a))
		}
		return n
	}
}

// String writes the expression with atom names: "heads.0 x head_dim.0", "q + k + v".
func (e *Expr) String() string {
	switch e.Kind {
	case Leaf:
		return e.Atom.Name
	case Product:
		parts := make([]string, len(e.Args))
		for i, a := range e.Args {
			parts[i] = a.String()
			if a.Kind == Sum {
				parts[i] = "(" + parts[i] + ")"
			}
		}
		return strings.Join(parts, " x ")
	default:
		parts := make([]string, len(e.Args))
		for i, a := range e.Args {
			parts[i] = a.String()
		}
		return strings.Join(parts, " + ")
	}
}

// Side says how growth acts on one axis of a constant.
type Side uint8

// Sides.
const (
	Producer Side = iota // makes the axis: takes R
	Consumer             // is contracted over the axis: takes L, transposed
	Gain                 // multiplies along the axis: takes M (copied or padded, never split)
)

// Weight is a floating-point constant of the normalised graph that has a growable axis. Every weight has exactly one use.
type Weight struct {
	Value *graph.Value
	Axes  []*Expr
	Sides []Side
	// Matmul says that the constant is the weight of a linear map or convolution or embedding, or the bias of one: the gauge that
	// keeps attention scores (Score) applies to it. It is false for gains and for tables that multiply (cos, sin).
	Matmul bool
}

// NormKind tells the normalisations apart.
type NormKind uint8

// Kinds of normalisation.
const (
	LayerNorm NormKind = iota // (x - mean) / sqrt(var + eps)
	RMSNorm                   // x / sqrt(mean(x²) + eps)
	BatchNorm                 // per channel, with stored statistics
)

func (k NormKind) String() string {
	return [...]string{"layer norm", "RMS norm", "batch norm"}[k]
}

// Norm is one normalisation of an axis, whatever operators it is written with.
type Norm struct {
	Kind NormKind
	Axis *Expr       // the normalised axis
	Node *graph.Node // the fused operator, or the ReduceMean of the (squared) values
	In   *graph.Value
	Out  *graph.Value // after gain and bias
	// Gain and Bias are the constants along the axis; nil where the norm has none.
	Gain, Bias *graph.Value
	// GainOffset is 1 where the norm multiplies by (1 + gain), else 0.
	GainOffset float64
	// Eps: exactly one of EpsConst (a scalar constant) and EpsNode (a node with an epsilon attribute) is set; both nil when the
	// norm has no epsilon that can be edited.
	EpsConst *graph.Value
	EpsNode  *graph.Node
	Eps      float64
	// Post says that the output is on the residual stream (post-norm): it is the stream from here on.
	Post bool
}

// Scale is one scalar factor on the way of attention scores.
type Scale struct {
	Node *graph.Node
	// Const is the literal (a scalar constant) that holds the factor; nil when the factor is an attribute or computed.
	Const *graph.Value
	Attr  string // attribute that holds it (scale, alpha), when it is one; then an absent attribute means the default
	// Power is p in factor = innerSize^p (the multiplier's; a division by sqrt(d) has -1/2). 0 when the factor does not depend on
	// the size. Divide says that the literal holds the inverse of the multiplier.
	Power  float64
	Divide bool
	// Computed says that the factor is computed from shapes in the graph and follows the size by itself.
	Computed bool

	literal float64 // the exponent of the size that Const itself holds
}

// Score is one product of two activations that contracts an axis which weights produce on both sides: attention scores.
type Score struct {
	Node   *graph.Node
	Inner  *Expr // the contracted axis: the head size, maybe as a sum of rotary halves
	Batch  *Expr // the heads: one atom, or kv_heads x heads for grouped queries; nil for a single head
	Scales []Scale
	// ratio gives the factor of the scores under new sizes divided by the present one, after literals were rewritten.
	ratio func(Sizes) float64
}

// Ratio is the factor that the scale on the score path takes under the new sizes, relative to now, literals rewritten: for
// 1/sqrt(d) and d -> d' it is sqrt(d/d'). The gauge of math.md 4.3 multiplies queries and keys by Ratio^(-1/2) each.
func (s *Score) Ratio(sizes Sizes) float64 {
	if s.ratio == nil {
		return 1
	}
	return s.ratio(sizes)
}

// Conflict is a place where two rules disagree or a rule is missing. Its atoms are frozen.
type Conflict struct {
	Node   *graph.Node
	Reason string // one line with both expressions
}

// Problem is a target that the graph cannot take, or an integer that cannot be rewritten.
type Problem struct {
	Code string // "size-equation", "literal-conflict", "frozen" …
	Node *graph.Node
	Atom *Atom // the atom it is about, when one can be named
	Text string
}

// Options of Infer.
type Options struct {
	// Bind gives run-time dimensions the sizes of a stored input, tried after the built-in bindings; may be nil.
	Bind map[string]int64
}

// Result is what Infer found out. It refers to the normalised graph.
type Result struct {
	Graph     *graph.Graph
	Atoms     []*Atom
	Weights   []*Weight
	Norms     []*Norm
	Scores    []*Score
	Conflicts []Conflict

	// Hidden is the atom of the residual stream: the one most often normalised; nil when nothing is normalised.
	Hidden *Atom

	axes      map[*graph.Value][]*Expr
	weights   map[*graph.Value]*Weight
	statics   map[*graph.Value][]int64
	reqs      []requirement
	equations []Equation
	refused   []Conflict // nodes that no rule covers
}

// Infer analyses a graph. It normalises a clone of g (Result.Graph) and folds Ifs whose condition is static.
func Infer(ctx context.Context, g *graph.Graph, o Options) (*Result, error) { return infer(ctx, g, o) }

// Axes gives the expression of every axis of a value; nil when the rank is not known.
func (r *Result) Axes(v *graph.Value) []*Expr { return r.axes[v] }

// Weight is the entry of a constant in Weights; nil when it has none.
func (r *Result) Weight(v *graph.Value) *Weight { return r.weights[v] }

// Static gives the elements of an integer or boolean value that is known without running the model (under the binding of
// run-time dimensions that inference used), and whether it is known.
func (r *Result) Static(v *graph.Value) ([]int64, bool) {
	s, ok := r.statics[v]
	return s, ok
}

// Carries reports whether an axis of v is exactly the atom a, or a product or sum with a in it.
func (r *Result) Carries(v *graph.Value, a *Atom) bool {
	found := false
	for _, e := range r.axes[v] {
		e.Atoms(func(b *Atom) { found = found || a == b })
	}
	return found
}
