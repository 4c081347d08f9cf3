package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/ligoonnx/ligoonnx/graph"
	"github.com/ligoonnx/ligoonnx/graph/engine"
	"github.com/ligoonnx/ligoonnx/graph/engine/kernel"
	"github.com/ligoonnx/ligoonnx/onnxio"
)

const (
	labels  = "labels"
	ignored = -100
)

// readData makes the inputs of every batch: ids and labels as they are in the file, no padding, one segment.
func readData(path string, c testCase) ([]map[string]*onnxio.Tensor, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	n := c.Batch * c.Length
	if want := c.Batches * 2 * n * 8; len(raw) != want {
		return nil, fmt.Errorf("%s has %d bytes, want %d", path, len(raw), want)
	}
	next := func() []int64 {
		v := make([]int64, n)
		for i := range v {
			v[i] = int64(binary.LittleEndian.Uint64(raw))
			raw = raw[8:]
		}
		return v
	}
	dims := []int64{int64(c.Batch), int64(c.Length)}
	out := make([]map[string]*onnxio.Tensor, c.Batches)
	for i := range out {
		out[i] = map[string]*onnxio.Tensor{
			"input_ids": onnxio.FromInt64s("input_ids", dims, next()),
			labels:      onnxio.FromInt64s(labels, []int64{int64(n)}, next()),
		}
		if c.Family == "bert" {
			ones := make([]int64, n)
			for j := range ones {
				ones[j] = 1
			}
			out[i]["attention_mask"] = onnxio.FromInt64s("attention_mask", dims, ones)
			out[i]["token_type_ids"] = onnxio.FromInt64s("token_type_ids", dims, make([]int64, n))
		}
	}
	return out, nil
}

// trainer makes training steps: loss, gradients, AdamW.
func trainer(m *onnxio.Model, c testCase, data []map[string]*onnxio.Tensor, threads int) (stepper, error) {
	if err := tie(m.Graph); err != nil {
		return nil, err
	}
	appendLoss(m.Graph, c)
	g, err := graph.FromModel(m)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, v := range g.Consts {
		// Scalars are numbers of the exporter's.
		if t := v.Const; t.DType == onnxio.Float && len(t.Dims) > 0 && t.ByteLen() > 4 {
			names = append(names, v.Name)
		}
	}
	t, err := engine.NewTrainer(g, "loss", names, engine.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	params := t.Params()
	moments := make([][2][]float32, len(params))
	for i, p := range params {
		moments[i] = [2][]float32{make([]float32, p.Value.Len()), make([]float32, p.Value.Len())}
	}
	settings := kernel.AdamWParams{LR: c.LR, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: c.WeightDecay, GradScale: 1}
	return func(batch int) (float64, error) {
		out, err := t.Gradients(context.Background(), data[batch])
		if err != nil {
			return 0, err
		}
		settings.Step++
		for i, p := range params {
			if p.Grad.Len() > 0 {
				kernel.AdamW(threads, settings, p.Value.F32, p.Grad.F32, moments[i][0], moments[i][1])
			}
		}
		return firstElement(out["loss"])
	}, nil
}

// appendLoss adds the mean cross-entropy of logits [batch, sequence, vocabulary] and labels [batch*sequence].
func appendLoss(g *onnxio.Graph, c testCase) {
	g.Initializers = append(g.Initializers, onnxio.FromInt64s("loss_rows", []int64{2}, []int64{-1, int64(c.Vocabulary)}))
	g.Nodes = append(g.Nodes,
		&onnxio.Node{Name: "loss_flat", OpType: "Reshape", Inputs: []string{"logits", "loss_rows"}, Outputs: []string{"loss_logits"}},
		&onnxio.Node{Name: "loss", OpType: "SoftmaxCrossEntropyLoss", Inputs: []string{"loss_logits", labels}, Outputs: []string{"loss"},
			Attrs: []*onnxio.Attribute{graph.IntAttr("ignore_index", ignored)}})
	g.Inputs = append(g.Inputs, &onnxio.ValueInfo{Name: labels, Type: onnxio.TensorType(onnxio.Int64)})
	g.Inputs[len(g.Inputs)-1].Type.HasShape = false
	g.Outputs = []*onnxio.ValueInfo{{Name: "loss"}}
}
