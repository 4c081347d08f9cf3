package engine

import (
	"math"
	"strings"
	"testing"

	"github.com/ligoonnx/ligoonnx/onnxio"
)

// attentionConsts are operands of 2 sequences of 5 positions with 2 heads of 128, and what masks are made of.
func attentionConsts() []*onnxio.Tensor {
	shape := func(name string, dims ...int64) *onnxio.Tensor {
		return onnxio.FromInt64s(name, []int64{int64(len(dims))}, dims)
	}
	triangle := make([]float32, 25)
	hidden := make([]bool, 25)
	for i := range triangle {
		if i%5 > i/5 {
			triangle[i], hidden[i] = float32(math.Inf(-1)), true
		}
	}
	open := make([]bool, 25)
	for i, v := range hidden {
		open[i] = !v
	}
	odd := make([]bool, 25) // row 2 sees nothing
	for i := range odd {
		odd[i] = i/5 != 2 && (i*7)%3 != 0
	}
	quarter := func(name string, seed uint64) *onnxio.Tensor { return between(name, seed, -0.4, 0.4, 2, 5, 256) }
	return []*onnxio.Tensor{quarter("q", 1), quarter("k", 2), quarter("v", 3), between("qkv", 4, -0.4, 0.4, 2, 5, 768),
		shape("split", 2, 5, 2, 128), shape("merge", 2, 5, 256), shape("flat", 4, 5, 128), shape("unflat", 2, 2, 5, 128), shape("scores", 2, 2, 5, 5), shape("flatscores", 4, 5, 5),
		num("root", math.Sqrt(128)), num("scale", 1/math.Sqrt(128)), num("fourth", math.Pow(128, -0.25)), num("inf", math.Inf(-1)), num("lowest", -math.MaxFloat32), num("low", -10000), num("near", -1005), num("zero", 0), num("cap", 2),
		onnxio.FromFloat32s("mask_triangle", []int64{1, 1, 5, 5}, triangle), onnxio.FromBools("open", []int64{1, 1, 5, 5}, open), onnxio.FromBools("hidden", []int64{5, 5}, hidden), onnxio.FromBools("odd", []int64{5, 5}, odd),
		random("bias", 5, 2, 5, 5), random("w", 6, 5, 5), onnxio.FromInt64s("thirds", []int64{3}, []int64{256, 256, 256}), random("per_head", 7, 2, 1, 1)}
}

const (
	splitHeads = "Reshape q,split -> q4; Transpose q4 perm=0,2,1,3 -> qh; Reshape k,split -> k4; Transpose k4 perm=0,2,3,1 -> kt; Reshape v,split -> v4; Transpose v4 perm=0,2,1,3 -> vh; "
	mergeHeads = "MatMul p,vh -> z; Transpose z perm=0,2,1,3 -> z4; Reshape z4,merge -> y"
)

func TestFuseAttention(t *testing.T) {
	keep := onnxio.FromBools("", []int64{2, 1, 1, 5}, []bool{true, true, true, false, true, true, true, true, false, false})
	padding := map[string]*onnxio.Tensor{"keep": keep}
	none := map[string]*onnxio.Tensor{"keep": onnxio.FromBools("", []int64{2, 1, 1, 5}, []bool{true, true, true, false, true, false, false, false, false, false})}
	for _, k := range []fusionCase{
		{name: "scaled scores", nodes: splitHeads + "MatMul qh,kt -> s; Div s,root -> a; Softmax a axis=-1 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "scaled queries", nodes: "Mul q,scale -> qs; " + strings.Replace(splitHeads, "Reshape q,", "Reshape qs,", 1) + "MatMul qh,kt -> s; Softmax s axis=-1 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "scaled on both sides", nodes: splitHeads + "Mul qh,fourth -> qs; Mul fourth,kt -> ks; MatMul qs,ks -> s; Softmax s axis=3 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "keys transposed twice", nodes: strings.Replace(splitHeads, "perm=0,2,3,1 -> kt", "perm=0,2,1,3 -> kh; Transpose kh perm=0,1,3,2 -> kt", 1) + "MatMul qh,kt -> s; Softmax s axis=3 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "heads in the batch", nodes: splitHeads + "Reshape qh,flat -> qf; Transpose k4 perm=0,2,1,3 -> kh; Reshape kh,flat -> kf; Reshape vh,flat -> vf; Transpose kf perm=0,2,1 -> kft; MatMul qf,kft -> s; Reshape s,scores -> s4; Add s4,mask_triangle -> m; Reshape m,flatscores -> mf; Softmax mf axis=-1 -> p; MatMul p,vf -> zf; Reshape zf,unflat -> z; Transpose z perm=0,2,1,3 -> z4; Reshape z4,merge -> y", want: "attentionOp:1"},
		{name: "one projection", nodes: "Split qkv,thirds axis=-1 -> q,k,v; " + splitHeads + "MatMul qh,kt -> s; Mul s,scale -> a; Softmax a axis=-1 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "causal by addition", nodes: splitHeads + "MatMul qh,kt -> s; Div s,root -> a; Add a,mask_triangle -> m; Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "causal by selection of -inf", nodes: splitHeads + "MatMul qh,kt -> s; Where hidden,inf,s -> m; Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "causal by selection of a finite number", nodes: splitHeads + "MatMul qh,kt -> s; Where open,s,low -> m; Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "a known mask with a row of nothing", nodes: splitHeads + "MatMul qh,kt -> s; Where odd,s,lowest -> m; Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "a trained bias", nodes: splitHeads + "MatMul qh,kt -> s; Add bias,s -> m; Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "padding by selection", inputs: padding, nodes: splitHeads + "MatMul qh,kt -> s; Where keep,s,lowest -> m; Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1 whereOp:1"},
		{name: "padding that hides all keys", inputs: none, nodes: splitHeads + "MatMul qh,kt -> s; Where keep,s,lowest -> m; Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1 whereOp:1"},
		{name: "padding by addition", inputs: none, nodes: splitHeads + "MatMul qh,kt -> s; Where keep,zero,low -> b; Add s,b -> m; Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1 whereOp:1"},
		{name: "causal, and padding that hides all keys", inputs: none, nodes: splitHeads + "MatMul qh,kt -> s; Where open,s,lowest -> c; Where keep,zero,low -> b; Add c,b -> m; Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1 whereOp:1"},
		{name: "guarded", inputs: none, nodes: splitHeads + "MatMul qh,kt -> s; Where keep,s,inf -> m; Softmax m axis=-1 -> p0; IsNaN p0 -> n; Where n,zero,p0 -> p; " + mergeHeads, want: "attentionOp:1 whereOp:1"},
		{name: "soft cap", nodes: splitHeads + "MatMul qh,kt -> s; Div s,cap -> c; Tanh c -> h; Mul h,cap -> a; Add a,mask_triangle -> m; Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1"},
		{name: "merged heads read twice", nodes: splitHeads + "MatMul qh,kt -> s; Softmax s axis=-1 -> p; MatMul p,vh -> z; Mul z,z -> y", want: "attentionOp:1 binary2:1"},

		{name: "mask behind the softmax", nodes: splitHeads + "MatMul qh,kt -> s; Softmax s axis=-1 -> p0; Where open,p0,zero -> p; " + mergeHeads, not: "attentionOp"},
		{name: "softmax over queries", nodes: splitHeads + "MatMul qh,kt -> s; Softmax s axis=2 -> p; " + mergeHeads, not: "attentionOp"},
		{name: "scale for each head", nodes: splitHeads + "MatMul qh,kt -> s; Mul s,per_head -> a; Softmax a axis=-1 -> p; " + mergeHeads, not: "attentionOp"},
		{name: "scale behind the mask", nodes: splitHeads + "MatMul qh,kt -> s; Add s,bias -> m; Mul m,scale -> a; Softmax a axis=-1 -> p; " + mergeHeads, not: "attentionOp"},
		{name: "weights returned", nodes: splitHeads + "MatMul qh,kt -> s; Softmax s axis=-1 -> p; " + mergeHeads, keep: []string{"p"}, not: "attentionOp"},
		{name: "scores returned", nodes: splitHeads + "MatMul qh,kt -> s; Softmax s axis=-1 -> p; " + mergeHeads, keep: []string{"s"}, not: "attentionOp"},
		{name: "something between scores and weights", nodes: splitHeads + "MatMul qh,kt -> s0; MatMul s0,w -> s1; Sigmoid s1 -> s; Softmax s axis=-1 -> p; " + mergeHeads, not: "attentionOp"},
		{name: "two selections", inputs: padding, nodes: splitHeads + "MatMul qh,kt -> s; Where keep,s,low -> m; Where open,m,lowest -> c; Softmax c axis=-1 -> p; " + mergeHeads, not: "attentionOp"},
	} {
		k.consts = attentionConsts()
		if !strings.Contains(k.nodes, "qkv") {
			k.consts = append(k.consts[:3:3], k.consts[4:]...)
		} else {
			k.consts = k.consts[3:]
		}
		t.Run(k.name, k.check)
	}
}

// A score of hidden keys that is not far below the others has its weight: it is the same number, not -Inf.
func TestFusedSelectionIsExact(t *testing.T) {
	consts := attentionConsts()
	for _, q := range []float64{1, 60} { // scores of about 0, and around the number that replaces them
		big := make([]float32, 2*5*256)
		for i := range big {
			big[i] = float32(q * (0.3 - math.Sin(float64(i))))
		}
		consts[0], consts[1] = onnxio.FromFloat32s("q", []int64{2, 5, 256}, big), onnxio.FromFloat32s("k", []int64{2, 5, 256}, negative(big, q/60))
		for _, sel := range []string{"Where open,s,near -> m; ", "Where odd,s,near -> m; ", "Where open,s,near -> m0; Add m0,bias -> m; "} {
			fusionCase{name: sel, consts: append(consts[:3:3], consts[4:]...), opset: 17,
				nodes: splitHeads + "MatMul qh,kt -> s0; Div s0,root -> s; " + sel + "Softmax m axis=-1 -> p; " + mergeHeads, want: "attentionOp:1"}.check(t)
		}
	}
}

func negative(v []float32, by float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(-by) * x
	}
	return out
}
