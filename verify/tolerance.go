package verify

import (
	"fmt"
	"math"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// How far may two correct models be apart?
//
// Both compute the same function with different sums. A sum of n products with unit roundoff u is off by about u·sqrt(n/2) of its
// own size when signs and rounding errors are as good as random (the partial sums grow like sqrt(k), each adds a rounding error
// of u times itself). Errors of successive sums are independent and add like the steps of a random walk: d sums on the longest
// path from an input to an output give sqrt(d·n)·u. Norms and softmax in between keep relative errors at their size. So
//
//	|Δ| ≤ C · u · sqrt(d·n) · max|out|
//
// Stored weights add a term of their own: growth rounds every weight once to the type it is stored in, u_w, which no sum amplifies:
// C·u_w·sqrt(d). An output that is stored in a narrower type adds its own roundoff.
//
// C is for the largest of many elements, and for the two models both being off. It was calibrated: over 208 outputs of correct growths
// of 45 exported models (wider by 1.5 and 2, deeper, both, wider inside), the largest |Δ| was 0.44 times the formula without C, in
// float64 0.29 times the term of stored weights alone; half of them stayed below 0.05. C = 2, and 1 for stored weights, whose errors
// the order of sums does not touch, leave a factor of more than 3. (One weight of a small model that is off by a thousandth of itself
// is usually 10 times beyond that in float64, and invisible without.)
//
// The formula knows nothing of a model whose outputs are small differences of large numbers. What rounding does to such a model is
// measured: the small model is run in float64 as well, and the distance between its two results, scaled up to the large model's
// depth and width, is allowed wherever it is more than the formula gives.
const (
	safety   = 2.0 // C above, for sums
	storing  = 1.0 // and for stored weights
	noiseFor = 4.0 // how often the small model's own measured rounding is allowed
)

// Basis is what the tolerance is derived from.
type Basis struct {
	// Given says that the caller chose the tolerance: Atol + Rtol·|out|.
	Given bool   `json:"given"`
	Atol  Number `json:"atol,omitempty"`
	Rtol  Number `json:"rtol,omitempty"`

	Arithmetic string `json:"arithmetic"` // type that the engine computes in
	Weights    string `json:"weights"`    // narrowest type that weights are stored in
	Depth      int    `json:"depth"`      // sums on the longest path of the large model
	Width      int64  `json:"width"`      // terms of its longest sum over a weight
	Text       string `json:"text"`       // the derivation, for people

	roundoff, stored float64
	scale            float64 // sqrt(depth·width) of the large model over that of the small
	narrow           float64 // sqrt(width) of the small model: how much more its sums amplify than storage does
}

// roundoff is half the distance from 1 to the next number of a type; 0 for types without rounding.
func roundoff(dt onnxio.DType) float64 {
	switch dt {
	case onnxio.Float:
		return 0x1p-24
	case onnxio.Float16:
		return 0x1p-11
	case onnxio.BFloat16:
		return 0x1p-8
	case onnxio.Double:
		return 0x1p-53
	}
	return 0
}

// derive works out the basis from the two graphs.
func derive(small, large *graph.Graph) Basis {
	b := Basis{Weights: onnxio.Float.String(), stored: roundoff(onnxio.Float)}
	arithmetic, stored := onnxio.Undefined, onnxio.Undefined
	for _, v := range large.Consts {
		if dt := v.Const.DType; dt.Growable() && v.Const.NumElements() > 1 {
			if stored == onnxio.Undefined || roundoff(dt) > roundoff(stored) {
				stored = dt
			}
			if dt != onnxio.Double {
				arithmetic = onnxio.Float // the engine computes 16-bit types in float32
			} else if arithmetic == onnxio.Undefined {
				arithmetic = onnxio.Double
			}
		}
	}
	if stored != onnxio.Undefined {
		b.Weights, b.stored = stored.String(), roundoff(stored)
	}
	if arithmetic == onnxio.Undefined {
		arithmetic = onnxio.Float
	}
	b.Arithmetic, b.roundoff = arithmetic.String(), roundoff(arithmetic)
	b.Depth, b.Width = depth(large), width(large)
	ds, ws := depth(small), width(small)
	b.scale = math.Max(1, math.Sqrt(float64(b.Depth)*float64(b.Width)/(float64(ds)*float64(ws))))
	b.narrow = math.Sqrt(float64(ws))
	b.Text = fmt.Sprintf("%g·u·sqrt(depth·width)·max|out| with u = %.2g (%s), depth = %d sums in a row, width = %d terms in the longest: "+
		"%.2g·max|out|; weights stored in %s add %.2g·max|out|; where the small model's own rounding, measured against float64, is "+
		"larger, %g times that",
		safety, b.roundoff, b.Arithmetic, b.Depth, b.Width, b.arithmetic(), b.Weights, b.storage(), noiseFor)
	return b
}

// arithmetic is the share of max|out| that rounding in sums may take.
func (b Basis) arithmetic() float64 {
	return safety * b.roundoff * math.Sqrt(float64(b.Depth)*float64(b.Width))
}

// storage is the share of max|out| that rounding of stored weights may take.
func (b Basis) storage() float64 { return storing * b.stored * math.Sqrt(float64(b.Depth)) }

// native is the tolerance for an output of type out whose largest element is maxOut and whose rounding in the small model was
// measured as noise.
func (b Basis) native(out onnxio.DType, maxOut, noise float64) float64 {
	if b.Given {
		return float64(b.Atol) + float64(b.Rtol)*maxOut
	}
	t := (b.arithmetic() + b.storage()) * maxOut
	if u := roundoff(out); u > b.roundoff {
		t += 2 * u * maxOut
	}
	return math.Max(t, noiseFor*b.scale*noise)
}

// shadow is the tolerance in float64, where only storage is left to differ.
func (b Basis) shadow(maxOut, noise float64) float64 {
	const u = 0x1p-53
	if b.Given {
		return float64(b.Atol) + float64(b.Rtol)*maxOut
	}
	t := (b.storage() + safety*u*math.Sqrt(float64(b.Depth)*float64(b.Width))) * maxOut
	return math.Max(t, noiseFor*b.scale*noise/b.narrow)
}

// sums lists the operators whose outputs are sums of many terms, or normalised by one.
var sums = map[string]bool{
	"MatMul": true, "Gemm": true, "FusedGemm": true, "FusedMatMul": true, "Conv": true, "ConvTranspose": true, "Einsum": true,
	"Softmax": true, "LogSoftmax": true, "ReduceSum": true, "ReduceMean": true, "ReduceL2": true, "ReduceSumSquare": true,
	"LayerNormalization": true, "SimplifiedLayerNormalization": true, "SkipLayerNormalization": true,
	"SkipSimplifiedLayerNormalization": true, "RMSNormalization": true, "GroupNormalization": true, "InstanceNormalization": true,
	"BatchNormalization": true, "EmbedLayerNormalization": true, "Attention": true, "MultiHeadAttention": true,
	"GroupQueryAttention": true, "GlobalAveragePool": true, "AveragePool": true, "CumSum": true,
}

// depth is the largest number of sums on a path through the graph, at least 1.
func depth(g *graph.Graph) int {
	at := map[*graph.Value]int{}
	deepest := 1
	for _, n := range g.Nodes {
		d := 0
		for _, v := range n.In {
			if v != nil {
				d = max(d, at[v])
			}
		}
		for _, v := range n.Captures {
			d = max(d, at[v])
		}
		if sums[n.Op] {
			d++
		}
		for _, o := range n.Out {
			if o != nil {
				at[o] = d
			}
		}
		deepest = max(deepest, d)
	}
	return deepest
}

// width is the largest number of terms that a product with a stored matrix sums, at least 1: the size of the axis that its operator
// contracts. A vocabulary that is looked up, or produced, is no sum.
func width(g *graph.Graph) int64 {
	widest := int64(1)
	for _, v := range g.Consts {
		if v.Const.DType.Growable() && len(v.Const.Dims) >= 2 {
			widest = max(widest, terms(v, v.Const.Dims))
		}
	}
	return widest
}

// terms is the number of terms in the sums that v, a matrix of the given sizes, takes part in.
func terms(v *graph.Value, d []int64) int64 {
	most := int64(0)
	rows, cols := d[len(d)-2], d[len(d)-1]
	for _, u := range v.Uses {
		n := int64(0)
		switch {
		case u.Index < 0:
		case u.Node.Op == "Transpose" && len(d) == 2:
			n = terms(u.Node.Out[0], []int64{cols, rows})
		case (u.Node.Op == "Identity" || u.Node.Op == "Cast") && u.Node.Out[0] != nil:
			n = terms(u.Node.Out[0], d)
		case u.Node.Op == "Gemm" && u.Index == 1 && u.Node.Int("transB", 0) != 0:
			n = cols
		case (u.Node.Op == "MatMul" || u.Node.Op == "Gemm" || u.Node.Op == "FusedMatMul") && u.Index == 1:
			n = rows
		case u.Node.Op == "Conv" && u.Index == 1:
			n = 1
			for _, k := range d[1:] {
				n *= k
			}
		case sums[u.Node.Op]:
			n = min(rows, cols)
		}
		most = max(most, n)
	}
	return most
}
