package train

import (
	"context"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// The count is the textbook's: 24·d² for a layer and token, 4·n·d for attention, 2·d·v for the output; backward twice that, but for what
// reads the data itself, which has no gradient.
func TestFLOPs(t *testing.T) {
	const rows, n = 3, 7
	count := func(m *onnxio.Model, s Spec, in map[string]*onnxio.Tensor) (int64, int64) {
		g, err := graph.FromModel(m)
		if err != nil {
			t.Fatal(err)
		}
		task := mustTask(t, g, s)
		f, b, err := task.FLOPs(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		return f, b
	}
	ids := onnxio.FromInt64s("", []int64{rows, n}, make([]int64, rows*n))
	d, layers, vocab := int64(48), int64(3), int64(61)
	forward, backward := count(fixtures.GPT2(fixtures.Config{Layers: 3, Hidden: 48, Heads: 3, Vocab: 61}), Spec{Loss: CausalLM}, map[string]*onnxio.Tensor{"input_ids": ids, "labels": ids})
	if want := 2 * rows * n * (layers*(12*d*d+2*n*d) + d*vocab); forward != want || backward != 2*want {
		t.Errorf("GPT-2: %d and %d, want %d and twice that", forward, backward, want)
	}

	vit := fixtures.ViT(fixtures.Config{Layers: 2, Hidden: 32, Heads: 2})
	out := vit.Graph.Outputs[0].Type.Dims[1].Value
	images := onnxio.FromFloat32s("", []int64{rows, 3, 32, 32}, make([]float32, rows*3*32*32))
	var kernel int64 // elements of the patch convolution
	for _, w := range vit.Graph.Initializers {
		if len(w.Dims) == 4 {
			kernel = w.NumElements()
		}
	}
	patches := 32 * 32 * 3 / (kernel / 32)
	d, layers, tokens := 32, 2, patches+1
	forward, backward = count(vit, Spec{Loss: Classify}, map[string]*onnxio.Tensor{"pixel_values": images, "labels": onnxio.FromInt64s("", []int64{rows}, make([]int64, rows))})
	first := 2 * rows * patches * kernel
	rest := 2 * rows * (tokens*layers*(12*d*d+2*tokens*d) + d*out)
	if kernel == 0 || forward != first+rest || backward != first+2*rest {
		t.Errorf("ViT: %d and %d, want %d and %d", forward, backward, first+rest, first+2*rest)
	}
}
