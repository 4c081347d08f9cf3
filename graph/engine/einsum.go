package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ellipsis is the label of the last dimension that "..." stands for; those before it count down.
const ellipsis = rune(-1)

// equation is Einsum's, with a label for every dimension of its operands and of the output.
type equation struct {
	in  [][]rune
	out []rune
}

// parseEquation reads an equation for operands of the given ranks. Without "->", the output has the dimensions of "..." and then, sorted, the
// labels that occur once.
func parseEquation(text string, ranks []int) (*equation, error) {
	text = strings.ReplaceAll(text, " ", "")
	left, right, explicit := strings.Cut(text, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(ranks) {
		return nil, fmt.Errorf("equation %q has %d terms for %d operands", text, len(terms), len(ranks))
	}
	e := &equation{}
	count, dots := map[rune]int{}, 0
	for i, t := range terms {
		labels, n, err := parseTerm(t, func(named int) int { return ranks[i] - named })
		if err != nil || len(labels) != ranks[i] {
			return nil, fmt.Errorf("equation %q: term %q does not describe an operand of rank %d", text, t, ranks[i])
		}
		dots = max(dots, n)
		e.in = append(e.in, labels)
		for _, l := range labels {
			count[l]++
		}
	}
	if explicit {
		out, _, err := parseTerm(right, func(int) int { return dots })
		if err != nil {
			return nil, fmt.Errorf("equation %q: %w", text, err)
		}
		for i, l := range out {
			if count[l] == 0 || slices.Contains(out[:i], l) {
				return nil, fmt.Errorf("equation %q: output %q has a label twice, or one that no operand has", text, right)
			}
		}
		e.out = out
		return e, nil
	}
	for l, n := range count {
		if l < 0 || n == 1 {
			e.out = append(e.out, l)
		}
	}
	slices.Sort(e.out)
	return e, nil
}

// parseTerm gives the labels of a term; dots says how many dimensions "..." is beside that many named ones, and is returned.
func parseTerm(t string, dots func(named int) int) (labels []rune, n int, err error) {
	before, after, any := strings.Cut(t, "...")
	named := []rune(before + after)
	for _, l := range named {
		if (l < 'a' || l > 'z') && (l < 'A' || l > 'Z') {
			return nil, 0, fmt.Errorf("%q is no label", l)
		}
	}
	if !any {
		return named, 0, nil
	}
	n = dots(len(named))
	labels = []rune(before)
	for i := range max(n, 0) {
		labels = append(labels, ellipsis-rune(n-1-i))
	}
	return append(labels, []rune(after)...), n, nil
}

// labelled is a value whose dimensions have labels, each another one.
type labelled struct {
	v      *value
	labels []rune
}

// size is that of the dimension with a label, 1 without.
func (l labelled) size(label rune) int {
	if i := slices.Index(l.labels, label); i >= 0 {
		return l.v.shape[i]
	}
	return 1
}

// shape lists the sizes of labels.
func (l labelled) shape(labels []rune) []int {
	out := make([]int, len(labels))
	for i, label := range labels {
		out[i] = l.size(label)
	}
	return out
}

var errEquation = errors.New("the operands' sizes contradict the equation")
