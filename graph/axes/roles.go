package axes

import "fmt"

// name gives atoms their roles and names. Roles are read from structure: what is normalised is a hidden width, what attention
// contracts is a head size, what it batches over are heads, what is produced from and contracted back to a hidden width is a
// feed-forward width.
func (r *Result) name(s *state, leaves []*node) {
	counts := map[*Atom]int{}
	for _, n := range r.Norms {
		if n.Axis.Kind == Leaf && !n.Axis.Atom.Has(UseScoreInner) {
			counts[n.Axis.Atom]++
		}
	}
	for _, a := range r.Atoms {
		if a.Flags&FlagRun != 0 {
			continue
		}
		switch {
		case a.Has(UseScoreInner) || a.Has(UseValueDim) && counts[a] == 0:
			a.Role = RoleHeadDim
		case a.Has(UseScoreBatch):
			a.Role = RoleHeads
		case counts[a] > 0:
			a.Role = RoleHidden
			if r.Hidden == nil || counts[a] > counts[r.Hidden] {
				r.Hidden = a
			}
		}
	}
	for i, a := range r.Atoms {
		if a.Role != RoleHeads || !leaves[i].repeat {
			continue
		}
		// grouped queries: the atom beside it in a head axis counts the key/value heads
		for _, sc := range r.Scores {
			if sc.Batch == nil || sc.Batch.Kind != Product {
				continue
			}
			mine := false
			var sibling *Atom
			sc.Batch.Atoms(func(b *Atom) {
				if b == a {
					mine = true
				} else {
					sibling = b
				}
			})
			if mine && sibling != nil {
				a.Groups = sibling
				sibling.Role = RoleKVHeads
			}
		}
	}
	for _, sc := range r.Scores {
		r.parts(sc.Inner)
	}
	r.feedForward(s)
	layer := map[Role]int{}
	taken := map[string]bool{}
	next := map[string]int{} // by base: every smaller number is taken, and a deep model has thousands of helper axes
	for _, a := range r.Atoms {
		base := string(a.Role)
		switch {
		case a.Name != "":
			base = a.Name
		case a.Role == RoleNone && a.Growable():
			base = "inner"
		case a.Role == RoleNone:
			base = fmt.Sprintf("fixed%d", a.Size)
		}
		if a == r.Hidden {
			a.Name = "hidden"
			taken["hidden"] = true
			continue
		}
		if a.Role != RoleNone {
			a.Layer = layer[a.Role]
			layer[a.Role]++
		}
		if a.Name != "" && !taken[a.Name] {
			taken[a.Name] = true
			continue
		}
		i := 0
		if a.Role != RoleNone {
			i = a.Layer
		}
		if a.Role == RoleHidden {
			i++
		}
		for i = max(i, next[base]); ; i++ {
			if n := fmt.Sprintf("%s.%d", base, i); !taken[n] {
				a.Name = n
				taken[n] = true
				next[base] = i + 1
				break
			}
		}
	}
}

// parts records how the atoms of a head size make it up: two rotary halves, and a rest that does not rotate.
func (r *Result) parts(e *Expr) {
	if e.Kind != Sum {
		return
	}
	times := map[*Atom]int64{}
	var order []*Atom
	e.Atoms(func(a *Atom) {
		if times[a] == 0 {
			order = append(order, a)
		}
		times[a]++
	})
	for _, a := range order {
		a.Parts = times[a]
		a.Rest = nil
		for _, b := range order {
			if b != a {
				a.Rest = append(a.Rest, b)
			}
		}
	}
}

// feedForward finds the widths between two hidden widths.
func (r *Result) feedForward(s *state) {
	from, to := map[*Atom]bool{}, map[*Atom]bool{}
	for _, c := range s.g.Consts {
		if !c.Const.DType.Growable() {
			continue
		}
		ex := r.axes[c]
		for i := range ex {
			if !s.consumed[constAxis{c, i}] {
				continue
			}
			for j := range ex {
				if i == j || s.consumed[constAxis{c, j}] {
					continue
				}
				ex[i].Atoms(func(in *Atom) {
					ex[j].Atoms(func(out *Atom) {
						if in.Role == RoleHidden {
							from[out] = true
						}
						if out.Role == RoleHidden {
							to[in] = true
						}
					})
				})
			}
		}
	}
	for _, a := range r.Atoms {
		if a.Role == RoleNone && from[a] && to[a] {
			a.Role = RoleFFN
		}
	}
}
