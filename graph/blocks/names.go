package blocks

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// numbering is how a model numbers the layers of a stage in its names: "h.0.attn", "h.1.attn" … The zero value is no numbering.
type numbering struct {
	// Block i has the number base + i*step; where a block counts as several layers, step is their number.
	base, step int
	// patterns are the names seen: the text in front of the number, and the number in the first block.
	patterns []pattern
	found    bool
}

// maxLayersPerBlock is how many of the model's layers a block can be (alternating attention makes two). It keeps the counters of
// anonymous names ("onnx::MatMul_123", one large step per layer) from passing for layer numbers.
const maxLayersPerBlock = 4

// pattern is a row of names that differ in one number only, which grows evenly.
type pattern struct {
	prefix     string
	base, step int
}

// findNumbering looks for the numbers that count the blocks. Each tuple has the names of corresponding things, by block; every
// tuple whose names differ in exactly one number has a vote.
func findNumbering(tuples [][]string, blocks int) numbering {
	if blocks < 2 {
		return numbering{}
	}
	votes := map[pattern]int{}
	for _, t := range tuples {
		if p, ok := patternOf(t); ok && p.step >= 1 && p.step <= maxLayersPerBlock {
			votes[p]++
		}
	}
	best, most := numbering{}, 1 // one name alone may be a coincidence
	for step := 1; step <= maxLayersPerBlock; step++ {
		total := map[int]int{} // by the number of the first block's first layer
		for p, n := range votes {
			if p.step == step {
				total[p.base-p.base%step] += n
			}
		}
		for base, n := range total {
			if n > most || (n == most && best.found && cmp.Or(cmp.Compare(step, best.step), cmp.Compare(base, best.base)) < 0) {
				best, most = numbering{base: base, step: step, found: true}, n
			}
		}
	}
	if !best.found {
		return best
	}
	for p, n := range votes {
		if n < 2 && most >= 8 {
			continue // "Add_7" and "Add_8" in neighbouring layers
		}
		// Names of what leaves a layer may count one more ("hidden_states.1").
		if off := p.base - best.base; p.step == best.step && off >= 0 && off < max(best.step, 2) {
			best.patterns = append(best.patterns, p)
		}
	}
	// the longest first: "decoder.h." before "h."
	slices.SortFunc(best.patterns, func(a, b pattern) int {
		return cmp.Or(cmp.Compare(len(b.prefix), len(a.prefix)), cmp.Compare(a.prefix, b.prefix), cmp.Compare(a.base, b.base))
	})
	return best
}

func patternOf(t []string) (pattern, bool) {
	if len(t) < 2 {
		return pattern{}, false
	}
	first := split(t[0])
	at, step, base := -1, 0, 0
	for i, s := range t[1:] {
		parts := split(s)
		if len(parts) != len(first) {
			return pattern{}, false
		}
		for k := range parts {
			if parts[k] == first[k] {
				continue
			}
			a, errA := strconv.Atoi(first[k])
			b, errB := strconv.Atoi(parts[k])
			if errA != nil || errB != nil || (at >= 0 && at != k) {
				return pattern{}, false
			}
			if at < 0 {
				at, step, base = k, b-a, a
			}
			if i == 0 && b-a != step || b-a != (i+1)*step {
				return pattern{}, false
			}
		}
		if at < 0 || parts[at] == first[at] {
			return pattern{}, false
		}
	}
	return pattern{prefix: strings.Join(first[:at], ""), base: base, step: step}, true
}

// split cuts a name into runs of digits and of other characters.
func split(s string) []string {
	var out []string
	for i := 0; i < len(s); {
		j := i + 1
		for j < len(s) && digit(s[j]) == digit(s[i]) {
			j++
		}
		out = append(out, s[i:j])
		i = j
	}
	return out
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// layer is the layer number of block i (its first, where it is several layers).
func (n numbering) layer(i int) int {
	if !n.found {
		return i
	}
	return n.base + i*n.step
}

// rename gives a name of block `from` the number of block `to`. Where the name has no layer number, suffix tells them apart.
func (n numbering) rename(name string, from, to int) string {
	if name == "" {
		return ""
	}
	if start, end, num, ok := n.find(name, from); ok {
		s := strconv.Itoa(num + n.layer(to) - n.layer(from))
		if old := name[start:end]; old[0] == '0' && len(old) > len(s) { // layer_007
			s = strings.Repeat("0", len(old)-len(s)) + s
		}
		return name[:start] + s + name[end:]
	}
	return fmt.Sprintf("%s_layer%d", name, n.layer(to))
}

// find locates the number of block i in a name.
func (n numbering) find(name string, i int) (start, end, num int, ok bool) {
	if !n.found {
		return 0, 0, 0, false
	}
	for _, p := range n.patterns {
		if !strings.HasPrefix(name, p.prefix) {
			continue
		}
		start = len(p.prefix)
		end = start
		for end < len(name) && digit(name[end]) {
			end++
		}
		num, err := strconv.Atoi(name[start:end])
		if err == nil && num == p.base+i*p.step {
			return start, end, num, true
		}
	}
	return 0, 0, 0, false
}

// nameModules names each module after the first block's constant, without the layer number where one can be told.
func (b *builder) nameModules(n numbering) {
	taken := map[string]bool{}
	for _, m := range b.modules {
		name := m.Consts[0].Name
		for i, c := range m.Consts { // of shared constants, the first that has its block's number tells the true name
			if start, end, _, ok := n.find(c.Name, i); ok {
				name = strings.TrimRight(c.Name[:start], "._/") + c.Name[end:]
				break
			}
		}
		unique := name
		for k := 2; taken[unique]; k++ {
			unique = fmt.Sprintf("%s_%d", name, k)
		}
		taken[unique] = true
		m.Name = unique
	}
}
