// Package ligo grows a transformer graph: it chooses the sizes of the larger model, the growth operator, and applies it.
//
// Every published growth method is a point of one family,
//
//	W'_i = Σ_j w_ij · R_out W_j L_in + N
//
// (Wang et al., "Learning to Grow Pretrained Models for Efficient Transformer Training", ICLR 2023, whose own operator has
// L_in = R_inᵀ and N = 0). i and j count the layers of the large and the small model, R expands the axis that a weight produces, L
// contracts the axis that it reads, w blends layers, N is free. Methods are presets in that family, and one code path applies
// them.
//
// A growth goes through four steps:
//
//   - Analyse finds out what the graph is: axes (package axes) and layers (package blocks).
//   - NewPlan chooses sizes, layers and, for every axis, the rule by which it grows. It finds every problem before any heavy work,
//     and says what is promised: that the outputs are the same up to rounding, or why they are not.
//   - Plan.Operator makes the matrices of the plan's method. They are stored by structure and cost next to nothing.
//   - Apply edits the graph: layers, weights (computed when they are written), integers, attributes, epsilons, declared types. It
//     ends with the gate: the grown graph is inferred again and must have exactly the planned sizes.
//
// The rules are read from what happens to an axis (normalised, passed through a non-linear function, contracted in attention
// scores …), never from names or architectures. The conditions under which a rule preserves the function (L·R = I and its kin) are
// stated where the rule is made, in rule.go.
package ligo
