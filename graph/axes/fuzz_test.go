package axes

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// mutants are the models that FuzzInfer starts from; each call builds them anew.
func mutants(i int) *onnxio.Model {
	small := fixtures.Config{Layers: 1, Vocab: 11, Positions: 8}
	switch i % 8 {
	case 0:
		return fixtures.BERT(small)
	case 1:
		small.Cache = true
		return fixtures.GPT2(small)
	case 2:
		small.KVHeads, small.RotaryComputed = 1, true
		return fixtures.Llama(small)
	case 3:
		small.QKNorm = true
		return fixtures.Llama(small)
	case 4:
		return fixtures.ViT(fixtures.Config{Layers: 1, Distilled: true})
	case 5:
		return fixtures.CaiT(fixtures.Config{Layers: 1, ClassLayers: 1})
	case 6:
		return parse(gateModel)
	default:
		return parse(`in x [b, s, 16]; in p int64 [b, s]; w g [16]; w wq [16, 16]; w wk [16, 8]; w ct [9, 2]; w st [9, 2]; ints ax 1
n, _, _, r = ms.SkipLayerNormalization(x, x, g); q = MatMul(n, wq); k = MatMul(n, wk); v = MatMul(n, wk); qr = ms.RotaryEmbedding(q, p, ct, st) num_heads=4
a = ms.GroupQueryAttention(qr, k, v) num_heads=4 kv_num_heads=2; m = ms.MultiHeadAttention(q, q, q) num_heads=4; z = Add(a, m); y = Add(z, r)
t = Unsqueeze(y, ax); c = Concat(t, t) axis=1; e = ReduceMean(c) axes=[1] keepdims=0; h = Pad(e) pads=[0,1,0,0,1,0]; f = Flatten(h) axis=2; l, u = Split(f) axis=1; o = Mul(l, u); out o`)
	}
}

// mutate damages one thing of the model: an attribute, an operand, an output, an operator, a size of a weight or of an input, an
// integer.
func mutate(m *onnxio.Model, r *rand.Rand) {
	f := m.Graph
	numbers := []int64{-1, 0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 64, -2, 1 << 31, 1 << 40, math.MaxInt64, math.MinInt64}
	number := func() int64 { return numbers[r.IntN(len(numbers))] }
	n := f.Nodes[r.IntN(len(f.Nodes))]
	switch r.IntN(10) {
	case 0, 1: // an attribute
		names := []string{"axis", "axes", "perm", "num_heads", "kv_num_heads", "keepdims", "to", "group", "strides", "pads", "split", "transB", "allowzero", "start", "end"}
		a := graph.IntAttr(names[r.IntN(len(names))], number())
		if len(n.Attrs) > 0 && r.IntN(4) > 0 {
			a = new(*n.Attrs[r.IntN(len(n.Attrs))])
			a.I, a.Ints = number(), slices.Clone(a.Ints)
			if len(a.Ints) > 0 {
				a.Ints[r.IntN(len(a.Ints))] = number()
			}
		}
		n.Attrs = append(slices.DeleteFunc(slices.Clone(n.Attrs), func(b *onnxio.Attribute) bool { return b.Name == a.Name }), a)
	case 2: // an operand fewer or left out
		if k := len(n.Inputs); k > 0 {
			if n.Inputs = slices.Clone(n.Inputs); r.IntN(2) == 0 {
				n.Inputs = n.Inputs[:k-1]
			} else {
				n.Inputs[r.IntN(k)] = ""
			}
		}
	case 3: // another operand
		if k := len(n.Inputs); k > 0 {
			from := f.Nodes[r.IntN(len(f.Nodes))]
			if len(from.Inputs) > 0 {
				n.Inputs = slices.Clone(n.Inputs)
				n.Inputs[r.IntN(k)] = from.Inputs[r.IntN(len(from.Inputs))]
			}
		}
	case 4: // another operator
		from := f.Nodes[r.IntN(len(f.Nodes))]
		n.OpType, n.Domain = from.OpType, from.Domain
	case 5: // an output more
		n.Outputs = append(slices.Clone(n.Outputs), "", n.Outputs[0]+"_more")
	case 6, 7: // a weight of another size, or other integers
		if len(f.Initializers) == 0 {
			return
		}
		i := r.IntN(len(f.Initializers))
		t := f.Initializers[i]
		if ints, err := t.Int64s(); err == nil && t.DType == onnxio.Int64 && len(ints) > 0 {
			ints = slices.Clone(ints)
			ints[r.IntN(len(ints))] = number()
			f.Initializers[i] = onnxio.FromInt64s(t.Name, t.Dims, ints)
			return
		}
		dims := slices.Clone(t.Dims)
		if len(dims) == 0 || r.IntN(4) == 0 {
			dims = append(dims, 1)
		} else {
			dims[r.IntN(len(dims))] = int64(r.IntN(9))
		}
		if size := volume(dims); size < 1<<16 {
			f.Initializers[i] = onnxio.FromFloat32s(t.Name, dims, make([]float32, size))
		}
	case 8: // an input of another size or rank
		in := new(*f.Inputs[r.IntN(len(f.Inputs))])
		ty := *in.Type
		ty.Dims = slices.Clone(ty.Dims)
		if k := len(ty.Dims); k > 0 && r.IntN(3) > 0 {
			ty.Dims[r.IntN(k)] = onnxio.Dim{Value: number()}
		} else if r.IntN(2) == 0 {
			ty.Dims = append(ty.Dims, onnxio.Dim{Param: "more"})
		} else {
			ty.HasShape, ty.Dims = false, nil
		}
		in.Type = &ty
		for i := range f.Inputs {
			if f.Inputs[i].Name == in.Name {
				f.Inputs[i] = in
			}
		}
	case 9: // an integer of a Constant node
		for _, c := range f.Nodes {
			if c.OpType == "Constant" && r.IntN(3) == 0 && len(c.Attrs) == 1 && c.Attrs[0].T != nil {
				if ints, err := c.Attrs[0].T.Int64s(); err == nil && c.Attrs[0].T.DType == onnxio.Int64 && len(ints) > 0 {
					ints = slices.Clone(ints)
					ints[r.IntN(len(ints))] = number()
					c.Attrs = []*onnxio.Attribute{graph.TensorAttr("value", onnxio.FromInt64s("", c.Attrs[0].T.Dims, ints))}
					return
				}
			}
		}
	}
}

// tryMutant infers a damaged model twice, solves doubled sizes and passes the gate: never a panic, never long, never a difference.
func tryMutant(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	m := mutants(r.IntN(8))
	for range 1 + r.IntN(3) {
		mutate(m, r)
	}
	g, err := graph.FromModel(m)
	if err != nil {
		return
	}
	start := time.Now()
	a, err := Infer(context.Background(), g, Options{})
	b, again := Infer(context.Background(), g, Options{})
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("seed %d: took %v", seed, d)
	}
	if err != nil || again != nil {
		if err == nil || again == nil || err.Error() != again.Error() || strings.Contains(err.Error(), "internal error") {
			t.Errorf("seed %d: %v and %v", seed, err, again)
		}
		return
	}
	if dump(a) != dump(b) {
		t.Errorf("seed %d: two inferences differ", seed)
	}
	z := doubled(a)
	if gate, err := a.Check(context.Background(), a.Graph, Sizes{}); err != nil || len(gate) > 0 {
		t.Errorf("seed %d: gate of the unchanged graph: %v %v", seed, err, gate)
	}
	e, probs := a.Solve(z)
	f, more := b.Solve(doubled(b))
	if len(probs) != len(more) || len(e.Consts) != len(f.Consts) {
		t.Errorf("seed %d: %d problems, then %d", seed, len(probs), len(more))
	}
}

// TestMutants is a short run of FuzzInfer with fixed seeds.
func TestMutants(t *testing.T) {
	count := uint64(800)
	if testing.Short() {
		count = 100
	}
	for seed := range count {
		tryMutant(t, seed)
	}
}

// FuzzInfer damages models; the input is the seed of what is damaged.
func FuzzInfer(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { tryMutant(t, seed) })
}
