package inputs

import "github.com/ligoonnx/ligoonnx/graph"

// Positions reports whether an integer input says where in the sequence a token is: it is the position operand of a rotary
// operator, picks rows of tables of angles, or is multiplied into the argument of a sine. Position numbers that are looked up in a
// learned table are an Index like any other.
func Positions(v *graph.Value) bool { return turns(v, map[*graph.Value]bool{}) }

func turns(v *graph.Value, seen map[*graph.Value]bool) bool {
	if seen[v] {
		return false
	}
	seen[v] = true
	for _, u := range v.Uses {
		n := u.Node
		switch n.Op {
		case "Cos", "Sin":
			return true
		case "RotaryEmbedding":
			// com.microsoft: x, positions, cos, sin; ai.onnx: x, cos, sin, positions.
			if at := map[string]int{"": 3, "com.microsoft": 1}; u.Index == at[n.Domain] {
				return true
			}
			continue
		case "Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Identity", "Expand", "Tile":
			if u.Index != 0 {
				continue
			}
		case "Mul", "MatMul", "Einsum", "Concat", "Div", "Add":
		default:
			continue
		}
		for _, o := range n.Out {
			if o != nil && turns(o, seen) {
				return true
			}
		}
	}
	return false
}

// Length is what an integer of one sequence counts.
type Length uint8

// Lengths of a sequence with its cache, as the operators that take them define them.
const (
	NoLength     Length = iota
	TotalLength         // all tokens
	LastPosition        // all tokens but one
)

// LengthOf tells which length the fused attention operators take an input for.
func LengthOf(v *graph.Value) Length { return lengthOf(v, 4) }

func lengthOf(v *graph.Value, depth int) Length {
	for _, u := range v.Uses {
		n := u.Node
		switch {
		case n.Op == "GroupQueryAttention" && u.Index == 5:
			return LastPosition
		case n.Op == "GroupQueryAttention" && u.Index == 6, n.Op == "Attention" && n.Domain == "com.microsoft" && u.Index == 3,
			n.Op == "Attention" && n.Domain == "" && u.Index == 6:
			return TotalLength
		case (n.Op == "Cast" || n.Op == "Identity" || n.Op == "Squeeze" || n.Op == "Reshape") && depth > 0 && u.Index == 0:
			if l := lengthOf(n.Out[0], depth-1); l != NoLength {
				return l
			}
		}
	}
	return NoLength
}
