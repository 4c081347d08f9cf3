package train

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ligoonnx/ligoonnx/fixtures"
	"github.com/ligoonnx/ligoonnx/onnxio"
	"github.com/ligoonnx/ligoonnx/onnxio/dataset"
)

// Every committed model learns: the loss on one batch falls, and no step is refused.
func TestEveryModelLearns(t *testing.T) {
	for _, name := range fixtures.Models(t) {
		stored := filepath.Join(fixtures.Dir(t, name), "test_data_set_0")
		if _, err := os.Stat(stored); err != nil {
			continue // a growth target: the same operators at another size
		}
		t.Run(name, func(t *testing.T) {
			g := open(t, fixtures.Path(t, name))
			task := mustTask(t, g, lossFor(name))
			sets, err := dataset.Load(context.Background(), []string{stored}, dataset.Signature{Inputs: g.Model.Graph.Inputs, Outputs: g.Model.Graph.Outputs})
			if err != nil {
				t.Fatal(err)
			}
			data := fixed{}
			for k, v := range sets[0].Inputs {
				data[k] = v
			}
			dims := slices.Clone(sets[0].Outputs[task.Output].Dims)
			classes := dims[len(dims)-1]
			dims = dims[:len(dims)-1]
			n := int64(1)
			for _, d := range dims {
				n *= d
			}
			labels := make([]int64, n)
			for i := range labels {
				labels[i] = int64(i*7+3) % classes
			}
			data[task.Labels] = onnxio.FromInt64s("", dims, labels)
			r := mustRun(t, task, data, Options{Steps: 8, LR: 3e-3})
			if a, b := r.Curve[0].Loss, r.Curve[7].Loss; !(b < 0.95*a) {
				t.Errorf("the loss went from %v to %v", a, b)
			}
		})
	}
}
