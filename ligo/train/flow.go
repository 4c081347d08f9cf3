package train

import (
	"slices"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// Role is what a parameter does to activations.
type Role string

// Roles.
const (
	RoleMatrix Role = "matrix" // contracted with activations, convolutions included
	RoleTable  Role = "table"  // looked up by data, or placed between activations: embeddings, positions, class tokens
	RoleGain   Role = "gain"   // multiplied with activations
	RoleOffset Role = "offset" // a gain to which the graph adds 1
	RoleBias   Role = "bias"   // added to activations
)

// flow classifies constants by what becomes of them.
//
// A value is still when it does not depend on what the inputs hold: constants, what is computed from them, and shapes. A still value is
// followed through everything that keeps it still, and through views and lookups, to the operators where it meets activations. There
// it is
//
//	contracted (MatMul, Gemm, Conv …)      a matrix, unless all that becomes of the product is an angle (sine, cosine): a frequency
//	an operand of a norm                    its gain or bias; stored means and variances are not trained
//	added to activations                    a bias or table; added to attention scores a mask, unless it is the bias of a linear map
//	                                        or looked up by heads (relative positions)
//	multiplied with activations             a gain where it lies along one axis; along several, positions among them, a rotary table
//	concatenated with or chosen instead of  a token; inside attention scores a mask
//
// Two things cannot be told from what is stored: a relative bias that an exporter has already spread over all pairs of positions looks like
// a mask and is left alone, and zeros or ones in a Constant node are taken for an operand that the layer does not have.
//
// Activations are values behind a weight: arithmetic on plain inputs (masks, pixel means) holds no parameters. Scalars are none either,
// except as the bias of an output of one unit.
type flow struct {
	r      *axes.Result
	still  map[*graph.Value]bool
	active map[*graph.Value]bool // depends on an input's content and on a floating weight
	scores map[*graph.Node]bool  // between a product of attention scores and its softmax
}

func newFlow(r *axes.Result) *flow {
	f := &flow{r: r, still: map[*graph.Value]bool{}, active: map[*graph.Value]bool{}, scores: map[*graph.Node]bool{}}
	for _, c := range r.Graph.Consts {
		f.still[c] = true
	}
	for _, n := range r.Graph.Nodes {
		f.follow(n)
	}
	f.findScores()
	return f
}

// follow decides what a node's outputs are.
func (f *flow) follow(n *graph.Node) {
	still, active := len(n.Captures) == 0, false
	if n.Op == "Shape" || n.Op == "Size" {
		still = true
	} else {
		for _, v := range n.In {
			still = still && (v == nil || f.still[v])
			active = active || f.active[v]
		}
	}
	if !still && !active {
		if i := slices.IndexFunc(n.In, func(v *graph.Value) bool { return v != nil && f.still[v] && f.floating(v) }); i >= 0 {
			active = linear[n.Op] || lookups[n.Op] || rolesOf(n) != nil
		}
	}
	for _, o := range n.Out {
		if o != nil {
			f.still[o], f.active[o] = still && !random[n.Op], active
		}
	}
}

// floating reports whether a still value may hold floating numbers that come from a constant.
func (f *flow) floating(v *graph.Value) bool {
	if v.IsConst() {
		return v.Const.DType.Growable()
	}
	_, ints := f.r.Static(v)
	return !ints
}

var (
	random  = map[string]bool{"RandomNormal": true, "RandomUniform": true, "RandomNormalLike": true, "RandomUniformLike": true, "Multinomial": true, "Bernoulli": true}
	linear  = map[string]bool{"MatMul": true, "Gemm": true, "Conv": true, "ConvTranspose": true, "FusedMatMul": true, "FusedGemm": true, "FusedConv": true, "Einsum": true}
	lookups = map[string]bool{"Gather": true, "GatherND": true, "GatherElements": true}
	// views keep the numbers of their first operand.
	views = map[string]bool{"Transpose": true, "Reshape": true, "Cast": true, "CastLike": true, "Unsqueeze": true, "Squeeze": true, "Slice": true, "Expand": true,
		"Identity": true, "Split": true, "Tile": true, "Flatten": true, "Pad": true, "Dropout": true, "Neg": true, "Gather": true, "GatherND": true, "GatherElements": true}
)

// fusedRoles gives the roles of the operands of operators that hold several weights.
var fusedRoles = map[string]map[int]Role{
	"LayerNormalization":               {1: RoleGain, 2: RoleBias},
	"RMSNormalization":                 {1: RoleGain},
	"SimplifiedLayerNormalization":     {1: RoleGain},
	"SkipLayerNormalization":           {2: RoleGain, 3: RoleBias, 4: RoleBias},
	"SkipSimplifiedLayerNormalization": {2: RoleGain, 3: RoleBias},
	"InstanceNormalization":            {1: RoleGain, 2: RoleBias},
	"GroupNormalization":               {1: RoleGain, 2: RoleBias},
	"BatchNormalization":               {1: RoleGain, 2: RoleBias},
	"EmbedLayerNormalization":          {2: RoleTable, 3: RoleTable, 4: RoleTable, 5: RoleGain, 6: RoleBias},
	"BiasGelu":                         {1: RoleBias},
	"FastGelu":                         {1: RoleBias},
	"com.microsoft.Attention":          {1: RoleMatrix, 2: RoleBias}, // ai.onnx's takes no weights
	"MultiHeadAttention":               {3: RoleBias},
	"PRelu":                            {1: RoleGain},
	"Conv":                             {1: RoleMatrix, 2: RoleBias},
	"ConvTranspose":                    {1: RoleMatrix, 2: RoleBias},
	"FusedConv":                        {1: RoleMatrix, 2: RoleBias},
	"Gemm":                             {0: RoleMatrix, 1: RoleMatrix, 2: RoleBias},
	"FusedGemm":                        {0: RoleMatrix, 1: RoleMatrix, 2: RoleBias},
	"MatMul":                           {0: RoleMatrix, 1: RoleMatrix},
	"FusedMatMul":                      {0: RoleMatrix, 1: RoleMatrix},
}

// rolesOf is the entry of fusedRoles for a node.
func rolesOf(n *graph.Node) map[int]Role {
	if r := fusedRoles[n.Domain+"."+n.Op]; r != nil {
		return r
	}
	return fusedRoles[n.Op]
}

// findScores collects the nodes between the product of attention scores and the softmax over it.
func (f *flow) findScores() {
	after := map[*graph.Node]bool{}
	for _, n := range f.r.Graph.Nodes {
		// a product of two activations starts a path; what is contracted with a weight on the way (talking heads) goes on
		if (n.Op == "MatMul" || n.Op == "FusedMatMul" || n.Op == "Einsum") && len(n.In) >= 2 && f.active[n.In[0]] && f.active[n.In[1]] {
			after[n] = true
			continue
		}
		if n.Op == "Softmax" {
			f.scoresBefore(n, after)
			continue
		}
		if !onScores[n.Op] {
			continue
		}
		for _, v := range n.In {
			if v != nil && v.Producer != nil && after[v.Producer] {
				after[n] = true
			}
		}
	}
}

var onScores = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Where": true, "Cast": true, "Reshape": true, "Transpose": true, "Max": true, "Min": true,
	"Clip": true, "Tanh": true, "MatMul": true, "Unsqueeze": true, "Squeeze": true, "Identity": true, "Slice": true, "Concat": true, "Expand": true}

// scoresBefore marks what is between products in after and a softmax.
func (f *flow) scoresBefore(softmax *graph.Node, after map[*graph.Node]bool) {
	stack := []*graph.Node{softmax}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, v := range n.In {
			if v == nil || v.Producer == nil || !after[v.Producer] || f.scores[v.Producer] || !onScores[v.Producer.Op] {
				continue
			}
			if p := v.Producer; len(p.In) < 2 || p.Op != "MatMul" || !f.active[p.In[0]] || !f.active[p.In[1]] {
				f.scores[p] = true
				stack = append(stack, p)
			}
		}
	}
}
