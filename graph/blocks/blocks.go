// Package blocks finds the layers of a transformer graph: the cut points of the residual stream, the longest periodic run of
// isomorphic segments between them (several stages are normal), and which constants of one layer correspond to which of the next.
// Deepen makes a graph with more layers by copying blocks.
package blocks

import (
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/axes"
)

// Structure is what Find found.
type Structure struct {
	Stages []*Stage
	// Notes say, one line each, why a repeat that looks like layers cannot be deepened.
	Notes []string
}

// Stage is one run of isomorphic blocks.
type Stage struct {
	Blocks []*Block
	// Modules are the constants that correspond over the blocks (each block has one in each), in topological order of use.
	Modules []*Module
	// PostNorm says that norms sit on the stream.
	PostNorm bool
	// Zero lists the modules which, set to zero in one block, make that block leave the stream as it is (pre-norm), or leave only
	// the norms of Shift acting (post-norm). Empty when Why is set.
	Zero []*Module
	// Shift lists the norms on the stream, in order (post-norm only): with all but the last at gain 1 and bias 0, an inert block is
	// the last norm alone.
	Shift []StreamNorm
	// Trail lists the norms at the end of a block whose output only the next block's branch reads (fused skip-norms hand on the
	// sum and its norm). They belong to what follows: an inert block takes gain and bias from the layer before it.
	Trail []StreamNorm
	// Late lists the modules after the last norm on the stream, for blocks that go on after it, and LateZero those of them which,
	// set to zero, silence that part. Where the last norm of the layer before an inert layer comes to act in the inert layer
	// (Shift), what follows it moves along: the inert layer takes the Late modules of the layer before it, which is silenced there.
	Late, LateZero []*Module
	// Why says why the stage cannot be deepened without changing the function; empty when it can.
	Why string

	numbering numbering
}

// StreamNorm is a norm on the stream: its gain and bias modules (nil where it has none).
type StreamNorm struct{ Gain, Bias *Module }

// Module is one constant over the blocks of a stage.
type Module struct {
	Name   string         // readable: the first block's constant without its layer number where that can be told
	Consts []*graph.Value // by block
}

// Block is one layer.
type Block struct {
	// In and Out are the stream values that enter and leave (one, or two where a fused skip-norm passes a normed value and a sum).
	In, Out []*graph.Value
	// Nodes is the set to copy, in topological order: the data path and everything only it uses.
	Nodes []*graph.Node
	// Inputs and Outputs are graph inputs and outputs that belong to this block alone (caches).
	Inputs, Outputs []*graph.Value
}

// Find looks for the layers of an inferred graph.
func Find(r *axes.Result) (*Structure, error) { return find(r) }

// Layer says what a layer of the deepened graph is.
type Layer struct {
	// Source is the block (index into Stage.Blocks) that gives the structure and, by default, the weights.
	Source int
	// New says that the layer is a copy: it gets new names and caches of its own. At most one layer per source is not new, and
	// those that are not new keep the order of their sources.
	New bool
}

// Deep is a deepened graph.
type Deep struct {
	Graph *graph.Graph
	// Consts[s][i][m] is, in Graph, the constant of layer i of stage s for Modules[m] of that stage.
	Consts [][][]*graph.Value
	// Values and Nodes lead from everything in Graph to what it is, or is a copy of, in the graph that was deepened.
	Values map[*graph.Value]*graph.Value
	Nodes  map[*graph.Node]*graph.Node
}

// Deepen returns a copy of the (normalised) graph in which stage s consists of layers[s], in that order; a nil entry leaves the
// stage as it is. New constants refer to the tensors of their source; giving them other tensors (blends, zeros) is the caller's
// part. New layers are named after the model's own numbering where it has one, and get caches of their own (graph inputs and
// outputs) where the source has them.
func Deepen(g *graph.Graph, s *Structure, layers [][]Layer) (*Deep, error) {
	return deepen(g, s, layers)
}
