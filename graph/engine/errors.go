package engine

import (
	"errors"
	"fmt"
	"strings"
)

// UnsupportedNode is a node that the engine has no operator for.
type UnsupportedNode struct {
	Node   string // the node, as graph.Node.String names it
	Op     string
	Domain string // "" is ai.onnx
	Reason string // why a known operator cannot run; empty where the operator is unknown
}

// UnsupportedError lists the nodes that the engine cannot run.
type UnsupportedError struct{ Nodes []UnsupportedNode }

func (e *UnsupportedError) Error() string {
	const show = 5
	var parts []string
	for i, n := range e.Nodes {
		if i == show {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Nodes)-show))
			break
		}
		if n.Reason != "" {
			parts = append(parts, fmt.Sprintf("%s: %s", n.Node, n.Reason))
		} else {
			parts = append(parts, fmt.Sprintf("%s: no such operator", n.Node))
		}
	}
	return "unsupported: " + strings.Join(parts, "; ")
}

// InputError says what is wrong with a tensor given to Run.
type InputError struct {
	Input   string
	Problem string
}

func (e *InputError) Error() string { return fmt.Sprintf("input %q: %s", e.Input, e.Problem) }

// NodeError says which node of the model could not be computed, and why.
type NodeError struct {
	Node string
	Err  error
}

func (e *NodeError) Error() string { return e.Node + ": " + e.Err.Error() }

func (e *NodeError) Unwrap() error { return e.Err }

// MemoryError says that a computation was refused because it needs more memory than Options.MaxMemory.
type MemoryError struct {
	Need, Limit int64
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("needs %d bytes of memory for intermediate values and weights, the limit is %d", e.Need, e.Limit)
}

// contentError asks the compiler for the content of an operand that is not known yet.
type contentError struct{ v *value }

func (e *contentError) Error() string { return fmt.Sprintf("the content of %q is needed", e.v.name) }

// atNode names the node in an error, unless an inner error has done so.
func atNode(node string, err error) error {
	var have *NodeError
	var want *contentError
	if err == nil || errors.As(err, &have) || errors.As(err, &want) {
		return err
	}
	return &NodeError{node, err}
}
