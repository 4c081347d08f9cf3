package ligo

import "fmt"

// Method names a preset of the operator family.
type Method string

// The presets. What each does is said by Methods.
const (
	LiGO        Method = "ligo"
	Net2Net     Method = "net2net"
	LEMON       Method = "lemon"
	HyperClone  Method = "hyperclone"
	Staged      Method = "staged"
	Stack       Method = "stack"
	Interpolate Method = "interpolate"
	Direct      Method = "direct"
	AKI         Method = "aki"
	Paper       Method = "paper"
	Random      Method = "random"
)

// MethodInfo describes a method.
type MethodInfo struct {
	Name Method
	// Exact says that the method keeps the function wherever mathematics allows it. The others change it on purpose.
	Exact bool
	Text  string
}

var methods = []MethodInfo{
	{LiGO, true, "the exact start for learning: whole heads copied, uneven splits that break symmetry, new layers that pass the stream through"},
	{Net2Net, true, "units copied at random, their readers' weights divided by the number of copies (Chen et al. 2016; bert2BERT's FPI)"},
	{LEMON, true, "blocks of copies and averages, readers split at random; any width (Wang et al. 2024)"},
	{HyperClone, true, "every unit repeated n times, readers divided by n; whole multiples only (Samragh et al. 2024)"},
	{Staged, true, "two copies of the model side by side; doubling only (Shen et al. 2022)"},
	{Stack, false, "depth by stacking the layers on themselves (StackBERT, Gong et al. 2019); width as ligo"},
	{Interpolate, false, "depth by repeating each layer; width as ligo"},
	{Direct, false, "the small weights in the corner of zero weights"},
	{AKI, false, "as net2net, but copied units come from the next layer (bert2BERT, Chen et al. 2022); depth by stacking"},
	{Paper, false, "LiGO's own start: old units kept, new ones near the mean of all, layers stacked (Wang et al. 2023); to learn from"},
	{Random, false, "a model from scratch: weights of standard deviation 0.02, gains 1, biases 0; the baseline"},
}

// Methods lists the presets, the default first.
func Methods() []MethodInfo { return append([]MethodInfo(nil), methods...) }

// info describes m; the empty method is LiGO.
func (m Method) info() (MethodInfo, error) {
	if m == "" {
		m = LiGO
	}
	for _, i := range methods {
		if i.Name == m {
			return i, nil
		}
	}
	return MethodInfo{}, fmt.Errorf("there is no method %q", string(m))
}

// depthRule says how a method fills the layers of the large model.
type depthRule uint8

const (
	depthInert  depthRule = iota // new layers that pass the stream through, spread evenly behind the old
	depthLEMON                   // inert layers behind the last old ones, inner weights from the next layer
	depthStack                   // layer i is layer i mod L1
	depthRepeat                  // layer i is layer ⌊i·L1/L2⌋
	depthOnTop                   // the old layers, then layers of zeros
)

// widthRule says how a method fills an axis.
type widthRule uint8

const (
	widthExact   widthRule = iota // LiGO's start: copies in blocks, uneven splits
	widthAverage                  // LEMON: copies in blocks, random splits
	widthRandom                   // Net2Net: balanced random copies, equal splits
	widthClone                    // HyperCloning: whole multiples, equal splits
	widthStaged                   // as widthClone at 2, with the free term that makes two separate models
	widthPad                      // zeros
	widthNext                     // as widthRandom, copied rows from the next layer
	widthPaper                    // [I; S]: new units are random mixtures of all
	widthScratch                  // no weight of the small model is used
)

func (m Method) rules() (widthRule, depthRule) {
	switch m {
	case Net2Net:
		return widthRandom, depthInert
	case LEMON:
		return widthAverage, depthLEMON
	case HyperClone:
		return widthClone, depthInert
	case Staged:
		return widthStaged, depthInert
	case Stack:
		return widthExact, depthStack
	case Interpolate:
		return widthExact, depthRepeat
	case Direct:
		return widthPad, depthOnTop
	case AKI:
		return widthNext, depthStack
	case Paper:
		return widthPaper, depthStack
	case Random:
		return widthScratch, depthStack
	}
	return widthExact, depthInert
}
