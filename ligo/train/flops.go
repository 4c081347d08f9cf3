package train

import (
	"context"

	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

// FLOPs counts the multiplications and additions of a step on a micro-batch of the shapes of in: those of products, forward and for the
// gradients (engine.Trainer.FLOPs). Nothing is run.
func (t *Task) FLOPs(ctx context.Context, in map[string]*onnxio.Tensor) (forward, backward int64, err error) {
	names := make([]string, len(t.Params))
	for i, p := range t.Params {
		names[i] = p.value
	}
	trainer, err := engine.NewTrainer(t.Graph, t.loss, names, engine.Options{})
	if err != nil {
		return 0, 0, err
	}
	of := make(map[string]*onnxio.Tensor, len(t.Inputs))
	for _, v := range t.Inputs {
		of[v.Name] = in[v.Name]
	}
	return trainer.FLOPs(ctx, of)
}
