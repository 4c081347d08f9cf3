package graph

import "strings"

// Sort puts the nodes into topological order: depth first in the present order, so that a sorted graph stays as it is. A cycle
// is an *InvalidError that names its nodes.
func (g *Graph) Sort() error {
	const (
		unseen = iota
		open
		done
	)
	state := make(map[*Node]int, len(g.Nodes))
	order := make([]*Node, 0, len(g.Nodes))
	type frame struct {
		n    *Node
		next int // operand to look at, captures after inputs
	}
	var stack []frame // explicit: a chain of a million nodes must not become a million stack frames
	for _, root := range g.Nodes {
		if state[root] != unseen {
			continue
		}
		state[root] = open
		stack = append(stack[:0], frame{n: root})
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			var dep *Node
			for dep == nil && top.next < len(top.n.In)+len(top.n.Captures) {
				var v *Value
				if top.next < len(top.n.In) {
					v = top.n.In[top.next]
				} else {
					v = top.n.Captures[top.next-len(top.n.In)]
				}
				top.next++
				if v == nil || v.Producer == nil {
					continue
				}
				switch state[v.Producer] {
				case unseen:
					dep = v.Producer
				case open:
					var path []string
					for i := len(stack) - 1; i >= 0; i-- {
						path = append(path, stack[i].n.String())
						if stack[i].n == v.Producer {
							break
						}
					}
					return invalid(v.Producer.String(), "the graph has a cycle: %s", strings.Join(path, " <- "))
				}
			}
			if dep != nil {
				state[dep] = open
				stack = append(stack, frame{n: dep})
				continue
			}
			state[top.n] = done
			order = append(order, top.n)
			stack = stack[:len(stack)-1]
		}
	}
	g.Nodes = order
	return nil
}

// Prune removes the nodes and constants that no graph output depends on. Graph inputs stay: they are the signature.
func (g *Graph) Prune() {
	live := map[*Node]bool{}
	var stack []*Node
	mark := func(v *Value) {
		if v != nil && v.Producer != nil && !live[v.Producer] {
			live[v.Producer] = true
			stack = append(stack, v.Producer)
		}
	}
	for _, o := range g.Outputs {
		mark(o)
	}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, v := range n.In {
			mark(v)
		}
		for _, v := range n.Captures {
			mark(v)
		}
	}
	dead := map[*Node]bool{}
	for _, n := range g.Nodes {
		if !live[n] {
			dead[n] = true
		}
	}
	g.RemoveNodes(dead)
	kept := g.Consts[:0:0]
	for _, c := range g.Consts {
		if len(c.Uses) > 0 || c.Overridable || g.IsOutput(c) {
			kept = append(kept, c)
		} else if g.names[c.Name] == c {
			delete(g.names, c.Name)
		}
	}
	g.Consts = kept
}

// Validate checks the package's invariants; it is for tests and for the end of a rewrite.
func (g *Graph) Validate() error {
	seen := map[*Value]bool{}
	for _, v := range g.Inputs {
		seen[v] = true
	}
	for _, v := range g.Consts {
		if v.Const == nil || v.Producer != nil {
			return invalid(v.Name, "listed as a constant, but it is none")
		}
		seen[v] = true
	}
	for name, v := range g.names {
		if v.Name != name {
			return invalid(name, "filed under a name that is not its own (%s)", v.Name)
		}
		if v.Producer == nil && v.Const == nil {
			seen[v] = true // inputs and sparse initializers
		}
	}
	for _, n := range g.Nodes {
		for i, v := range n.In {
			if v == nil {
				continue
			}
			if !seen[v] {
				return invalid(n.String(), "input %q is not computed before the node", v.Name)
			}
			found := false
			for _, u := range v.Uses {
				found = found || (u.Node == n && u.Index == i)
			}
			if !found {
				return invalid(n.String(), "value %q does not list this use", v.Name)
			}
		}
		for i, o := range n.Out {
			if o == nil {
				continue
			}
			if o.Producer != n || o.OutIndex != i || g.names[o.Name] != o || seen[o] {
				return invalid(n.String(), "output %q is not linked to the node", o.Name)
			}
			seen[o] = true
		}
	}
	for _, o := range g.Outputs {
		if !seen[o] {
			return invalid(o.Name, "graph output that nothing computes")
		}
	}
	return nil
}
