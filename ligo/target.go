package ligo

import (
	"fmt"
	"strings"
)

// Target is the size asked for. Zero fields are not asked for: the width and depth factors fill them, or what keeps the model's
// own ratios. The zero Target doubles width and depth at the same head size.
type Target struct {
	// Sizes by role. Hidden is the residual stream's; other normalised widths keep their ratio to it. Heads counts query heads,
	// KVHeads key/value heads; FFN is the inner width of the feed-forward layers. Layers is for the main stage, the one with the most; Axes
	// sets others (layers.1).
	Hidden, Heads, KVHeads, HeadDim, FFN, Layers int64
	// Width and Depth multiply every width at the same head size, and the number of layers.
	Width, Depth float64
	// Axes gives single axes a size, by the name that Summary lists.
	Axes map[string]int64
	// Like takes every size and the number of layers from another model of the family.
	Like *Analysis
	// Params asks for that many parameters: width and depth are searched, near the model's ratio.
	Params int64

	// replay, when set, is the full result of an earlier choice.
	replay *Record
}

// zero reports whether nothing is asked for.
func (t Target) zero() bool {
	return !t.sized() && t.Width == 0 && t.Depth == 0 && t.Like == nil && t.Params == 0 && t.replay == nil
}

// sized reports whether a size is asked for by number.
func (t Target) sized() bool {
	return t.Hidden|t.Heads|t.KVHeads|t.HeadDim|t.FFN|t.Layers != 0 || len(t.Axes) > 0
}

// check finds contradictions that no model can satisfy.
func (t Target) check() error {
	for _, n := range []struct {
		name string
		v    int64
	}{{"hidden", t.Hidden}, {"heads", t.Heads}, {"kv heads", t.KVHeads}, {"head dim", t.HeadDim}, {"ffn", t.FFN}, {"layers", t.Layers}, {"params", t.Params}} {
		if n.v < 0 {
			return fmt.Errorf("target: %s is %d", n.name, n.v)
		}
	}
	for name, v := range t.Axes {
		if v <= 0 {
			return fmt.Errorf("target: axis %s is %d", name, v)
		}
	}
	// The negation also catches NaN.
	if !(t.Width >= 0 && t.Width < 1e6) || !(t.Depth >= 0 && t.Depth < 1e6) {
		return fmt.Errorf("target: width %gx and depth %gx are not factors", t.Width, t.Depth)
	}
	if t.Like != nil && (t.sized() || t.Width != 0 || t.Depth != 0 || t.Params != 0) {
		return fmt.Errorf("target: a model to be like leaves no size to choose")
	}
	if t.Params != 0 && (t.sized() || t.Width != 0 || t.Depth != 0) {
		return fmt.Errorf("target: a number of parameters leaves no size to choose")
	}
	return nil
}

// Problem says why a target is impossible.
type Problem struct {
	Code string `json:"code"`
	// Node and Tensor name the place in the graph, where there is one.
	Node   string `json:"node,omitempty"`
	Tensor string `json:"tensor,omitempty"`
	Text   string `json:"text"`
	// Nearest lists legal sizes near the one asked for.
	Nearest []int64 `json:"nearest,omitempty"`
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Text)
	if p.Node != "" {
		fmt.Fprintf(&b, " (at %s)", p.Node)
	}
	if len(p.Nearest) > 0 {
		near := make([]string, len(p.Nearest))
		for i, n := range p.Nearest {
			near[i] = fmt.Sprint(n)
		}
		fmt.Fprintf(&b, "; possible: %s", strings.Join(near, ", "))
	}
	return b.String()
}

// TargetError says that a target is impossible, with every reason.
type TargetError struct{ Problems []Problem }

func (e *TargetError) Error() string {
	if len(e.Problems) == 0 {
		return "the target is impossible"
	}
	s := e.Problems[0].String()
	if n := len(e.Problems) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// Reason says why a growth is not exact. Codes are stable; Codes lists them.
type Reason struct {
	Code   string `json:"code"`
	Node   string `json:"node,omitempty"`
	Tensor string `json:"tensor,omitempty"`
	Text   string `json:"text"`
}

// The codes of reasons and problems.
const (
	CodePostNormWidth    = "post-norm-indivisible-width"
	CodePostNormEpsilon  = "post-norm-depth-epsilon"
	CodeLearned          = "learned-operator"
	CodeForeign          = "foreign-operator"
	CodeLossyMethod      = "lossy-method"
	CodeNormWithoutGain  = "norm-without-gain"
	CodeEpsilon          = "epsilon-not-editable"
	CodeMixedNorms       = "mixed-norms"
	CodeNonlinearNorm    = "nonlinear-before-norm"
	CodeCompositeNorm    = "composite-norm-indivisible"
	CodeStreamGain       = "stream-gain-not-folded"
	CodeUnevenCopies     = "uneven-copies"
	CodeUntied           = "untied-embedding"
	CodeSibling          = "sibling-model"
	CodeSizeEquation     = "size-equation"
	CodeShrink           = "shrink"
	CodeNotMultiple      = "not-a-multiple"
	CodeFrozen           = "frozen-axis"
	CodeNoSuchAxis       = "no-such-axis"
	CodeNoSuchRole       = "no-such-role"
	CodeNoLayers         = "no-layers"
	CodeNoDepthRule      = "no-depth-rule"
	CodeUnlike           = "unlike"
	CodeTooLarge         = "too-large"
	CodeWeightUnreadable = "weight-not-float"
)

// CodeInfo explains a code.
type CodeInfo struct {
	Code string
	// Problem says that the code refuses a target; otherwise it weakens the promise, or (Note) only tells something.
	Problem, Note bool
	Text          string
}

// Codes lists the codes of reasons and problems, for documentation.
func Codes() []CodeInfo {
	return []CodeInfo{
		{CodePostNormWidth, false, false, "a norm sits on the residual stream, its gain varies, and the new width is no multiple of the old: no copy, average or padding keeps the mean that the next norm subtracts"},
		{CodePostNormEpsilon, false, false, "new layers behind a norm on the stream normalise twice; each time the epsilon shrinks the stream a little"},
		{CodeLossyMethod, false, false, "the method changes the function on purpose"},
		{CodeLearned, false, false, "the operator was learned: it lowers the loss, it does not keep the function"},
		{CodeForeign, false, false, "the operator came from a file and is not the one that the method makes of this model: of an operator that depends on the weights, a sibling's is another"},
		{CodeNormWithoutGain, false, false, "a norm without gain has nowhere to put the factor that an uneven width asks for"},
		{CodeEpsilon, false, false, "a norm's epsilon cannot be edited, and the variance changes with the width"},
		{CodeMixedNorms, false, false, "one axis is normalised with and without its mean, which agree only on whole multiples"},
		{CodeNonlinearNorm, false, false, "values pass a non-linear function and then a norm: averages do not survive the function, so only whole multiples are exact"},
		{CodeCompositeNorm, false, false, "a norm runs over several widths at once, and one of them does not grow by a whole multiple"},
		{CodeStreamGain, false, false, "a gain multiplies the residual stream and cannot be moved into the weights before it"},
		{CodeUnevenCopies, false, false, "the method copies some units of a normalised axis more often than others"},
		{CodeUntied, false, true, "embedding and output matrix were equal and are not any more"},
		{CodeSibling, false, true, "the operator was made for another file than the one that grows"},
		{CodeSizeEquation, true, false, "the graph states a relation of sizes that the target breaks"},
		{CodeShrink, true, false, "an axis or the number of layers would shrink"},
		{CodeNotMultiple, true, false, "the method needs a whole multiple"},
		{CodeFrozen, true, false, "the axis cannot grow"},
		{CodeNoSuchAxis, true, false, "the model has no axis of that name"},
		{CodeNoSuchRole, true, false, "the model has no axis of that role that can grow"},
		{CodeNoLayers, true, false, "no repeated layers were found"},
		{CodeNoDepthRule, true, false, "the layers cannot be made to pass the stream through"},
		{CodeUnlike, true, false, "the model to be like has another structure"},
		{CodeTooLarge, true, false, "a size is beyond what this program, or ONNX, can hold"},
		{CodeWeightUnreadable, true, false, "a weight that must grow is stored in a type that cannot"},
	}
}
